//! What a run costs: the server's process, this process, the kernel's socket memory.

pub mod client;
pub mod server;
