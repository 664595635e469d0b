//! Every deadline over real sockets, with short values. A timer wheel rounds, so the tests leave
//! a third of each deadline as tolerance on the early side and [`PATIENCE`] on the late one.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{
    BINARY, Client, FIN, PING, PONG, TEXT, binary, close_parts, frame, header, request, text,
};
use crate::server::{PATIENCE, Server};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A stalled handshake ends with 408 or without an answer.
#[track_caller]
fn expect_408_or_end(client: &mut Client) {
    if let Ok(response) = client.try_response() {
        assert_eq!(response.status, 408, "the answer to a stalled handshake");
        client.until_end();
    }
}

#[test]
fn a_handshake_that_stalls() {
    let server = Server::start(&["--handshake-timeout", "300ms"]);
    for start in ["", "G", "GET /echo HTTP/1.1\r\nHost: local"] {
        let begin = Instant::now();
        let mut client = server.connect();
        client.send(start.as_bytes());
        expect_408_or_end(&mut client);
        let elapsed = begin.elapsed();
        assert!(
            elapsed >= ms(200),
            "{start:?} ended after {elapsed:?} already"
        );
    }
}

/// The deadline counts from the start: a byte now and then does not move it.
#[test]
fn a_handshake_that_drips() {
    let server = Server::start(&["--handshake-timeout", "400ms"]);
    let begin = Instant::now();
    let mut client = server.connect();
    client.send(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nCookie: ");
    while !client.is_readable() {
        assert!(
            begin.elapsed() < PATIENCE,
            "dripping still allowed after {PATIENCE:?}"
        );
        if client.try_send(b"x").is_err() {
            break;
        }
        thread::sleep(ms(20));
    }
    expect_408_or_end(&mut client);
}

#[test]
fn the_handshake_deadline_ends_with_the_handshake() {
    let server = Server::start(&["--handshake-timeout", "300ms"]);
    let mut client = server.open("/echo");
    client.expect_silence(ms(900));
    client.echo("long after the deadline");
    client.finish();
}

#[test]
fn a_frame_that_stalls() {
    let server = Server::start(&[
        "--ping-interval",
        "200ms",
        "--pong-timeout",
        "200ms",
        "--close-timeout",
        "300ms",
    ]);
    server.open("/echo").finish();
    let before = server.settled_descriptors();
    for unfinished in [
        header(FIN | BINARY, 100)[..3].to_vec(),
        [header(FIN | BINARY, 100), vec![0; 50]].concat(),
        [header(FIN | BINARY, 1 << 20), vec![0; 50_000]].concat(),
    ] {
        let begin = Instant::now();
        let mut client = server.open("/echo");
        client.send(&unfinished);
        client.expect_end_after(begin, ms(260));
        server.back_to(before);
    }
}

#[test]
fn a_dead_peer() {
    let server = Server::start(&[
        "--ping-interval",
        "300ms",
        "--pong-timeout",
        "300ms",
        "--close-timeout",
        "300ms",
    ]);
    server.open("/echo").finish();
    let before = server.settled_descriptors();
    let begin = Instant::now();
    let mut client = server.open("/echo");
    let ping = client.next().expect("a ping first");
    assert_eq!(ping.first, FIN | PING, "a ping first, not {ping:?}");
    assert!(
        begin.elapsed() >= ms(200),
        "a ping after {:?} already",
        begin.elapsed()
    );
    // Then the end, with a Close frame or without.
    let mut frames = 0;
    while let Ok(frame) = client.next() {
        assert_ne!(
            frame.first,
            FIN | PING,
            "a second ping although the first is unanswered"
        );
        close_parts(&frame);
        frames += 1;
        assert_eq!(frames, 1, "one Close frame at most");
    }
    assert!(
        begin.elapsed() >= ms(400),
        "dead after {:?} already",
        begin.elapsed()
    );
    server.back_to(before);
}

#[test]
fn a_peer_that_answers_pings_stays() {
    let server = Server::start(&["--ping-interval", "200ms", "--pong-timeout", "2s"]);
    let mut client = server.open("/echo");
    let begin = Instant::now();
    let mut pings = 0;
    while begin.elapsed() < ms(3_500) {
        let ping = client.next().expect("pings while nothing is sent");
        assert_eq!(ping.first, FIN | PING, "a ping, not {ping:?}");
        pings += 1;
        client.send(&frame(FIN | PONG, &ping.payload));
    }
    assert!(pings >= 3, "{pings} pings in {:?}", begin.elapsed());
    client.send(&text("alive"));
    loop {
        let frame = client.next().expect("the echo");
        if frame.first == FIN | TEXT {
            assert_eq!(frame.payload, b"alive");
            break;
        }
        assert_eq!(frame.first, FIN | PING);
    }
}

/// Any byte is a sign of life: a peer that sends needs no pings.
#[test]
fn no_pings_while_the_peer_sends() {
    let server = Server::start(&["--ping-interval", "2s", "--pong-timeout", "2s"]);
    let mut client = server.open("/echo");
    let begin = Instant::now();
    while begin.elapsed() < ms(3_000) {
        // The echo is the only frame: a ping would fail the test here.
        client.echo("busy");
        thread::sleep(ms(50));
    }
    client.finish();
}

#[test]
fn an_idle_peer_is_closed() {
    let server = Server::start(&["--idle-timeout", "400ms"]);
    let begin = Instant::now();
    let mut client = server.open("/echo");
    client.expect_close(1001);
    assert!(
        begin.elapsed() >= ms(270),
        "idle after {:?} already",
        begin.elapsed()
    );
    client.send(&crate::client::close(1001, b""));
    client.expect_eof();
}

#[test]
fn data_keeps_a_peer_from_being_idle() {
    let server = Server::start(&["--idle-timeout", "1s"]);
    let mut client = server.open("/echo");
    let begin = Instant::now();
    while begin.elapsed() < ms(2_500) {
        client.echo("not idle");
        thread::sleep(ms(50));
    }
    client.expect_close(1001);
}

#[test]
fn pings_do_not_keep_a_peer_from_being_idle() {
    let server = Server::start(&["--idle-timeout", "500ms"]);
    let mut client = server.open("/echo");
    let begin = Instant::now();
    loop {
        assert!(
            begin.elapsed() < PATIENCE,
            "pings alone kept it open for {PATIENCE:?}"
        );
        client.send(&frame(FIN | PING, b"busy?"));
        let frame = client.next().expect("a pong or the Close frame");
        if frame.first != FIN | PONG {
            assert_eq!(
                close_parts(&frame).0,
                Some(1001),
                "the code of an idle close"
            );
            break;
        }
        thread::sleep(ms(20));
    }
}

/// Writes `unit` again and again without ever reading until the server has dropped the
/// connection; returns the most memory the server grew by meanwhile.
fn flood_without_reading(server: &Server, unit: &[u8]) -> u64 {
    server.open("/echo").finish();
    let descriptors = server.settled_descriptors();
    let resident = server.resident();
    let client = server.open("/echo");
    let mut stream = client.stream();
    stream.set_nonblocking(true).expect("a non-blocking socket");
    let (mut most, mut at) = (0, 0);
    let mut looked = Instant::now();
    let begin = Instant::now();
    loop {
        match stream.write(&unit[at..]) {
            Ok(count) => at = (at + count) % unit.len(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(ms(5)),
            Err(_) => break,
        }
        if looked.elapsed() > ms(5) {
            most = most.max(server.resident().saturating_sub(resident));
            looked = Instant::now();
        }
        assert!(
            begin.elapsed() < PATIENCE * 2,
            "a peer that never reads is still connected"
        );
    }
    server.back_to(descriptors);
    server.open("/echo").finish();
    most
}

#[test]
fn a_peer_that_never_reads_its_echoes() {
    let server = Server::start(&["--write-timeout", "500ms", "--close-timeout", "300ms"]);
    let most = flood_without_reading(&server, &binary(&[0x5a; 64 << 10]));
    assert!(
        most < 32 << 20,
        "memory grew by {most} bytes for one slow peer"
    );
}

#[test]
fn a_peer_that_never_reads_its_pongs() {
    let server = Server::start(&["--write-timeout", "500ms", "--close-timeout", "300ms"]);
    let most = flood_without_reading(&server, &frame(FIN | PING, &[0x5a; 125]).repeat(500));
    assert!(
        most < 32 << 20,
        "memory grew by {most} bytes for unread pongs"
    );
}

/// A slow reader that goes on reading is not a stalled one.
#[test]
fn a_slow_reader_is_not_stalled() {
    const MESSAGES: usize = 300;
    const LENGTH: usize = 100_000;
    let server = Server::start(&["--write-timeout", "3s"]);
    let mut client = server.open("/echo");
    let mut sender = client.stream().try_clone().expect("a second handle");
    let writer = thread::spawn(move || {
        let message = binary(&[0xa5; LENGTH]);
        for _ in 0..MESSAGES {
            sender.write_all(&message).expect("send");
        }
    });
    for i in 0..MESSAGES {
        client.expect_binary(&[0xa5; LENGTH]);
        // The last part is what the buffers on the way hold; no need to dawdle over it.
        if i < MESSAGES * 2 / 3 {
            thread::sleep(ms(30));
        }
    }
    writer.join().expect("the writer");
    client.finish();
}

/// Deadlines of one connection do not touch its neighbours.
#[test]
fn a_neighbour_of_stalled_peers() {
    let server = Server::start(&["--handshake-timeout", "300ms"]);
    let mut client = server.open("/echo");
    let mut stalled: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    for client in &mut stalled {
        client.send(&request("/echo").as_bytes()[..40]);
    }
    for other in &mut stalled {
        client.echo("still served");
        expect_408_or_end(other);
    }
    client.finish();
}
