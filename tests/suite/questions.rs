//! The question server, at `/questions` and, for who offers its subprotocol, at `/`.

use serde_json::Value;

use crate::client::{CLOSE, Client, FIN, TEXT, binary, request, request_with, text};
use crate::server::Server;

/// Opens `path` with these offers and checks which is chosen; the welcome is still to be read.
#[track_caller]
fn open(server: &Server, path: &str, offers: &[&str], chosen: Option<&str>) -> Client {
    let lines: String = offers
        .iter()
        .map(|offer| format!("Sec-WebSocket-Protocol: {offer}\r\n"))
        .collect();
    let mut client = server.connect();
    client.send(request_with(path, &lines).as_bytes());
    let response = client.expect_upgrade();
    assert_eq!(
        response.header("Sec-WebSocket-Protocol"),
        chosen,
        "{path} with {offers:?}"
    );
    client
}

#[track_caller]
fn next_text(client: &mut Client) -> String {
    let frame = client.next().expect("a message");
    assert_eq!(frame.first, FIN | TEXT, "a text message: {frame:?}");
    String::from_utf8(frame.payload).expect("text is UTF-8")
}

#[track_caller]
fn ask(client: &mut Client, question: &str) -> String {
    client.send(&text(question));
    next_text(client)
}

#[test]
fn the_welcome_comes_first_and_names_the_subprotocol() {
    let server = Server::start(&["--idle-timeout", "90s"]);
    for (path, offers, chosen) in [
        ("/questions", &["json"][..], Some("json")),
        ("/questions", &["soap, json"], Some("json")),
        (
            "/questions",
            &["soap", "org.jwebsocket.json", "json"],
            Some("org.jwebsocket.json"),
        ),
        ("/questions", &[], None),
        ("/", &["json"], Some("json")),
        (
            "/",
            &["soap, org.jwebsocket.json"],
            Some("org.jwebsocket.json"),
        ),
    ] {
        let mut client = open(&server, path, offers, chosen);
        let welcome: Value = serde_json::from_str(&next_text(&mut client)).expect("JSON");
        assert_eq!(welcome["type"], "welcome");
        assert_eq!(welcome["subProtocol"], chosen.unwrap_or("json"));
        assert_eq!(welcome["timeout"], 90_000);
        for field in ["ns", "vendor", "version", "sourceId"] {
            let value = welcome[field].as_str().unwrap_or_default();
            assert!(!value.is_empty(), "{field} in {welcome}");
        }
        assert!(welcome["protocolVersion"].is_number(), "{welcome}");
        client.finish();
    }
}

#[test]
fn without_its_subprotocol_the_root_is_no_endpoint() {
    let server = Server::start(&[]);
    for head in [
        request("/"),
        request_with("/", "Sec-WebSocket-Protocol: soap\r\n"),
        request_with("/", "Sec-WebSocket-Protocol: JSON\r\n"),
    ] {
        let mut client = server.connect();
        client.send(head.as_bytes());
        assert_eq!(client.response().status, 404, "{head}");
    }
}

#[test]
fn questions_and_answers() {
    let server = Server::start(&[]);
    let mut client = open(&server, "/questions", &["json"], Some("json"));
    next_text(&mut client);
    assert_eq!(ask(&mut client, "1"), "sockeye");
    let uname = rustix::system::uname();
    let system = ask(&mut client, "2");
    for part in [uname.sysname(), uname.release()] {
        let part = part.to_str().expect("text");
        assert!(system.contains(part), "{part} in {system}");
    }
    for other in ["4", "what time is it?", "", "\u{1f41f}"] {
        let answer = ask(&mut client, other);
        for valid in ["1", "2", "3"] {
            assert!(answer.contains(valid), "{valid} in {answer}");
        }
    }
    client.finish();
}

/// The time is the local one: with another time zone it is another.
#[test]
fn the_time_is_local_and_of_twelve_hours() {
    let times = ["UTC", "Asia/Tokyo"].map(|zone| {
        let launch = crate::server::Launch::new(&["--listen", "127.0.0.1:0"]).env("TZ", zone);
        let server = launch.serve(1);
        let mut client = open(&server, "/questions", &[], None);
        next_text(&mut client);
        let time = ask(&mut client, "3");
        client.finish();
        let parts: Vec<u32> = time
            .split(':')
            .map(|part| {
                assert_eq!(part.len(), 2, "{time}");
                part.parse().expect("a number")
            })
            .collect();
        assert!(parts.len() == 3 && (1..=12).contains(&parts[0]), "{time}");
        parts[0] % 12 * 3600 + parts[1] * 60 + parts[2]
    });
    // Tokyo is nine hours ahead, without daylight saving time.
    let ahead = (times[1] + 12 * 3600 - times[0]) % (12 * 3600);
    assert!((9 * 3600..9 * 3600 + 60).contains(&ahead), "{ahead} s");
}

#[test]
fn binary_is_refused() {
    let server = Server::start(&[]);
    let mut client = open(&server, "/questions", &["json"], Some("json"));
    next_text(&mut client);
    client.send(&binary(b"1"));
    let frame = client.next().expect("a Close frame");
    assert_eq!(frame.first, FIN | CLOSE);
    assert_eq!(frame.payload[..2], 1003u16.to_be_bytes());
}
