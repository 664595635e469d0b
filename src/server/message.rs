//! Messages as handlers see them.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::connection::Body;
use crate::protocol::MessageKind;

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
            MessageKind::Text => Some(
                std::str::from_utf8(self.as_bytes()).expect("a text message is valid UTF-8"),
            ),
            MessageKind::Binary => None,
        }
    }

    /// The payload, of text as UTF-8.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.body.as_bytes()
    }

    /// The same message without the borrow; copies only if it is borrowed.
    pub fn into_owned(self) -> Message<'static> {
        Message {
            kind: self.kind,
            body: Body::Owned(self.body.into_bytes()),
        }
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

/// A binary message; cloning the bytes first shares them instead of copying.
impl From<Bytes> for Message<'_> {
    fn from(bytes: Bytes) -> Self {
        Message::new(MessageKind::Binary, Body::Owned(bytes))
    }
}
