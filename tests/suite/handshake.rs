//! The opening handshake (RFC 6455 section 4) and the plain HTTP answers on the same port.

use crate::client::{
    BINARY, CONTINUATION, End, FIN, Frame, KEY, PING, PONG, Response, TEXT, binary, frame, request,
    request_with, text,
};
use crate::server::Server;

/// Sends one request on a new connection and returns the head of the answer.
#[track_caller]
fn ask(server: &Server, request: &str) -> Response {
    let mut client = server.connect();
    client.send(request.as_bytes());
    client
        .try_response()
        .unwrap_or_else(|end| panic!("{end:?} instead of an answer to {request:?}"))
}

/// The request must be answered with one of these status codes.
#[track_caller]
fn refused(server: &Server, request: &str, statuses: &[u16]) -> Response {
    let response = ask(server, request);
    assert!(
        statuses.contains(&response.status),
        "{} instead of {statuses:?} for {request:?}",
        response.status
    );
    response
}

/// The request must open a connection that echoes.
#[track_caller]
fn accepted(server: &Server, request: &str) {
    let mut client = server.connect();
    client.send(request.as_bytes());
    let response = client.response();
    assert_eq!(response.status, 101, "{request:?} is a valid request");
    client.echo("open");
}

/// The valid request with one line exchanged.
#[track_caller]
fn with(line: &str, instead: &str) -> String {
    let whole = request("/echo");
    assert!(whole.contains(line), "{line:?} is a line of the request");
    whole.replacen(line, instead, 1)
}

#[test]
fn the_answer_to_a_valid_request() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(request("/echo").as_bytes());
    let response = client.expect_upgrade();
    assert_eq!(
        response.header("Sec-WebSocket-Extensions"),
        None,
        "nothing was offered"
    );
    assert_eq!(
        response.header("Sec-WebSocket-Protocol"),
        None,
        "nothing was offered"
    );
    assert_eq!(response.header("Content-Length"), None, "a 101 has no body");
    client.finish();
}

#[test]
fn forms_that_are_valid() {
    let server = Server::start(&[]);
    for request in [
        with("Upgrade: websocket\r\n", "Upgrade: WebSocket\r\n"),
        with("Upgrade: websocket\r\n", "UPGRADE:websocket\r\n"),
        with("Upgrade: websocket\r\n", "upgrade: \t websocket \t \r\n"),
        with(
            "Connection: Upgrade\r\n",
            "Connection: keep-alive, Upgrade\r\n",
        ),
        with("Connection: Upgrade\r\n", "connection: upgrade\r\n"),
        with(
            "Connection: Upgrade\r\n",
            "Connection: UPGRADE , keep-alive\r\n",
        ),
        with(
            "Connection: Upgrade\r\n",
            "Connection: keep-alive,Upgrade,\r\n",
        ),
        with("GET /echo ", "GET /echo?a=1&b=/x "),
        request_with("/echo", "User-Agent: caf\u{e9}\r\nX-Empty:\r\n"),
        request_with("/echo", "Origin: null\r\n"),
        request_with("/echo", &"Cookie: a=b; c=d\r\n".repeat(50)),
        request_with("/echo", &format!("Cookie: {}\r\n", "x".repeat(12_000))),
    ] {
        accepted(&server, &request);
    }
}

#[test]
fn requests_without_a_required_part() {
    let server = Server::start(&[]);
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    for (request, statuses) in [
        (with("Host: localhost\r\n", ""), &[400][..]),
        (with(&key, ""), &[400]),
        // Without both halves of the upgrade it is a plain GET of an endpoint.
        (with("Upgrade: websocket\r\n", ""), &[400, 426]),
        (
            with("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"),
            &[400, 426],
        ),
        (
            with("Upgrade: websocket\r\n", "Upgrade: websockets\r\n"),
            &[400, 426],
        ),
        (with("Connection: Upgrade\r\n", ""), &[400, 426]),
        (
            with("Connection: Upgrade\r\n", "Connection: keep-alive\r\n"),
            &[400, 426],
        ),
        (
            with("Connection: Upgrade\r\n", "Connection: upgraded\r\n"),
            &[400, 426],
        ),
        (
            with("Connection: Upgrade\r\n", "Connection: not upgrade\r\n"),
            &[400, 426],
        ),
        (with("Sec-WebSocket-Version: 13\r\n", ""), &[400, 426]),
        (with(" HTTP/1.1\r\n", " HTTP/1.0\r\n"), &[400, 426]),
        (with("GET ", "POST "), &[400, 405]),
        (with("GET ", "HEAD "), &[400, 405, 426]),
        (with("GET ", "get "), &[400, 405]),
    ] {
        refused(&server, &request, statuses);
    }
}

#[test]
fn other_versions() {
    let server = Server::start(&[]);
    for version in ["0", "7", "8", "12", "14", "25", "113", "130", "255"] {
        let line = format!("Sec-WebSocket-Version: {version}\r\n");
        let request = with("Sec-WebSocket-Version: 13\r\n", &line);
        let response = refused(&server, &request, &[426]);
        assert_eq!(
            response.header("Sec-WebSocket-Version"),
            Some("13"),
            "for version {version}"
        );
    }
    for version in [
        "",
        "x",
        "-13",
        "+13",
        "013",
        "13.0",
        "13, 8",
        "99999999999999999999",
    ] {
        let line = format!("Sec-WebSocket-Version: {version}\r\n");
        refused(
            &server,
            &with("Sec-WebSocket-Version: 13\r\n", &line),
            &[400, 426],
        );
    }
}

#[test]
fn keys_that_are_not_16_bytes_of_base64() {
    let server = Server::start(&[]);
    for key in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25j",         // 15 bytes
        "dGhlIHNhbXBsZSBub25jZTE=",     // 17 bytes
        "dGhlIHNhbXBsZSBub25jZQ",       // no padding
        "dGhlIHNhbXBsZSBub25jZQ=",      // half the padding
        "dGhlIHNhbXBsZSBub25jZQ===",    // too much of it
        "dGhlIHNhbXBs!SBub25jZQ==",     // not the alphabet
        "dGhlIHNhbXBs SBub25jZQ==",     // a space inside
        "dGhlIHNhbXBsZSBub25jZQ==, x",  // a list
        "dGhlIHNhbXBsZSBub25jZQdGhlIH", // far too long
    ] {
        let line = format!("Sec-WebSocket-Key: {key}\r\n");
        let request = with(&format!("Sec-WebSocket-Key: {KEY}\r\n"), &line);
        refused(&server, &request, &[400]);
    }
}

#[test]
fn malformed_heads() {
    let server = Server::start(&[]);
    let twice = |line: &str| with(line, &line.repeat(2));
    for request in [
        twice("Host: localhost\r\n"),
        twice(&format!("Sec-WebSocket-Key: {KEY}\r\n")),
        twice("Sec-WebSocket-Version: 13\r\n"),
        request_with("/echo", "X-Folded: one\r\n two\r\n"),
        request_with("/echo", "X-Folded: one\r\n\ttwo\r\n"),
        with("Host: localhost\r\n", " Host: localhost\r\n"),
        with("Host: localhost\r\n", "Host: localhost\n"),
        with("HTTP/1.1\r\n", "HTTP/1.1\n"),
        request_with("/echo", "X: 1\nY: 2\r\n"),
        request_with("/echo", "X: 1\rY: 2\r\n"),
        with("Host: localhost\r\n", "Host : localhost\r\n"),
        request_with("/echo", "no colon here\r\n"),
        request_with("/echo", ": no name\r\n"),
        request_with("/echo", "X-Nul: a\0b\r\n"),
        request_with("/echo", "X\0Nul: a\r\n"),
        request_with("/echo", "X-Control: a\x01b\r\n"),
        with("GET /echo HTTP/1.1\r\n", "GET  /echo HTTP/1.1\r\n"),
        with("GET /echo HTTP/1.1\r\n", "GET /echo\r\n"),
        with("GET /echo HTTP/1.1\r\n", "\x16\x03\x01\x02\r\n"),
    ] {
        refused(&server, &request, &[400]);
    }
}

#[test]
fn other_protocols() {
    let server = Server::start(&[]);
    for version in [
        "HTTP/x.1",
        "HTTP/2.0",
        "HTTP/1.10",
        "HTTP/1",
        "HTTP",
        "http/1.1",
        "FTP/1.1",
    ] {
        let request = with("HTTP/1.1\r\n", &format!("{version}\r\n"));
        refused(&server, &request, &[400, 505]);
    }
    // Whether the second word or the third is wrong is a matter of taste.
    let request = with("GET /echo HTTP/1.1\r\n", "GET /ec ho HTTP/1.1\r\n");
    refused(&server, &request, &[400, 505]);
}

/// With bare LF throughout there is no CRLF CRLF to wait for; the answer must not wait either.
#[test]
fn a_head_of_bare_line_feeds() {
    let server = Server::start(&[]);
    refused(&server, &request("/echo").replace("\r\n", "\n"), &[400]);
    refused(
        &server,
        "GET /healthz HTTP/1.1\nHost: localhost\n\n",
        &[400],
    );
}

#[test]
fn requests_with_a_body() {
    let server = Server::start(&[]);
    for lines in [
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: x\r\n",
    ] {
        let request = request_with("/echo", lines);
        refused(&server, &request, &[400]);
        refused(&server, &format!("{request}hello"), &[400]);
        let plain = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        refused(&server, &plain, &[400]);
    }
}

#[test]
fn a_refused_connection_ends() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(with(&format!("Sec-WebSocket-Key: {KEY}\r\n"), "").as_bytes());
    assert_eq!(client.response().status, 400);
    client.rest();
}

#[test]
fn paths_nobody_serves() {
    let server = Server::start(&[]);
    for path in [
        "/",
        "/nothing",
        "/echo/",
        "/echo/x",
        "/ech",
        "/Echo",
        "//echo",
        "/healthz/x",
    ] {
        let response = ask(&server, &request(path));
        assert_eq!(response.status, 404, "an upgrade to {path}");
    }
    let response = ask(&server, &request("/healthz"));
    assert!(
        response.status >= 400,
        "an upgrade to a page: {}",
        response.status
    );
}

#[test]
fn plain_requests_for_an_endpoint() {
    let server = Server::start(&[]);
    for path in ["/echo", "/close", "/bench", "/echo?x=1"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let response = refused(&server, &request, &[426]);
        let upgrade = response.header("Upgrade").unwrap_or_default();
        assert!(
            upgrade.eq_ignore_ascii_case("websocket"),
            "{path}: {response:?}"
        );
    }
}

#[test]
fn heads_over_the_limit() {
    let server = Server::start(&[]);
    let long = "x".repeat(20_000);
    refused(
        &server,
        &request_with("/echo", &format!("Cookie: {long}\r\n")),
        &[431],
    );
    refused(
        &server,
        &request_with("/echo", &"A: b\r\n".repeat(4_000)),
        &[431],
    );
    refused(&server, &request(&format!("/echo?{long}")), &[414]);
    // Neither line ever ends: the limit alone must end the wait.
    refused(
        &server,
        &format!("GET /echo HTTP/1.1\r\nHost: localhost\r\nCookie: {long}"),
        &[431],
    );
    refused(&server, &format!("GET /{long}"), &[414]);
}

#[test]
fn heads_over_a_limit_of_our_own() {
    let server = Server::start(&["--max-headers", "1024"]);
    accepted(
        &server,
        &request_with("/echo", &format!("Cookie: {}\r\n", "x".repeat(700))),
    );
    refused(
        &server,
        &request_with("/echo", &format!("Cookie: {}\r\n", "x".repeat(1_500))),
        &[431],
    );
    refused(
        &server,
        &request(&format!("/{}", "x".repeat(1_500))),
        &[414],
    );
}

/// The limit counts the head, not the frames that came with it.
#[test]
fn early_frames_do_not_count_as_head() {
    let server = Server::start(&["--max-headers", "1024"]);
    let mut client = server.connect();
    client.send(&[request("/echo").into_bytes(), binary(&[1; 50_000])].concat());
    client.expect_upgrade();
    client.expect_binary(&[1; 50_000]);
    client.finish();
}

#[test]
fn origins() {
    let server = Server::start(&[
        "--origin",
        "http://example.com",
        "--origin",
        "https://app.example.org:8443",
    ]);
    for origin in ["http://example.com", "https://app.example.org:8443"] {
        accepted(
            &server,
            &request_with("/echo", &format!("Origin: {origin}\r\n")),
        );
    }
    for origin in [
        "null",
        "",
        "*",
        "example.com",
        "https://example.com",
        "ws://example.com",
        "http://example.com:8080",
        "http://example.com.evil.org",
        "http://example.com@evil.org",
        "http://example.com/",
        "http://example.com#",
        "http://evilexample.com",
        "http://sub.example.com",
        "http://example.co",
        "http://evil.org/http://example.com",
        "http://example.com http://evil.org",
        "http://evil.org http://example.com",
        "https://app.example.org",
        "https://app.example.org:443",
        "https://app.example.org:84430",
        "http://app.example.org:8443",
    ] {
        let lines = format!("Origin: {origin}\r\n");
        let response = ask(&server, &request_with("/echo", &lines));
        assert_eq!(response.status, 403, "origin {origin:?}");
    }
    assert_eq!(
        ask(&server, &request("/echo")).status,
        403,
        "no origin at all"
    );
    let two = "Origin: http://example.com\r\nOrigin: http://evil.org\r\n";
    refused(&server, &request_with("/echo", two), &[400, 403]);
}

#[test]
fn hosts() {
    let server = Server::start(&[
        "--host",
        "example.com",
        "--host",
        "localhost",
        "--host",
        "a.test:81",
    ]);
    let host = |host: &str| with("Host: localhost\r\n", &format!("Host: {host}\r\n"));
    for name in [
        "example.com",
        "example.com:80",
        "example.com:9998",
        "localhost",
        "a.test:81",
    ] {
        accepted(&server, &host(name));
    }
    for name in [
        "evil.org",
        "example.com.evil.org",
        "evilexample.com",
        "sub.example.com",
        "127.0.0.1",
        "a.test",
        "a.test:80",
        "a.test:810",
    ] {
        refused(&server, &host(name), &[421]);
    }
    let plain = "GET /healthz HTTP/1.1\r\nHost: evil.org\r\n\r\n";
    refused(&server, plain, &[421]);
}

#[test]
fn a_head_one_byte_at_a_time() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for byte in request("/echo").bytes() {
        client.send(&[byte]);
    }
    client.expect_upgrade();
    client.echo("slowly");
    client.finish();
}

#[test]
fn a_head_cut_anywhere() {
    let server = Server::start(&[]);
    let whole = [request("/echo").into_bytes(), text("with a frame")].concat();
    for cut in (1..whole.len()).step_by(3) {
        let mut client = server.connect();
        client.send(&whole[..cut]);
        std::thread::sleep(std::time::Duration::from_millis(1));
        client.send(&whole[cut..]);
        client.expect_upgrade();
        client.expect_text("with a frame");
    }
}

#[test]
fn frames_in_the_packet_of_the_request() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let bytes = [
        request("/echo").into_bytes(),
        text("first"),
        frame(FIN | PING, b"early"),
        frame(BINARY, b"sec"),
        frame(FIN | CONTINUATION, b"ond"),
        text("third")[..5].to_vec(),
    ]
    .concat();
    client.send(&bytes);
    client.expect_upgrade();
    // A pong may overtake the answers to messages; these keep their order.
    let mut frames: Vec<Frame> = (0..3).map(|_| client.next().expect("a frame")).collect();
    let pong = frames
        .iter()
        .position(|frame| frame.first == FIN | PONG)
        .expect("a pong");
    assert_eq!(frames.remove(pong).payload, b"early");
    let echoes: Vec<_> = frames
        .iter()
        .map(|frame| (frame.first, &frame.payload[..]))
        .collect();
    assert_eq!(
        echoes,
        [(FIN | TEXT, &b"first"[..]), (FIN | BINARY, b"second")]
    );
    client.send(&text("third")[5..]);
    client.expect_text("third");
    client.finish();
}

#[test]
fn a_fault_in_the_packet_of_the_request() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(&[request("/echo").into_bytes(), text("fine"), vec![0xff; 8]].concat());
    client.expect_upgrade();
    client.expect_text("fine");
    client.expect_close(1002);
    client.expect_eof();
}

/// A refusal is not a door: what follows a refused request is not read as frames or requests.
#[test]
fn frames_after_a_refused_request() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(
        &[
            request("/nothing").into_bytes(),
            text("knock"),
            text("knock"),
        ]
        .concat(),
    );
    assert_eq!(client.response().status, 404);
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(
        !rest.contains("HTTP/1.1") && !rest.contains("knock"),
        "after the refusal: {rest:?}"
    );
}

/// Answer of a plain request that asks for the connection's end: its head and body.
#[track_caller]
fn plain(server: &Server, request: &str) -> (Response, Vec<u8>) {
    let mut client = server.connect();
    client.send(request.as_bytes());
    let response = client.response();
    let body = client.rest();
    if let Some(length) = response.header("Content-Length")
        && !request.starts_with("HEAD ")
    {
        assert_eq!(
            length.parse().ok(),
            Some(body.len()),
            "Content-Length of {request:?}"
        );
    }
    (response, body)
}

#[test]
fn pages() {
    let server = Server::start(&[]);
    let closing = "Host: localhost\r\nConnection: close\r\n\r\n";
    for (line, status) in [
        ("GET /healthz HTTP/1.1", &[200][..]),
        ("HEAD /healthz HTTP/1.1", &[200]),
        ("GET /healthz HTTP/1.0", &[200]),
        ("GET /nothing HTTP/1.1", &[404]),
        ("HEAD /nothing HTTP/1.1", &[404]),
        ("GET /nothing HTTP/1.0", &[404]),
        ("GET /../../etc/passwd HTTP/1.1", &[400, 404]),
        ("POST /healthz HTTP/1.1", &[400, 405]),
        ("DELETE /nothing HTTP/1.1", &[400, 404, 405]),
        ("GET /echo HTTP/1.0", &[426]),
        ("HEAD /echo HTTP/1.1", &[426]),
    ] {
        let (response, body) = plain(&server, &format!("{line}\r\n{closing}"));
        assert!(
            status.contains(&response.status),
            "{line}: {}",
            response.status
        );
        if line.starts_with("HEAD") {
            assert!(body.is_empty(), "{line} has no body: {body:?}");
        }
    }
    let (response, _) = plain(&server, "GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(response.status, 200, "HTTP/1.0 needs no Host");
    let (response, _) = plain(
        &server,
        "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(response.status, 400, "HTTP/1.1 needs one");
}

/// A thousand refusals leave nothing behind.
#[test]
fn refusals_cost_nothing_lasting() {
    let server = Server::start(&[]);
    refused(&server, &request("/nothing"), &[404]);
    server.open("/echo").finish();
    let descriptors = server.settled_descriptors();
    let resident = server.resident();
    for i in 0..1000 {
        let mut client = server.connect();
        client.send(
            match i % 3 {
                0 => request("/nothing"),
                1 => with("HTTP/1.1\r\n", "HTTP/1.1\n"),
                _ => format!("GET /{}", "x".repeat(20_000)),
            }
            .as_bytes(),
        );
        assert!(client.response().status >= 400, "request {i} is refused");
        assert_eq!(client.until_end(), End::Eof, "request {i} ends in order");
    }
    server.back_to(descriptors);
    let grown = server.resident().saturating_sub(resident);
    assert!(grown < 8 << 20, "{grown} bytes more after 1000 refusals");
}
