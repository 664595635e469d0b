//! Turning the frames of a read into their answer, in place (RFC 6455 section 5.2).

use std::ops::Range;

/// What became of the bytes read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Where the frames to write are.
    pub(crate) range: Range<usize>,
    /// Bytes of complete frames.
    pub(crate) consumed: usize,
    /// The whole length of the incomplete frame behind them, or 0 if it is not known.
    pub(crate) needed: usize,
    /// The last frame answered was a close frame.
    pub(crate) closing: bool,
}

/// A server's frames have no key, so each is shorter than what it answers by this.
const KEY: usize = 4;
/// The bit that tells control frames from others.
const CONTROL: u8 = 0x08;

/// Makes of all complete frames in `bytes` the frames that echo them, one behind the other.
///
/// Nothing is checked: a client's frames are taken to be masked and right.
#[inline]
pub(crate) fn answer(bytes: &mut [u8]) -> Answer {
    // The first payload can stay where it is.
    let mut to = KEY;
    let mut answer = Answer::default();
    while let Some((head, length)) = header(&bytes[answer.consumed..]) {
        let at = answer.consumed;
        let payload = at + head + KEY;
        let end = payload.saturating_add(length);
        if end > bytes.len() {
            answer.needed = end - at;
            break;
        }
        let mut first = bytes[at];
        if first & CONTROL != 0 {
            (first, answer.closing) = control(first);
        }
        let key = [
            bytes[at + head],
            bytes[at + head + 1],
            bytes[at + head + 2],
            bytes[at + head + 3],
        ];
        let second = bytes[at + 1] & 0x7f;
        if head > 2 {
            bytes.copy_within(at + 2..at + head, to + 2);
        }
        bytes[to] = first;
        bytes[to + 1] = second;
        to += head;
        if to == payload {
            unmask(&mut bytes[payload..end], key);
        } else {
            unmask_down(&mut bytes[to..end], payload - to, key);
        }
        to += length;
        answer.consumed = end;
        if answer.closing {
            break;
        }
    }
    if answer.consumed > 0 {
        answer.range = KEY..to;
    }
    answer
}

/// The lengths of a header without its key and of the payload, if they are all there.
#[inline]
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let length = bytes.get(1)? & 0x7f;
    match length {
        126 => {
            let length = *bytes.get(2..)?.first_chunk()?;
            Some((4, u16::from_be_bytes(length).into()))
        }
        127 => {
            let length = *bytes.get(2..)?.first_chunk()?;
            Some((10, u64::from_be_bytes(length).try_into().ok()?))
        }
        length => Some((2, length.into())),
    }
}

/// The first byte that answers a control frame's, and whether that is a close frame's.
#[cold]
fn control(first: u8) -> (u8, bool) {
    match first & 0x0f {
        0x8 => (first, true),
        // A ping is answered by a pong.
        0x9 => (first ^ 0x3, false),
        _ => (first, false),
    }
}

/// Unmasks in place.
#[inline]
fn unmask(data: &mut [u8], key: [u8; 4]) {
    let (words, rest) = data.as_chunks_mut::<8>();
    let wide = wide(key);
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Unmasks what begins at `from` while moving it to the beginning.
#[inline]
fn unmask_down(data: &mut [u8], from: usize, key: [u8; 4]) {
    let length = data.len() - from;
    let wide = wide(key);
    let mut at = 0;
    while length - at >= 32 {
        let mut block = [0; 32];
        block.copy_from_slice(&data[at + from..][..32]);
        unmask(&mut block, key);
        data[at..][..32].copy_from_slice(&block);
        at += 32;
    }
    while length - at >= 8 {
        let mut word = [0; 8];
        word.copy_from_slice(&data[at + from..][..8]);
        data[at..][..8].copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
        at += 8;
    }
    for (i, at) in (at..length).enumerate() {
        data[at] = data[at + from] ^ key[i % 4];
    }
}

#[inline]
fn wide(key: [u8; 4]) -> u64 {
    let key = u64::from(u32::from_ne_bytes(key));
    key << 32 | key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = vec![first];
        let masked = if key.is_some() { 0x80 } else { 0 };
        match payload.len() {
            length @ 0..126 => bytes.push(masked | length as u8),
            length @ 126..65_536 => {
                bytes.push(masked | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(masked | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(
            key.unwrap_or_default()
                .iter()
                .take(if key.is_some() { 4 } else { 0 }),
        );
        let key = key.unwrap_or_default();
        bytes.extend(
            payload
                .iter()
                .enumerate()
                .map(|(i, byte)| byte ^ key[i % 4]),
        );
        bytes
    }

    fn payload(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    #[test]
    fn echoes_every_length_alone_and_behind_another() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in (0..300).chain([4096, 65_535, 65_536, 70_001]) {
            for before in [0, 1, 125, 126] {
                let mut bytes = frame(0x81, &payload(before), Some(key));
                bytes.extend(frame(0x82, &payload(length), Some(key)));
                let whole = bytes.len();
                let mut expected = frame(0x81, &payload(before), None);
                expected.extend(frame(0x82, &payload(length), None));
                let answer = answer(&mut bytes);
                assert_eq!((answer.consumed, answer.needed), (whole, 0));
                assert_eq!(bytes[answer.range], expected, "{length} behind {before}");
            }
        }
    }

    #[test]
    fn an_incomplete_frame_stays_as_it_is() {
        let key = [1, 2, 3, 4];
        let first = frame(0x82, &payload(10), Some(key));
        let second = frame(0x82, &payload(300), Some(key));
        for cut in 0..second.len() {
            let mut bytes = [&first[..], &second[..cut]].concat();
            let answer = answer(&mut bytes);
            assert_eq!(answer.consumed, first.len());
            assert_eq!(bytes[answer.consumed..], second[..cut]);
            assert_eq!(answer.needed, if cut < 4 { 0 } else { second.len() });
        }
    }

    #[test]
    fn pings_become_pongs_and_a_close_frame_is_the_last() {
        let key = Some([9, 8, 7, 6]);
        let mut bytes = frame(0x89, b"?", key);
        bytes.extend(frame(0x88, &[3, 232], key));
        let closed = bytes.len();
        bytes.extend(frame(0x81, b"late", key));
        let answer = answer(&mut bytes);
        assert!(answer.closing);
        assert_eq!(answer.consumed, closed);
        let expected = [frame(0x8a, b"?", None), frame(0x88, &[3, 232], None)].concat();
        assert_eq!(bytes[answer.range], expected);
    }

    #[test]
    fn a_huge_length_is_only_reported() {
        let mut bytes = [
            0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        ];
        let answer = answer(&mut bytes);
        assert_eq!((answer.consumed, answer.needed), (0, usize::MAX));
    }
}
