//! The client's side: the request it sends and the response it accepts (RFC 6455 section 4.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httparse::Header;

use super::head::check_lines;
use super::response::encode_header;
use super::{HandshakeError, MAX_HEADERS, accept_key, has_element};

/// The request of a client.
///
/// As with a response, a header that is not valid is not written. The target goes out as it is:
/// it must be a path with an optional query, without whitespace or control characters.
#[derive(Clone, Copy, Debug)]
pub struct ClientHandshake<'a> {
    /// Host, and port unless it is the scheme's default.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// 16 random bytes as [`encode_key`] makes them of a nonce.
    pub key: [u8; 24],
    /// The subprotocols to offer, the best first; tokens, none twice.
    pub subprotocols: &'a [&'a str],
    /// The page's origin, if this client speaks for one.
    pub origin: Option<&'a str>,
    /// Further headers: names and values.
    pub extra_headers: &'a [(&'a str, &'a str)],
}

impl ClientHandshake<'_> {
    /// Appends the request's head.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        encode_header(out, "Host", self.host);
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
        out.extend_from_slice(&self.key);
        out.extend_from_slice(b"\r\nSec-WebSocket-Version: 13\r\n");
        if let Some(origin) = self.origin {
            encode_header(out, "Origin", origin);
        }
        if !self.subprotocols.is_empty() {
            encode_header(out, "Sec-WebSocket-Protocol", &self.subprotocols.join(", "));
        }
        for (name, value) in self.extra_headers {
            encode_header(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The `Sec-WebSocket-Key` of a nonce, which must be random for each connection (section 4.1).
#[must_use]
pub fn encode_key(nonce: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    let written = STANDARD.encode_slice(nonce, &mut key);
    debug_assert_eq!(written, Ok(key.len()));
    key
}

/// What the server agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAccepted {
    /// The subprotocol the server chose, one of those offered.
    pub subprotocol: Option<String>,
}

/// Checks a whole response head against what was asked.
///
/// `key` is the key that was sent, `offered` the subprotocols that were.
///
/// # Errors
///
/// Everything for which section 4.1 makes a client fail the connection. Besides, if subprotocols
/// were offered, the server must choose one, as browsers demand (WHATWG WebSockets).
pub fn verify_response(
    head: &[u8],
    key: &[u8],
    offered: &[&str],
) -> Result<ClientAccepted, HandshakeError> {
    check_lines(head)?;
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    if response.parse(head)? != httparse::Status::Complete(head.len()) {
        return Err(HandshakeError::Malformed);
    }
    match response.code {
        Some(101) => {}
        Some(status) => return Err(HandshakeError::UnexpectedStatus(status)),
        None => return Err(HandshakeError::Malformed),
    }
    if response.version != Some(1) {
        return Err(HandshakeError::UnsupportedHttpVersion);
    }
    let headers = &*response.headers;
    let upgrade = only(headers, "Upgrade")?;
    if !upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err(HandshakeError::MissingUpgrade);
    }
    if !values(headers, "Connection").any(|value| has_element(value, "upgrade")) {
        return Err(HandshakeError::MissingConnectionUpgrade);
    }
    if only(headers, "Sec-WebSocket-Accept")? != Some(&accept_key(key)) {
        return Err(HandshakeError::AcceptMismatch);
    }
    if values(headers, "Sec-WebSocket-Extensions").any(|value| !value.is_empty()) {
        return Err(HandshakeError::UnofferedExtension);
    }
    let subprotocol = match only(headers, "Sec-WebSocket-Protocol")? {
        None if offered.is_empty() => None,
        None => return Err(HandshakeError::NoSubprotocolChosen),
        Some(chosen) => {
            let name = offered.iter().find(|name| name.as_bytes() == chosen);
            Some((*name.ok_or(HandshakeError::UnofferedSubprotocol)?).to_owned())
        }
    };
    Ok(ClientAccepted { subprotocol })
}

fn values<'h>(headers: &'h [Header<'h>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// The value of a header that may come only once.
fn only<'h>(
    headers: &'h [Header<'h>],
    name: &'static str,
) -> Result<Option<&'h [u8]>, HandshakeError> {
    let mut values = values(headers, name);
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(HandshakeError::DuplicateHeader(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, encode_switching_protocols, header_storage};
    use super::*;

    const KEY: [u8; 24] = *b"dGhlIHNhbXBsZSBub25jZQ==";

    fn handshake<'a>(subprotocols: &'a [&'a str]) -> ClientHandshake<'a> {
        ClientHandshake {
            host: "localhost:8787",
            target: "/chat?room=1",
            key: KEY,
            subprotocols,
            origin: Some("http://localhost"),
            extra_headers: &[("X-One", "1"), ("X-Bad", "a\r\nb")],
        }
    }

    #[test]
    fn a_server_understands_the_request() {
        let mut out = Vec::new();
        handshake(&["json", "org.jwebsocket.json"]).encode(&mut out);
        let mut headers = header_storage();
        let request = Request::parse(&out, &mut headers).unwrap();
        assert_eq!(request.upgrade().unwrap().unwrap().key, KEY);
        assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
        assert_eq!(request.host(), Some("localhost:8787"));
        assert_eq!(request.origin(), Some("http://localhost"));
        assert_eq!(request.header("x-one"), Some(&b"1"[..]));
        assert_eq!(request.header("x-bad"), None);
        assert!(request.subprotocols().eq(["json", "org.jwebsocket.json"]));
    }

    #[test]
    fn keys_are_nonces_in_base64() {
        assert_eq!(encode_key(*b"the sample nonce"), KEY);
    }

    #[test]
    fn the_own_response_is_accepted() {
        for (offered, chosen) in [(&[][..], None), (&["soap", "json"][..], Some("json"))] {
            let mut out = Vec::new();
            encode_switching_protocols(&mut out, &KEY, chosen, std::iter::empty());
            let subprotocol = chosen.map(str::to_owned);
            assert_eq!(
                verify_response(&out, &KEY, offered),
                Ok(ClientAccepted { subprotocol })
            );
        }
    }

    #[test]
    fn responses_that_break_a_rule() {
        use HandshakeError::*;
        let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let good = format!("Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n{accept}");
        let head = |headers: &str| format!("HTTP/1.1 101 \r\n{headers}\r\n");
        assert!(verify_response(head(&good).as_bytes(), &KEY, &[]).is_ok());
        let cases: &[(String, &[&str], HandshakeError)] = &[
            (
                format!("HTTP/1.1 200 OK\r\n{good}\r\n"),
                &[],
                UnexpectedStatus(200),
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n".into(),
                &[],
                UnexpectedStatus(302),
            ),
            (
                format!("HTTP/1.0 101 \r\n{good}\r\n"),
                &[],
                UnsupportedHttpVersion,
            ),
            (
                "SSH-2.0-OpenSSH\r\n\r\n".into(),
                &[],
                UnsupportedHttpVersion,
            ),
            (head(&good).replace("\r\n", "\n"), &[], BareLineEnd),
            (head(&good.replace("WebSocket", "h2c")), &[], MissingUpgrade),
            (
                head(&good.replace("Upgrade: WebSocket\r\n", "")),
                &[],
                MissingUpgrade,
            ),
            (
                head(&good.replace(", upgrade", "")),
                &[],
                MissingConnectionUpgrade,
            ),
            (head(&good.replace("s3p", "S3p")), &[], AcceptMismatch),
            (head(&good.replace(accept, "")), &[], AcceptMismatch),
            (
                head(&format!("{good}{accept}")),
                &[],
                DuplicateHeader("Sec-WebSocket-Accept"),
            ),
            (head(&good), &["json"], NoSubprotocolChosen),
            (
                head(&format!("{good}Sec-WebSocket-Protocol: json\r\n")),
                &[],
                UnofferedSubprotocol,
            ),
            (
                head(&format!("{good}Sec-WebSocket-Protocol: JSON\r\n")),
                &["json"],
                UnofferedSubprotocol,
            ),
            (
                head(&format!("{good}Sec-WebSocket-Protocol: a, b\r\n")),
                &["a", "b"],
                UnofferedSubprotocol,
            ),
            (
                head(&format!(
                    "{good}Sec-WebSocket-Extensions: permessage-deflate\r\n"
                )),
                &[],
                UnofferedExtension,
            ),
        ];
        for (head, offered, error) in cases {
            assert_eq!(
                verify_response(head.as_bytes(), &KEY, offered),
                Err(*error),
                "{head}"
            );
        }
    }
}
