//! RFC 6455 as pure state machines: bytes in, events and bytes out.
//!
//! No sockets, clocks or threads, and no unsafe code. Everything a peer can send is either an
//! event or an error that says how to answer; a panic is a bug in this crate.
//!
//! - [`FrameHeader`], [`encode_frame`], [`mask_in_place`]: single frames.
//! - [`Decoder`]: received bytes to whole messages and control frames, in both roles.
//! - [`Utf8Validator`], [`CloseFrame`]: what text and Close frames must keep to.
//! - [`Request`], [`ClientHandshake`]: the two sides of the opening handshake.

#![forbid(unsafe_code)]

mod close;
mod error;
mod frame;
pub mod handshake;
mod mask;
mod message;
mod utf8;

#[cfg(test)]
mod tests;

pub use close::{CloseCode, CloseFrame};
pub use error::ProtocolError;
pub use frame::{FrameHeader, Opcode, Role, encode_frame};
pub use handshake::{
    ClientAccepted, ClientHandshake, HandshakeError, HeaderStorage, MAX_HEADERS, Request,
    UpgradeRequest, accept_key, encode_switching_protocols, find_head_end, header_storage,
    verify_response,
};
pub use mask::{mask_in_place, mask_into};
pub use message::{Decoder, DecoderSettings, Event, MessageKind, Payload};
pub use utf8::{InvalidUtf8, Utf8Validator};
