//! Where a head ends, and what its lines must look like.

use super::HandshakeError;

/// Finds the end of the head: the index after its empty line.
///
/// `scanned` is how many bytes earlier calls looked at, so that a head that comes byte by byte is
/// not searched from its start each time. A head of lines ended by a bare LF is found as well;
/// parsing then refuses it, and its sender need not wait for the deadline.
#[must_use]
pub fn find_head_end(buf: &[u8], scanned: usize) -> Option<usize> {
    // The empty line may have begun in what was scanned: LF, then CR.
    let start = scanned.min(buf.len()).saturating_sub(2);
    memchr::memchr_iter(b'\n', &buf[start..]).find_map(|index| {
        let after = start + index + 1;
        match buf[after..] {
            [b'\n', ..] => Some(after + 1),
            [b'\r', b'\n', ..] => Some(after + 2),
            _ => None,
        }
    })
}

/// Checks what httparse is lenient about: every line ends in CR LF, and none continues the line
/// before it.
pub(super) fn check_lines(head: &[u8]) -> Result<(), HandshakeError> {
    let mut rest = head;
    while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
        rest = match &rest[end..] {
            [b'\r', b'\n', b' ' | b'\t', ..] => return Err(HandshakeError::FoldedHeader),
            [b'\r', b'\n', rest @ ..] => rest,
            _ => return Err(HandshakeError::BareLineEnd),
        };
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(HandshakeError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_the_head_arrives() {
        for (head, end) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\nframes"[..], Some(27)),
            (b"GET / HTTP/1.1\r\n\r\n", Some(18)),
            (b"GET / HTTP/1.1\n\nrest", Some(16)),
            (b"GET / HTTP/1.1\n\r\nrest", Some(17)),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r", None),
            (b"", None),
        ] {
            assert_eq!(find_head_end(head, 0), end);
            for scanned in 0..end.unwrap_or(head.len()) {
                assert_eq!(find_head_end(head, scanned), end, "scanned {scanned}");
            }
            let by_bytes = (1..=head.len()).find_map(|have| find_head_end(&head[..have], have - 1));
            assert_eq!(by_bytes, end);
        }
        assert_eq!(find_head_end(b"GET", 100), None);
    }

    #[test]
    fn lines() {
        use HandshakeError::*;
        for (head, result) in [
            (&b"a\r\nb\r\n\r\n"[..], Ok(())),
            (b"a\nb\r\n\r\n", Err(BareLineEnd)),
            (b"a\r\nb\r\n\n", Err(BareLineEnd)),
            (b"a\rb\r\n\r\n", Err(BareLineEnd)),
            (b"a\r\r\n\r\n", Err(BareLineEnd)),
            (b"a\r\n b\r\n\r\n", Err(FoldedHeader)),
            (b"a\r\n\tb\r\n\r\n", Err(FoldedHeader)),
            (b"a\r\nb", Err(Malformed)),
            (b"a\r\nb\r", Err(BareLineEnd)),
        ] {
            assert_eq!(check_lines(head), result, "{head:?}");
        }
    }
}
