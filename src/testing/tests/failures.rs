//! System calls that fail or do only part of what they were asked for, one by one.

use std::cell::Cell;
use std::rc::Rc;

use rustix::io::Errno;

use super::*;

const CALLS: [Call; 6] = [
    Call::Accept,
    Call::PeerAddr,
    Call::Register,
    Call::Read,
    Call::Write,
    Call::Shutdown,
];

const ERRORS: [Errno; 8] = [
    Errno::AGAIN,
    Errno::INTR,
    Errno::CONNRESET,
    Errno::PIPE,
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOMEM,
];

/// What the client says after the handshake, and what it should hear.
fn script() -> (Vec<Vec<u8>>, Vec<Received>) {
    let large: Vec<u8> = (0..20_000u32).map(|at| at as u8).collect();
    let frames = vec![
        frame(true, Opcode::Text, b"hello"),
        frame(false, Opcode::Text, b"in two "),
        frame(true, Opcode::Ping, b"between"),
        frame(true, Opcode::Continuation, b"parts"),
        frame(true, Opcode::Binary, &large),
        frame(true, Opcode::Close, &1000u16.to_be_bytes()),
    ];
    let answers = vec![
        text("hello"),
        Received::Pong(b"between".to_vec()),
        text("in two parts"),
        binary(large),
        close(1000, ""),
        Received::End,
    ];
    (frames, answers)
}

/// Holds the scripted conversation, and then lets the time of every deadline pass. Checks that
/// the server has let go of everything, and that what it sent is right as far as it came.
/// Returns whether the client heard all it should.
fn converse(window: usize, fates: impl FnMut(Call) -> Fate + 'static) -> bool {
    let log = Log::default();
    // An IPv6 address is not kept from accepting on, but asked for.
    let remote = "[::1]:50000".parse().unwrap();
    let conversation = probe(&log, obey).window(window).remote_addr(remote);
    let mut peer = conversation.start().unwrap();
    peer.engine.network(0).set_fates(fates);
    peer.wire.write(&request());
    // Accepting may pause.
    peer.advance(millis(200));
    if let Some(end) = crate::protocol::find_head_end(&peer.input, 0) {
        assert!(peer.input.starts_with(b"HTTP/1.1 101 "));
        peer.input.drain(..end);
        peer.is_open = true;
    }
    let (frames, expected) = script();
    for bytes in frames {
        peer.send_raw(&bytes);
    }
    let heard = receive_all(&mut peer);
    peer.end_stream();
    peer.advance(Duration::from_secs(120));
    assert!(is_empty(&mut peer), "{:?}", peer.stats());
    assert!(peer.is_closed());
    let lines = log.take();
    let count = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    assert!(
        count("open") <= 1 && count("open") == count("close"),
        "{lines:?}"
    );
    assert_eq!(count("open"), count("drop"));
    let complete = heard == expected;
    // What the server had no chance to say, the socket said for it.
    let cut = heard
        .iter()
        .zip(&expected)
        .take_while(|(is, should)| is == should);
    let same = cut.count();
    assert!(matches!(heard[same..], [] | [Received::End]), "{heard:?}");
    complete
}

/// Lets the `nth` call of one kind fail; says at the end whether it was made at all.
fn fail_nth(call: Call, nth: usize, errno: Errno) -> (impl FnMut(Call) -> Fate, Rc<Cell<usize>>) {
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    let fates = move |made: Call| {
        if made == call {
            counter.set(counter.get() + 1);
            if counter.get() == nth {
                return Fate::Fail(errno);
            }
        }
        Fate::Proceed(usize::MAX)
    };
    (fates, count)
}

/// Errors that say nothing about the connection: the call is made again.
fn is_harmless(call: Call, errno: Errno) -> bool {
    match call {
        Call::Read | Call::Write => matches!(errno, Errno::AGAIN | Errno::INTR),
        // The connection stays in the queue until there is a descriptor for it.
        Call::Accept => true,
        Call::PeerAddr | Call::Register | Call::Shutdown => false,
    }
}

#[test]
fn any_call_may_fail_at_any_time() {
    for call in CALLS {
        for errno in ERRORS {
            for nth in 1.. {
                let (fates, count) = fail_nth(call, nth, errno);
                let complete = converse(5_000, fates);
                let failed = count.get() >= nth;
                if !failed || is_harmless(call, errno) {
                    assert!(complete, "{call:?} number {nth} with {errno:?}");
                }
                if !failed {
                    assert!(nth > 1, "{call:?} is never made");
                    break;
                }
            }
        }
    }
}

#[test]
fn reads_and_writes_may_be_short() {
    for call in [Call::Read, Call::Write] {
        for most in (1..24).chain([100, 1_000, 4_096, 10_000, 16_384]) {
            let complete = converse(super::super::WINDOW, move |made| match made == call {
                true => Fate::Proceed(most),
                false => Fate::Proceed(usize::MAX),
            });
            assert!(complete, "{call:?} of at most {most}");
        }
    }
}

/// A cheap sequence of numbers that looks random.
fn noise(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    }
}

#[test]
fn short_and_interrupted_calls_in_any_mixture_lose_nothing() {
    for seed in 0..40 {
        let mut noise = noise(seed + 1);
        let complete = converse(3_000, move |call| match (call, noise(8)) {
            (Call::Read | Call::Write, 0) => Fate::Fail(Errno::AGAIN),
            (Call::Read | Call::Write | Call::Accept, 1) => Fate::Fail(Errno::INTR),
            (_, 2) => Fate::Proceed(1 + noise(20) as usize),
            (_, 3 | 4) => Fate::Proceed(1 + noise(5_000) as usize),
            _ => Fate::Proceed(usize::MAX),
        });
        assert!(complete, "seed {seed}");
    }
}

#[test]
fn accepting_pauses_without_descriptors_and_goes_on_later() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
        let mut peer = probe(&Log::default(), obey).start().unwrap();
        let attempts = Rc::new(Cell::new(0));
        let counter = Rc::clone(&attempts);
        peer.engine.network(0).set_fates(move |call| {
            if call == Call::Accept {
                counter.set(counter.get() + 1);
                return Fate::Fail(errno);
            }
            Fate::Proceed(usize::MAX)
        });
        peer.wire.write(&request());
        peer.advance(Duration::from_secs(10));
        // No more often than twenty times a second.
        assert!((100..=202).contains(&attempts.get()), "{}", attempts.get());
        assert_eq!(peer.stats().connections, 0);
        peer.engine
            .network(0)
            .set_fates(|_| Fate::Proceed(usize::MAX));
        happens_after(&mut peer, 50, |peer| peer.stats().connections == 1);
        assert!(peer.input.starts_with(b"HTTP/1.1 101 "));
    }
}

#[test]
fn accepting_goes_on_as_soon_as_a_connection_has_ended() {
    let one = config(|config| config.limits.max_connections = Some(1));
    let mut peer = probe(&Log::default(), obey).config(one).connect().unwrap();
    let wire = another(&mut peer, &request());
    peer.advance(Duration::from_secs(1));
    assert!(wire.read().is_empty(), "it waits to be accepted");
    peer.reset();
    assert!(split_response(&wire).0.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.stats().accepted, 2);
}

#[test]
fn a_flood_of_connections_is_accepted_over_several_turns() {
    let many = config(|config| config.limits.max_connections = Some(1000));
    let mut peer = probe(&Log::default(), obey).config(many).start().unwrap();
    let wires: Vec<_> = (0..500)
        .map(|_| {
            peer.engine
                .network(0)
                .connect(([127, 0, 0, 1], 1).into(), 1000)
        })
        .collect();
    peer.turn();
    assert!(peer.stats().connections < 500);
    assert_eq!(peer.next, Next::Now);
    peer.run();
    assert_eq!(peer.stats().connections, 501);
    for wire in &wires {
        wire.reset();
    }
    peer.run();
    assert_eq!(peer.stats().connections, 1);
}
