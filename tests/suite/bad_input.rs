//! Framing faults: each gets the right close code, after what came before it was answered.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{
    BINARY, CLOSE, CONTINUATION, Client, FIN, PING, PONG, TEXT, binary, frame, header, header_16,
    header_64, text,
};
use crate::server::Server;

const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;

/// Sends two valid messages and `fault` in one write, and expects both echoes, the Close frame
/// and the end of the stream. Then once more with the fault in a write of its own.
#[track_caller]
fn fails_with(server: &Server, what: &str, fault: &[u8], code: u16) {
    for together in [true, false] {
        eprintln!(
            "{what}, {}",
            if together {
                "in one write"
            } else {
                "in a write of its own"
            }
        );
        let mut client = server.open("/echo");
        let before = [text("before"), binary(b"the fault")].concat();
        if together {
            client.send(&[&before[..], fault].concat());
        } else {
            client.send(&before);
        }
        client.expect_text("before");
        client.expect_binary(b"the fault");
        if !together {
            client.send(fault);
        }
        client.expect_close(code);
        client.expect_eof();
    }
}

#[test]
fn unmasked_frames() {
    let server = Server::start(&[]);
    fails_with(&server, "unmasked text", b"\x81\x05Hello", 1002);
    fails_with(&server, "unmasked empty binary", b"\x82\x00", 1002);
    fails_with(&server, "unmasked ping", b"\x89\x00", 1002);
    fails_with(&server, "unmasked close", b"\x88\x02\x03\xe8", 1002);
    fails_with(
        &server,
        "unmasked 16-bit header alone",
        b"\x82\x7e\x01\x00",
        1002,
    );
}

#[test]
fn reserved_bits() {
    let server = Server::start(&[]);
    for bit in [RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3] {
        fails_with(
            &server,
            "RSV on text",
            &frame(FIN | bit | TEXT, b"Hello"),
            1002,
        );
        fails_with(&server, "RSV on ping", &frame(FIN | bit | PING, b""), 1002);
        let fragment = [frame(TEXT, b"a"), frame(FIN | bit | CONTINUATION, b"b")].concat();
        fails_with(&server, "RSV on continuation", &fragment, 1002);
    }
}

#[test]
fn reserved_opcodes() {
    let server = Server::start(&[]);
    for opcode in (3..=7).chain(11..=15) {
        let what = format!("opcode {opcode}");
        fails_with(&server, &what, &frame(FIN | opcode, b"payload"), 1002);
        fails_with(&server, &what, &frame(FIN | opcode, b""), 1002);
        fails_with(&server, &what, &frame(opcode, b""), 1002);
    }
}

#[test]
fn control_frames_against_the_rules() {
    let server = Server::start(&[]);
    fails_with(&server, "fragmented ping", &frame(PING, b"a"), 1002);
    fails_with(&server, "fragmented pong", &frame(PONG, b"a"), 1002);
    fails_with(
        &server,
        "fragmented close",
        &frame(CLOSE, b"\x03\xe8"),
        1002,
    );
    fails_with(
        &server,
        "ping of 126",
        &frame(FIN | PING, &[b'x'; 126]),
        1002,
    );
    fails_with(
        &server,
        "pong of 126",
        &frame(FIN | PONG, &[b'x'; 126]),
        1002,
    );
    fails_with(
        &server,
        "close of 126",
        &frame(FIN | CLOSE, &[3; 126]),
        1002,
    );
    fails_with(
        &server,
        "ping of 126, header alone",
        &header_16(FIN | PING, 126),
        1002,
    );
    fails_with(
        &server,
        "ping of 70,000, header alone",
        &header_64(FIN | PING, 70_000),
        1002,
    );
}

#[test]
fn lengths_not_in_their_shortest_form() {
    let server = Server::start(&[]);
    for length in [0, 1, 125] {
        fails_with(&server, "16 bits", &header_16(FIN | BINARY, length), 1002);
    }
    for length in [0, 125, 126, 65_535] {
        fails_with(&server, "64 bits", &header_64(FIN | BINARY, length), 1002);
    }
}

#[test]
fn lengths_with_the_high_bit() {
    let server = Server::start(&[]);
    fails_with(&server, "2^63", &header_64(FIN | BINARY, 1 << 63), 1002);
    fails_with(&server, "2^64 - 1", &header_64(FIN | TEXT, u64::MAX), 1002);
}

#[test]
fn fragments_out_of_order() {
    let server = Server::start(&[]);
    fails_with(
        &server,
        "final continuation",
        &frame(FIN | CONTINUATION, b"x"),
        1002,
    );
    fails_with(&server, "continuation", &frame(CONTINUATION, b""), 1002);
    for opcode in [TEXT, BINARY] {
        let inside = [frame(TEXT, b"first"), frame(FIN | opcode, b"second")].concat();
        fails_with(&server, "message inside a message", &inside, 1002);
        let inside = [frame(BINARY, b"first"), frame(opcode, b"second")].concat();
        fails_with(
            &server,
            "fragmented message inside a message",
            &inside,
            1002,
        );
    }
    let after = [
        frame(BINARY, b""),
        frame(FIN | CONTINUATION, b""),
        frame(FIN | CONTINUATION, b"too late"),
    ]
    .concat();
    let mut client = server.open("/echo");
    client.send(&after);
    client.expect_binary(b"");
    client.expect_close(1002);
    client.expect_eof();
}

#[test]
fn text_that_is_not_utf8() {
    let server = Server::start(&[]);
    for (what, bytes) in [
        ("0xff", &b"ab\xffcd"[..]),
        ("lone continuation byte", &b"\x80"[..]),
        ("overlong slash", &b"\xc0\xaf"[..]),
        ("surrogate", &b"\xed\xa0\x80"[..]),
        ("beyond U+10FFFF", &b"\xf4\x90\x80\x80"[..]),
        ("five-byte form", &b"\xf8\x88\x80\x80\x80"[..]),
        ("cut at its end", &b"\xe2\x82"[..]),
        ("cut character, then ASCII", &b"\xf0\x9f\x90x"[..]),
    ] {
        fails_with(&server, what, &frame(FIN | TEXT, bytes), 1007);
        let mut long = vec![b'a'; 100_000];
        long.extend(bytes);
        fails_with(&server, what, &frame(FIN | TEXT, &long), 1007);
        let mut fragments = frame(TEXT, b"start");
        for byte in bytes {
            fragments.extend(frame(CONTINUATION, &[*byte]));
        }
        fragments.extend(frame(FIN | CONTINUATION, b""));
        fails_with(&server, what, &fragments, 1007);
    }
}

#[test]
fn binary_need_not_be_utf8() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    client.send(&[frame(BINARY, b"\xff"), frame(FIN | CONTINUATION, b"\x80")].concat());
    client.expect_binary(b"\xff\x80");
    client.finish();
}

/// Bad text fails where it is bad, not when its frame or message is complete.
#[test]
fn bad_text_in_an_unfinished_frame() {
    let server = Server::start(&[]);
    for (length, start) in [
        (1000, 10),
        (100_000, 10),
        (100_000, 50_000),
        (10 << 20, 20_000),
    ] {
        let mut payload = vec![b'a'; start];
        payload.extend(b"\xed\xa0\x80");
        // The masking of a frame depends on the place in the payload only.
        let mut bytes = header(FIN | TEXT, length);
        let masked = frame(FIN | TEXT, &payload);
        bytes.extend(&masked[masked.len() - payload.len()..]);
        fails_with(
            &server,
            &format!("{start} good bytes of {length}"),
            &bytes,
            1007,
        );
    }
    let unfinished = frame(TEXT, b"fragment \xc0");
    fails_with(&server, "in the first fragment", &unfinished, 1007);
}

#[test]
fn messages_over_the_limit() {
    let server = Server::start(&["--max-message", "1000"]);
    let mut client = server.open("/echo");
    client.send(&binary(&[7; 1000]));
    client.expect_binary(&[7; 1000]);
    client.send(
        &[
            frame(BINARY, &[7; 600]),
            frame(FIN | CONTINUATION, &[7; 400]),
        ]
        .concat(),
    );
    client.expect_binary(&[7; 1000]);
    client.finish();

    fails_with(&server, "1001 bytes", &binary(&[7; 1001]), 1009);
    fails_with(&server, "declared only", &header(FIN | TEXT, 1001), 1009);
    fails_with(
        &server,
        "far too long",
        &header(FIN | BINARY, 1 << 40),
        1009,
    );
    fails_with(
        &server,
        "as long as can be",
        &header(FIN | BINARY, (1 << 63) - 1),
        1009,
    );
    let fragments = [frame(TEXT, &[b'x'; 600]), header(CONTINUATION, 401)].concat();
    fails_with(&server, "declared by the second fragment", &fragments, 1009);
    let wrapping = [frame(TEXT, b"x"), header(CONTINUATION, (1 << 63) - 1)].concat();
    fails_with(
        &server,
        "a sum near the end of the integers",
        &wrapping,
        1009,
    );
}

#[test]
fn messages_over_the_default_limit() {
    let server = Server::start(&[]);
    fails_with(
        &server,
        "16 MiB + 1",
        &header(FIN | BINARY, (16 << 20) + 1),
        1009,
    );
}

#[test]
fn too_many_fragments() {
    let server = Server::start(&[]);
    let mut bytes = frame(BINARY, b"");
    for _ in 0..1 << 18 {
        bytes.extend(frame(CONTINUATION, b""));
    }
    fails_with(&server, "a flood of empty fragments", &bytes, 1009);
}

#[test]
fn memory_does_not_grow_with_declared_lengths() {
    const CONNECTIONS: usize = 1000;
    let server = Server::start(&[]);
    server.open("/echo").finish();
    crate::server::need_descriptors(CONNECTIONS as u64 + 500);
    let before = server.resident();
    let whole = binary(&vec![9; 16 << 20]);
    let clients: Vec<Client> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = server.open("/echo");
            client.send(&whole[..15]);
            client
        })
        .collect();
    let mut most = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(700) {
        most = most.max(server.resident());
        thread::sleep(Duration::from_millis(10));
    }
    let grown = most.saturating_sub(before);
    assert!(
        grown < 40 << 20,
        "{grown} bytes more for {CONNECTIONS} declared lengths"
    );
    // The bytes sent so far were the start of real messages.
    let mut client = clients.into_iter().last().unwrap();
    client.send(&whole[15..]);
    client.expect_binary(&vec![9; 16 << 20]);
    client.finish();
}
