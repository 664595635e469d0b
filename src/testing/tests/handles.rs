//! `PeerHandle`: sending from outside.

use super::*;
use crate::testing;
use crate::{PeerHandle, SendError, Since, Subscription};

type Handles = Arc<Mutex<Vec<PeerHandle>>>;

/// A pair whose handler obeys and leaves a handle of each connection in the list.
fn with_handles(log: &Log) -> (Pair, Handles) {
    let handles = Handles::default();
    let list = Arc::clone(&handles);
    let pair = probe(log, move |peer, on| {
        if let On::Open = on {
            list.lock().unwrap().push(peer.handle());
        }
        obey(peer, on);
    });
    (pair, handles)
}

fn nth(handles: &Handles, index: usize) -> PeerHandle {
    handles.lock().unwrap()[index].clone()
}

#[test]
fn what_handles_send_arrives_in_order() {
    let (pair, handles) = with_handles(&Log::default());
    let mut peer = pair.connect().unwrap();
    let one = nth(&handles, 0);
    let two = one.clone();
    let mut expected = Vec::new();
    for at in 0..200u8 {
        let message = vec![at; usize::from(at) * 200];
        let handle = if at % 2 == 0 { &one } else { &two };
        // The queue of what is on its way has a limit, too.
        if at % 10 == 0 {
            peer.run();
        }
        handle.send(message.clone()).unwrap();
        expected.push(binary(message));
    }
    assert_eq!(receive_all(&mut peer), expected);
    assert_eq!(one.buffered_amount(), 0);
    assert_eq!(peer.stats().memory, 0);
}

#[test]
fn they_come_between_answers_and_never_inside() {
    let (pair, handles) = with_handles(&Log::default());
    let mut peer = pair.window(700).connect().unwrap();
    let handle = nth(&handles, 0);
    peer.stop_reading();
    for at in 0..50u8 {
        peer.send(vec![at; 1000]);
        handle.send("from outside").unwrap();
        if at % 3 == 0 {
            peer.resume_one_window();
        }
    }
    peer.resume_reading();
    let (outside, answers): (Vec<_>, Vec<_>) = receive_all(&mut peer)
        .into_iter()
        .partition(|it| *it == text("from outside"));
    assert_eq!(outside.len(), 50);
    let expected: Vec<_> = (0..50u8).map(|at| binary(vec![at; 1000])).collect();
    assert_eq!(answers, expected);
}

#[test]
fn over_the_limit_is_full_until_the_peer_has_taken_it() {
    let small = config(|config| config.limits.outbox = 10_000);
    let (pair, handles) = with_handles(&Log::default());
    let mut peer = pair.config(small).window(100).connect().unwrap();
    let handle = nth(&handles, 0);
    peer.stop_reading();
    // An empty queue takes one message, whatever its size.
    handle.send(vec![0; 50_000]).unwrap();
    assert_eq!(handle.send("x"), Err(SendError::Full));
    peer.run();
    assert_eq!(handle.send("x"), Err(SendError::Full));
    assert!(handle.buffered_amount() > 49_000);
    peer.resume_reading();
    assert_eq!(handle.buffered_amount(), 0);
    handle.send("x").unwrap();
    assert_eq!(receive_all(&mut peer), [binary(vec![0; 50_000]), text("x")]);
}

#[test]
fn nothing_that_was_accepted_is_forgotten_in_the_inbox() {
    let (pair, handles) = with_handles(&Log::default());
    let mut peer = pair.connect().unwrap();
    let handle = nth(&handles, 0);
    let mut sent = 0;
    while handle.send("").is_ok() {
        sent += 1;
    }
    assert!(sent > 5000);
    // One turn does not take all of them, and nobody else will ask for the next.
    peer.turn();
    assert_eq!(peer.next, Next::Now);
    assert_eq!(receive_all(&mut peer).len(), sent);
}

#[test]
fn close_comes_after_what_was_sent_before() {
    let log = Log::default();
    let (pair, handles) = with_handles(&log);
    let mut peer = pair.connect().unwrap();
    let handle = nth(&handles, 0);
    handle.send("goodbye").unwrap();
    handle.close(CloseCode::from(4005), "outside").unwrap();
    handle.send("too late").unwrap();
    let said = [text("goodbye"), close(4005, "outside")];
    assert_eq!(receive_all(&mut peer), said);
    peer.close(Some(CloseCode::from(4005)), "");
    peer.end_stream();
    assert_eq!(log.take(), ["open", "close Handler 4005 clean", "drop"]);
    assert!(is_empty(&mut peer));
}

#[test]
fn a_handle_says_gone_after_every_kind_of_end() {
    type End = fn(&mut TestPeer);
    let ends: [End; 5] = [
        |peer| peer.close(None, ""),
        |peer| peer.end_stream(),
        |peer| peer.reset(),
        |peer| peer.send_raw(&[0xff]),
        |peer| peer.server().stop(),
    ];
    for end in ends {
        let (pair, handles) = with_handles(&Log::default());
        let mut peer = pair.connect().unwrap();
        let handle = nth(&handles, 0);
        // On its way while the connection ends: it is dropped.
        handle.send("unlucky").unwrap();
        end(&mut peer);
        peer.run();
        assert!(!handle.is_open());
        assert_eq!(handle.send("x"), Err(SendError::Gone));
        assert_eq!(handle.close(CloseCode::NORMAL, ""), Err(SendError::Gone));
        assert_eq!(handle.buffered_amount(), 0);
        peer.advance(Duration::from_secs(60));
        assert!(is_empty(&mut peer));
    }
}

#[test]
fn a_handle_asked_for_at_the_end_is_gone() {
    let handles = Handles::default();
    let list = Arc::clone(&handles);
    let pair = probe(&Log::default(), move |peer, on| {
        if let On::Close = on {
            list.lock().unwrap().push(peer.handle());
        }
    });
    let mut peer = pair.connect().unwrap();
    peer.reset();
    assert_eq!(nth(&handles, 0).send("x"), Err(SendError::Gone));
}

#[test]
fn a_stale_handle_never_reaches_the_next_connection_of_its_slot() {
    let log = Log::default();
    let (pair, handles) = with_handles(&log);
    // A worker would have to agree to the end before the slot is free.
    let mut peer = pair
        .config(config(|config| config.workers = Some(0)))
        .connect()
        .unwrap();
    let first = nth(&handles, 0);
    // Both are still in the inbox when the slot has changed hands.
    first.send("for the first").unwrap();
    first.close(CloseCode::NORMAL, "for the first").unwrap();
    peer.engine.network(0).take_events();
    peer.wire.reset();
    let second = peer
        .engine
        .network(0)
        .connect(([127, 0, 0, 1], 2).into(), super::super::WINDOW);
    second.write(&request());
    peer.run();
    assert_eq!(first.send("x"), Err(SendError::Gone));
    let index = |handle: &PeerHandle| handle.id().to_string()[..].chars().last();
    assert_eq!(
        index(&first),
        index(&nth(&handles, 1)),
        "the slot was reused"
    );
    assert_ne!(first.id(), nth(&handles, 1).id());
    let (head, rest) = split_response(&second);
    assert!(head.starts_with("HTTP/1.1 101 "));
    assert_eq!(rest, b"");
    nth(&handles, 1).send("for the second").unwrap();
    peer.run();
    assert_eq!(&second.read()[2..], b"for the second");
}

#[test]
fn a_message_from_outside_to_a_stream_that_broke_ends_the_connection() {
    let log = Log::default();
    let (pair, handles) = with_handles(&log);
    let mut peer = pair.connect().unwrap();
    log.take();
    peer.engine.network(0).set_fates(|call| match call {
        Call::Write => Fate::Fail(rustix::io::Errno::PIPE),
        _ => Fate::Proceed(usize::MAX),
    });
    nth(&handles, 0).send("hello?").unwrap();
    peer.run();
    assert_eq!(log.take(), ["close Lost(BrokenPipe) 1006 unclean", "drop"]);
    assert!(is_empty(&mut peer));
}

/// What was sent before a shutdown is older than the shutdown.
#[test]
fn what_was_sent_before_the_server_stops_arrives() {
    let (pair, handles) = with_handles(&Log::default());
    let mut peer = pair.connect().unwrap();
    nth(&handles, 0).send("goodbye").unwrap();
    peer.server().stop();
    let expected = [text("goodbye"), close(1001, "server shutting down")];
    assert_eq!(receive_all(&mut peer), expected);
    assert_eq!(nth(&handles, 0).buffered_amount(), 0);
}

/// Whatever asks the reactor for something, it has been done when a call to the peer returns: not
/// only what came before the reactor looked into its inbox.
#[test]
fn what_a_handler_sends_through_its_own_handle_has_left_with_the_call() {
    for event in ["message", "subscribed", "timer"] {
        let handle = Arc::<Mutex<Option<PeerHandle>>>::default();
        let own = Arc::clone(&handle);
        let mut peer = testing::pair(move |_| Asking {
            event,
            handle: Arc::clone(&own),
        });
        peer.send("now");
        if event == "timer" {
            peer.advance(millis(1));
        }
        let handle = handle.lock().unwrap().take().unwrap();
        assert_eq!(handle.buffered_amount(), 0, "{event}");
        assert_eq!(peer.receive(), Some(text("sent")), "{event}");
    }
}

/// Sends through its handle on one kind of event.
struct Asking {
    event: &'static str,
    handle: Arc<Mutex<Option<PeerHandle>>>,
}

impl Asking {
    fn send_on(&self, event: &str, peer: &mut Peer<'_>) {
        if event == self.event {
            let handle = peer.handle();
            handle.send("sent").unwrap();
            *self.handle.lock().unwrap() = Some(handle);
        }
    }
}

impl Handler for Asking {
    fn on_message(&mut self, peer: &mut Peer<'_>, _: Message<'_>) {
        self.send_on("message", peer);
        peer.set_timer(millis(1));
        peer.subscribe("topic", Since::New).unwrap();
    }

    fn on_subscribed(&mut self, peer: &mut Peer<'_>, _: &Subscription) {
        self.send_on("subscribed", peer);
    }

    fn on_timer(&mut self, peer: &mut Peer<'_>) {
        self.send_on("timer", peer);
    }
}
