//! The opening handshake (RFC 6455 section 4.2), as far as its answer depends on the request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr_iter, memmem};
use sha1::{Digest, Sha1};

/// The longest request waited for, in bytes.
pub(crate) const LIMIT: usize = 16 << 10;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const BEFORE: &[u8; 97] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: ";
/// A SHA-1 in Base64.
const ACCEPT: usize = 28;
const RESPONSE: usize = BEFORE.len() + ACCEPT + 4;
const NAME: &[u8] = b"Sec-WebSocket-Key:";

/// The length of the request, once it is complete.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    if bytes.ends_with(b"\r\n\r\n") {
        return Some(bytes.len());
    }
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The response to `request`, or nothing if it has no key.
pub(crate) fn response(request: &[u8]) -> Option<[u8; RESPONSE]> {
    let digest = Sha1::new()
        .chain_update(key(request)?)
        .chain_update(GUID)
        .finalize();
    let mut response = [0; RESPONSE];
    let (before, rest) = response.split_at_mut(BEFORE.len());
    let (accept, after) = rest.split_at_mut(ACCEPT);
    before.copy_from_slice(BEFORE);
    STANDARD.encode_slice(digest, accept).ok()?;
    after.copy_from_slice(b"\r\n\r\n");
    Some(response)
}

fn key(request: &[u8]) -> Option<&[u8]> {
    let mut lines = memchr_iter(b'\n', request).map(|end| &request[end + 1..]);
    let line = lines.find(|line| {
        line.get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    })?;
    let value = &line[NAME.len()..];
    Some(value[..memchr::memchr(b'\r', value)?].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_example_of_the_rfc() {
        let request = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        assert_eq!(length(request), Some(request.len()));
        assert_eq!(length(&request[..request.len() - 1]), None);
        let response = response(request).unwrap();
        assert!(response.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
        assert!(response.ends_with(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
    }

    #[test]
    fn without_a_key_there_is_no_response() {
        assert_eq!(response(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), None);
    }
}
