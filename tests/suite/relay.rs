//! The relays at `/relay/NAME`.

use std::time::Duration;

use crate::client::{binary, request, text};
use crate::server::Server;

#[test]
fn everybody_else_on_the_name_gets_it() {
    let server = Server::start(&["--reactors", "2"]);
    let [mut ann, mut ben, mut cid] = [(); 3].map(|()| server.open("/relay/game-1"));
    let mut eve = server.open("/relay/game-2");
    // Each knows that the others are there once it has heard from them.
    ann.send(&text("ann"));
    ben.expect_text("ann");
    cid.expect_text("ann");
    ben.send(&binary(&[0, 255, 7]));
    ann.expect_binary(&[0, 255, 7]);
    cid.expect_binary(&[0, 255, 7]);
    for at in 0..1_000 {
        ann.send(&text(&format!("a{at}")));
        ben.send(&text(&format!("b{at}")));
    }
    for at in 0..1_000 {
        ann.expect_text(&format!("b{at}"));
        ben.expect_text(&format!("a{at}"));
    }
    let mut next = [0, 0];
    while next.iter().sum::<usize>() < 2_000 {
        let payload = cid.next().expect("a message").payload;
        let who = usize::from(payload[0] - b'a');
        let expected = format!("{}{}", ["a", "b"][who], next[who]);
        assert_eq!(payload, expected.as_bytes());
        next[who] += 1;
    }
    eve.send(&text("nobody is here"));
    let silence = Duration::from_millis(200);
    for client in [&mut ann, &mut ben, &mut cid, &mut eve] {
        client.expect_silence(silence);
    }
    // It has no past.
    server.open("/relay/game-1").expect_silence(silence);
}

#[test]
fn names_are_checked() {
    let server = Server::start(&[]);
    let long = format!("/relay/{}", "x".repeat(65));
    for (path, status) in [
        ("/relay/a%2fb", 400),
        ("/relay/a/b", 400),
        (&long, 400),
        ("/relay/", 404),
        ("/relay", 404),
    ] {
        let mut client = server.connect();
        client.send(request(path).as_bytes());
        assert_eq!(client.response().status, status, "{path}");
    }
    // Without an upgrade it says what it wants.
    let mut client = server.connect();
    client.send(b"GET /relay/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 426);
    assert_eq!(response.header("Upgrade"), Some("websocket"));
}
