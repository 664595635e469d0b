//! What a handler is told, and what the peer is sent, for every way a connection can end.

use super::*;

/// An open connection whose handler obeys.
fn open() -> (Log, TestPeer) {
    let log = Log::default();
    let peer = probe(&log, obey).connect().unwrap();
    assert_eq!(log.take(), ["open"]);
    (log, peer)
}

/// The connection has gone, and its handler was told so, once, in this way.
#[track_caller]
fn ended(log: &Log, peer: &mut TestPeer, how: &str) {
    assert_eq!(log.take(), [how, "drop"]);
    assert!(is_empty(peer));
    peer.advance(Duration::from_secs(3600));
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn a_close_frame_of_the_peer_is_echoed() {
    for (code, reason, how) in [
        (Some(1000), "", "close Peer 1000 clean"),
        (Some(4999), "enough", "close Peer 4999 clean enough"),
        (None, "", "close Peer 1005 clean"),
    ] {
        let (log, mut peer) = open();
        let code = code.map(CloseCode::from);
        peer.close(code, reason);
        peer.send("not heard");
        let said = [Received::Close(code, String::new()), Received::End];
        assert_eq!(receive_all(&mut peer), said);
        peer.end_stream();
        ended(&log, &mut peer, how);
    }
}

#[test]
fn a_close_comes_after_the_answers_to_what_came_before() {
    let (log, mut peer) = open();
    let mut bytes = frame(true, Opcode::Text, b"one");
    bytes.extend(frame(true, Opcode::Ping, b"two"));
    bytes.extend(frame(true, Opcode::Text, b"three"));
    bytes.extend(frame(true, Opcode::Close, &4001u16.to_be_bytes()));
    bytes.extend(frame(true, Opcode::Text, b"never"));
    peer.send_raw(&bytes);
    let mut said = receive_all(&mut peer);
    // A pong may overtake messages; nothing else may.
    said.retain(|it| *it != Received::Pong(b"two".to_vec()));
    assert_eq!(
        said,
        [text("one"), text("three"), close(4001, ""), Received::End]
    );
    peer.end_stream();
    assert_eq!(log.take()[..2], ["message one", "message three"]);
}

#[test]
fn a_close_of_the_handler_that_is_answered_is_clean() {
    for (answer, how) in [
        (Some(4000), "close Handler 4000 clean"),
        (None, "close Handler 1005 clean"),
    ] {
        let (log, mut peer) = open();
        peer.send("close 4000 bye");
        peer.close(answer.map(CloseCode::from), "");
        assert_eq!(receive_all(&mut peer), [close(4000, "bye"), Received::End]);
        peer.end_stream();
        assert_eq!(log.take()[1..], [how, "drop"]);
        assert!(is_empty(&mut peer));
    }
}

#[test]
fn a_close_of_the_handler_that_is_not_answered_is_not() {
    type End = fn(&mut TestPeer);
    let ends: [End; 4] = [
        |peer| peer.end_stream(),
        |peer| peer.reset(),
        |peer| peer.send_raw(&[0xff, 0xff]),
        |peer| peer.advance(millis(5000)),
    ];
    for end in ends {
        let (log, mut peer) = open();
        peer.send("close 4000 bye");
        end(&mut peer);
        assert_eq!(log.take()[1..], ["close Handler 1006 unclean", "drop"]);
        peer.advance(millis(5000));
        assert!(is_empty(&mut peer));
    }
}

#[test]
fn close_frames_that_cross_are_a_clean_end() {
    let (log, mut peer) = open();
    let mut bytes = frame(true, Opcode::Text, b"close 4000 bye");
    bytes.extend(frame(true, Opcode::Close, &4001u16.to_be_bytes()));
    peer.send_raw(&bytes);
    assert_eq!(receive_all(&mut peer), [close(4000, "bye"), Received::End]);
    peer.end_stream();
    assert_eq!(log.take()[1..], ["close Handler 4001 clean", "drop"]);
    assert!(is_empty(&mut peer));
}

#[test]
fn after_its_own_close_the_server_hears_and_says_nothing() {
    let (log, mut peer) = open();
    let mut bytes = frame(true, Opcode::Text, b"close 1000 ");
    bytes.extend(frame(true, Opcode::Text, b"same read"));
    peer.send_raw(&bytes);
    peer.ping(b"there?");
    peer.send("later read");
    // Also one that is received in its own buffer.
    peer.send(vec![0; 300_000]);
    peer.send_raw(&frame(false, Opcode::Text, b"frag"));
    peer.send_raw(&frame(true, Opcode::Continuation, b"ments"));
    peer.close(None, "");
    peer.ping(b"there?");
    assert_eq!(receive_all(&mut peer), [close(1000, ""), Received::End]);
    assert_eq!(
        log.take(),
        ["message close 1000 ", "close Handler 1005 clean", "drop"]
    );
    peer.end_stream();
    assert!(is_empty(&mut peer));
}

#[test]
fn after_a_close_for_idleness_or_shutdown_nothing_is_answered_either() {
    for shutdown in [true, false] {
        let log = Log::default();
        let idle = config(|config| config.timeouts.idle = Some(Duration::from_secs(1)));
        let mut peer = probe(&log, obey).config(idle).connect().unwrap();
        match shutdown {
            true => peer.server().stop(),
            false => peer.advance(millis(1000)),
        }
        peer.run();
        peer.ping(b"");
        peer.send("hello");
        peer.close(None, "");
        peer.end_stream();
        assert!(matches!(
            receive_all(&mut peer)[..],
            [
                Received::Close(Some(CloseCode::GOING_AWAY), _),
                Received::End
            ]
        ));
        assert_eq!(log.take().len(), 3, "open, close and drop");
        assert!(is_empty(&mut peer));
    }
}

/// Faults of each code, as the bytes that commit them.
fn faults() -> Vec<(Vec<u8>, u16, &'static str)> {
    let close_of_one_byte = frame(true, Opcode::Close, b"1");
    vec![
        (vec![0x81, 0x01, b'x'], 1002, "Unmasked"),
        (vec![0xc1], 1002, "ReservedBits"),
        (vec![0x83], 1002, "ReservedOpcode(3)"),
        (
            frame(true, Opcode::Continuation, b""),
            1002,
            "UnexpectedContinuation",
        ),
        (frame(false, Opcode::Ping, b""), 1002, "FragmentedControl"),
        (close_of_one_byte, 1002, "InvalidCloseLength"),
        (frame(true, Opcode::Text, b"\xff"), 1007, "InvalidUtf8"),
        (frame_head(Opcode::Binary, 1 << 40), 1009, "MessageTooBig"),
    ]
}

#[test]
fn a_fault_is_answered_with_its_code_after_the_messages_before_it() {
    for (bytes, code, name) in faults() {
        let (log, mut peer) = open();
        let mut all = frame(true, Opcode::Text, b"before");
        all.extend(bytes);
        peer.send_raw(&all);
        let said = receive_all(&mut peer);
        let [message, Received::Close(sent, reason), Received::End] = &said[..] else {
            panic!("{said:?}");
        };
        assert_eq!(*message, text("before"));
        assert_eq!(*sent, Some(CloseCode::from(code)));
        peer.send("after");
        peer.end_stream();
        let lines = log.take();
        assert_eq!(lines[0], "message before");
        assert!(
            lines[1].starts_with(&format!("close Fault({name}")),
            "{lines:?}"
        );
        assert!(
            lines[1].ends_with(&format!("{code} unclean {reason}")),
            "{lines:?}"
        );
        assert_eq!(lines[2..], ["drop"]);
        assert!(is_empty(&mut peer));
    }
}

#[test]
fn the_end_of_the_stream_without_a_close_frame() {
    let (log, mut peer) = open();
    peer.end_stream();
    assert_eq!(receive_all(&mut peer), [Received::End]);
    ended(&log, &mut peer, "close EndOfStream 1006 unclean");
}

#[test]
fn a_client_that_half_closes_still_gets_its_answers() {
    let log = Log::default();
    let mut peer = probe(&log, obey).window(1000).connect().unwrap();
    let sent: Vec<_> = (0..50u8).map(|at| vec![at; 300]).collect();
    peer.stop_reading();
    for message in &sent {
        peer.wire.write(&frame(true, Opcode::Binary, message));
    }
    peer.end_stream();
    assert!(log.has("close EndOfStream 1006 unclean"));
    assert!(!peer.is_closed());
    peer.resume_reading();
    let mut expected: Vec<_> = sent.into_iter().map(binary).collect();
    expected.push(Received::End);
    assert_eq!(receive_all(&mut peer), expected);
    assert!(is_empty(&mut peer));
}

#[test]
fn a_half_close_in_the_middle_of_a_message() {
    let (log, mut peer) = open();
    peer.send_raw(&frame(false, Opcode::Text, b"the first half"));
    assert!(peer.stats().memory > 0);
    peer.end_stream();
    ended(&log, &mut peer, "close EndOfStream 1006 unclean");
}

#[test]
fn a_reset_ends_an_open_connection_at_once() {
    let (log, mut peer) = open();
    peer.reset();
    ended(&log, &mut peer, "close Lost(ConnectionReset) 1006 unclean");
}

/// One conversation, cut by a reset after every number of its bytes.
#[test]
fn a_reset_at_any_byte_leaks_nothing() {
    let mut conversation = request();
    conversation.extend(frame(false, Opcode::Text, b"in two "));
    conversation.extend(frame(true, Opcode::Ping, b"!"));
    conversation.extend(frame(true, Opcode::Continuation, b"parts"));
    conversation.extend(frame(true, Opcode::Text, b"close 1000 "));
    conversation.extend(frame(true, Opcode::Close, b""));
    for at in 0..=conversation.len() {
        for half_close in [false, true] {
            let log = Log::default();
            let mut peer = probe(&log, obey).start().unwrap();
            peer.wire.write(&conversation[..at]);
            peer.run();
            match half_close {
                true => peer.end_stream(),
                false => peer.reset(),
            }
            assert!(is_empty(&mut peer), "cut at {at}");
            let lines = log.take();
            let closes = lines.iter().filter(|line| line.starts_with("close"));
            assert_eq!(
                closes.count(),
                usize::from(lines.contains(&"open".to_owned()))
            );
        }
    }
}

#[test]
fn a_reset_while_output_is_queued() {
    let log = Log::default();
    let mut peer = probe(&log, obey).window(100).connect().unwrap();
    log.take();
    peer.stop_reading();
    peer.send("fill 5000");
    assert!(peer.stats().memory > 4000);
    log.take();
    peer.reset();
    ended(&log, &mut peer, "close Lost(ConnectionReset) 1006 unclean");
}

#[test]
fn shutdown_answers_what_was_read_and_says_1001() {
    let (log, mut peer) = open();
    peer.wire.write(&frame(true, Opcode::Text, b"last"));
    peer.server().stop();
    let said = [text("last"), close(1001, "server shutting down")];
    assert_eq!(receive_all(&mut peer), said);
    peer.close(Some(CloseCode::GOING_AWAY), "");
    peer.end_stream();
    let how = "close Shutdown 1001 unclean server shutting down";
    assert_eq!(log.take(), ["message last", how, "drop"]);
    assert_eq!(peer.next, Next::Never);
}

#[test]
fn pings_are_answered_between_fragments_and_while_output_waits() {
    let log = Log::default();
    let mut peer = probe(&log, obey).window(1000).connect().unwrap();
    peer.stop_reading();
    peer.send("fill 3000");
    peer.send_raw(&frame(false, Opcode::Text, b"frag"));
    peer.ping(b"1");
    peer.send_raw(&frame(true, Opcode::Continuation, b"ments"));
    peer.ping(&[b'2'; 125]);
    peer.resume_reading();
    let expected = [
        binary(vec![b'x'; 3000]),
        Received::Pong(b"1".to_vec()),
        text("fragments"),
        Received::Pong(vec![b'2'; 125]),
    ];
    assert_eq!(receive_all(&mut peer), expected);
}

/// A handler that closes in `on_open`.
fn closes_at_once(log: &Log) -> Pair {
    probe(log, |peer, on| {
        if let On::Open = on {
            peer.send("hello");
            peer.close(CloseCode::from(4003), "not you");
        }
    })
}

#[test]
fn a_close_in_on_open_leaves_with_the_response() {
    let log = Log::default();
    let mut peer = closes_at_once(&log).connect().unwrap();
    let said = [text("hello"), close(4003, "not you")];
    assert_eq!(receive_all(&mut peer), said);
    peer.close(Some(CloseCode::from(4003)), "");
    peer.end_stream();
    assert_eq!(log.take(), ["open", "close Handler 4003 clean", "drop"]);
}

#[test]
fn early_frames_are_heard_after_a_close_in_on_open() {
    let log = Log::default();
    let mut peer = closes_at_once(&log).start().unwrap();
    let mut bytes = request();
    bytes.extend(frame(true, Opcode::Text, b"early"));
    bytes.extend(frame(true, Opcode::Close, &4004u16.to_be_bytes()));
    peer.wire.write(&bytes);
    peer.run();
    assert_eq!(log.take(), ["open", "close Handler 4004 clean", "drop"]);
    peer.end_stream();
    assert!(is_empty(&mut peer));
}

#[test]
fn early_frames_belong_to_the_first_messages() {
    let log = Log::default();
    let mut peer = probe(&log, obey).start().unwrap();
    let mut bytes = request();
    bytes.extend(frame(true, Opcode::Text, b"early"));
    let late = frame(true, Opcode::Text, b"late");
    bytes.extend(&late[..4]);
    peer.wire.write(&bytes);
    peer.run();
    peer.wire.write(&late[4..]);
    peer.run();
    assert_eq!(log.take(), ["open", "message early", "message late"]);
    assert_eq!(peer.stats().memory, 0);
}
