//! A WebSocket server on per-core mio event loops.

mod connection;
mod http;
pub mod protocol;
mod reactor;
mod server;
pub mod services;
mod sync;
pub mod testing;
mod transport;
mod worker;

pub use connection::{Cause, CloseReason};
pub use protocol::{CloseCode, MessageKind};
pub use server::{
    Config, Error, Handler, IntoUpgrade, Limits, Message, Peer, PeerHandle, PeerId, Refusal,
    Request, Result, Running, SendError, Sent, Server, ServerHandle, ServerStats, Timeouts,
    Upgrade, WorkerStats,
};
