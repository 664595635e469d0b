//! The closing handshake, `/close` and `/bench`.

use std::time::{Duration, Instant};

use crate::client::{CLOSE, Client, FIN, PING, TEXT, close, close_parts, frame, text};
use crate::server::Server;

#[test]
fn codes_are_echoed() {
    let server = Server::start(&[]);
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        let mut client = server.open("/echo");
        client.send(&close(code, b"a reason"));
        client.expect_close(code);
        client.expect_eof();
    }
}

#[test]
fn empty_for_empty() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.send(&frame(FIN | CLOSE, b""));
    client.expect_empty_close();
    client.expect_eof();
}

#[test]
fn a_reason_of_123_bytes_is_valid() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.send(&close(1000, "\u{20ac}".repeat(41).as_bytes()));
    client.expect_close(1000);
    client.expect_eof();
}

#[test]
fn codes_that_must_not_be_sent() {
    let server = Server::start(&[]);
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        let mut client = server.open("/echo");
        client.send(&close(code, b""));
        client.expect_close(1002);
        client.expect_eof();
    }
}

#[test]
fn close_payloads_that_are_wrong() {
    let server = Server::start(&[]);
    for (payload, code) in [
        (&b"\x03"[..], 1002),
        (&b"\x03\xe8\xff"[..], 1007),
        (&b"\x03\xe8good \xc3"[..], 1007),
        (&b"\x03\xe8\xed\xa0\x80"[..], 1007),
    ] {
        let mut client = server.open("/echo");
        client.send(&frame(FIN | CLOSE, payload));
        client.expect_close(code);
        client.expect_eof();
    }
}

#[test]
fn what_came_before_close_is_answered_first() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    let mut bytes: Vec<u8> = (0..100).flat_map(|i| text(&i.to_string())).collect();
    bytes.extend(close(4000, b"enough"));
    client.send(&bytes);
    for i in 0..100 {
        client.expect_text(&i.to_string());
    }
    client.expect_close(4000);
    client.expect_eof();
}

#[test]
fn what_comes_after_close_is_ignored() {
    let server = Server::start(&[]);
    for late in [
        text("late"),
        frame(FIN | PING, b"late"),
        close(4001, b""),
        vec![0xff; 20_000],
    ] {
        let mut client = server.open("/echo");
        client.send(&[close(4000, b""), late].concat());
        client.expect_close(4000);
        client.expect_eof();
    }
}

#[test]
fn close_inside_a_fragmented_message() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.send(&[frame(TEXT, b"never finished"), close(1001, b"")].concat());
    client.expect_close(1001);
    client.expect_eof();
}

/// The server ends its half although the client says nothing more and keeps its own open; and
/// the descriptor is free again after the close timeout even so.
#[test]
fn the_server_ends_its_half_first() {
    let server = Server::start(&["--close-timeout", "500ms"]);
    server.open("/echo").finish();
    let before = server.settled_descriptors();
    let mut client = server.open("/echo");
    client.send(&close(1000, b""));
    client.expect_close(1000);
    client.expect_eof();
    server.back_to(before);
    drop(client);
}

/// Input the server has not read when it closes must not turn into a reset that destroys the
/// Close frame on its way.
#[test]
fn no_reset_destroys_the_close_frame() {
    let server = Server::start(&[]);
    for _ in 0..20 {
        let mut client = server.open("/echo");
        client.send(&[frame(FIN | 0x3, b"reserved"), vec![0x55; 32 << 10]].concat());
        for _ in 0..8 {
            if client.try_send(&[0x55; 4 << 10]).is_err() {
                panic!("the server reset a connection it should linger on");
            }
        }
        client.expect_close(1002);
        client.expect_eof();
    }
}

/// After the server's Close, a client that never answers is dropped at the close timeout.
#[test]
fn an_unanswered_close_ends_at_its_timeout() {
    let server = Server::start(&["--close-timeout", "400ms"]);
    server.open("/echo").finish();
    let before = server.settled_descriptors();
    let mut client = server.open("/echo");
    client.send(&text("Goodbye"));
    client.expect_text("Goodbye");
    let start = Instant::now();
    client.expect_close(1000);
    server.back_to(before);
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_millis(250),
        "dropped after {elapsed:?} already"
    );
}

#[test]
fn messages_between_both_close_frames_are_not_answered() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.send(&[text("Goodbye"), text("one more")].concat());
    client.expect_text("Goodbye");
    client.expect_close(1000);
    client.send(&text("and another"));
    client.send(&close(1000, b""));
    client.expect_eof();
}

#[test]
fn close_endpoint_closes_as_told() {
    let server = Server::start(&[]);
    let longest = "r".repeat(123);
    for (code, reason) in [
        (1000, "done"),
        (1000, ""),
        (1001, "away"),
        (1008, "a reason of several words"),
        (1011, "\u{20ac}\u{1f41f}"),
        (3000, "x"),
        (4000, longest.as_str()),
        (4999, "last"),
    ] {
        let mut client = server.open("/close");
        let order = if reason.is_empty() {
            code.to_string()
        } else {
            format!("{code} {reason}")
        };
        client.send(&text(&order));
        let got = client.expect_close(code);
        assert_eq!(got, reason, "the reason of Close {code}");
        client.send(&close(code, b""));
        client.expect_eof();
    }
}

#[test]
fn close_endpoint_explains_bad_orders() {
    let server = Server::start(&[]);
    let mut client = server.open("/close");
    let too_long = format!("1000 {}", "r".repeat(124));
    for order in [
        "",
        "abc",
        "999",
        "1004 x",
        "1005",
        "1006 gone",
        "1015 x",
        "2999",
        "5000 x",
        "65536",
        "-1000",
        "99999999999999999999",
        &too_long,
    ] {
        expect_explanation(&mut client, order);
    }
    client.send(&text("3000 at last"));
    assert_eq!(client.expect_close(3000), "at last");
}

#[test]
fn bench_endpoint_spaces_its_messages() {
    let server = Server::start(&[]);
    let mut client = server.open("/bench");
    let start = Instant::now();
    client.send(&text("1 4 hello world"));
    for _ in 0..4 {
        client.expect_text("hello world");
    }
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_millis(500),
        "four messages within {elapsed:?}"
    );
    client.expect_close(1000);
    client.send(&close(1000, b""));
    client.expect_eof();
}

#[test]
fn bench_endpoint_at_once() {
    let server = Server::start(&[]);
    let mut client = server.open("/bench");
    client.send(&text("0 1000 now"));
    for _ in 0..1000 {
        client.expect_text("now");
    }
    client.expect_close(1000);
    client.send(&close(1000, b""));
    client.expect_eof();
}

#[test]
fn bench_endpoint_without_messages() {
    let server = Server::start(&[]);
    for order in ["0 0 none", "1 0 none"] {
        let mut client = server.open("/bench");
        client.send(&text(order));
        client.expect_close(1000);
    }
}

#[test]
fn bench_endpoint_explains_bad_orders() {
    let server = Server::start(&[]);
    let mut client = server.open("/bench");
    for order in [
        "",
        "hello",
        "1",
        "a 3 x",
        "1 b x",
        "-1 3 x",
        "1 -3 x",
        "NaN 1 x",
        "inf 1 x",
        "1e300 2 x",
        "1 99999999999999999999999 x",
    ] {
        expect_explanation(&mut client, order);
    }
    client.send(&text("0 1 works"));
    client.expect_text("works");
    client.expect_close(1000);
}

/// An order that cannot be followed gets one text message and no Close.
#[track_caller]
fn expect_explanation(client: &mut Client, order: &str) {
    client.send(&text(order));
    let frame = client
        .next()
        .unwrap_or_else(|end| panic!("{end:?} after {order:?}"));
    if frame.first == FIN | CLOSE {
        panic!(
            "{order:?} was answered with Close {:?}",
            close_parts(&frame)
        );
    }
    assert_eq!(frame.first, FIN | TEXT, "{order:?} is answered with text");
    assert!(
        !frame.payload.is_empty(),
        "the answer to {order:?} says something"
    );
}
