//! The content of messages, ready to be sent.

use crate::wire::{self, Opcode};

/// Where a message's pattern begins in the table, at most; a multiple of the masking key.
const STARTS: usize = 4096;
/// Any but zero, so that a server that forgets to unmask is caught.
const KEY: [u8; 4] = [0x5a, 0xc3, 0x17, 0xe9];
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What all messages of a run share: their length and type, and the table their patterns are cut
/// from, as it is and masked.
///
/// A pattern starts at a multiple of four in the table, so its masked form is a slice of the masked
/// table, and sending a message masks nothing but its first bytes.
#[derive(Debug)]
pub struct Pattern {
    len: usize,
    text: bool,
    plain: Vec<u8>,
    masked: Vec<u8>,
    header: [u8; 14],
    header_len: usize,
    prefix_len: usize,
}

/// The first bytes of a frame on the wire: its header, and the masked sequence number and connection.
#[derive(Clone, Copy, Debug)]
pub struct Front {
    bytes: [u8; 30],
    len: usize,
}

impl Front {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Pattern {
    /// Messages of `len` bytes, of text (ASCII) or binary.
    pub fn new(len: usize, text: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(0x10ad_7e57);
        let mut plain = vec![0; STARTS + len];
        if text {
            plain.fill_with(|| LETTERS[random.usize(..64)]);
        } else {
            random.fill(&mut plain);
        }
        let mut masked = plain.clone();
        wire::mask(&mut masked, KEY);
        let mut header = Vec::with_capacity(14);
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        wire::header(&mut header, opcode, len, KEY);
        let header_len = header.len();
        header.resize(14, 0);
        Self {
            len,
            text,
            plain,
            masked,
            header: header.try_into().expect("resized to it"),
            header_len,
            prefix_len: len.min(if text { 16 } else { 8 }),
        }
    }

    /// Bytes of payload of each message.
    pub fn payload_len(&self) -> usize {
        self.len
    }

    /// Bytes of each message on the wire.
    pub fn frame_len(&self) -> usize {
        self.header_len + self.len
    }

    /// What echoes must have.
    pub fn opcode(&self) -> Opcode {
        if self.text {
            Opcode::Text
        } else {
            Opcode::Binary
        }
    }

    /// The masking key of every frame.
    pub fn key(&self) -> [u8; 4] {
        KEY
    }

    /// Appends the frame of one message.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, connection: u32, sequence: u32) {
        let (front, body) = self.parts(connection, sequence);
        out.extend_from_slice(front.bytes());
        out.extend_from_slice(body);
    }

    /// The frame of one message, in two parts.
    #[inline]
    pub fn parts(&self, connection: u32, sequence: u32) -> (Front, &[u8]) {
        let mut front = Front {
            bytes: [0; 30],
            len: self.header_len + self.prefix_len,
        };
        front.bytes[..14].copy_from_slice(&self.header);
        let key = u128::from(u32::from_le_bytes(KEY)) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
        let prefix = u128::from_le_bytes(self.prefix(connection, sequence)) ^ key;
        front.bytes[self.header_len..self.header_len + 16].copy_from_slice(&prefix.to_le_bytes());
        let start = start(connection, sequence);
        (
            front,
            &self.masked[start + self.prefix_len..start + self.len],
        )
    }

    /// How many bytes of a message tell its sequence number and connection.
    #[inline]
    pub fn prefix_len(&self) -> usize {
        self.prefix_len
    }

    /// What tells sequence number and connection; only the first [`prefix_len`](Self::prefix_len)
    /// bytes are sent.
    #[inline]
    pub fn prefix(&self, connection: u32, sequence: u32) -> [u8; 16] {
        if self.text {
            let nibbles = spread4(sequence) | (spread4(connection) << 8);
            // 'A' to 'P': one letter for each four bits.
            (nibbles + u128::from_le_bytes([b'A'; 16])).to_le_bytes()
        } else {
            let bytes = spread8(sequence) | (spread8(connection) << 8);
            u128::from(bytes).to_le_bytes()
        }
    }

    /// What follows the prefix.
    #[inline]
    pub fn body(&self, connection: u32, sequence: u32) -> &[u8] {
        let start = start(connection, sequence);
        &self.plain[start + self.prefix_len..start + self.len]
    }

    /// The low bits of sequence number and connection that a prefix tells, with how many bits each
    /// has; `None` if no prefix looks like this.
    pub fn read_prefix(&self, prefix: &[u8]) -> Option<((u32, u32), (u32, u32))> {
        let width = if self.text { 4 } else { 8 };
        let mut values = [0u32; 2];
        let mut bits = [0; 2];
        for (i, &byte) in prefix.iter().enumerate() {
            let part = match (self.text, byte) {
                (true, b'A'..=b'P') => byte - b'A',
                (true, _) => return None,
                (false, _) => byte,
            };
            values[i % 2] |= u32::from(part) << bits[i % 2];
            bits[i % 2] += width;
        }
        Some(((values[0], bits[0]), (values[1], bits[1])))
    }
}

/// Where this message's pattern begins.
#[inline]
fn start(connection: u32, sequence: u32) -> usize {
    let mixed = connection
        .wrapping_mul(0x9e37_79b1)
        .wrapping_add(sequence.wrapping_mul(0x85eb_ca6b));
    ((mixed >> 16) as usize % STARTS) & !3
}

/// The bytes of `x` in every second byte.
#[inline]
fn spread8(x: u32) -> u64 {
    let x = u64::from(x);
    let x = (x | (x << 16)) & 0x0000_ffff_0000_ffff;
    (x | (x << 8)) & 0x00ff_00ff_00ff_00ff
}

/// The nibbles of `x` in every second byte.
#[inline]
fn spread4(x: u32) -> u128 {
    let x = spread8(x);
    let halves = (x | (x << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    // Sixteen bits of every 32 are in use: pairs of nibbles, each in its own byte.
    let low = spread_pairs(halves as u32);
    let high = spread_pairs((halves >> 32) as u32);
    u128::from(low) | (u128::from(high) << 64)
}

/// The bytes of `x` in every second byte.
#[inline]
fn spread_pairs(x: u32) -> u64 {
    spread8(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmask(frame: &[u8], header: usize) -> Vec<u8> {
        let mut payload = frame[header..].to_vec();
        wire::mask(&mut payload, KEY);
        payload
    }

    #[test]
    fn a_frame_is_its_prefix_and_its_body() {
        for text in [true, false] {
            for len in [0, 1, 7, 8, 15, 16, 17, 125, 126, 1000, 70_000] {
                let pattern = Pattern::new(len, text);
                let mut frame = Vec::new();
                pattern.write(&mut frame, 0xdead_beef, 0x0123_4567);
                assert_eq!(frame.len(), pattern.frame_len());
                let mut payload =
                    pattern.prefix(0xdead_beef, 0x0123_4567)[..pattern.prefix_len()].to_vec();
                payload.extend_from_slice(pattern.body(0xdead_beef, 0x0123_4567));
                assert_eq!(unmask(&frame, wire::header_len(len)), payload);
                assert!(!text || payload.is_ascii());
            }
        }
    }

    #[test]
    fn a_prefix_tells_what_fits() {
        let binary = Pattern::new(100, false);
        assert_eq!(
            binary.prefix(0x0807_0605, 0x0403_0201)[..8],
            [1, 5, 2, 6, 3, 7, 4, 8]
        );
        let text = Pattern::new(100, true);
        assert_eq!(&text.prefix(0x0807_0605, 0x0403_0201), b"BFAACGAADHAAEIAA");
        for pattern in [text, binary] {
            let prefix = pattern.prefix(0xfedc_ba98, 0x0123_4567);
            for len in 0..=pattern.prefix_len() {
                let ((sequence, bits), (connection, others)) =
                    pattern.read_prefix(&prefix[..len]).unwrap();
                let low = |x: u32, bits: u32| (u64::from(x) & ((1 << bits) - 1)) as u32;
                assert_eq!(sequence, low(0x0123_4567, bits));
                assert_eq!(connection, low(0xfedc_ba98, others));
                assert!(bits + others == len as u32 * if pattern.text { 4 } else { 8 });
            }
        }
        assert_eq!(Pattern::new(100, true).read_prefix(b"ABz"), None);
    }

    #[test]
    fn neighbours_differ() {
        let pattern = Pattern::new(125, true);
        assert_ne!(pattern.body(1, 1), pattern.body(1, 2));
        assert_ne!(pattern.body(1, 1), pattern.body(2, 1));
    }
}
