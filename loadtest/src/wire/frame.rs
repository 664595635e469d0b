//! Frames from the client (RFC 6455 section 5.2): always masked, never fragmented.

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before it.
    Continuation = 0,
    /// A text message.
    Text = 1,
    /// A binary message.
    Binary = 2,
    /// The closing handshake.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

impl Opcode {
    /// The opcode with this number; `None` for the reserved ones.
    pub fn from_bits(bits: u8) -> Option<Self> {
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

    /// Whether it is a control frame's.
    pub fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// The length of a masked frame's header in front of `len` bytes of payload.
pub fn header_len(len: usize) -> usize {
    match len {
        0..=125 => 6,
        126..=0xffff => 8,
        _ => 14,
    }
}

/// Appends the header of a whole message, or control frame, of `len` bytes.
pub fn header(out: &mut Vec<u8>, opcode: Opcode, len: usize, key: [u8; 4]) {
    out.push(0x80 | opcode as u8);
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
}

/// Masks `bytes`, the first of which is the payload's first.
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    for (byte, key) in bytes.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends a whole control frame.
///
/// # Panics
///
/// If the payload is longer than 125 bytes (section 5.5).
pub fn control(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    assert!(payload.len() <= 125, "a control frame is that short");
    header(out, opcode, payload.len(), key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_section_5_7() {
        let mut out = Vec::new();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        header(&mut out, Opcode::Text, 5, key);
        out.extend_from_slice(b"Hello");
        mask(&mut out[6..], key);
        assert_eq!(
            out,
            [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
            ]
        );
    }

    #[test]
    fn a_header_is_as_long_as_it_says() {
        for len in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 1 << 24] {
            let mut out = Vec::new();
            header(&mut out, Opcode::Binary, len, [1, 2, 3, 4]);
            assert_eq!(out.len(), header_len(len), "{len}");
        }
    }
}
