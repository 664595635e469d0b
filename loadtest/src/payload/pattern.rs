//! The content of messages, ready to be sent.

use crate::wire::{self, Opcode};

/// Where a message's pattern begins in the table, at most; a multiple of the masking key.
const STARTS: usize = 4096;
/// Any but zero, so that a server that forgets to unmask is caught.
const KEY: [u8; 4] = [0x5a, 0xc3, 0x17, 0xe9];
/// By which the mixed numbers of a connection's messages differ.
const STEP: u32 = 0x85eb_ca6b;
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
    header: [u8; 16],
    header_len: usize,
    /// The start of an echo's frame in the form that servers nearly always send: its first four
    /// bytes, which of their bits are its header's, and how long that is; 0 where it is longer.
    echo: (u32, u32, usize),
    prefix_len: usize,
    /// The bits of a prefix that are the sequence number's.
    lanes: u128,
    /// What is added to a prefix to make it text.
    letters: u128,
    /// The bits of a prefix that are sent.
    told: u128,
}

/// One message of one connection: what its prefix says and where its pattern begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The prefix, without the letters.
    code: u128,
    mixed: u32,
}

/// The first bytes of a frame on the wire: its header, and the masked sequence number and connection.
#[derive(Clone, Copy, Debug)]
pub struct Front {
    bytes: [u8; 32],
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
        let mut header = Vec::with_capacity(16);
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        wire::header(&mut header, opcode, len, KEY);
        let header_len = header.len();
        let echo = echo_header(&header);
        header.resize(16, 0);
        let prefix_len = len.min(if text { 16 } else { 8 });
        Self {
            len,
            text,
            plain,
            masked,
            header: header.try_into().expect("resized to it"),
            header_len,
            echo,
            prefix_len,
            lanes: spread(u32::MAX, text),
            // 'A' to 'P': one letter for each four bits.
            letters: u128::from_le_bytes([if text { b'A' } else { 0 }; 16]),
            told: 1u128
                .checked_shl(8 * prefix_len as u32)
                .map_or(u128::MAX, |end| end - 1),
        }
    }

    /// Bytes of payload of each message.
    #[inline]
    pub fn payload_len(&self) -> usize {
        self.len
    }

    /// Bytes of each message on the wire.
    #[inline]
    pub fn frame_len(&self) -> usize {
        self.header_len + self.len
    }

    /// What echoes must have.
    #[inline]
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

    /// This message.
    pub fn cursor(&self, connection: u32, sequence: u32) -> Cursor {
        Cursor {
            code: spread(sequence, self.text) | (spread(connection, self.text) << 8),
            mixed: connection
                .wrapping_mul(0x9e37_79b1)
                .wrapping_add(sequence.wrapping_mul(STEP)),
        }
    }

    /// The next message of the same connection.
    #[inline]
    pub fn after(&self, cursor: Cursor) -> Cursor {
        // The carry runs through the bits that are not the sequence number's.
        let sequence = (cursor.code | !self.lanes).wrapping_add(1) & self.lanes;
        Cursor {
            code: (cursor.code & !self.lanes) | sequence,
            mixed: cursor.mixed.wrapping_add(STEP),
        }
    }

    /// Writes the frame of one message to `out[at..]`; returns where it ends. It needs room for 32
    /// bytes more than [`frame_len`](Self::frame_len), which it may spoil.
    ///
    /// # Panics
    ///
    /// If there is not so much room.
    #[inline]
    pub fn write(&self, out: &mut [u8], at: usize, cursor: Cursor) -> usize {
        let end = at + self.frame_len();
        let out = &mut out[at..end + 32];
        // Of constant lengths, which is cheaper than what is needed of them.
        out[..16].copy_from_slice(&self.header);
        out[self.header_len..self.header_len + 16].copy_from_slice(&self.masked_prefix(cursor));
        out[self.header_len + self.prefix_len..self.frame_len()]
            .copy_from_slice(self.masked_body(cursor));
        end
    }

    /// The frame of one message, in two parts.
    pub fn parts(&self, cursor: Cursor) -> (Front, &[u8]) {
        let mut front = Front {
            bytes: [0; 32],
            len: self.header_len + self.prefix_len,
        };
        front.bytes[..16].copy_from_slice(&self.header);
        front.bytes[self.header_len..][..16].copy_from_slice(&self.masked_prefix(cursor));
        (front, self.masked_body(cursor))
    }

    /// Whether `payload`, which must be of the right length, is that of this message.
    #[inline(always)]
    pub fn is(&self, cursor: Cursor, payload: &[u8]) -> bool {
        let prefix = match payload.first_chunk::<16>() {
            Some(chunk) => u128::from_le_bytes(*chunk),
            None => {
                let mut chunk = [0; 16];
                chunk[..payload.len()].copy_from_slice(payload);
                u128::from_le_bytes(chunk)
            }
        };
        (prefix ^ (cursor.code + self.letters)) & self.told == 0
            && payload[self.prefix_len..] == *self.body(cursor)
    }

    /// If `input` begins with the frame of this message as servers nearly always send it: what
    /// follows.
    #[inline(always)]
    pub fn strip<'a>(&self, cursor: Cursor, input: &'a [u8]) -> Option<&'a [u8]> {
        let (header, mask, header_len) = self.echo;
        let first = u32::from_le_bytes(*input.first_chunk()?);
        if first & mask != header || header_len == 0 {
            return None;
        }
        let (payload, rest) = input[header_len..].split_at_checked(self.len)?;
        self.is(cursor, payload).then_some(rest)
    }

    /// How many bytes of a message tell its sequence number and connection.
    #[inline]
    pub fn prefix_len(&self) -> usize {
        self.prefix_len
    }

    /// What tells sequence number and connection.
    pub fn prefix(&self, cursor: Cursor) -> Vec<u8> {
        (cursor.code + self.letters).to_le_bytes()[..self.prefix_len].to_vec()
    }

    /// What follows the prefix.
    #[inline]
    pub fn body(&self, cursor: Cursor) -> &[u8] {
        let start = cursor.start();
        &self.plain[start + self.prefix_len..start + self.len]
    }

    #[inline]
    fn masked_body(&self, cursor: Cursor) -> &[u8] {
        let start = cursor.start();
        &self.masked[start + self.prefix_len..start + self.len]
    }

    #[inline]
    fn masked_prefix(&self, cursor: Cursor) -> [u8; 16] {
        const KEYS: u128 =
            u32::from_le_bytes(KEY) as u128 * 0x0000_0001_0000_0001_0000_0001_0000_0001;
        ((cursor.code + self.letters) ^ KEYS).to_le_bytes()
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

impl Cursor {
    /// Where the message's pattern begins.
    #[inline]
    fn start(self) -> usize {
        ((self.mixed >> 16) as usize % STARTS) & !3
    }
}

/// The start of the frame that answers the one with this header.
fn echo_header(header: &[u8]) -> (u32, u32, usize) {
    let len = header.len() - KEY.len();
    let mut first = [0; 4];
    let mut mask = [0; 4];
    if len > first.len() {
        return (0, 0, 0);
    }
    first[..len].copy_from_slice(&header[..len]);
    // Not masked.
    first[1] &= 0x7f;
    mask[..len].fill(0xff);
    (u32::from_le_bytes(first), u32::from_le_bytes(mask), len)
}

/// Four bits of `x`, or eight, in every second byte, from the low end.
fn spread(x: u32, by_four: bool) -> u128 {
    let width = if by_four { 4 } else { 8 };
    let part = |i: u32| u128::from(x >> (width * i)) & ((1 << width) - 1);
    (0..32 / width).fold(0, |spread, i| spread | (part(i) << (16 * i)))
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
                let cursor = pattern.cursor(0xdead_beef, 0x0123_4567);
                let mut frame = vec![0; pattern.frame_len() + 35];
                let end = pattern.write(&mut frame, 3, cursor);
                assert_eq!(end - 3, pattern.frame_len());
                let mut payload = pattern.prefix(cursor);
                payload.extend_from_slice(pattern.body(cursor));
                assert_eq!(payload.len(), len);
                assert_eq!(unmask(&frame[3..end], wire::header_len(len)), payload);
                assert!(!text || payload.is_ascii());
                assert!(pattern.is(cursor, &payload));
                for i in 0..len.min(200) {
                    payload[i] ^= 1;
                    assert!(!pattern.is(cursor, &payload), "{len} {i}");
                    payload[i] ^= 1;
                }
                let (front, body) = pattern.parts(cursor);
                assert_eq!(frame[3..end], [front.bytes(), body].concat());
            }
        }
    }

    #[test]
    fn an_echo_is_stripped_off() {
        for (len, header) in [
            (3, &[0x81, 3][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xffff, &[0x81, 126, 0xff, 0xff]),
        ] {
            let pattern = Pattern::new(len, true);
            let cursor = pattern.cursor(5, 6);
            let mut frame = header.to_vec();
            frame.extend_from_slice(&pattern.prefix(cursor));
            frame.extend_from_slice(pattern.body(cursor));
            let end = frame.len();
            assert_eq!(pattern.strip(cursor, &frame), Some(&[][..]));
            frame.push(9);
            assert_eq!(pattern.strip(cursor, &frame), Some(&[9][..]));
            assert_eq!(pattern.strip(cursor, &frame[..end - 1]), None);
            assert_eq!(pattern.strip(pattern.after(cursor), &frame), None);
            for i in 0..end.min(200) {
                frame[i] ^= 0x10;
                assert_eq!(pattern.strip(cursor, &frame), None, "{i}");
                frame[i] ^= 0x10;
            }
        }
        let long = Pattern::new(0x1_0000, false);
        assert_eq!(long.strip(long.cursor(0, 0), &[0; 0x1_0010]), None);
    }

    #[test]
    fn a_prefix_tells_what_fits() {
        let binary = Pattern::new(100, false);
        let cursor = binary.cursor(0x0807_0605, 0x0403_0201);
        assert_eq!(binary.prefix(cursor), [1, 5, 2, 6, 3, 7, 4, 8]);
        let text = Pattern::new(100, true);
        let cursor = text.cursor(0x0807_0605, 0x0403_0201);
        assert_eq!(text.prefix(cursor), b"BFAACGAADHAAEIAA");
        for pattern in [text, binary] {
            let prefix = pattern.prefix(pattern.cursor(0xfedc_ba98, 0x0123_4567));
            for len in 0..=prefix.len() {
                let ((sequence, bits), (connection, others)) =
                    pattern.read_prefix(&prefix[..len]).unwrap();
                let low = |x: u32, bits: u32| (u64::from(x) & ((1 << bits) - 1)) as u32;
                assert_eq!(sequence, low(0x0123_4567, bits));
                assert_eq!(connection, low(0xfedc_ba98, others));
                assert_eq!(bits + others, len as u32 * if pattern.text { 4 } else { 8 });
            }
        }
        assert_eq!(Pattern::new(100, true).read_prefix(b"ABz"), None);
    }

    #[test]
    fn messages_follow_each_other() {
        for text in [true, false] {
            let pattern = Pattern::new(125, text);
            for sequence in [0, 9, 15, 255, 0xffff, 0xff_ffff, u32::MAX] {
                let cursor = pattern.cursor(0xffff_fff1, sequence);
                let next = pattern.cursor(0xffff_fff1, sequence.wrapping_add(1));
                assert_eq!(pattern.after(cursor), next, "{sequence}");
            }
        }
    }

    #[test]
    fn neighbours_differ() {
        let pattern = Pattern::new(125, true);
        let body = |connection, sequence| pattern.body(pattern.cursor(connection, sequence));
        assert_ne!(body(1, 1), body(1, 2));
        assert_ne!(body(1, 1), body(2, 1));
    }
}
