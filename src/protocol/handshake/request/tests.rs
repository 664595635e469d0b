use super::*;
use HandshakeError::*;

/// A request that keeps every rule; the tests change one line of it.
const GOOD: &str = "GET /chat?room=1 HTTP/1.1\r\n\
    Host: example.com:9998\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Origin: http://example.com\r\n\
    \r\n";

/// What becomes of a head: the parsed request, or the refusal by either step.
fn upgrade(head: &str) -> Result<Option<UpgradeRequest>, HandshakeError> {
    let mut headers = header_storage();
    Request::parse(head.as_bytes(), &mut headers)?.upgrade()
}

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replace(from, to)
}

fn with(header: &str) -> String {
    changed("Origin:", &format!("{header}\r\nOrigin:"))
}

/// Also in the middle of a name, of the version, or before another one.
#[test]
fn a_carriage_return_or_line_feed_anywhere_else_is_refused() {
    for end in ["\r", "\n"] {
        for at in 0..=GOOD.len() {
            let mut head = GOOD.to_owned();
            head.insert_str(at, end);
            let mut headers = header_storage();
            let parsed = Request::parse(head.as_bytes(), &mut headers);
            assert!(parsed.is_err(), "{end:?} at {at}: {parsed:?}");
        }
    }
}

#[test]
fn the_parts_of_a_request() {
    let mut headers = header_storage();
    let request = Request::parse(GOOD.as_bytes(), &mut headers).unwrap();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.target(), "/chat?room=1");
    assert_eq!(request.path(), "/chat");
    assert_eq!(request.query(), Some("room=1"));
    assert!(request.is_http11());
    assert_eq!(request.host(), Some("example.com:9998"));
    assert_eq!(request.origin(), Some("http://example.com"));
    assert_eq!(request.header("sec-websocket-version"), Some(&b"13"[..]));
    assert_eq!(request.header("cookie"), None);
    assert_eq!(request.headers().count(), 6);
    assert_eq!(request.subprotocols().count(), 0);
    let key = *b"dGhlIHNhbXBsZSBub25jZQ==";
    assert_eq!(request.upgrade(), Ok(Some(UpgradeRequest { key })));
}

#[test]
fn upgrades_that_are_accepted() {
    for head in [
        changed("Upgrade: websocket", "upgrade: WebSocket"),
        changed("Upgrade: websocket", "Upgrade: h2c, websocket"),
        changed("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
        changed("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        changed("Connection: Upgrade", "connection:upgrade"),
        changed(
            "Connection: Upgrade",
            "Connection: keep-alive\r\nConnection: UPGRADE",
        ),
        changed("Origin: http://example.com\r\n", ""),
        changed("/chat?room=1", "ws://example.com/chat"),
        with("Content-Length: 0"),
        with("Sec-WebSocket-Protocol: json, org.jwebsocket.json"),
        with("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: A"),
        with("Sec-WebSocket-Extensions: permessage-deflate"),
        with("Cookie: a=\u{e4}"),
        with("X-Empty:"),
    ] {
        assert!(
            matches!(upgrade(&head), Ok(Some(_))),
            "{:?} for {head}",
            upgrade(&head)
        );
    }
}

#[test]
fn plain_requests() {
    for head in [
        changed("Upgrade: websocket\r\n", ""),
        changed("Upgrade: websocket", "Upgrade: h2c"),
        changed("Upgrade: websocket", "Upgrade: websocket2"),
        "GET / HTTP/1.0\r\n\r\n".into(),
        "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n".into(),
    ] {
        assert_eq!(upgrade(&head), Ok(None), "{head}");
    }
}

#[test]
fn upgrades_that_break_a_rule() {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for (head, error) in [
        (changed("GET", "POST"), MethodNotGet),
        (changed("HTTP/1.1", "HTTP/1.0"), UpgradeInHttp10),
        (
            changed("Connection: Upgrade", "Connection: close"),
            MissingConnectionUpgrade,
        ),
        (
            changed("Connection: Upgrade", "Connection: upgraded"),
            MissingConnectionUpgrade,
        ),
        (
            changed("Connection: Upgrade\r\n", ""),
            MissingConnectionUpgrade,
        ),
        (
            changed("Version: 13", "Version: 8"),
            UnsupportedWebSocketVersion,
        ),
        (
            changed("Version: 13", "Version: 013"),
            UnsupportedWebSocketVersion,
        ),
        (
            changed("Version: 13", "Version: 13, 8"),
            UnsupportedWebSocketVersion,
        ),
        (
            changed("Version: 13", "Version:"),
            UnsupportedWebSocketVersion,
        ),
        (
            changed("Sec-WebSocket-Version: 13\r\n", ""),
            UnsupportedWebSocketVersion,
        ),
        (
            changed(&format!("Sec-WebSocket-Key: {key}\r\n"), ""),
            InvalidKey,
        ),
        (changed(key, ""), InvalidKey),
        (changed(key, "SGVsbG8sIHdvcmxkIQ=="), InvalidKey),
        (changed(key, "dGhlIHNhbXBsZSBub25jZQ"), InvalidKey),
        (changed(key, "dGhlIHNhbXBsZSBub25jZQ=a"), InvalidKey),
        (changed(key, "dGhlIHNhbXBsZSBub25jZSEh"), InvalidKey),
        (changed(key, "dGhlIHNhbXBsZSBub25jZR=="), InvalidKey),
        (changed(key, "dGhlIHNhbXBsZSBub2*jZQ=="), InvalidKey),
        (with("Sec-WebSocket-Protocol:"), InvalidSubprotocol),
        (with("Sec-WebSocket-Protocol: a,,b"), InvalidSubprotocol),
        (with("Sec-WebSocket-Protocol: a, "), InvalidSubprotocol),
        (with("Sec-WebSocket-Protocol: a b"), InvalidSubprotocol),
        (with("Sec-WebSocket-Protocol: \u{e4}"), InvalidSubprotocol),
        (with("Sec-WebSocket-Protocol: a, a"), RepeatedSubprotocol),
        (
            with("Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: b"),
            RepeatedSubprotocol,
        ),
    ] {
        assert_eq!(upgrade(&head), Err(error), "{head}");
    }
    let names: Vec<String> = (0..=MAX_SUBPROTOCOLS).map(|n| format!("p{n}")).collect();
    let offer = |count: usize| {
        with(&format!(
            "Sec-WebSocket-Protocol: {}",
            names[..count].join(",")
        ))
    };
    assert!(upgrade(&offer(MAX_SUBPROTOCOLS)).is_ok());
    assert_eq!(
        upgrade(&offer(MAX_SUBPROTOCOLS + 1)),
        Err(TooManySubprotocols)
    );
}

#[test]
fn heads_that_are_refused_with_or_without_an_upgrade() {
    for (from, to, error) in [
        ("Host: example.com:9998\r\n", "", MissingHost),
        ("Host:", "Host: a\r\nHost:", DuplicateHeader("Host")),
        (
            "Origin:",
            "Origin: null\r\nOrigin:",
            DuplicateHeader("Origin"),
        ),
        (
            "Sec-WebSocket-Key:",
            "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key:",
            DuplicateHeader("Sec-WebSocket-Key"),
        ),
        (
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Version: 13\r\nsec-websocket-version: 13",
            DuplicateHeader("Sec-WebSocket-Version"),
        ),
        (
            "Origin:",
            "Content-Length: 0\r\nContent-Length: 0\r\nOrigin:",
            DuplicateHeader("Content-Length"),
        ),
        ("Origin:", "Content-Length: 1\r\nOrigin:", UnexpectedBody),
        ("Origin:", "Content-Length: 0, 0\r\nOrigin:", UnexpectedBody),
        ("Origin:", "Content-Length: +0\r\nOrigin:", UnexpectedBody),
        (
            "Origin:",
            "Transfer-Encoding: chunked\r\nOrigin:",
            UnexpectedBody,
        ),
        (
            "Origin:",
            "Transfer-Encoding: identity\r\nOrigin:",
            UnexpectedBody,
        ),
        ("example.com:9998", "", InvalidHeader("Host")),
        ("example.com:9998", "a, b", InvalidHeader("Host")),
        ("example.com:9998", "user@host", InvalidHeader("Host")),
        (
            "http://example.com",
            "http://ex\u{e4}mple.com",
            InvalidHeader("Origin"),
        ),
        ("Origin:", " folded\r\nOrigin:", FoldedHeader),
        ("Origin:", "\tfolded\r\nOrigin:", FoldedHeader),
        ("Origin:", "Origin :", Malformed),
        ("Origin:", ": value\r\nOrigin:", Malformed),
        ("Origin:", "X-\u{e4}: value\r\nOrigin:", Malformed),
        ("Origin:", "no colon\r\nOrigin:", Malformed),
        ("Origin:", "X-Nul: a\0b\r\nOrigin:", Malformed),
        ("Origin:", "X-Bell: a\x07b\r\nOrigin:", Malformed),
        ("9998\r\n", "9998\n", BareLineEnd),
        ("HTTP/1.1\r\n", "HTTP/1.1\n", BareLineEnd),
        ("Origin:", "X-Cr: a\rb\r\nOrigin:", BareLineEnd),
        ("GET /", "G@T /", Malformed),
        ("GET /", "GET  /", Malformed),
        ("/chat?room=1", "*", InvalidTarget),
        ("/chat?room=1", "chat", InvalidTarget),
        ("/chat?room=1", "/ch\u{e4}t", InvalidTarget),
        ("/chat?room=1", "/chat#part", InvalidTarget),
        ("HTTP/1.1", "HTTP/2.0", UnsupportedHttpVersion),
        ("HTTP/1.1", "http/1.1", UnsupportedHttpVersion),
        (" HTTP/1.1", "", Malformed),
    ] {
        let head = changed(from, to);
        assert_eq!(upgrade(&head), Err(error), "{head}");
        let plain = head.replace("Upgrade: websocket\r\n", "");
        assert_eq!(upgrade(&plain), Err(error), "{plain}");
    }
    assert_eq!(upgrade(&format!("{GOOD}frames")), Err(Malformed));
    assert_eq!(upgrade(&GOOD[..GOOD.len() - 2]), Err(Malformed));
}

#[test]
fn the_number_of_headers_is_limited() {
    let head = |count: usize| {
        let mut head = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
        (1..count).for_each(|n| head += &format!("X-{n}: {n}\r\n"));
        head + "\r\n"
    };
    assert_eq!(upgrade(&head(MAX_HEADERS)), Ok(None));
    assert_eq!(upgrade(&head(MAX_HEADERS + 1)), Err(TooManyHeaders));
    assert_eq!(TooManyHeaders.status(), 431);
}

#[test]
fn the_target_of_a_proxy_names_the_host() {
    let head = changed("/chat?room=1", "http://other:80/chat");
    let mut headers = header_storage();
    let request = Request::parse(head.as_bytes(), &mut headers).unwrap();
    assert_eq!(
        (request.host(), request.path()),
        (Some("other:80"), "/chat")
    );
}

#[test]
fn only_the_version_asks_for_another_handshake() {
    assert_eq!(UnsupportedWebSocketVersion.status(), 426);
    assert_eq!(InvalidKey.status(), 400);
    assert_eq!(DuplicateHeader("Host").status(), 400);
}
