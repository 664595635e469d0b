//! The ticker at `/ticker`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, FIN, TEXT, close, close_parts};
use crate::server::{Server, eventually};

#[track_caller]
fn next(client: &mut Client) -> Value {
    let frame = client.next().expect("a message");
    assert_eq!(frame.first, FIN | TEXT, "a text message: {frame:?}");
    serde_json::from_slice(&frame.payload).expect("JSON")
}

/// The closing handshake, after prices that may have been on their way.
#[track_caller]
fn leave(mut client: Client) {
    client.send(&close(1000, b""));
    let frame = loop {
        let frame = client.next().expect("a Close frame");
        if frame.first != FIN | TEXT {
            break frame;
        }
    };
    assert_eq!(close_parts(&frame).0, Some(1000));
    client.expect_eof();
}

#[test]
fn everybody_gets_the_same_prices_once_per_interval() {
    let server = Server::start(&["--reactors", "2"]);
    assert!(!server.has_thread("ticker"), "nobody listens");
    let mut clients = [(); 3].map(|()| server.open("/ticker"));
    let mut seen: Vec<Vec<Value>> = Vec::new();
    let start = Instant::now();
    for client in &mut clients {
        seen.push((0..3).map(|_| next(client)).collect());
    }
    assert!(start.elapsed() >= Duration::from_millis(900));
    assert!(server.has_thread("ticker"));
    for values in &seen {
        // One may have come after the first prices; from there on they see the same.
        let after = seen[0]
            .iter()
            .position(|it| *it == values[0])
            .expect("the same prices");
        let common = seen[0].len() - after;
        assert_eq!(seen[0][after..], values[..common]);
        for value in values {
            let time = value["time"].as_str().expect("a time");
            assert!(time.ends_with('Z') && time.contains('T'), "{time}");
            let symbols = value["symbols"].as_object().expect("symbols");
            assert!(symbols.len() >= 4);
            assert!(
                symbols
                    .values()
                    .all(|it| it.as_f64().is_some_and(|it| it > 0.0))
            );
        }
        assert!(values[0]["time"].as_str() < values[1]["time"].as_str());
        assert_ne!(values[0]["symbols"], values[1]["symbols"]);
    }
    // The rest goes on when the one who began it leaves in whatever way.
    let [first, second, mut third] = clients;
    first.reset();
    leave(second);
    next(&mut third);
    next(&mut third);
    leave(third);
    eventually("nothing is published for nobody", || {
        !server.has_thread("ticker")
    });
    // And it begins anew.
    let mut client = server.open("/ticker");
    next(&mut client);
    leave(client);
}
