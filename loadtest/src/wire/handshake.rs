//! The opening handshake (RFC 6455 section 4.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The longest response head that is read.
const LONGEST: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 24]);

impl Key {
    /// The key of these 16 bytes, which ought to be random.
    pub fn new(nonce: [u8; 16]) -> Self {
        let mut text = [0; 24];
        let len = STANDARD.encode_slice(nonce, &mut text);
        debug_assert_eq!(len, Ok(24));
        Self(text)
    }

    /// The `Sec-WebSocket-Accept` that answers it.
    fn accept(&self) -> [u8; 28] {
        let mut sha1 = Sha1::new();
        sha1.update(self.0);
        sha1.update(GUID);
        let mut text = [0; 28];
        let len = STANDARD.encode_slice(sha1.finalize(), &mut text);
        debug_assert_eq!(len, Ok(28));
        text
    }
}

/// Why an opening handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another status than 101; its status line.
    Status(String),
    /// Not an HTTP/1.1 response.
    Malformed(String),
    /// 101, but not what RFC 6455 asks for.
    Wrong(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(line) => write!(
                f,
                "the server answered {line} instead of 101 Switching Protocols: no WebSocket here?"
            ),
            Self::Malformed(why) => write!(f, "the server's response is not HTTP/1.1: {why}"),
            Self::Wrong(why) => write!(f, "the server's 101 response {why}"),
        }
    }
}

/// Appends the request. `host` is that of the URL, with its port unless it is 80; `target` the
/// path and query.
pub fn request(out: &mut Vec<u8>, host: &str, target: &str, key: &Key) {
    for part in [
        "GET ".as_bytes(),
        target.as_bytes(),
        b" HTTP/1.1\r\nHost: ",
        host.as_bytes(),
        b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
        &key.0,
        b"\r\n\r\n",
    ] {
        out.extend_from_slice(part);
    }
}

/// Reads the response at the start of `input`: how many bytes it has, or `None` if more must come.
///
/// # Errors
///
/// If the server refused, or accepted wrongly.
pub fn response(input: &[u8], key: &Key) -> Result<Option<usize>, Refused> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(input)
        .map_err(|error| Refused::Malformed(error.to_string()))?;
    let httparse::Status::Complete(len) = parsed else {
        return if input.len() > LONGEST {
            Err(Refused::Malformed(format!(
                "its head is over {LONGEST} bytes"
            )))
        } else {
            Ok(None)
        };
    };
    let code = response.code.unwrap_or_default();
    if code != 101 {
        let reason = response.reason.unwrap_or_default();
        return Err(Refused::Status(
            format!("{code} {reason}").trim_end().into(),
        ));
    }
    if response.version != Some(1) {
        return Err(Refused::Wrong("is not HTTP/1.1"));
    }
    agreed(response.headers, key).map_err(Refused::Wrong)?;
    Ok(Some(len))
}

/// The five checks of section 4.1.
fn agreed(headers: &[httparse::Header<'_>], key: &Key) -> Result<(), &'static str> {
    let value = |name: &str| {
        let mut all = headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        (all.next().map(|header| header.value), all.next().is_some())
    };
    match value("upgrade") {
        (Some(upgrade), _) if upgrade.eq_ignore_ascii_case(b"websocket") => {}
        _ => return Err("has no Upgrade: websocket"),
    }
    let has_token = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("connection"))
        .flat_map(|header| header.value.split(|&byte| byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    if !has_token {
        return Err("has no Connection: Upgrade");
    }
    match value("sec-websocket-accept") {
        (Some(accept), false) if accept == key.accept() => {}
        (None, _) => return Err("has no Sec-WebSocket-Accept"),
        _ => return Err("has a wrong Sec-WebSocket-Accept"),
    }
    if value("sec-websocket-extensions").0.is_some() {
        return Err("names an extension that was not offered");
    }
    if value("sec-websocket-protocol").0.is_some() {
        return Err("names a subprotocol that was not offered");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    /// The key of RFC 6455 section 1.3.
    fn example() -> Key {
        Key::new(*b"the sample nonce")
    }

    #[test]
    fn the_example_of_section_1_3() {
        assert_eq!(&example().0, b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(&example().accept(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_response_may_come_in_pieces() {
        let mut whole = ACCEPTED.as_bytes().to_vec();
        whole.extend_from_slice(b"\x81\x00");
        for end in 0..ACCEPTED.len() {
            assert_eq!(response(&whole[..end], &example()), Ok(None), "{end}");
        }
        assert_eq!(response(&whole, &example()), Ok(Some(ACCEPTED.len())));
    }

    #[test]
    fn another_status_is_reported_with_its_line() {
        let response = response(b"HTTP/1.1 404 Not Found\r\n\r\n", &example());
        let refused = response.unwrap_err();
        assert_eq!(refused, Refused::Status("404 Not Found".into()));
        let said = "answered 404 Not Found instead of 101 Switching Protocols";
        assert!(refused.to_string().contains(said), "{refused}");
    }

    #[test]
    fn a_response_must_agree() {
        for (from, to, why) in [
            ("xOo=", "xOO=", "has a wrong Sec-WebSocket-Accept"),
            ("Sec-WebSocket-Accept", "X-A", "has no Sec-WebSocket-Accept"),
            (": websocket", ": h2c", "has no Upgrade: websocket"),
            ("keep-alive, Upgrade", "close", "has no Connection: Upgrade"),
            ("HTTP/1.1", "HTTP/1.0", "is not HTTP/1.1"),
            (
                "\r\n\r\n",
                "\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
                "names a subprotocol that was not offered",
            ),
            (
                "\r\n\r\n",
                "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
                "names an extension that was not offered",
            ),
        ] {
            let text = ACCEPTED.replace(from, to);
            let response = response(text.as_bytes(), &example());
            assert_eq!(response, Err(Refused::Wrong(why)), "{text}");
        }
    }

    #[test]
    fn what_is_no_response_is_malformed() {
        assert!(matches!(
            response(b"SSH-2.0-OpenSSH\r\n", &example()),
            Err(Refused::Malformed(_))
        ));
        let endless = format!("HTTP/1.1 101 Fine\r\nX: {}", "x".repeat(LONGEST));
        assert!(matches!(
            response(endless.as_bytes(), &example()),
            Err(Refused::Malformed(_))
        ));
    }
}
