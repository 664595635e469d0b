//! The chat room at `/chat`.

use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::{Client, FIN, TEXT, binary, close_parts, text};
use crate::server::{Server, eventually};

#[track_caller]
fn next(client: &mut Client) -> Value {
    let frame = client.next().expect("a message");
    assert_eq!(frame.first, FIN | TEXT, "a text message: {frame:?}");
    serde_json::from_slice(&frame.payload).expect("JSON")
}

/// Joins, and expects this to have been said before.
#[track_caller]
fn join(server: &Server, history: &[&str]) -> Client {
    let mut client = server.open("/chat");
    expect(&mut client, history);
    client
}

/// Comes back, and expects this to be sent and to be called so.
#[track_caller]
fn resume(server: &Server, since: &str, recovered: bool, messages: &[&str]) -> Client {
    let mut client = server.open(&format!("/chat?since={since}"));
    let first = expect(&mut client, messages);
    assert_eq!(first["recovered"], recovered, "{first}");
    client
}

#[track_caller]
fn expect(client: &mut Client, messages: &[&str]) -> Value {
    let value = next(client);
    assert_eq!(value["messages"], json!(messages));
    value
}

/// From where a client that has this message resumes, as the page puts it.
fn position(value: &Value) -> String {
    format!("{}-{}", value["epoch"].as_str().unwrap(), value["offset"])
}

#[test]
fn everybody_hears_everything_in_one_order() {
    const CLIENTS: usize = 6;
    const EACH: usize = 200;
    let server = Server::start(&["--reactors", "2"]);
    let (first, rest): (Vec<Vec<Value>>, Vec<Vec<Value>>) = {
        let clients: Vec<Client> = (0..CLIENTS).map(|_| join(&server, &[])).collect();
        let threads: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(who, mut client)| {
                thread::spawn(move || {
                    for at in 0..EACH {
                        client.send(&text(&format!("{who} {at}")));
                    }
                    let heard = (0..CLIENTS * EACH).map(|_| next(&mut client));
                    let heard: Vec<Value> = heard.collect();
                    client.finish();
                    heard
                })
            })
            .collect();
        let mut heard = threads.into_iter().map(|it| it.join().expect("a client"));
        (heard.by_ref().take(1).collect(), heard.collect())
    };
    let order = &first[0];
    for heard in &rest {
        assert!(heard == order, "another order");
    }
    let mut next = [0; CLIENTS];
    for (at, value) in order.iter().enumerate() {
        assert_eq!(value["offset"], at + 1);
        let said = value["messages"][0].as_str().unwrap();
        let (who, number) = said.split_once(' ').unwrap();
        let who: usize = who.parse().unwrap();
        assert_eq!(
            number.parse(),
            Ok(next[who]),
            "the order in which {who} spoke"
        );
        next[who] += 1;
    }
}

/// Who joins while others talk misses nothing and hears nothing twice.
#[test]
fn history_and_what_follows_have_no_gap() {
    const MESSAGES: usize = 2_000;
    let server = Server::start(&[]);
    let mut speaker = join(&server, &[]);
    let address = server.address();
    thread::scope(|scope| {
        scope.spawn(move || {
            for at in 0..MESSAGES {
                speaker.send(&text(&at.to_string()));
                expect(&mut speaker, &[&at.to_string()]);
            }
        });
        for _ in 0..3 {
            scope.spawn(move || {
                loop {
                    let mut client = Client::open(address, "/chat");
                    let first = next(&mut client);
                    let history = first["messages"].as_array().unwrap();
                    let to = first["offset"].as_u64().unwrap() as usize;
                    assert_eq!(history.len(), to.min(100));
                    for (said, at) in history.iter().zip(to - history.len()..) {
                        assert_eq!(*said, at.to_string());
                    }
                    for at in to..(to + 10).min(MESSAGES) {
                        expect(&mut client, &[&at.to_string()]);
                    }
                    if to == MESSAGES {
                        break;
                    }
                }
            });
        }
    });
}

#[test]
fn who_comes_back_is_sent_what_it_missed() {
    let server = Server::start(&[]);
    let mut ann = join(&server, &[]);
    let mut ben = join(&server, &[]);
    ann.send(&text("one"));
    let heard = expect(&mut ben, &["one"]);
    ben.reset();
    ann.send(&text("two"));
    ann.send(&text("three"));
    for said in ["one", "two", "three"] {
        expect(&mut ann, &[said]);
    }
    let mut ben = resume(&server, &position(&heard), true, &["two", "three"]);
    ben.send(&text("four"));
    let last = expect(&mut ben, &["four"]);
    expect(&mut ann, &["four"]);
    ben.finish();
    // Nothing was said meanwhile.
    resume(&server, &position(&last), true, &[]).finish();
    let all = ["one", "two", "three", "four"];
    resume(&server, "nonsense", false, &all).finish();
    join(&server, &all).finish();
}

#[test]
fn a_room_of_another_server_is_not_resumed() {
    let mut server = Server::start(&[]);
    let address = server.address().to_string();
    let mut ann = join(&server, &[]);
    ann.send(&text("before"));
    let before = expect(&mut ann, &["before"]);
    server.signal(Signal::TERM);
    ann.expect_close(1001);
    drop(ann);
    server.wait();
    let server = crate::server::Launch::new(&["--listen", &address]).serve(1);
    let mut ann = resume(&server, &position(&before), false, &[]);
    ann.send(&text("after"));
    let after = expect(&mut ann, &["after"]);
    assert_ne!(after["epoch"], before["epoch"]);
    assert_eq!(after["offset"], before["offset"]);
    resume(&server, &position(&before), false, &["after"]).finish();
    resume(&server, &position(&after), true, &[]).finish();
}

#[test]
fn every_text_comes_back_as_it_was() {
    let server = Server::start(&[]);
    let mut ann = join(&server, &[]);
    let long = "\u{1}\u{1f41f}\"".repeat(2_700);
    let texts = [
        "</script><b>&lt;",
        "\0\u{1}\t\r\n\u{1f}\u{7f}\u{2028}",
        "\u{1f41f}\u{10ffff}",
        r#"" \ \u0041 ],"epoch":"1","offset":2}"#,
        &long,
    ];
    for said in texts {
        ann.send(&text(said));
        let frame = ann.next().expect("a message");
        let payload = String::from_utf8(frame.payload).expect("text");
        assert!(!said.contains('<') || payload.contains('<'), "{payload}");
        let value: Value = serde_json::from_str(&payload).expect("JSON");
        assert_eq!(value["messages"], json!([said]));
    }
    join(&server, &texts).finish();
}

#[test]
fn what_is_no_text_or_too_long_closes_and_what_is_empty_is_ignored() {
    let server = Server::start(&[]);
    let mut ann = join(&server, &[]);
    let mut ben = join(&server, &[]);
    ann.send(&text(""));
    ann.send(&binary(b"bytes"));
    ann.expect_close(1003);
    let mut eve = join(&server, &[]);
    eve.send(&text(&"x".repeat(16 << 10 | 1)));
    eve.expect_close(1009);
    ben.send(&text("still here"));
    assert_eq!(expect(&mut ben, &["still here"])["offset"], 1);
}

/// A reader that stops is dropped; nobody else notices.
#[test]
fn a_slow_reader_is_closed() {
    let server = Server::start(&["--outbox-limit", "64KiB"]);
    let mut ann = join(&server, &[]);
    let mut slow = join(&server, &[]);
    let said = "x".repeat(16_000);
    // More than the sockets between them hold, and the limit.
    let count = 1_250;
    for _ in 0..count {
        ann.send(&text(&said));
        expect(&mut ann, &[&said]);
    }
    let mut heard = 0;
    let frame = loop {
        let frame = slow.next().expect("a Close frame");
        if frame.first != FIN | TEXT {
            break frame;
        }
        heard += 1;
    };
    assert_eq!(close_parts(&frame), (Some(1008), "slow consumer".into()));
    assert!(heard < count, "{heard} of {count}");
    ann.finish();
}

#[test]
fn a_shutdown_says_so_to_everybody() {
    let mut server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..5).map(|_| join(&server, &[])).collect();
    server.signal(Signal::TERM);
    for client in &mut clients {
        client.expect_close(1001);
    }
    drop(clients);
    assert!(server.wait().success());
}

/// A browser that offers subprotocols fails when none comes back.
#[test]
fn the_first_subprotocol_is_chosen() {
    let server = Server::start(&[]);
    for path in ["/chat", "/ticker", "/relay/a"] {
        let mut client = server.connect();
        let lines = "Sec-WebSocket-Protocol: one, two\r\n";
        client.send(crate::client::request_with(path, lines).as_bytes());
        let response = client.expect_upgrade();
        assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("one"));
    }
}

/// The room is forgotten when it has no past and nobody is there.
#[test]
fn leaving_leaves_nothing() {
    let server = Server::start(&[]);
    let before = server.settled_descriptors();
    let clients: Vec<Client> = (0..20).map(|_| join(&server, &[])).collect();
    clients.into_iter().for_each(Client::reset);
    eventually("all sockets are closed", || server.descriptors() == before);
    join(&server, &[]).finish();
}
