//! A WebSocket server on per-core mio event loops.

pub mod protocol;
mod server;

pub use server::{Config, Limits, Timeouts};
