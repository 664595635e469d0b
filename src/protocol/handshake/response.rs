//! The response that accepts an upgrade (RFC 6455 section 4.2.2).

use super::{accept_key, is_field_value, is_token};

/// Appends the 101 response for a request with this `Sec-WebSocket-Key`.
///
/// `subprotocol` is one of those the client offered. A header whose name is no
/// [token](is_token) or whose value is no [field value](is_field_value) is left out: it could
/// otherwise end the head and forge what follows.
pub fn encode_switching_protocols<'h>(
    out: &mut Vec<u8>,
    key: &[u8],
    subprotocol: Option<&str>,
    extra_headers: impl Iterator<Item = (&'h str, &'h str)>,
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&accept_key(key));
    out.extend_from_slice(b"\r\n");
    if let Some(name) = subprotocol {
        encode_header(out, "Sec-WebSocket-Protocol", name);
    }
    for (name, value) in extra_headers {
        encode_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one header line, unless it is not valid.
pub(super) fn encode_header(out: &mut Vec<u8>, name: &str, value: &str) {
    if is_token(name) && is_field_value(value) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn the_response_of_section_1_3() {
        let mut out = Vec::new();
        encode_switching_protocols(&mut out, KEY, Some("chat"), std::iter::empty());
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\n"
        );
    }

    #[test]
    fn headers_cannot_split_the_response() {
        let mut out = Vec::new();
        let headers = [
            ("X-A", "1"),
            ("X-B", "a\r\nX-C: b"),
            ("X: D", "1"),
            ("", "1"),
        ];
        encode_switching_protocols(&mut out, KEY, None, headers.into_iter());
        let text = std::str::from_utf8(&out).unwrap();
        assert!(text.ends_with("xOo=\r\nX-A: 1\r\n\r\n"), "{text}");
    }
}
