//! The client's half of RFC 6455, without sockets, clocks or threads.
//!
//! It shares no code with the server of this workspace, so that both cannot make the same mistake.

mod frame;
mod handshake;
mod parser;

pub use frame::{Opcode, control, header, header_len, mask};
pub use handshake::{Key, Refused, request, response};
pub use parser::{Data, Event, Parser, Violation};
