//! Close codes and Close frames (RFC 6455 sections 5.5.1 and 7.4).

use std::fmt;

use super::error::ProtocolError;
use super::frame::{MAX_SHORT, Opcode, encode_frame};

/// Why a connection closes (section 7.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that this endpoint does not take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the Close frame had no code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that does not fit its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message against the endpoint's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message that is too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client misses an extension it needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server cannot go on.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got a bad answer from the server behind it.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never sent.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether the code may appear in a Close frame: 1000-1003, 1007-1014 and 3000-4999.
    #[inline]
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The payload of a Close frame (section 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseFrame<'a> {
    /// The code, if there is one. Always one that [is sendable](CloseCode::is_sendable) when it
    /// comes from [`parse`](Self::parse).
    pub code: Option<CloseCode>,
    /// The reason, at most 123 bytes; empty without a code.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// The longest reason in bytes.
    pub const MAX_REASON: usize = MAX_SHORT - 2;

    /// Reads an unmasked payload.
    ///
    /// # Errors
    ///
    /// A payload of one byte, a code that must not be sent, a reason that is not UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let (code, reason) = match payload {
            [] => {
                return Ok(Self {
                    code: None,
                    reason: "",
                });
            }
            [_] => return Err(ProtocolError::InvalidCloseLength),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        if !CloseCode(code).is_sendable() {
            return Err(ProtocolError::InvalidCloseCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidUtf8)?;
        Ok(Self {
            code: Some(CloseCode(code)),
            reason,
        })
    }
}

impl CloseFrame<'_> {
    /// Appends a whole Close frame.
    ///
    /// Without a code, or with one that [must not be sent](CloseCode::is_sendable), its payload is
    /// empty. A reason of more than [`MAX_REASON`](Self::MAX_REASON) bytes is cut before the
    /// character that crosses it.
    pub fn encode(out: &mut Vec<u8>, mask: Option<[u8; 4]>, code: Option<CloseCode>, reason: &str) {
        let Some(code) = code.filter(|code| code.is_sendable()) else {
            return encode_frame(out, Opcode::Close, mask, &[]);
        };
        let reason = &reason[..reason.floor_char_boundary(Self::MAX_REASON)];
        let mut payload = [0; MAX_SHORT];
        payload[..2].copy_from_slice(&code.0.to_be_bytes());
        payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
        encode_frame(out, Opcode::Close, mask, &payload[..2 + reason.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent() {
        for code in 0..=u16::MAX {
            let sendable = match code {
                1004..=1006 => false,
                1000..=1014 | 3000..=4999 => true,
                _ => false,
            };
            assert_eq!(CloseCode::from(code).is_sendable(), sendable, "{code}");
        }
    }

    #[test]
    fn payloads() {
        use ProtocolError::*;
        assert_eq!(
            CloseFrame::parse(b""),
            Ok(CloseFrame {
                code: None,
                reason: ""
            })
        );
        let normal = Some(CloseCode::NORMAL);
        assert_eq!(
            CloseFrame::parse(b"\x03\xe8"),
            Ok(CloseFrame {
                code: normal,
                reason: ""
            })
        );
        assert_eq!(
            CloseFrame::parse(b"\x03\xe8bye"),
            Ok(CloseFrame {
                code: normal,
                reason: "bye"
            })
        );
        for (payload, error) in [
            (&b"\x03"[..], InvalidCloseLength),
            (b"\x00\x00", InvalidCloseCode(0)),
            (b"\x03\xed", InvalidCloseCode(1005)),
            (b"\x03\xf7", InvalidCloseCode(1015)),
            (b"\x07\xd0", InvalidCloseCode(2000)),
            (b"\x13\x88", InvalidCloseCode(5000)),
            (b"\x03\xe8\xce\xba\xe1\xbd", InvalidUtf8),
        ] {
            assert_eq!(CloseFrame::parse(payload), Err(error), "{payload:x?}");
        }
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        for (reason, kept) in [
            ("x".repeat(200), 123),
            ("ä".repeat(80), 122),
            ("🐟".repeat(40), 120),
        ] {
            let mut out = Vec::new();
            CloseFrame::encode(&mut out, None, Some(CloseCode::NORMAL), &reason);
            assert_eq!(out.len(), 4 + kept);
            assert_eq!(
                CloseFrame::parse(&out[2..]).unwrap().reason,
                &reason[..kept]
            );
        }
    }

    #[test]
    fn codes_that_must_not_be_sent_leave_the_payload_empty() {
        for code in [
            None,
            Some(CloseCode::NO_STATUS),
            Some(CloseCode::ABNORMAL),
            Some(CloseCode(2999)),
        ] {
            let mut out = Vec::new();
            CloseFrame::encode(&mut out, None, code, "reason");
            assert_eq!(out, b"\x88\x00", "{code:?}");
        }
    }
}
