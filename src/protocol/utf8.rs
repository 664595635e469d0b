//! UTF-8 checked as it arrives (RFC 6455 section 8.1, RFC 3629).

use std::fmt;

/// Text that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid UTF-8")
    }
}

impl std::error::Error for InvalidUtf8 {}

/// Checks text that comes in pieces cut anywhere, also inside a character.
///
/// It keeps no bytes, only what the next one may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8Validator {
    /// Continuation bytes the current character still needs.
    missing: u8,
    /// The range of the next of them. Only the second byte of a character is narrower than
    /// 80-BF: this is what rules out overlong forms, surrogates and values over U+10FFFF.
    low: u8,
    high: u8,
}

impl Utf8Validator {
    /// Checks the next piece of the text.
    ///
    /// # Errors
    ///
    /// If any byte of it cannot continue valid UTF-8, even in a character that is not yet whole.
    /// The validator is of no use after that.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        let mut rest = bytes;
        while self.missing > 0 {
            let Some((&byte, after)) = rest.split_first() else {
                return Ok(());
            };
            self.step(byte)?;
            rest = after;
        }
        let (whole, tail) = rest.split_at(rest.len() - unfinished(rest));
        validate(whole)?;
        tail.iter().try_for_each(|&byte| self.step(byte))
    }

    /// Whether the text may end here: no character is unfinished.
    #[inline]
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    fn step(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        if self.missing > 0 {
            if byte < self.low || byte > self.high {
                return Err(InvalidUtf8);
            }
            *self = Self {
                missing: self.missing - 1,
                low: 0x80,
                high: 0xbf,
            };
            return Ok(());
        }
        let (missing, low, high) = match byte {
            0x00..=0x7f => (0, 0, 0),
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            _ => return Err(InvalidUtf8),
        };
        *self = Self { missing, low, high };
        Ok(())
    }
}

/// Checks a whole text.
#[inline]
pub(super) fn validate(bytes: &[u8]) -> Result<(), InvalidUtf8> {
    // Most text is ASCII, and for a short message this costs a fraction of the general check.
    if bytes.len() < 256 && is_ascii(bytes) {
        return Ok(());
    }
    match simdutf8::basic::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(InvalidUtf8),
    }
}

/// `[u8]::is_ascii` takes up to 31 bytes at the end one by one, which in a short message is most of
/// its time. Here the last block overlaps the one before it instead.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let Some(&last) = bytes.last_chunk::<8>() else {
        return bytes.iter().fold(0, |all, byte| all | byte) < 0x80;
    };
    let blocks = bytes.as_chunks::<8>().0.iter();
    let all = blocks.fold(u64::from_ne_bytes(last), |all, block| {
        all | u64::from_ne_bytes(*block)
    });
    all & 0x8080_8080_8080_8080 == 0
}

/// How many bytes at the end belong to a character that needs more than are there.
#[inline]
fn unfinished(bytes: &[u8]) -> usize {
    for (index, &byte) in bytes.iter().rev().take(3).enumerate() {
        let present = index + 1;
        let needed = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ => 1,
        };
        return if needed > present { present } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]]) -> Option<bool> {
        let mut validator = Utf8Validator::default();
        for piece in pieces {
            validator.push(piece).ok()?;
        }
        Some(validator.is_complete())
    }

    #[test]
    fn agrees_with_std_at_every_cut() {
        let texts: &[&[u8]] = &[
            b"",
            b"plain",
            "κόσμε".as_bytes(),
            "日本語 and 🐟🐠 mixed, long enough for the vector code: ääääääääääääääääääää"
                .as_bytes(),
            "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}".as_bytes(),
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xff",
            b"\xfe",
            b"\x80",
            b"a\xe4b",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        ];
        for text in texts {
            let valid = std::str::from_utf8(text).is_ok();
            for cut in 0..=text.len() {
                let (front, back) = text.split_at(cut);
                assert_eq!(
                    check(&[front, back]) == Some(true),
                    valid,
                    "{text:x?} cut at {cut}"
                );
            }
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(check(&bytes) == Some(true), valid, "{text:x?} by bytes");
        }
    }

    #[test]
    fn fails_inside_an_unfinished_character() {
        // Autobahn 6.4: the second byte already rules these out.
        for text in [
            &b"\xf4\x90"[..],
            b"\xe0\x80",
            b"\xed\xa0",
            b"\xf0\x80",
            b"\xc0",
            b"\xf5",
        ] {
            assert_eq!(check(&[text]), None, "{text:x?}");
        }
        for text in [
            &b"\xf4"[..],
            b"\xf4\x8f",
            b"\xf4\x8f\xbf",
            b"\xe0\xa0",
            b"\xc2",
        ] {
            assert_eq!(check(&[text]), Some(false), "{text:x?}");
        }
    }
}
