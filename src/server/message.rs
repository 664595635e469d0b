//! Messages as handlers see them.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::connection::Body;
use crate::protocol::MessageKind;
use crate::topics::{Frame, Publication};

/// A text or binary message (RFC 6455 section 5.6). It borrows its bytes from the receive
/// buffer or owns them; sending an owned one moves the bytes instead of copying them.
///
/// ```
/// use sockeye::Message;
///
/// let greeting = Message::from("hello");
/// assert_eq!(greeting.as_text(), Some("hello"));
/// assert_eq!(Message::from(vec![1, 2, 3]).as_bytes(), [1, 2, 3]);
/// ```
pub struct Message<'a> {
    kind: MessageKind,
    body: Body<'a>,
}

impl<'a> Message<'a> {
    /// `body` is UTF-8 if `kind` is text: whoever calls this has checked it.
    #[inline]
    pub(crate) fn new(kind: MessageKind, body: Body<'a>) -> Self {
        Self { kind, body }
    }

    #[inline]
    pub(crate) fn into_parts(self) -> (MessageKind, Body<'a>) {
        (self.kind, self.body)
    }

    /// The message as subscribers are sent it.
    pub(super) fn frame(&self) -> Frame {
        Frame::new(self.kind, self.as_bytes())
    }

    /// A message of its own bytes; the same holds for `kind`.
    pub(crate) fn owned(kind: MessageKind, bytes: Vec<u8>) -> Message<'static> {
        Message::new(kind, Body::Owned(bytes.into()))
    }

    /// A text message.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        let body = match text.into() {
            Cow::Borrowed(text) => Body::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Body::Owned(text.into()),
        };
        Self::new(MessageKind::Text, body)
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        let body = match bytes.into() {
            Cow::Borrowed(bytes) => Body::Borrowed(bytes),
            Cow::Owned(bytes) => Body::Owned(bytes.into()),
        };
        Self::new(MessageKind::Binary, body)
    }

    /// Whether this is text or binary.
    #[inline]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The text; `None` if the message is binary.
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text => {
                Some(std::str::from_utf8(self.as_bytes()).expect("a text message is valid UTF-8"))
            }
            MessageKind::Binary => None,
        }
    }

    /// The payload, of text as UTF-8.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// Whether this is a text message.
    #[inline]
    pub fn is_text(&self) -> bool {
        self.kind == MessageKind::Text
    }

    /// Whether this is a binary message.
    #[inline]
    pub fn is_binary(&self) -> bool {
        self.kind == MessageKind::Binary
    }

    /// Bytes of payload.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The same message without the borrow; copies only if it is borrowed.
    pub fn into_owned(self) -> Message<'static> {
        Message {
            kind: self.kind,
            body: Body::Owned(self.body.into_bytes()),
        }
    }
}

impl Publication {
    /// A message that shares the publication's memory.
    pub fn message(&self) -> Message<'static> {
        let frame = self.frame();
        Message::new(frame.kind(), Body::Owned(frame.payload()))
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) => write!(f, "Text({text:?})"),
            None => write!(f, "Binary({} bytes)", self.as_bytes().len()),
        }
    }
}

impl PartialEq for Message<'_> {
    fn eq(&self, other: &Message<'_>) -> bool {
        self.kind == other.kind && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Message<'_> {}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Message::text(text)
    }
}

impl From<String> for Message<'_> {
    fn from(text: String) -> Self {
        Message::text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Message::binary(bytes)
    }
}

impl From<Vec<u8>> for Message<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Message::binary(bytes)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Message::text(text.as_str())
    }
}

impl<'a> From<Cow<'a, str>> for Message<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Message::text(text)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Message::binary(bytes.as_slice())
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Message::binary(bytes.as_slice())
    }
}

/// The same message, borrowed; an owned payload is shared, not copied.
impl<'a> From<&'a Message<'_>> for Message<'a> {
    fn from(message: &'a Message<'_>) -> Self {
        let body = match &message.body {
            Body::Borrowed(bytes) => Body::Borrowed(bytes),
            Body::Owned(bytes) => Body::Owned(bytes.clone()),
        };
        Message::new(message.kind, body)
    }
}

/// Shares an owned payload; a borrowed one stays borrowed.
impl Clone for Message<'_> {
    fn clone(&self) -> Self {
        let body = match &self.body {
            Body::Borrowed(bytes) => Body::Borrowed(bytes),
            Body::Owned(bytes) => Body::Owned(bytes.clone()),
        };
        Message::new(self.kind, body)
    }
}

/// A binary message; cloning the bytes first shares them instead of copying.
impl From<Bytes> for Message<'_> {
    fn from(bytes: Bytes) -> Self {
        Message::new(MessageKind::Binary, Body::Owned(bytes))
    }
}
