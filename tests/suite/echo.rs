//! `/echo`: whole messages come back as they were sent, in order.

use std::thread;

use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

use crate::client::{
    BINARY, CONTINUATION, Client, FIN, PING, PONG, TEXT, binary, frame, header, request,
    request_with, text,
};
use crate::server::Server;

/// Around every boundary of the length encoding, and the default limit itself.
const SIZES: [usize; 13] = [
    0,
    1,
    2,
    124,
    125,
    126,
    127,
    65_534,
    65_535,
    65_536,
    65_537,
    1 << 20,
    16 << 20,
];

/// Bytes that differ from place to place, so that a shifted or repeated piece shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}

#[test]
fn binary_of_every_size() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    for size in SIZES {
        let payload = pattern(size);
        client.send(&binary(&payload));
        client.expect_binary(&payload);
    }
    client.finish();
}

#[test]
fn text_of_every_size() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    for size in SIZES {
        // Four bytes per character but for the first ones, so that reads cut characters.
        let mut payload = "x".repeat(size % 4);
        payload.push_str(&"\u{1f41f}".repeat(size / 4));
        assert_eq!(payload.len(), size);
        client.send(&text(&payload));
        client.expect_text(&payload);
    }
    client.finish();
}

#[test]
fn goodbye_as_text_closes_after_its_echo() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.echo("goodbye");
    client.echo("Goodbye ");
    client.send(&text("Goodbye"));
    client.expect_text("Goodbye");
    client.expect_close(1000);
    client.send(&crate::client::close(1000, b""));
    client.expect_eof();
}

#[test]
fn goodbye_in_fragments_closes_too() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.send(&frame(TEXT, b"Good"));
    client.send(&frame(FIN | CONTINUATION, b"bye"));
    client.expect_text("Goodbye");
    client.expect_close(1000);
}

#[test]
fn goodbye_as_binary_is_only_echoed() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.send(&binary(b"Goodbye"));
    client.expect_binary(b"Goodbye");
    client.echo("still here");
    client.finish();
}

#[test]
fn first_subprotocol_offered_comes_back() {
    let server = Server::start(&[]);
    for (lines, chosen) in [
        ("Sec-WebSocket-Protocol: chat, superchat\r\n", Some("chat")),
        (
            "Sec-WebSocket-Protocol: soap\r\nSec-WebSocket-Protocol: json\r\n",
            Some("soap"),
        ),
        ("Sec-WebSocket-Protocol: JSON\r\n", Some("JSON")),
        ("Sec-WebSocket-Protocol:  a.b-c ,d\r\n", Some("a.b-c")),
        ("", None),
    ] {
        let mut client = server.connect();
        client.send(request_with("/echo", lines).as_bytes());
        let response = client.expect_upgrade();
        assert_eq!(
            response.header("Sec-WebSocket-Protocol"),
            chosen,
            "offered {lines:?}"
        );
        client.echo("with a subprotocol");
        client.finish();
    }
}

#[test]
fn fragments_with_control_frames_between() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.send(&frame(TEXT, b"Hel"));
    client.send(&frame(FIN | PING, b"one"));
    client.expect_frame(FIN | PONG, b"one");
    client.send(&frame(CONTINUATION, b""));
    client.send(&frame(FIN | PONG, b"unasked"));
    client.send(&frame(CONTINUATION, b"l"));
    client.send(&frame(FIN | PING, b""));
    client.expect_frame(FIN | PONG, b"");
    client.send(&frame(FIN | CONTINUATION, b"o"));
    client.expect_text("Hello");
    client.finish();
}

#[test]
fn fragments_and_control_frames_in_one_write() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    let payload = pattern(70_000);
    let bytes = [
        frame(BINARY, &payload[..1]),
        frame(FIN | PING, b"between"),
        frame(CONTINUATION, &payload[1..66_000]),
        frame(CONTINUATION, b""),
        frame(FIN | CONTINUATION, &payload[66_000..]),
    ]
    .concat();
    client.send(&bytes);
    client.expect_frame(FIN | PONG, b"between");
    client.expect_binary(&payload);
    client.finish();
}

#[test]
fn characters_cut_by_fragments() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    let payload = "\u{1f41f} \u{20ac} \u{e9}";
    let bytes = payload.as_bytes();
    client.send(&frame(TEXT, &bytes[..1]));
    for byte in &bytes[1..bytes.len() - 1] {
        client.send(&frame(CONTINUATION, &[*byte]));
    }
    client.send(&frame(FIN | CONTINUATION, &bytes[bytes.len() - 1..]));
    client.expect_text(payload);
    client.finish();
}

/// As many as case 9.3.1 of the Autobahn Testsuite sends: 4 MiB in 64-byte fragments and an empty
/// one at the end.
#[test]
fn a_message_of_65537_fragments() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    let mut bytes = frame(TEXT, b"first");
    for _ in 0..65_535 {
        bytes.extend(frame(CONTINUATION, b""));
    }
    bytes.extend(frame(FIN | CONTINUATION, b" and last"));
    client.send(&bytes);
    client.expect_text("first and last");
    client.finish();
}

#[test]
fn a_burst_in_one_write_keeps_its_order() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    let burst: Vec<u8> = (0..1000)
        .flat_map(|i| text(&format!("message {i}")))
        .collect();
    client.send(&burst);
    for i in 0..1000 {
        client.expect_text(&format!("message {i}"));
    }
    client.finish();
}

#[test]
fn a_burst_of_mixed_sizes_keeps_its_order() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    let sizes = [
        0, 1, 125, 126, 4096, 16_383, 16_384, 16_385, 65_536, 3, 200_000, 0, 7,
    ];
    let burst: Vec<u8> = sizes
        .iter()
        .flat_map(|&size| binary(&pattern(size)))
        .collect();
    client.send(&burst);
    for size in sizes {
        client.expect_binary(&pattern(size));
    }
    client.finish();
}

#[test]
fn pings_are_answered_with_their_payload() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    for size in [0, 1, 124, 125] {
        client.send(&frame(FIN | PING, &pattern(size)));
        client.expect_frame(FIN | PONG, &pattern(size));
    }
    client.finish();
}

#[test]
fn one_byte_per_write() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let drip = |client: &mut Client, bytes: &[u8]| {
        bytes.chunks(1).for_each(|byte| client.send(byte));
    };
    let first = [
        request("/echo").into_bytes(),
        text("one byte at a time \u{20ac}"),
    ];
    drip(&mut client, &first.concat());
    client.expect_upgrade();
    client.expect_text("one byte at a time \u{20ac}");
    let second = [
        frame(BINARY, &pattern(130)),
        frame(FIN | PING, b"ping"),
        frame(FIN | CONTINUATION, b"end"),
    ];
    drip(&mut client, &second.concat());
    client.expect_frame(FIN | PONG, b"ping");
    client.expect_binary(&[&pattern(130)[..], b"end"].concat());
    client.finish();
}

#[test]
fn every_cut_of_two_frames() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    let bytes = [text(&"a".repeat(126)), binary(b"b")].concat();
    for cut in 1..bytes.len() {
        client.send(&bytes[..cut]);
        if cut % 8 == 0 {
            // Most cuts arrive as two reads anyway; a pause makes sure of some.
            thread::sleep(std::time::Duration::from_millis(1));
        }
        client.send(&bytes[cut..]);
        client.expect_text(&"a".repeat(126));
        client.expect_binary(b"b");
    }
    client.finish();
}

#[test]
fn a_header_and_nothing_yet() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.send(&header(FIN | BINARY, 300_000));
    client.expect_silence(std::time::Duration::from_millis(50));
    let whole = binary(&pattern(300_000));
    client.send(&whole[14..]);
    client.expect_binary(&pattern(300_000));
    client.finish();
}

#[test]
fn clients_at_once_do_not_mix() {
    let server = Server::start(&[]);
    let address = server.address();
    let threads: Vec<_> = (0..16)
        .map(|who| {
            thread::spawn(move || {
                let mut clients: Vec<_> = (0..4).map(|_| Client::open(address, "/echo")).collect();
                for round in 0..50 {
                    for (i, client) in clients.iter_mut().enumerate() {
                        client.send(&text(&format!("{who}/{i} {round} a")));
                        client.send(&text(&format!("{who}/{i} {round} b")));
                    }
                    for (i, client) in clients.iter_mut().enumerate() {
                        client.expect_text(&format!("{who}/{i} {round} a"));
                        client.expect_text(&format!("{who}/{i} {round} b"));
                    }
                }
                clients.into_iter().for_each(Client::finish);
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a client's thread");
    }
}

/// More than all buffers on the way hold, with a small outbox: the server must stop reading and
/// go on again many times.
#[test]
fn a_stream_through_a_small_outbox() {
    let server = Server::start(&["--outbox-limit", "65536"]);
    let mut client = server.open("/echo");
    let mut sender = client.stream().try_clone().expect("a second handle");
    let message = |i: usize| [&i.to_be_bytes()[..], &pattern(100_000 + i)].concat();
    let writer = thread::spawn(move || {
        for i in 0..300 {
            std::io::Write::write_all(&mut sender, &binary(&message(i))).expect("send");
        }
    });
    for i in 0..300 {
        client.expect_binary(&message(i));
    }
    writer.join().expect("the writer");
    client.finish();
}

#[test]
fn tungstenite_as_client() {
    let server = Server::start(&[]);
    let mut socket = tungstenite_client(&server, "/echo");
    let messages = [
        Message::text("hello"),
        Message::text(""),
        Message::binary(pattern(100_000)),
        Message::text("\u{1f41f}".repeat(50_000)),
    ];
    for message in messages {
        socket.send(message.clone()).expect("send");
        assert_eq!(socket.read().expect("an echo"), message);
    }
    socket
        .send(Message::Ping("here?".into()))
        .expect("send a ping");
    assert_eq!(
        socket.read().expect("a pong"),
        Message::Pong("here?".into())
    );
    let close = CloseFrame {
        code: 3001.into(),
        reason: "done".into(),
    };
    socket.close(Some(close)).expect("close");
    match socket.read().expect("the server's Close") {
        Message::Close(Some(answer)) => assert_eq!(u16::from(answer.code), 3001),
        other => panic!("Close 3001 expected, not {other:?}"),
    }
    let end = socket.read().expect_err("the end of the connection");
    assert!(
        matches!(end, tungstenite::Error::ConnectionClosed),
        "a clean close, not {end:?}"
    );
}

#[test]
fn tungstenite_hears_goodbye() {
    let server = Server::start(&[]);
    let mut socket = tungstenite_client(&server, "/echo");
    socket.send(Message::text("Goodbye")).expect("send");
    assert_eq!(socket.read().expect("the echo"), Message::text("Goodbye"));
    match socket.read().expect("the server's Close") {
        Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 1000),
        other => panic!("Close 1000 expected, not {other:?}"),
    }
    let end = socket.read().expect_err("the end of the connection");
    assert!(
        matches!(end, tungstenite::Error::ConnectionClosed),
        "a clean close, not {end:?}"
    );
}

fn tungstenite_client(server: &Server, path: &str) -> WebSocket<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(server.address()).expect("connect");
    stream
        .set_read_timeout(Some(crate::server::PATIENCE))
        .expect("set a read timeout");
    let request = format!("ws://{}{path}", server.address());
    let request = request.into_client_request().expect("a request");
    tungstenite::client(request, stream)
        .expect("the opening handshake")
        .0
}
