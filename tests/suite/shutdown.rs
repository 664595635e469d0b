//! SIGTERM and SIGINT: what was read is answered, everyone gets Close 1001, exit code 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{
    BINARY, CONTINUATION, Client, FIN, PING, PONG, TEXT, binary, close, close_parts, frame,
    request, text,
};
use crate::server::{PATIENCE, Server, eventually, refuses};

/// Sends 64 messages at a time and checks that their echoes come back in order, until Close
/// 1001; returns the number of echoes.
fn keep_sending(mut client: Client, who: usize, progress: &AtomicUsize) -> usize {
    let mut echoed = 0;
    let mut sent = 0;
    loop {
        let batch: Vec<u8> = (sent..sent + 64)
            .flat_map(|i| text(&format!("client {who} message {i}")))
            .collect();
        sent += 64;
        client.send(&batch);
        while echoed < sent {
            let frame = client.next().unwrap_or_else(|end| {
                panic!("{end:?} after {echoed} of {sent} echoes and no Close frame")
            });
            if frame.first != FIN | TEXT {
                assert_eq!(close_parts(&frame).0, Some(1001), "the code of a shutdown");
                client.send(&close(1001, b""));
                client.expect_eof();
                return echoed;
            }
            let expected = format!("client {who} message {echoed}");
            assert_eq!(
                String::from_utf8_lossy(&frame.payload),
                expected,
                "echoes in order"
            );
            echoed += 1;
        }
        progress.fetch_add(64, Ordering::Relaxed);
    }
}

fn under_load(signal: Signal) {
    const CLIENTS: usize = 8;
    let mut server = Server::start(&[]);
    let progress = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..CLIENTS)
        .map(|who| {
            let client = server.open("/echo");
            let progress = Arc::clone(&progress);
            thread::spawn(move || keep_sending(client, who, &progress))
        })
        .collect();
    eventually("the load runs", || {
        progress.load(Ordering::Relaxed) > 64 * CLIENTS * 4
    });
    server.signal(signal);
    for thread in threads {
        thread
            .join()
            .expect("a client that saw an orderly shutdown");
    }
    assert_eq!(server.wait().code(), Some(0), "exit code after {signal:?}");
}

#[test]
fn sigterm_under_load() {
    under_load(Signal::TERM);
}

#[test]
fn sigint_under_load() {
    under_load(Signal::INT);
}

/// Messages that arrive in one segment are read together. So when the first has been echoed, all
/// of them were read, and all of them must be answered.
#[test]
fn everything_read_is_answered() {
    let mut server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..20).map(|_| server.open("/echo")).collect();
    for client in &mut clients {
        let burst: Vec<u8> = (0..100).flat_map(|i| text(&i.to_string())).collect();
        client.send(&burst);
    }
    for client in &mut clients {
        client.expect_text("0");
    }
    server.signal(Signal::TERM);
    for client in &mut clients {
        for i in 1..100 {
            client.expect_text(&i.to_string());
        }
        client.expect_close(1001);
        client.send(&close(1001, b""));
        client.expect_eof();
    }
    drop(clients);
    assert_eq!(server.wait().code(), Some(0), "exit code");
}

/// A client that has sent nothing yet may still be the kernel's. It neither holds the end, nor is
/// it answered after it.
#[test]
fn who_has_said_nothing_holds_nothing_up() {
    let mut server = Server::start(&[]);
    let mut silent = server.connect();
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "exit code");
    assert!(start.elapsed() < PATIENCE / 2);
    _ = silent.try_send(request("/echo").as_bytes());
    silent.until_end();
}

/// An echo that lies in the outbox because the peer reads slowly is delivered whole.
#[test]
fn a_full_outbox_is_delivered() {
    let mut server = Server::start(&[]);
    let mut client = server.open("/echo");
    let payload: Vec<u8> = (0..16usize << 20).map(|i| (i ^ (i >> 9)) as u8).collect();
    client.send(&binary(&payload));
    // The first byte of the echo shows that the whole message was read.
    eventually("the echo begins", || client.is_readable());
    server.signal(Signal::TERM);
    eventually("the listener is closed", || refuses(server.address()));
    client.expect_binary(&payload);
    client.expect_close(1001);
    client.send(&close(1001, b""));
    client.expect_eof();
    drop(client);
    assert_eq!(server.wait().code(), Some(0), "exit code");
}

#[test]
fn an_idle_server_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&["--drain-timeout", "60s"]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "exit code after {signal:?}");
    }
}

/// Idle, half-sent and half-open connections end as well, long before the drain timeout when
/// their peers play along.
#[test]
fn quiet_connections_are_closed() {
    let mut server = Server::start(&["--drain-timeout", "60s"]);
    let mut idle = server.open("/echo");
    let mut fragmented = server.open("/echo");
    fragmented.send(&[frame(TEXT, b"never"), frame(CONTINUATION, b" finished")].concat());
    fragmented.send(&frame(FIN | PING, b"read"));
    fragmented.expect_frame(FIN | PONG, b"read");
    let mut closing = server.open("/echo");
    closing.send(&text("Goodbye"));
    closing.expect_text("Goodbye");
    server.signal(Signal::TERM);
    for client in [&mut idle, &mut fragmented] {
        client.expect_close(1001);
        client.send(&close(1001, b""));
        client.expect_eof();
    }
    closing.expect_close(1000);
    closing.send(&close(1000, b""));
    closing.expect_eof();
    drop((idle, fragmented, closing));
    assert_eq!(server.wait().code(), Some(0), "exit code");
}

/// A peer in the middle of its handshake cannot hold the server beyond the drain timeout.
#[test]
fn an_unfinished_handshake_does_not_hold_the_server() {
    let mut server = Server::start(&["--drain-timeout", "500ms"]);
    let mut client = server.connect();
    client.send(&request("/echo").as_bytes()[..30]);
    server.open("/echo").finish();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "exit code");
    if let Ok(response) = client.try_response() {
        assert!(
            response.status >= 400,
            "no upgrade during a shutdown: {response:?}"
        );
    }
}

#[test]
fn the_drain_timeout_is_kept() {
    let mut server = Server::start(&["--drain-timeout", "600ms", "--close-timeout", "60s"]);
    let mut client = server.open("/echo");
    let begin = Instant::now();
    server.signal(Signal::TERM);
    client.expect_close(1001);
    // No answer to the Close frame, and the connection stays open.
    let status = server.wait();
    let elapsed = begin.elapsed();
    assert_eq!(status.code(), Some(0), "exit code");
    assert!(
        elapsed >= Duration::from_millis(400),
        "ended after {elapsed:?}, before the timeout"
    );
    assert!(elapsed < PATIENCE / 2, "ended after {elapsed:?} only");
    drop(client);
}

#[test]
fn new_connections_are_refused_meanwhile() {
    let mut server = Server::start(&["--drain-timeout", "60s", "--close-timeout", "60s"]);
    let mut client = server.open("/echo");
    client.send(&frame(BINARY, b"unfinished"));
    server.signal(Signal::TERM);
    client.expect_close(1001);
    eventually("connections are refused", || refuses(server.address()));
    assert!(server.is_running(), "the server waits for its last peer");
    client.send(&close(1001, b""));
    client.expect_eof();
    drop(client);
    assert_eq!(server.wait().code(), Some(0), "exit code");
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let mut server = Server::start(&["--drain-timeout", "60s", "--close-timeout", "60s"]);
        let mut client = server.open("/echo");
        server.signal(first);
        client.expect_close(1001);
        client.expect_silence(Duration::from_millis(100));
        assert!(
            server.is_running(),
            "after one signal the server waits for its peer"
        );
        server.signal(second);
        server.wait();
        let log = server.log();
        assert!(
            !log.contains("panicked"),
            "a panic at the second signal: {log}"
        );
    }
}
