//! From bytes to messages: frames are unmasked, checked and assembled (RFC 6455 sections 5 and 6).

mod decoder;
mod partial;

use std::ops::Deref;

use super::close::CloseFrame;
use super::error::ProtocolError;
use super::frame::{Opcode, Role};

pub use decoder::Decoder;

/// The two kinds of data message (section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    /// The opcode of the message's first frame.
    #[inline]
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// The bytes of a message. Those of a text message are valid UTF-8.
#[derive(Clone, Debug)]
pub enum Payload<'b> {
    /// Unmasked where they were received.
    Borrowed(&'b [u8]),
    /// Assembled from several reads or fragments.
    Owned(Vec<u8>),
}

impl Payload<'_> {
    /// The bytes, copied if they are borrowed.
    #[must_use]
    pub fn into_owned(self) -> Vec<u8> {
        match self {
            Self::Borrowed(bytes) => bytes.to_vec(),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}

/// What the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A whole data message.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// Its bytes.
        payload: Payload<'b>,
    },
    /// A ping, to be answered with a pong of the same payload (section 5.5.2).
    Ping(&'b [u8]),
    /// A pong (section 5.5.3).
    Pong(&'b [u8]),
    /// A Close frame. What follows it must be discarded (section 5.5.1).
    Close(CloseFrame<'b>),
}

/// What a [`Decoder`] needs to know and all connections of an endpoint share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderSettings {
    /// Whose side we are.
    pub role: Role,
    /// The most bytes a message may have, over all its fragments.
    pub max_message: usize,
    /// The most frames a message may have, empty ones included; an unfragmented message is
    /// always allowed.
    pub max_fragments: usize,
}

impl DecoderSettings {
    /// Whether a message that has `length` bytes may grow by `more`: the new length.
    #[inline]
    fn admit(&self, length: usize, more: u64) -> Result<usize, ProtocolError> {
        usize::try_from(more)
            .ok()
            .and_then(|more| length.checked_add(more))
            .filter(|&total| total <= self.max_message)
            .ok_or(ProtocolError::MessageTooBig {
                limit: self.max_message,
            })
    }
}
