//! Why an opening handshake is refused.

use std::fmt;

/// A head that is not accepted.
///
/// Most of these are about a client's request. The last ones are about a server's response; a
/// client fails the connection for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not HTTP: a byte, a line or a header that RFC 9112 does not allow.
    Malformed,
    /// A line that does not end in CR LF.
    BareLineEnd,
    /// A header line that continues the one before it.
    FoldedHeader,
    /// More than [`MAX_HEADERS`](super::MAX_HEADERS) header fields.
    TooManyHeaders,
    /// A version of HTTP other than 1.0 and 1.1.
    UnsupportedHttpVersion,
    /// A target that is neither a path nor an `http` or `ws` URL with one.
    InvalidTarget,
    /// A header that may come once came again.
    DuplicateHeader(&'static str),
    /// A header whose value its definition does not allow.
    InvalidHeader(&'static str),
    /// HTTP/1.1 without `Host`.
    MissingHost,
    /// A request that announces a body.
    UnexpectedBody,
    /// An upgrade with a method other than GET.
    MethodNotGet,
    /// An upgrade in HTTP/1.0.
    UpgradeInHttp10,
    /// An upgrade whose `Connection` header does not list `upgrade`.
    MissingConnectionUpgrade,
    /// No `Sec-WebSocket-Version`, or one other than 13.
    UnsupportedWebSocketVersion,
    /// No `Sec-WebSocket-Key`, or one that is not 16 bytes in base64.
    InvalidKey,
    /// An offered subprotocol that is empty or not a token.
    InvalidSubprotocol,
    /// A subprotocol offered twice.
    RepeatedSubprotocol,
    /// More than [`MAX_SUBPROTOCOLS`](super::MAX_SUBPROTOCOLS) subprotocols.
    TooManySubprotocols,

    /// A response with another status than 101.
    UnexpectedStatus(u16),
    /// A response without `Upgrade: websocket`.
    MissingUpgrade,
    /// A response whose `Sec-WebSocket-Accept` does not answer our key.
    AcceptMismatch,
    /// A response that chose a subprotocol we did not offer.
    UnofferedSubprotocol,
    /// A response that chose none of the subprotocols we offered.
    NoSubprotocolChosen,
    /// A response with an extension we did not offer.
    UnofferedExtension,
}

impl HandshakeError {
    /// The status to answer a request with. With 426, the answer must carry
    /// `Sec-WebSocket-Version: 13` (section 4.4). A fault in a response has 502, as a gateway
    /// would answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooManyHeaders => 431,
            Self::UnsupportedHttpVersion => 505,
            Self::UnsupportedWebSocketVersion => 426,
            Self::UnexpectedStatus(_)
            | Self::MissingUpgrade
            | Self::AcceptMismatch
            | Self::UnofferedSubprotocol
            | Self::NoSubprotocolChosen
            | Self::UnofferedExtension => 502,
            _ => 400,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed HTTP",
            Self::BareLineEnd => "line not ended by CR LF",
            Self::FoldedHeader => "folded header",
            Self::TooManyHeaders => "too many headers",
            Self::UnsupportedHttpVersion => "unsupported HTTP version",
            Self::InvalidTarget => "invalid request target",
            Self::DuplicateHeader(name) => return write!(f, "repeated header {name}"),
            Self::InvalidHeader(name) => return write!(f, "invalid header {name}"),
            Self::MissingHost => "missing header Host",
            Self::UnexpectedBody => "unexpected request body",
            Self::MethodNotGet => "upgrade with a method other than GET",
            Self::UpgradeInHttp10 => "upgrade in HTTP/1.0",
            Self::MissingConnectionUpgrade => "header Connection does not list upgrade",
            Self::UnsupportedWebSocketVersion => "unsupported WebSocket version",
            Self::InvalidKey => "missing or invalid Sec-WebSocket-Key",
            Self::InvalidSubprotocol => "invalid subprotocol name",
            Self::RepeatedSubprotocol => "repeated subprotocol",
            Self::TooManySubprotocols => "too many subprotocols",
            Self::UnexpectedStatus(status) => return write!(f, "status {status} instead of 101"),
            Self::MissingUpgrade => "header Upgrade is not websocket",
            Self::AcceptMismatch => "wrong Sec-WebSocket-Accept",
            Self::UnofferedSubprotocol => "subprotocol that was not offered",
            Self::NoSubprotocolChosen => "none of the offered subprotocols chosen",
            Self::UnofferedExtension => "extension that was not offered",
        })
    }
}

impl std::error::Error for HandshakeError {}

impl From<httparse::Error> for HandshakeError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            httparse::Error::Version => Self::UnsupportedHttpVersion,
            _ => Self::Malformed,
        }
    }
}
