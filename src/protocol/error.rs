//! Why a peer's bytes are refused, and the close code each reason carries.

use std::fmt;

use super::close::CloseCode;
use super::utf8::InvalidUtf8;

/// A fault of the peer that ends the connection (RFC 6455 section 7.1.7).
///
/// [`close_code`](Self::close_code) is what the Close frame should say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 is set and no extension gives it a meaning (section 5.2).
    ReservedBits,
    /// An opcode that RFC 6455 reserves: 3-7 or 11-15 (section 5.2).
    ReservedOpcode(u8),
    /// A frame from a client without a masking key (section 5.1).
    Unmasked,
    /// A frame from a server with a masking key (section 5.1).
    Masked,
    /// A control frame without FIN (section 5.5).
    FragmentedControl,
    /// A control frame that declares more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A payload length in a longer form than it needs (section 5.2).
    NonMinimalLength,
    /// A 64-bit payload length with its most significant bit set (section 5.2).
    LengthOverflow,
    /// A continuation frame while no message is in progress (section 5.4).
    UnexpectedContinuation,
    /// A new text or binary frame before the fragmented message ended (section 5.4).
    ExpectedContinuation,
    /// A text message or a close reason that is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A Close frame whose payload is one byte long (section 5.5.1).
    InvalidCloseLength,
    /// A close code that must not appear in a Close frame (section 7.4).
    InvalidCloseCode(u16),
    /// A message of more than `limit` bytes (section 10.4).
    MessageTooBig {
        /// The most bytes a message may have.
        limit: usize,
    },
    /// A message in more than `limit` frames (section 10.4).
    TooManyFragments {
        /// The most frames a message may have.
        limit: usize,
    },
}

impl ProtocolError {
    /// The close code to send: 1007 for bad UTF-8, 1009 for what passes a limit, else 1002
    /// (section 7.4.1).
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooBig { .. } | Self::TooManyFragments { .. } => {
                CloseCode::MESSAGE_TOO_BIG
            }
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => f.write_str("reserved bit set"),
            Self::ReservedOpcode(opcode) => write!(f, "reserved opcode {opcode}"),
            Self::Unmasked => f.write_str("unmasked frame from a client"),
            Self::Masked => f.write_str("masked frame from a server"),
            Self::FragmentedControl => f.write_str("fragmented control frame"),
            Self::ControlTooLong => f.write_str("control frame longer than 125 bytes"),
            Self::NonMinimalLength => f.write_str("payload length not in its shortest form"),
            Self::LengthOverflow => f.write_str("payload length over 63 bits"),
            Self::UnexpectedContinuation => f.write_str("continuation frame without a message"),
            Self::ExpectedContinuation => f.write_str("new message inside a fragmented message"),
            Self::InvalidUtf8 => f.write_str("invalid UTF-8"),
            Self::InvalidCloseLength => f.write_str("close payload of one byte"),
            Self::InvalidCloseCode(code) => write!(f, "invalid close code {code}"),
            Self::MessageTooBig { limit } => write!(f, "message over {limit} bytes"),
            Self::TooManyFragments { limit } => write!(f, "message in more than {limit} fragments"),
        }
    }
}

impl std::error::Error for ProtocolError {}

impl From<InvalidUtf8> for ProtocolError {
    fn from(_: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_close_code() {
        for (error, code) in [
            (ProtocolError::ReservedBits, 1002),
            (ProtocolError::InvalidCloseCode(1005), 1002),
            (ProtocolError::InvalidUtf8, 1007),
            (ProtocolError::MessageTooBig { limit: 1 }, 1009),
            (ProtocolError::TooManyFragments { limit: 1 }, 1009),
        ] {
            assert_eq!(u16::from(error.close_code()), code, "{error}");
        }
    }

    #[test]
    fn every_reason_fits_a_close_frame() {
        let longest = ProtocolError::MessageTooBig { limit: usize::MAX };
        assert!(longest.to_string().len() <= 123);
    }
}
