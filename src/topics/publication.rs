//! Publications, and what a subscriber is told of a topic.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use super::Topic;
use crate::protocol::{FrameHeader, MessageKind, encode_frame};
use crate::transport::Token;

/// Names a publication among all of its topic: which life of the topic it belongs to, and its
/// number there. As text it is the epoch in hexadecimal, a hyphen, and the number.
///
/// ```
/// use sockeye::Offset;
///
/// let offset = Offset { epoch: 0xbeef, number: 7 };
/// assert_eq!(offset.to_string(), "beef-7");
/// assert_eq!("beef-7".parse(), Ok(offset));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Offset {
    /// Drawn at random when the topic comes into being: after the server was restarted, or the
    /// topic forgotten because nobody used it, numbers begin again and mean something else.
    pub epoch: u64,
    /// The first publication has number 1; 0 is before all of them.
    pub number: u64,
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.number)
    }
}

/// A text that is no [`Offset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOffsetError;

impl fmt::Display for ParseOffsetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an offset is a hexadecimal epoch, a hyphen and a number")
    }
}

impl std::error::Error for ParseOffsetError {}

impl FromStr for Offset {
    type Err = ParseOffsetError;

    fn from_str(text: &str) -> Result<Self, ParseOffsetError> {
        let (epoch, number) = text.split_once('-').ok_or(ParseOffsetError)?;
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| ParseOffsetError)?;
        let number = number.parse().map_err(|_| ParseOffsetError)?;
        Ok(Self { epoch, number })
    }
}

/// What a subscriber wants of the publications before its subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Nothing: only what is published from now on.
    New,
    /// What the topic remembers.
    History,
    /// Everything after this publication, or nothing if the topic does not remember all of that:
    /// [`Subscription::recovered`] says which.
    After(Offset),
    /// Everything after this publication or, if the topic does not remember all of that, what it
    /// remembers: [`Subscription::recovered`] says which.
    AfterOrHistory(Offset),
}

/// A message as every subscriber is sent it: encoded once, shared by all.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Header and payload.
    pub(crate) bytes: Bytes,
    header_len: u8,
    kind: MessageKind,
}

impl Frame {
    pub(crate) fn new(kind: MessageKind, payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(FrameHeader::MAX_LEN + payload.len());
        encode_frame(&mut bytes, kind.opcode(), None, payload);
        Self {
            header_len: (bytes.len() - payload.len()) as u8,
            bytes: bytes.into(),
            kind,
        }
    }

    pub(crate) fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The payload, which shares the frame's memory.
    pub(crate) fn payload(&self) -> Bytes {
        self.bytes.slice(usize::from(self.header_len)..)
    }

    pub(crate) fn payload_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.header_len)..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A message that was published earlier. [`message`](Self::message) makes a message of it that
/// shares its memory.
#[derive(Clone, Debug)]
pub struct Publication {
    pub(super) offset: Offset,
    pub(super) frame: Frame,
}

impl Publication {
    /// Its name among all of its topic.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Its payload.
    pub fn as_bytes(&self) -> &[u8] {
        self.frame.payload_bytes()
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// What [`Handler::on_subscribed`](crate::Handler::on_subscribed) is told.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) topic: Arc<Topic>,
    pub(crate) token: Token,
    /// Names this subscription among all of its topic.
    pub(crate) ticket: u32,
    pub(super) offset: Offset,
    pub(super) replay: Arc<[Publication]>,
    /// Where in `replay` the replay begins.
    pub(super) start: usize,
    pub(super) recovered: bool,
}

impl Subscription {
    /// The topic's name.
    pub fn topic(&self) -> &str {
        self.topic.name()
    }

    /// The last publication before the subscription: the first that comes live is the one after
    /// it.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// What was asked for of the publications before the subscription, oldest first. The last of
    /// them, if there is one, has the offset of the subscription.
    pub fn replay(&self) -> &[Publication] {
        &self.replay[self.start..]
    }

    /// Whether [`replay`](Self::replay) is all that was asked for. False only after
    /// [`Since::After`] and [`Since::AfterOrHistory`]: the topic no longer remembers everything
    /// since then, or that offset is not one of its own. The replay is empty then, or the history,
    /// never something between.
    pub fn recovered(&self) -> bool {
        self.recovered
    }
}
