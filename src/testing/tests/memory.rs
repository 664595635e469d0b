//! The memory account: nothing while idle, and nothing at the end.

use super::*;

/// How long the buffers of large messages are kept for further ones.
const SPARES_KEPT: Duration = Duration::from_secs(1);

fn held(peer: &TestPeer) -> u64 {
    peer.stats().memory
}

#[test]
fn an_idle_connection_holds_nothing() {
    let mut peer = probe(&Log::default(), obey).connect().unwrap();
    assert_eq!(held(&peer), 0);
    peer.send("hello");
    peer.ping(b"");
    assert_eq!(held(&peer), 0);
    peer.advance(Duration::from_secs(3600));
    assert_eq!(held(&peer), 0);
}

/// A frame or a message is held while it is unfinished, wherever it is cut.
#[test]
fn what_is_unfinished_is_held_until_it_is_complete() {
    let mut fragments = frame(false, Opcode::Text, b"one ");
    fragments.extend(frame(true, Opcode::Ping, b"control"));
    fragments.extend(frame(true, Opcode::Continuation, b"two"));
    for bytes in [frame(true, Opcode::Text, b"whole"), fragments] {
        let mut peer = probe(&Log::default(), obey).connect().unwrap();
        for cut in 1..bytes.len() {
            peer.send_raw(&bytes[..cut]);
            assert!(held(&peer) > 0, "cut at {cut}");
            peer.send_raw(&bytes[cut..]);
            assert_eq!(held(&peer), 0, "cut at {cut}");
        }
    }
}

#[test]
fn a_large_message_is_charged_as_it_comes_and_not_as_it_is_declared() {
    let mut peer = probe(&Log::default(), obey).connect().unwrap();
    let length = 10 << 20;
    peer.send_raw(&frame_head(Opcode::Binary, length));
    assert!(held(&peer) < 1000);
    let mut sent = 0;
    while sent + 100_000 < length {
        peer.send_raw(&[0; 100_000]);
        sent += 100_000;
        assert!((sent..2 * sent + 200_000).contains(&held(&peer)));
    }
    peer.send_raw(&vec![0; (length - sent) as usize]);
    assert_eq!(peer.receive(), Some(binary(vec![0; length as usize])));
    peer.advance(SPARES_KEPT);
    assert_eq!(held(&peer), 0);
}

#[test]
fn the_buffer_of_a_large_message_serves_the_next_and_goes_when_it_is_quiet() {
    let mut peer = probe(&Log::default(), obey).connect().unwrap();
    let length = 1 << 20;
    for byte in 1..=3 {
        peer.send(vec![byte; length]);
        assert_eq!(peer.receive(), Some(binary(vec![byte; length])));
        assert_eq!(held(&peer), length as u64);
        peer.advance(SPARES_KEPT - Duration::from_millis(1));
        assert_eq!(held(&peer), length as u64);
    }
    // There already, it is used at once; the one for less than half of it is not for it.
    peer.send_raw(&frame_head(Opcode::Binary, length as u64));
    peer.send_raw(&vec![0; length / 4]);
    assert!((length as u64..length as u64 + 1000).contains(&held(&peer)));
    peer.send_raw(&vec![0; length - length / 4]);
    peer.advance(SPARES_KEPT);
    assert_eq!(held(&peer), 0);
}

#[test]
fn part_of_a_request_is_held_until_it_is_complete() {
    let mut peer = probe(&Log::default(), obey).start().unwrap();
    let request = request();
    peer.wire.write(&request[..100]);
    peer.run();
    assert!(held(&peer) >= 100);
    peer.wire.write(&request[100..]);
    peer.run();
    assert_eq!(held(&peer), 0);
}

#[test]
fn queued_output_is_held_until_it_has_left() {
    for size in [100, 15_000, 300_000] {
        let pair = probe(&Log::default(), obey).window(50);
        let mut peer = pair.connect().unwrap();
        peer.stop_reading();
        peer.send(&*format!("fill {size}"));
        assert!(held(&peer) >= size - 50);
        peer.resume_reading();
        assert_eq!(held(&peer), 0);
    }
}
