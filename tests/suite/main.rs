//! The server seen from outside: the binary as a child process, real sockets on the loopback
//! interface, and a client of its own that shares no code with the crate.
//!
//! `SOCKEYE_TEST_ARGS` adds flags to every server the suite starts (for example `--workers 2`);
//! `SOCKEYE_TEST_BINARY` tests another executable.

mod bad_input;
mod binary;
mod chat;
mod client;
mod close;
mod deadlines;
mod echo;
mod examples;
mod handshake;
mod pages;
mod patience;
mod questions;
mod relay;
mod server;
mod shutdown;
mod sturdy;
mod ticker;
