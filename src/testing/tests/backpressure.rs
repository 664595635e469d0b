//! A peer that does not keep up: nothing is lost, nothing piles up.

use proptest::prelude::*;

use super::*;
use crate::Sent;

/// The default outbox limit and what is let through above it.
const LIMIT: usize = 1 << 20;
const SLACK: usize = 64 << 10;

#[test]
fn a_peer_that_stops_reading_is_not_read_until_it_reads_again() {
    let log = Log::default();
    let mut peer = probe(&log, obey).window(10_000).connect().unwrap();
    peer.stop_reading();
    let message = vec![7; 10_000];
    for _ in 0..500 {
        peer.send(&message[..]);
    }
    let unread = peer.wire.unread();
    assert!(unread > 3_000_000, "{unread} of 5,000,000 bytes unread");
    assert!(peer.stats().memory < 2 * LIMIT as u64);
    peer.advance(millis(1000));
    assert_eq!(peer.wire.unread(), unread);
    peer.resume_reading();
    assert_eq!(peer.wire.unread(), 0);
    let answers = receive_all(&mut peer);
    assert_eq!(answers.len(), 500);
    assert!(answers.iter().all(|it| *it == binary(message.clone())));
    assert_eq!(peer.stats().memory, 0);
}

#[test]
fn reading_goes_on_when_half_of_the_limit_is_left() {
    let mut peer = probe(&Log::default(), obey).window(1000).connect().unwrap();
    peer.stop_reading();
    peer.send(&*format!("fill {}", LIMIT + 1000));
    peer.send("waits");
    let mut waiting = LIMIT + 10;
    while waiting > LIMIT / 2 {
        assert!(peer.wire.unread() > 0, "at {waiting}");
        waiting -= 1000;
        peer.resume_one_window();
    }
    assert_eq!(peer.wire.unread(), 0);
}

#[test]
fn a_paused_connection_does_not_keep_the_reactor_awake() {
    let mut peer = probe(&Log::default(), obey).window(100).connect().unwrap();
    peer.stop_reading();
    peer.send("fill 2000000");
    peer.send("unheard");
    assert!(matches!(peer.next, Next::At(_)));
    assert!(peer.wire.unread() > 0);
}

/// A handler that sends `size` bytes at a time until it is refused, and again in `on_drain`.
fn streams(log: &Log, size: usize) -> Pair {
    let results = log.clone();
    probe(log, move |peer, on| {
        if !matches!(on, On::Message(_) | On::Drain) {
            return;
        }
        let mut sent = 0;
        while peer.send(vec![0; size]) == Sent::Queued {
            sent += 1;
        }
        results.add(format!("sent {sent}"));
    })
}

#[test]
fn over_the_limit_is_said_and_then_on_drain_once() {
    let log = Log::default();
    let mut peer = streams(&log, 50_000).window(1000).connect().unwrap();
    peer.stop_reading();
    peer.send("go");
    let first = (LIMIT + SLACK) / 50_002 + 1;
    assert_eq!(log.take(), ["open", "message go", &format!("sent {first}")]);
    let mut waiting = first * 50_004 - 1000;
    while waiting > LIMIT / 2 {
        assert!(!log.has("drain"), "at {waiting}");
        waiting -= 1000;
        peer.resume_one_window();
    }
    // What `on_drain` sent is over the limit again.
    assert_eq!(log.take(), ["drain", "sent 12"]);
}

#[test]
fn on_drain_comes_also_when_the_kernel_took_everything_at_once() {
    let log = Log::default();
    let drained = log.clone();
    let pair = probe(&log, move |peer, on| {
        if let On::Message(_) = on {
            while peer.send(vec![0; 100_000]) == Sent::Queued {}
        }
        if let On::Drain = on {
            drained.add(format!("with {} waiting", peer.buffered_amount()));
        }
    });
    let mut peer = pair.window(usize::MAX).connect().unwrap();
    peer.send("go");
    assert_eq!(
        log.take(),
        ["open", "message go", "drain", "with 0 waiting"]
    );
    assert_eq!(receive_all(&mut peer).len(), 12);
}

#[test]
fn no_drain_is_announced_to_a_connection_that_is_closing() {
    let log = Log::default();
    let pair = probe(&log, |peer, on| {
        if let On::Message(_) = on {
            while peer.send(vec![0; 100_000]) == Sent::Queued {}
            peer.close(CloseCode::NORMAL, "");
            assert_eq!(peer.send("x"), Sent::Closing);
        }
    });
    let mut peer = pair.window(1000).connect().unwrap();
    peer.send("go");
    peer.close(None, "");
    assert_eq!(receive_all(&mut peer).len(), 14);
    assert_eq!(
        log.take(),
        ["open", "message go", "close Handler 1005 clean", "drop"]
    );
}

#[test]
fn buffered_amount_is_what_the_kernel_has_not_taken() {
    let log = Log::default();
    let amounts = log.clone();
    let pair = probe(&log, move |peer, on| {
        if let On::Message(_) = on {
            let before = peer.buffered_amount();
            peer.send(vec![0; 1000]);
            peer.send(vec![0; 20_000]);
            amounts.add(format!("{before} {}", peer.buffered_amount()));
        }
    });
    let mut peer = pair.window(500).connect().unwrap();
    log.take();
    peer.stop_reading();
    peer.send("a");
    assert_eq!(log.take(), ["message a", "0 21008"]);
    // The kernel has taken 500 bytes; the response to the request has been read.
    peer.send("b");
    assert_eq!(log.take(), ["message b", "20508 41516"]);
    peer.resume_reading();
    peer.send("c");
    assert_eq!(log.take(), ["message c", "0 21008"]);
}

/// Small fragments are gathered without limit by one read, so that the answer to the message
/// they make is over the limit while the messages behind it have been read as well.
#[test]
fn an_answer_is_never_refused_because_the_one_before_it_was_large() {
    let mut peer = probe(&Log::default(), obey).window(1000).connect().unwrap();
    let large = vec![1; 2 * LIMIT];
    let (most, rest) = large.split_at(large.len() - 100);
    peer.send_raw(&frame(false, Opcode::Binary, most));
    let mut bytes = frame(true, Opcode::Continuation, rest);
    for _ in 0..100 {
        bytes.extend(frame(true, Opcode::Text, b"small"));
    }
    peer.send_raw(&bytes);
    let answers = receive_all(&mut peer);
    assert_eq!(answers.len(), 101);
    assert_eq!(answers[0], binary(large));
}

#[derive(Clone, Debug)]
enum Step {
    Send { size: usize, fragments: usize },
    Window(usize),
    Stop,
    Resume,
    ReadOnce,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![0..200usize, 0..5_000usize, 0..200_000usize];
    let step = prop_oneof![
        8 => (size, 1..5usize).prop_map(|(size, fragments)| Step::Send { size, fragments }),
        1 => prop_oneof![500..2_000usize, 2_000..500_000usize].prop_map(Step::Window),
        1 => Just(Step::Stop),
        1 => Just(Step::Resume),
        3 => Just(Step::ReadOnce),
    ];
    prop::collection::vec(step, 1..60)
}

/// Sends a message in several frames, all in one piece.
fn send_in(peer: &mut TestPeer, fragments: usize, payload: &[u8]) {
    let size = payload.len().div_ceil(fragments).max(1);
    let pieces: Vec<&[u8]> = match payload {
        [] => vec![&[]],
        payload => payload.chunks(size).collect(),
    };
    let mut bytes = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let opcode = if at == 0 {
            Opcode::Binary
        } else {
            Opcode::Continuation
        };
        bytes.extend(frame(at + 1 == pieces.len(), opcode, piece));
    }
    // Not looked at before the next step, so that one read finds several.
    peer.wire.write(&bytes);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_echo_loses_nothing(steps in steps(), outbox in 1..300_000usize) {
        let small = config(|config| config.limits.outbox = outbox);
        let log = Log::default();
        let mut peer = probe(&log, obey).config(small).window(20_000).connect().unwrap();
        let mut expected = Vec::new();
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send { size, fragments } => {
                    let payload = vec![at as u8; size];
                    send_in(&mut peer, fragments, &payload);
                    expected.push(binary(payload));
                }
                Step::Window(bytes) => peer.wire.set_window(bytes),
                Step::Stop => peer.stop_reading(),
                Step::Resume => peer.resume_reading(),
                Step::ReadOnce => peer.resume_one_window(),
            }
        }
        peer.resume_reading();
        let answers = receive_all(&mut peer);
        prop_assert_eq!(answers.len(), expected.len());
        prop_assert!(answers == expected);
        // The buffers of large messages are kept for a while.
        peer.advance(Duration::from_secs(1));
        prop_assert_eq!(peer.stats().memory, 0);
        peer.close(Some(CloseCode::NORMAL), "");
        peer.end_stream();
        prop_assert!(is_empty(&mut peer));
    }
}
