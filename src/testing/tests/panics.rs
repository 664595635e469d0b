//! Handlers that panic end their own connection and nothing else.

use std::sync::Once;

use super::*;

/// What these tests panic with. Their hook keeps the output quiet about it.
const BANG: &str = "a panic on purpose";

fn bang() -> ! {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&BANG) {
                loud(info);
            }
        }));
    });
    std::panic::panic_any(BANG)
}

/// Another client is served as ever.
fn still_serves(peer: &mut TestPeer) {
    let wire = another(peer, &request());
    assert!(split_response(&wire).0.starts_with("HTTP/1.1 "));
    wire.reset();
    peer.run();
}

/// The peer is told 1011 and the handler nothing more, but it is dropped.
#[track_caller]
fn ends_with_1011(mut peer: TestPeer, log: &Log, seen: &[&str]) {
    assert_eq!(
        receive_all(&mut peer).pop(),
        Some(close(1011, "internal error"))
    );
    peer.send("more");
    peer.advance(millis(1));
    peer.close(Some(CloseCode::INTERNAL_ERROR), "");
    peer.end_stream();
    let mut expected = vec!["open"];
    expected.extend(seen);
    expected.push("drop");
    assert_eq!(log.take(), expected);
    assert!(is_empty(&mut peer));
    still_serves(&mut peer);
}

#[test]
fn in_on_open() {
    let log = Log::default();
    let pair = probe(&log, |_, on| {
        if let On::Open = on {
            bang();
        }
    });
    ends_with_1011(pair.connect().unwrap(), &log, &[]);
}

#[test]
fn in_on_message_after_an_answer() {
    let log = Log::default();
    let pair = probe(&log, |peer, on| {
        if let On::Message(message) = on {
            peer.send(message);
            bang();
        }
    });
    let mut peer = pair.connect().unwrap();
    peer.send("boo");
    assert_eq!(peer.receive(), Some(text("boo")));
    ends_with_1011(peer, &log, &["message boo"]);
}

#[test]
fn in_on_timer() {
    let log = Log::default();
    let pair = probe(&log, |peer, on| match on {
        On::Open => peer.set_timer(millis(10)),
        On::Timer => bang(),
        _ => {}
    });
    let mut peer = pair.connect().unwrap();
    peer.advance(millis(10));
    ends_with_1011(peer, &log, &["timer"]);
}

#[test]
fn in_on_drain() {
    let log = Log::default();
    let pair = probe(&log, |peer, on| match on {
        On::Drain => bang(),
        on => obey(peer, on),
    });
    let mut peer = pair.window(1000).connect().unwrap();
    peer.stop_reading();
    peer.send("fill 2000000");
    assert!(!log.has("drain"));
    peer.resume_reading();
    ends_with_1011(peer, &log, &["message fill 2000000", "drain"]);
}

#[test]
fn in_on_close_the_peer_notices_nothing() {
    let log = Log::default();
    let pair = probe(&log, |peer, on| match on {
        On::Close => bang(),
        on => obey(peer, on),
    });
    let mut peer = pair.connect().unwrap();
    peer.close(Some(CloseCode::NORMAL), "");
    assert_eq!(receive_all(&mut peer), [close(1000, ""), Received::End]);
    peer.end_stream();
    assert_eq!(log.take(), ["open", "close Peer 1000 clean", "drop"]);
    assert!(is_empty(&mut peer));
    still_serves(&mut peer);
}

#[test]
fn after_its_own_close_only_that_one_is_sent() {
    let log = Log::default();
    let pair = probe(&log, |peer, on| {
        if let On::Message(_) = on {
            peer.close(CloseCode::NORMAL, "");
            bang();
        }
    });
    let mut peer = pair.connect().unwrap();
    peer.send("boo");
    peer.close(None, "");
    assert_eq!(receive_all(&mut peer), [close(1000, ""), Received::End]);
    peer.end_stream();
    assert_eq!(log.take(), ["open", "message boo", "drop"]);
    assert!(is_empty(&mut peer));
}

/// Panics in `Drop`, and before that in `on_message` if it gets one.
struct Bomb;

impl Handler for Bomb {
    fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {
        bang();
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        bang();
    }
}

#[test]
fn in_drop() {
    let mut peer = super::super::pair(|_| Bomb);
    peer.close(Some(CloseCode::NORMAL), "");
    assert_eq!(receive_all(&mut peer), [close(1000, ""), Received::End]);
    peer.end_stream();
    assert!(is_empty(&mut peer));
    still_serves(&mut peer);
}

#[test]
fn in_on_message_and_then_in_drop() {
    let mut peer = super::super::pair(|_| Bomb);
    peer.send("boo");
    assert_eq!(receive_all(&mut peer), [close(1011, "internal error")]);
    peer.close(None, "");
    peer.end_stream();
    assert!(is_empty(&mut peer));
    still_serves(&mut peer);
}

#[test]
fn in_the_factory_is_a_500() {
    let mut peer = Pair::new(|_| -> Bomb { bang() }).start().unwrap();
    peer.wire.write(&request());
    peer.run();
    assert!(peer.input.starts_with(b"HTTP/1.1 500 "));
    assert!(peer.wire.is_ended());
    peer.end_stream();
    assert!(is_empty(&mut peer));
    still_serves(&mut peer);
}
