//! A load generator for WebSocket servers, ours or any other.
//!
//! It checks every message that comes back (which connection, which one, how long, every byte), says
//! what the server's process spent on it when told its pid, and says when it was itself the
//! bottleneck.
//!
//! # Code map
//!
//! Each module uses only those above it in this list.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | the client's half of RFC 6455 as pure functions, independent of the server's code: request and response of the opening handshake, frames out, frames in |
//! | [`payload`] | what a message says: connection, sequence number and a pattern; and whether what came back is the same |
//! | [`net`] | target URLs, source addresses, sockets |
//! | [`report`] | what a run found, and its shapes: table, JSON, hgrm, HTML, thresholds |
//! | [`watch`] | the server's process, this process, the kernel's socket memory |
//! | [`engine`] | load threads: one mio event loop each, with thousands of connections |
//! | [`scenario`] | what the connections do: one file for each subcommand |
//! | [`compare`] | several servers in one run: starting, pinning, rounds, medians |
//! | [`run`] | from settings to a report; attackers next to well-behaved clients; searches of many runs |
//! | [`cli`] | flags |

pub mod cli;
pub mod compare;
pub mod engine;
pub mod net;
pub mod payload;
pub mod report;
pub mod run;
pub mod scenario;
pub mod watch;
pub mod wire;
