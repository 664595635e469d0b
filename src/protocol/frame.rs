//! The frame header and single frames (RFC 6455 section 5.2).

use super::error::ProtocolError;
use super::mask::mask_into;

/// Whose side we are. It decides which frames must be masked (section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We are the server: frames that arrive must be masked, ours are not.
    Server,
    /// We are the client: frames that arrive must not be masked, ours are.
    Client,
}

/// What a frame carries (section 5.2). Reserved opcodes have no value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message in progress.
    Continuation = 0,
    /// A text message or its first fragment.
    Text = 1,
    /// A binary message or its first fragment.
    Binary = 2,
    /// The closing handshake.
    Close = 8,
    /// A ping; the peer answers with a pong of the same payload.
    Ping = 9,
    /// The answer to a ping, or an unsolicited heartbeat.
    Pong = 10,
}

impl Opcode {
    /// Whether this is a control frame: never fragmented, at most 125 bytes (section 5.5).
    #[inline]
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }

    #[inline]
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

/// The longest payload whose length fits the second byte, and the limit of control frames.
pub(super) const MAX_SHORT: usize = 125;
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASK: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// A decoded frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// What the frame carries.
    pub opcode: Opcode,
    /// The masking key, on frames from a client.
    pub mask: Option<[u8; 4]>,
    /// The payload's length in bytes, at most 2^63 - 1.
    pub payload_len: u64,
}

impl FrameHeader {
    /// The longest header in bytes: two, a 64-bit length and a masking key.
    pub const MAX_LEN: usize = 14;

    /// Reads the header at the front of `input`: the header and its own length in bytes.
    ///
    /// `Ok(None)` means that more bytes are needed. Each rule is checked as soon as the byte it
    /// speaks of is there, so the answer for a prefix never contradicts the answer for the whole.
    ///
    /// # Errors
    ///
    /// Any reserved bit, a reserved opcode, a control frame that is fragmented or longer than
    /// 125 bytes, a length over 63 bits or not in its shortest form, and a MASK bit that does
    /// not fit `role`.
    #[inline]
    pub fn parse(input: &[u8], role: Role) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let bits = first & 0x0f;
        let opcode = Opcode::from_bits(bits).ok_or(ProtocolError::ReservedOpcode(bits))?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl);
        }

        let Some(&second) = input.get(1) else {
            return Ok(None);
        };
        let masked = second & MASK != 0;
        match role {
            Role::Server if !masked => return Err(ProtocolError::Unmasked),
            Role::Client if masked => return Err(ProtocolError::Masked),
            _ => {}
        }
        let short = second & !MASK;
        if opcode.is_control() && usize::from(short) > MAX_SHORT {
            return Err(ProtocolError::ControlTooLong);
        }

        let Some((payload_len, at)) = extended_length(short, &input[2..])? else {
            return Ok(None);
        };
        if !masked {
            return Ok(Some((
                Self {
                    fin,
                    opcode,
                    mask: None,
                    payload_len,
                },
                at,
            )));
        }
        let Some(&key) = input[at..].first_chunk::<4>() else {
            return Ok(None);
        };
        Ok(Some((
            Self {
                fin,
                opcode,
                mask: Some(key),
                payload_len,
            },
            at + 4,
        )))
    }

    /// The header of a whole unmasked frame, if it is one of those that take two bytes.
    #[inline]
    pub(crate) fn short(opcode: Opcode, payload_len: usize) -> Option<[u8; 2]> {
        (payload_len <= MAX_SHORT).then_some([FIN | opcode as u8, payload_len as u8])
    }

    /// Writes the header to the front of `out`, its length in the shortest form, and returns how
    /// many bytes it takes.
    #[inline]
    pub fn encode(&self, out: &mut [u8; Self::MAX_LEN]) -> usize {
        debug_assert!(
            self.payload_len >> 63 == 0,
            "a payload of more than 63 bits"
        );
        out[0] = u8::from(self.fin) << 7 | self.opcode as u8;
        let mask_bit = if self.mask.is_some() { MASK } else { 0 };
        let mut at = if self.payload_len <= MAX_SHORT as u64 {
            out[1] = mask_bit | self.payload_len as u8;
            2
        } else if let Ok(length) = u16::try_from(self.payload_len) {
            out[1] = mask_bit | LENGTH_16;
            out[2..4].copy_from_slice(&length.to_be_bytes());
            4
        } else {
            out[1] = mask_bit | LENGTH_64;
            out[2..10].copy_from_slice(&self.payload_len.to_be_bytes());
            10
        };
        if let Some(key) = self.mask {
            out[at..at + 4].copy_from_slice(&key);
            at += 4;
        }
        at
    }
}

/// The payload length and the offset after it, from the seven short bits and what follows them.
#[inline]
fn extended_length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    match short {
        LENGTH_16 => {
            let Some(&bytes) = rest.first_chunk::<2>() else {
                return Ok(None);
            };
            let length = u16::from_be_bytes(bytes);
            if usize::from(length) <= MAX_SHORT {
                return Err(ProtocolError::NonMinimalLength);
            }
            Ok(Some((u64::from(length), 4)))
        }
        LENGTH_64 => {
            if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
                return Err(ProtocolError::LengthOverflow);
            }
            let Some(&bytes) = rest.first_chunk::<8>() else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(bytes);
            if length <= u64::from(u16::MAX) {
                return Err(ProtocolError::NonMinimalLength);
            }
            Ok(Some((length, 10)))
        }
        short => Ok(Some((u64::from(short), 2))),
    }
}

/// Appends one whole frame with FIN set: header and payload, masked if there is a key.
///
/// The caller keeps control payloads to 125 bytes.
#[inline]
pub fn encode_frame(out: &mut Vec<u8>, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) {
    debug_assert!(
        !opcode.is_control() || payload.len() <= MAX_SHORT,
        "control frame too long"
    );
    // With room for all of it no call can come between the two parts.
    let room = out.capacity() - out.len();
    if mask.is_none()
        && let Some(header) = FrameHeader::short(opcode, payload.len())
        && header.len() + payload.len() <= room
    {
        out.extend_from_slice(&header);
        out.extend_from_slice(payload);
        return;
    }
    encode_general(out, opcode, mask, payload);
}

#[inline(never)]
fn encode_general(out: &mut Vec<u8>, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) {
    let header = FrameHeader {
        fin: true,
        opcode,
        mask,
        payload_len: payload.len() as u64,
    };
    let mut bytes = [0; FrameHeader::MAX_LEN];
    let length = header.encode(&mut bytes);
    out.reserve(length + payload.len());
    out.extend_from_slice(&bytes[..length]);
    match mask {
        Some(key) => mask_into(out, payload, key, 0),
        None => out.extend_from_slice(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn the_examples_of_section_5_7() {
        let mut out = Vec::new();
        encode_frame(&mut out, Opcode::Text, None, b"Hello");
        assert_eq!(out, b"\x81\x05Hello");

        out.clear();
        encode_frame(&mut out, Opcode::Text, Some(KEY), b"Hello");
        assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");

        out.clear();
        encode_frame(&mut out, Opcode::Ping, None, b"Hello");
        assert_eq!(out, b"\x89\x05Hello");

        for (length, header) in [
            (256, &[0x82, 0x7e, 0x01, 0x00][..]),
            (65536, &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            out.clear();
            encode_frame(&mut out, Opcode::Binary, None, &vec![7; length]);
            assert!(out.starts_with(header));
            assert_eq!(out.len(), header.len() + length);
        }
    }

    #[test]
    fn lengths_use_their_shortest_form() {
        for (length, size) in [
            (0, 2),
            (125, 2),
            (126, 4),
            (65535, 4),
            (65536, 10),
            (1 << 62, 10),
        ] {
            for (role, mask, size) in [
                (Role::Client, None, size),
                (Role::Server, Some(KEY), size + 4),
            ] {
                let header = FrameHeader {
                    fin: true,
                    opcode: Opcode::Binary,
                    mask,
                    payload_len: length,
                };
                let mut bytes = [0; FrameHeader::MAX_LEN];
                assert_eq!(header.encode(&mut bytes), size);
                assert_eq!(FrameHeader::parse(&bytes, role), Ok(Some((header, size))));
                for cut in 0..size {
                    assert_eq!(FrameHeader::parse(&bytes[..cut], role), Ok(None));
                }
            }
        }
    }

    #[test]
    fn faults_are_found_at_the_byte_that_shows_them() {
        use ProtocolError::*;
        let long = [0x82, 0xff, 0x80];
        let cases: &[(&[u8], ProtocolError)] = &[
            (&[0xc1], ReservedBits),
            (&[0xa1], ReservedBits),
            (&[0x91], ReservedBits),
            (&[0x83], ReservedOpcode(3)),
            (&[0x87], ReservedOpcode(7)),
            (&[0x8b], ReservedOpcode(11)),
            (&[0x8f], ReservedOpcode(15)),
            (&[0x08], FragmentedControl),
            (&[0x09], FragmentedControl),
            (&[0x0a], FragmentedControl),
            (&[0x81, 0x05], Unmasked),
            (&[0x89, 0xfe], ControlTooLong),
            (&[0x88, 0xff], ControlTooLong),
            (&[0x82, 0xfe, 0, 125], NonMinimalLength),
            (
                &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
                NonMinimalLength,
            ),
            (&long, LengthOverflow),
        ];
        for (bytes, error) in cases {
            assert_eq!(
                FrameHeader::parse(bytes, Role::Server),
                Err(*error),
                "{bytes:x?}"
            );
            let before = &bytes[..bytes.len() - 1];
            assert_eq!(
                FrameHeader::parse(before, Role::Server),
                Ok(None),
                "{before:x?}"
            );
        }
        assert_eq!(FrameHeader::parse(&[0x81, 0x80], Role::Client), Err(Masked));
    }
}
