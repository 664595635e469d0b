//! How a connection ended.

use std::fmt;
use std::io;

use crate::protocol::{CloseCode, ProtocolError};

/// How a connection ended. A normal close is not an error: ask [`cause`](Self::cause) for what
/// happened and [`code`](Self::code) for the close code as RFC 6455 section 7.1.5 defines it.
#[derive(Clone, Debug)]
pub struct CloseReason {
    cause: Cause,
    code: CloseCode,
    reason: String,
}

/// What ended a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The peer sent a Close frame.
    Peer,
    /// [`Peer::close`](crate::Peer::close) or [`PeerHandle::close`](crate::PeerHandle::close)
    /// was called. The code is the one the peer answered with, or 1006 if it did not answer.
    Handler,
    /// The peer broke the protocol or a limit of it (RFC 6455 section 7.1.7).
    Fault(ProtocolError),
    /// No data frame came for [`Timeouts::idle`](crate::Timeouts::idle).
    Idle,
    /// A ping went unanswered for [`Timeouts::pong`](crate::Timeouts::pong).
    PongTimeout,
    /// The peer took nothing of its queue for [`Timeouts::write`](crate::Timeouts::write).
    WriteTimeout,
    /// The peer was behind with what was published to its topics by more than
    /// [`Limits::outbox`](crate::Limits::outbox).
    SlowConsumer,
    /// The server is shutting down.
    Shutdown,
    /// The peer ended its stream without a Close frame.
    EndOfStream,
    /// The stream broke, for example by a reset.
    Lost(io::ErrorKind),
}

impl CloseReason {
    pub(crate) fn new(cause: Cause) -> Self {
        let code = match &cause {
            Cause::Peer => CloseCode::NO_STATUS,
            Cause::Fault(fault) => fault.close_code(),
            Cause::Idle | Cause::Shutdown => CloseCode::GOING_AWAY,
            Cause::WriteTimeout | Cause::SlowConsumer => CloseCode::POLICY_VIOLATION,
            Cause::Handler | Cause::PongTimeout | Cause::EndOfStream | Cause::Lost(_) => {
                CloseCode::ABNORMAL
            }
        };
        let reason = match &cause {
            Cause::Fault(fault) => fault.to_string(),
            Cause::Idle => "idle timeout".into(),
            Cause::WriteTimeout => "write timeout".into(),
            Cause::SlowConsumer => "slow consumer".into(),
            Cause::Shutdown => "server shutting down".into(),
            _ => String::new(),
        };
        Self {
            cause,
            code,
            reason,
        }
    }

    /// The peer's Close frame with its code and reason.
    pub(crate) fn received(code: Option<CloseCode>, reason: &str) -> Self {
        Self {
            cause: Cause::Peer,
            code: code.unwrap_or(CloseCode::NO_STATUS),
            reason: reason.to_owned(),
        }
    }

    /// The same end, of a connection that this side had begun to close.
    pub(crate) fn of_closing(self) -> Self {
        match self.cause {
            Cause::Peer => Self {
                cause: Cause::Handler,
                ..self
            },
            _ => Self::new(Cause::Handler),
        }
    }

    /// What happened.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The close code: the peer's when it sent one, 1005 when its Close frame had none, 1006
    /// when the connection ended without one, else the code the server sent.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The text that came with the code; often empty.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether the peer had completed the closing handshake (RFC 6455 section 7.1.4) when the
    /// handler was told. Never so for an end that the server began by itself, such as
    /// [`Cause::Shutdown`] or [`Cause::Idle`]: its handlers are told at once.
    pub fn was_clean(&self) -> bool {
        matches!(self.cause, Cause::Peer | Cause::Handler) && self.code != CloseCode::ABNORMAL
    }

    /// Code and reason of the Close frame this end is answered with; `None` when the stream is
    /// beyond hearing one.
    pub(crate) fn answer(&self) -> Option<(Option<CloseCode>, &str)> {
        match self.cause {
            Cause::Peer => Some(((self.code != CloseCode::NO_STATUS).then_some(self.code), "")),
            Cause::Fault(_) | Cause::Idle | Cause::Shutdown => {
                Some((Some(self.code), &self.reason))
            }
            // Its connection has queued the Close frame already.
            Cause::SlowConsumer => None,
            Cause::Handler
            | Cause::PongTimeout
            | Cause::WriteTimeout
            | Cause::EndOfStream
            | Cause::Lost(_) => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.cause {
            Cause::Peer => "closed by the peer",
            Cause::Handler => "closed by the handler",
            Cause::Fault(_) => "protocol fault",
            Cause::Idle => "idle timeout",
            Cause::PongTimeout => "no answer to a ping",
            Cause::WriteTimeout => "the peer stopped reading",
            Cause::SlowConsumer => "the peer fell behind",
            Cause::Shutdown => "server shutdown",
            Cause::EndOfStream => "end of stream",
            Cause::Lost(kind) => return write!(f, "connection lost: {kind}"),
        };
        write!(f, "{what} ({})", u16::from(self.code))?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}
