//! The opening handshake, both sides: what is accepted means the same when it is written again,
//! and what one side writes the other understands.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sockeye::protocol::handshake::{MAX_SUBPROTOCOLS, encode_key, is_field_value, is_token};
use sockeye::protocol::{
    ClientAccepted, ClientHandshake, HandshakeError, Request, encode_switching_protocols,
    find_head_end, header_storage, verify_response,
};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    /// Bytes from a client, in two reads.
    Request(u16, &'a [u8]),
    /// A request with lines that are nearly right.
    Lines(Vec<Line<'a>>),
    /// Bytes from a server.
    Response([u8; 16], Vec<&'a str>, &'a [u8]),
    /// A response that is nearly right.
    Answer([u8; 16], Vec<&'a str>, Vec<Line<'a>>),
    /// What our own client writes.
    Own(Own<'a>),
    /// What our own server writes.
    OwnAnswer([u8; 16], Vec<&'a str>, u8, Vec<(&'a str, &'a str)>),
}

#[derive(Arbitrary, Debug)]
enum Line<'a> {
    Upgrade,
    Connection,
    Key([u8; 16]),
    Version,
    Host,
    Origin,
    Accept,
    Protocol(&'a str),
    Listed(Name, &'a str),
    Header(Name, &'a str),
    Any(&'a str, &'a [u8]),
    Raw(&'a [u8]),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Name {
    Upgrade,
    Connection,
    Key,
    Version,
    Host,
    Origin,
    Accept,
    Protocol,
    Extensions,
    ContentLength,
    TransferEncoding,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Connection => "CONNECTION",
            Self::Key => "Sec-WebSocket-Key",
            Self::Version => "Sec-WebSocket-Version",
            Self::Host => "Host",
            Self::Origin => "Origin",
            Self::Accept => "Sec-WebSocket-Accept",
            Self::Protocol => "Sec-WebSocket-Protocol",
            Self::Extensions => "Sec-WebSocket-Extensions",
            Self::ContentLength => "Content-Length",
            Self::TransferEncoding => "Transfer-Encoding",
        }
    }
}

impl Line<'_> {
    fn write(&self, key: &[u8; 24], out: &mut Vec<u8>) {
        let mut line = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        };
        match self {
            Self::Upgrade => line("Upgrade", b"websocket"),
            Self::Connection => line("Connection", b"keep-alive, Upgrade"),
            Self::Key(nonce) => line("Sec-WebSocket-Key", &encode_key(*nonce)),
            Self::Version => line("Sec-WebSocket-Version", b"13"),
            Self::Host => line("Host", b"localhost:9998"),
            Self::Origin => line("Origin", b"https://localhost"),
            Self::Accept => line("Sec-WebSocket-Accept", &sockeye::protocol::accept_key(key)),
            Self::Protocol(name) => line("Sec-WebSocket-Protocol", name.as_bytes()),
            Self::Listed(name, element) => {
                line(name.text(), format!("a, {element}\t,b").as_bytes());
            }
            Self::Header(name, value) => line(name.text(), value.as_bytes()),
            Self::Any(name, value) => line(name, value),
            Self::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Own<'a> {
    nonce: [u8; 16],
    host: &'a str,
    target: &'a str,
    subprotocols: Vec<&'a str>,
    origin: Option<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Request(cut, bytes) => {
            let end = find_head_end(bytes, 0);
            let cut = usize::from(cut) % (bytes.len() + 1);
            match find_head_end(&bytes[..cut], 0) {
                Some(early) => assert_eq!(Some(early), end),
                None => assert_eq!(find_head_end(bytes, cut), end),
            }
            check_request(&bytes[..end.unwrap_or(bytes.len())]);
        }
        Input::Lines(lines) => {
            let mut head = b"GET /echo?a=b HTTP/1.1\r\n".to_vec();
            for line in &lines {
                line.write(&[b'A'; 24], &mut head);
            }
            head.extend_from_slice(b"\r\n");
            check_request(&head);
        }
        Input::Response(nonce, offered, head) => {
            check_response(&encode_key(nonce), &offered, head);
        }
        Input::Answer(nonce, offered, lines) => {
            let key = encode_key(nonce);
            let mut head = b"HTTP/1.1 101 \r\n".to_vec();
            for line in &lines {
                line.write(&key, &mut head);
            }
            head.extend_from_slice(b"\r\n");
            check_response(&key, &offered, &head);
        }
        Input::Own(own) => check_own_request(&own),
        Input::OwnAnswer(nonce, offered, chosen, headers) => {
            check_own_response(nonce, &offered, chosen, &headers);
        }
    }
});

/// What a request said, to be compared with what it says when it is written again.
fn facts(request: &Request<'_>) -> (String, Vec<(String, Vec<u8>)>) {
    let line = format!(
        "{} {} {:?} {:?} {:?} {:?} {} {:?} {:?}",
        request.method(),
        request.target(),
        request.path(),
        request.query(),
        request.host(),
        request.origin(),
        request.is_http11(),
        request.subprotocols().collect::<Vec<_>>(),
        request.upgrade(),
    );
    let headers = request.headers();
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_vec()));
    (line, headers.collect())
}

fn check_request(head: &[u8]) {
    let mut storage = header_storage();
    let request = match Request::parse(head, &mut storage) {
        Ok(request) => request,
        Err(error) => return check_refusal(error),
    };
    assert!(head.ends_with(b"\r\n\r\n"));
    assert_eq!(find_head_end(head, 0), Some(head.len()), "one head only");
    assert!(is_token(request.method()) && request.path().starts_with('/'));
    assert!(request.target().bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(request.host().is_some() || !request.is_http11());
    assert!(request.subprotocols().all(is_token));

    let mut again = format!(
        "{} {} HTTP/1.{}\r\n",
        request.method(),
        request.target(),
        u8::from(request.is_http11())
    )
    .into_bytes();
    for (name, value) in request.headers() {
        assert!(is_token(name));
        assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)));
        assert_eq!(value.trim_ascii(), value);
        again.extend_from_slice(name.as_bytes());
        again.extend_from_slice(b":");
        again.extend_from_slice(value);
        again.extend_from_slice(b"\r\n");
    }
    again.extend_from_slice(b"\r\n");
    let mut storage = header_storage();
    let reread = Request::parse(&again, &mut storage).expect("what was accepted is a request");
    assert_eq!(facts(&reread), facts(&request));

    match request.upgrade() {
        Err(error) => check_refusal(error),
        Ok(None) => {}
        Ok(Some(upgrade)) => {
            let offered: Vec<&str> = request.subprotocols().collect();
            assert!(offered.len() <= MAX_SUBPROTOCOLS);
            // Whoever made the key finds it answered.
            for chosen in [offered.first(), offered.last()] {
                let chosen = chosen.copied();
                let mut response = Vec::new();
                let none = std::iter::empty();
                encode_switching_protocols(&mut response, &upgrade.key, chosen, none);
                let subprotocol = chosen.map(str::to_owned);
                assert_eq!(
                    verify_response(&response, &upgrade.key, &offered),
                    Ok(ClientAccepted { subprotocol })
                );
            }
        }
    }
}

fn check_refusal(error: HandshakeError) {
    assert!((400..600).contains(&error.status()));
    let text = error.to_string();
    assert!(!text.is_empty() && is_field_value(&text));
}

fn check_response(key: &[u8; 24], offered: &[&str], head: &[u8]) {
    match verify_response(head, key, offered) {
        Err(error) => check_refusal(error),
        Ok(accepted) => {
            assert!(head.starts_with(b"HTTP/1.1 101") || head.starts_with(b"\r\n"));
            assert_eq!(accepted.subprotocol.is_some(), !offered.is_empty());
            if let Some(chosen) = &accepted.subprotocol {
                assert!(offered.contains(&&**chosen));
            }
            // The answer to another key is refused.
            let mut other = *key;
            other[0] ^= 1;
            assert!(verify_response(head, &other, offered).is_err());
        }
    }
}

fn check_own_request(own: &Own<'_>) {
    let key = encode_key(own.nonce);
    // The target's form is the caller's to keep.
    let target = format!("/{}", own.target);
    let target = match target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        true => &*target,
        false => "/",
    };
    let mut out = Vec::new();
    ClientHandshake {
        host: own.host,
        target,
        key,
        subprotocols: &own.subprotocols,
        origin: own.origin,
        extra_headers: &own.headers,
    }
    .encode(&mut out);
    assert_eq!(find_head_end(&out, 0), Some(out.len()), "one head only");
    check_request(&out);
    let mut storage = header_storage();
    let Ok(request) = Request::parse(&out, &mut storage) else {
        return;
    };
    assert_eq!(request.target(), target);
    // One header line each, for what is valid at all: nothing forges another.
    let lines = own
        .headers
        .iter()
        .filter(|(name, value)| is_token(name) && is_field_value(value))
        .count();
    let origin = own.origin.is_some_and(is_field_value);
    let offers = !own.subprotocols.is_empty() && is_field_value(&own.subprotocols.join(", "));
    let host = is_field_value(own.host);
    let expected = 4 + lines + usize::from(origin) + usize::from(offers) + usize::from(host);
    assert_eq!(request.headers().count(), expected);
    if own.headers.is_empty()
        && let Ok(upgrade) = request.upgrade()
    {
        assert_eq!(upgrade.expect("an upgrade was asked for").key, key);
        if own.subprotocols.iter().all(|name| is_token(name)) {
            assert!(request.subprotocols().eq(own.subprotocols.iter().copied()));
        }
    }
}

fn check_own_response(nonce: [u8; 16], offered: &[&str], chosen: u8, headers: &[(&str, &str)]) {
    let key = encode_key(nonce);
    let chosen = offered.get(usize::from(chosen)).copied();
    let mut out = Vec::new();
    encode_switching_protocols(&mut out, &key, chosen, headers.iter().copied());
    assert_eq!(find_head_end(&out, 0), Some(out.len()), "one head only");
    check_response(&key, offered, &out);
    let plain = headers.is_empty() && offered.iter().all(|name| is_token(name));
    if plain && chosen.is_some() == !offered.is_empty() {
        let subprotocol = chosen.map(str::to_owned);
        assert_eq!(
            verify_response(&out, &key, offered),
            Ok(ClientAccepted { subprotocol })
        );
    }
}
