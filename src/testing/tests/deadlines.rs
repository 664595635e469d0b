//! Every deadline of a connection, to the millisecond.

use super::*;

fn is_closed(peer: &mut TestPeer) -> bool {
    peer.is_closed()
}

/// A client that has sent `bytes` of a request and nothing more.
fn unfinished(bytes: &[u8]) -> TestPeer {
    let mut peer = Pair::new(|_| -> Probe<fn(&mut Peer<'_>, On<'_>)> { unreachable!() })
        .start()
        .unwrap();
    peer.wire.write(bytes);
    peer.run();
    peer
}

#[test]
fn handshake_a_client_that_sends_nothing_is_dropped_without_a_word() {
    let mut peer = unfinished(b"");
    happens_after(&mut peer, 10_000, is_closed);
    assert!(peer.input.is_empty());
    assert!(is_empty(&mut peer));
}

#[test]
fn handshake_part_of_a_head_is_answered_with_408() {
    let mut peer = unfinished(b"GET / HTTP/1.1\r\nHost: ");
    // More of it does not buy more time.
    peer.advance(millis(9_000));
    peer.wire.write(b"local");
    happens_after(&mut peer, 1_000, |peer| !peer.input.is_empty());
    assert!(peer.input.starts_with(b"HTTP/1.1 408 "));
    assert!(peer.wire.is_ended());
    happens_after(&mut peer, 5_000, is_closed);
    assert!(is_empty(&mut peer));
}

#[test]
fn handshake_without_a_deadline_may_take_for_ever() {
    let off = config(|config| config.timeouts.handshake = None);
    let mut peer = probe(&Log::default(), obey).config(off).start().unwrap();
    let request = request();
    peer.wire.write(&request[..20]);
    peer.advance(Duration::from_secs(86_400));
    peer.wire.write(&request[20..]);
    peer.run();
    assert!(peer.input.starts_with(b"HTTP/1.1 101 "));
}

fn idle_after_a_minute() -> Config {
    config(|config| {
        config.timeouts.idle = Some(Duration::from_secs(60));
        config.timeouts.ping_interval = None;
    })
}

#[test]
fn idle_closes_with_1001_counted_from_the_last_message() {
    let log = Log::default();
    let pair = probe(&log, obey).config(idle_after_a_minute());
    let mut peer = pair.connect().unwrap();
    peer.advance(millis(59_999));
    peer.send("still here");
    happens_after(&mut peer, 60_000, |_| {
        log.has("close Idle 1001 unclean idle timeout")
    });
    let said = [text("still here"), close(1001, "idle timeout")];
    assert_eq!(receive_all(&mut peer), said);
    // The peer owes its Close frame.
    happens_after(&mut peer, 5_000, is_closed);
    assert!(is_empty(&mut peer));
}

#[test]
fn idle_does_not_count_pings_and_pongs_as_data() {
    let log = Log::default();
    let mut config = idle_after_a_minute();
    config.timeouts.ping_interval = Some(Duration::from_secs(7));
    let mut peer = probe(&log, obey).config(config).connect().unwrap();
    for _ in 0..5 {
        peer.advance(millis(10_000));
        peer.ping(b"");
        peer.send_raw(&frame(true, Opcode::Pong, b"unasked"));
    }
    happens_after(&mut peer, 10_000, |_| {
        log.has("close Idle 1001 unclean idle timeout")
    });
}

#[test]
fn idle_of_a_slot_starts_anew_with_its_next_connection() {
    let log = Log::default();
    let pair = probe(&log, obey).config(idle_after_a_minute());
    let mut peer = pair.connect().unwrap();
    peer.advance(millis(50_000));
    peer.reset();
    let wire = another(&mut peer, &request());
    happens_after(&mut peer, 60_000, |_| {
        log.has("close Idle 1001 unclean idle timeout")
    });
    assert!(!split_response(&wire).1.is_empty());
}

#[test]
fn ping_a_peer_that_answers_stays_for_hours() {
    let log = Log::default();
    let mut peer = probe(&log, obey).connect().unwrap();
    peer.advance(Duration::from_secs(8 * 3600));
    peer.send("hello");
    assert_eq!(receive_all(&mut peer), [text("hello")]);
    assert_eq!(log.take(), ["open", "message hello"]);
}

#[test]
fn ping_a_peer_that_does_not_answer_ends_after_interval_and_pong_timeout() {
    let log = Log::default();
    let mut peer = probe(&log, obey).answer_pings(false).connect().unwrap();
    happens_after(&mut peer, 25_000, |peer| {
        peer.receive() == Some(Received::Ping(Vec::new()))
    });
    happens_after(&mut peer, 10_000, is_closed);
    assert_eq!(
        log.take(),
        ["open", "close PongTimeout 1006 unclean", "drop"]
    );
    assert_eq!(receive_all(&mut peer), [Received::End]);
    assert!(is_empty(&mut peer));
}

#[test]
fn ping_comes_at_its_interval_also_when_the_pong_may_take_longer() {
    let config = config(|config| {
        config.timeouts.ping_interval = Some(millis(50));
        config.timeouts.pong = Some(millis(500));
    });
    let pair = probe(&Log::default(), obey).config(config);
    let mut peer = pair.answer_pings(false).connect().unwrap();
    for _ in 0..20 {
        happens_after(&mut peer, 50, |peer| {
            peer.receive() == Some(Received::Ping(Vec::new()))
        });
        peer.send_raw(&frame(true, Opcode::Pong, b""));
    }
}

#[test]
fn ping_waits_while_data_comes() {
    let mut peer = probe(&Log::default(), obey)
        .answer_pings(false)
        .connect()
        .unwrap();
    for _ in 0..20 {
        peer.advance(millis(24_999));
        peer.send("data");
        assert_eq!(receive_all(&mut peer), [text("data")]);
    }
    // A single byte of a frame is a sign of life as well.
    peer.advance(millis(24_999));
    peer.send_raw(&[0x81]);
    happens_after(&mut peer, 25_000, |peer| peer.receive().is_some());
}

#[test]
fn ping_any_byte_answers_it() {
    let mut peer = probe(&Log::default(), obey)
        .answer_pings(false)
        .connect()
        .unwrap();
    peer.advance(millis(34_999));
    peer.send_raw(&[0x81]);
    assert_eq!(receive_all(&mut peer), [Received::Ping(Vec::new())]);
    happens_after(&mut peer, 25_000, |peer| peer.receive().is_some());
    happens_after(&mut peer, 10_000, is_closed);
}

#[test]
fn ping_interval_off_means_no_pings_and_no_end() {
    let off = config(|config| config.timeouts.ping_interval = None);
    let pair = probe(&Log::default(), obey).config(off).answer_pings(false);
    let mut peer = pair.connect().unwrap();
    peer.advance(Duration::from_secs(86_400));
    assert_eq!(receive_all(&mut peer), []);
    assert_eq!(peer.stats().connections, 1);
}

#[test]
fn ping_without_a_pong_timeout_goes_on_without_answers() {
    let off = config(|config| config.timeouts.pong = None);
    let pair = probe(&Log::default(), obey).config(off).answer_pings(false);
    let mut peer = pair.connect().unwrap();
    for _ in 0..10 {
        happens_after(&mut peer, 25_000, |peer| {
            peer.receive() == Some(Received::Ping(Vec::new()))
        });
    }
    assert_eq!(peer.stats().connections, 1);
}

#[test]
fn ping_a_frame_that_stalls_ends_its_connection() {
    let log = Log::default();
    let mut peer = probe(&log, obey).connect().unwrap();
    // In the middle of a frame there is no way to answer the ping.
    let mut bytes = frame_head(Opcode::Binary, 100_000);
    bytes.resize(50_000, 0);
    peer.answer_pings = false;
    peer.send_raw(&bytes);
    assert!(peer.stats().memory >= 50_000 - 14);
    happens_after(&mut peer, 35_000, is_closed);
    assert_eq!(
        log.take(),
        ["open", "close PongTimeout 1006 unclean", "drop"]
    );
    assert!(is_empty(&mut peer));
}

#[test]
fn close_a_peer_that_does_not_answer_is_dropped() {
    let log = Log::default();
    let mut peer = probe(&log, obey).connect().unwrap();
    peer.send("close 4000 bye");
    assert_eq!(receive_all(&mut peer), [close(4000, "bye")]);
    // What comes instead of an answer buys no time.
    peer.advance(millis(4_000));
    peer.send("too late");
    happens_after(&mut peer, 1_000, is_closed);
    let expected = [
        "open",
        "message close 4000 bye",
        "close Handler 1006 unclean",
        "drop",
    ];
    assert_eq!(log.take(), expected);
    assert!(is_empty(&mut peer));
}

#[test]
fn close_a_peer_that_answers_but_keeps_its_stream_open_is_dropped() {
    let log = Log::default();
    let mut peer = probe(&log, obey).connect().unwrap();
    peer.send("close 4000 bye");
    peer.advance(millis(3_000));
    peer.close(Some(CloseCode::from(4000)), "");
    assert!(log.has("close Handler 4000 clean"));
    assert_eq!(receive_all(&mut peer), [close(4000, "bye"), Received::End]);
    assert!(!peer.is_closed());
    happens_after(&mut peer, 5_000, is_closed);
    assert!(is_empty(&mut peer));
}

#[test]
fn close_off_waits_for_the_peer() {
    let off = config(|config| config.timeouts.close = None);
    let log = Log::default();
    let mut peer = probe(&log, obey).config(off).connect().unwrap();
    peer.send("close 1000 ");
    peer.advance(Duration::from_secs(86_400));
    peer.close(Some(CloseCode::NORMAL), "");
    peer.advance(Duration::from_secs(86_400));
    assert!(!peer.is_closed());
    peer.end_stream();
    assert!(is_empty(&mut peer));
}

#[test]
fn write_a_peer_that_stops_reading_ends_with_1008() {
    let log = Log::default();
    let mut peer = probe(&log, obey).window(1000).connect().unwrap();
    peer.advance(millis(1_234));
    peer.stop_reading();
    peer.send("fill 5000");
    happens_after(&mut peer, 30_000, is_closed);
    let end = "close WriteTimeout 1008 unclean write timeout";
    assert_eq!(log.take(), ["open", "message fill 5000", end, "drop"]);
    assert!(is_empty(&mut peer));
}

#[test]
fn write_progress_starts_the_deadline_anew() {
    let log = Log::default();
    let mut peer = probe(&log, obey).window(1000).connect().unwrap();
    peer.stop_reading();
    peer.send("fill 50000");
    for _ in 0..20 {
        peer.advance(millis(29_999));
        peer.resume_one_window();
    }
    happens_after(&mut peer, 30_000, is_closed);
    assert!(log.has("close WriteTimeout 1008 unclean write timeout"));
}

#[test]
fn write_applies_to_a_peer_that_was_sent_a_close_frame() {
    for (command, end) in [
        ("close 1000 ", "close Handler 1006 unclean"),
        ("fill 1", "close WriteTimeout 1008 unclean write timeout"),
    ] {
        let log = Log::default();
        let mut peer = probe(&log, obey).window(1000).connect().unwrap();
        peer.stop_reading();
        peer.send("fill 5000");
        peer.send(command);
        happens_after(&mut peer, 30_000, is_closed);
        assert!(log.has(end), "{:?}", log.take());
        assert!(is_empty(&mut peer));
    }
}

#[test]
fn write_applies_to_a_peer_that_has_ended_its_stream() {
    let log = Log::default();
    let mut peer = probe(&log, obey).window(1000).connect().unwrap();
    peer.stop_reading();
    peer.send("fill 5000");
    peer.end_stream();
    assert!(log.has("close EndOfStream 1006 unclean"));
    happens_after(&mut peer, 30_000, is_closed);
    assert!(is_empty(&mut peer));
}

#[test]
fn write_off_leaves_it_to_the_pong_timeout() {
    let off = config(|config| config.timeouts.write = None);
    let log = Log::default();
    let mut peer = probe(&log, obey)
        .config(off)
        .window(1000)
        .connect()
        .unwrap();
    peer.stop_reading();
    peer.send("fill 5000");
    happens_after(&mut peer, 35_000, is_closed);
    assert!(log.has("close PongTimeout 1006 unclean"));
}

#[test]
fn drain_a_peer_that_does_not_answer_the_shutdown_is_dropped() {
    let off = config(|config| config.timeouts.close = None);
    let log = Log::default();
    let mut peer = probe(&log, obey).config(off).connect().unwrap();
    peer.server().stop();
    let goodbye = close(1001, "server shutting down");
    assert_eq!(receive_all(&mut peer), [goodbye]);
    assert!(log.has("close Shutdown 1001 unclean server shutting down"));
    happens_after(&mut peer, 10_000, is_closed);
    assert!(is_empty(&mut peer));
    assert_eq!(peer.next, Next::Never);
}

#[test]
fn drain_also_ends_what_was_closing_or_is_stuck() {
    let off = config(|config| {
        config.timeouts.close = None;
        config.timeouts.write = None;
    });
    let log = Log::default();
    let mut peer = probe(&log, obey)
        .config(off)
        .window(1000)
        .connect()
        .unwrap();
    peer.stop_reading();
    peer.send("fill 5000");
    let mut hello = request();
    hello.extend(frame(true, Opcode::Text, b"close 1000 "));
    let closing = another(&mut peer, &hello);
    let partial = another(&mut peer, b"GET / HT");
    assert_eq!(peer.stats().connections, 3);
    peer.server().stop();
    peer.run();
    assert!(partial.is_closed());
    happens_after(&mut peer, 10_000, |peer| {
        peer.is_closed() && closing.is_closed()
    });
    assert!(log.has("close Handler 1006 unclean"));
    assert_eq!(log.count("drop"), 2);
    assert!(is_empty(&mut peer));
}

#[test]
fn drain_a_peer_that_answers_ends_the_server_at_once() {
    let log = Log::default();
    let mut peer = probe(&log, obey).connect().unwrap();
    peer.send("last words");
    peer.server().stop();
    peer.run();
    peer.close(Some(CloseCode::GOING_AWAY), "");
    peer.end_stream();
    let said = [
        text("last words"),
        close(1001, "server shutting down"),
        Received::End,
    ];
    assert_eq!(receive_all(&mut peer), said);
    assert!(is_empty(&mut peer));
    assert_eq!(peer.next, Next::Never);
}

/// A large answer on a slow line keeps the peer from answering the ping behind it.
#[test]
fn ping_a_peer_that_reads_slowly_is_alive() {
    let log = Log::default();
    let mut peer = probe(&log, obey).window(10_000).connect().unwrap();
    peer.stop_reading();
    peer.send("fill 200000");
    for _ in 0..20 {
        peer.advance(millis(20_000));
        peer.resume_one_window();
    }
    peer.resume_reading();
    assert_eq!(receive_all(&mut peer), [binary(vec![b'x'; 200_000])]);
    assert_eq!(log.take(), ["open", "message fill 200000"]);
}
