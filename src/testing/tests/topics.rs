//! Topics through reactors and handlers, in memory.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::*;
use crate::{PublishError, Since, SubscribeError, Subscription};

/// A handler that does what a message says: `subscribe TOPIC`, `history TOPIC`, `after OFFSET
/// TOPIC`, `unsubscribe TOPIC`, `publish TOPIC MESSAGE`, `others TOPIC MESSAGE`, `send MESSAGE`, `close`. It tells its peer of
/// every subscription.
struct Remote;

impl Remote {
    fn obey(peer: &mut Peer<'_>, command: &str) {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let outcome = match verb {
            "subscribe" => peer
                .subscribe(rest, Since::New)
                .map_err(|it| it.to_string()),
            "history" => peer
                .subscribe(rest, Since::History)
                .map_err(|it| it.to_string()),
            "after" => {
                let (offset, topic) = rest.split_once(' ').expect("an offset and a topic");
                let since = Since::After(offset.parse().expect("an offset"));
                peer.subscribe(topic, since).map_err(|it| it.to_string())
            }
            "unsubscribe" => {
                peer.unsubscribe(rest);
                Ok(())
            }
            "publish" => {
                let (topic, text) = rest.split_once(' ').expect("a topic and a message");
                let published = peer.publish(topic, text);
                published.map(drop).map_err(|it| it.to_string())
            }
            "others" => {
                let (topic, text) = rest.split_once(' ').expect("a topic and a message");
                let published = peer.publish_to_others(topic, text);
                published.map(drop).map_err(|it| it.to_string())
            }
            "send" => {
                peer.send(rest);
                Ok(())
            }
            "close" => {
                peer.close(CloseCode::NORMAL, "");
                Ok(())
            }
            _ => panic!("what is {command:?}?"),
        };
        if let Err(error) = outcome {
            peer.send(error);
        }
    }
}

impl Handler for Remote {
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        for command in message.as_text().expect("a command").lines() {
            Self::obey(peer, command);
        }
    }

    fn on_subscribed(&mut self, peer: &mut Peer<'_>, subscription: &Subscription) {
        let replay: Vec<String> = subscription
            .replay()
            .iter()
            .map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())
            .collect();
        let number = subscription.offset().number;
        let recovered = if subscription.recovered() {
            ""
        } else {
            " lost"
        };
        let topic = subscription.topic();
        peer.send(format!(
            "[{topic} {number}{recovered}: {}]",
            replay.join(" ")
        ));
    }
}

fn remote() -> TestPeer {
    testing_pair().connect().expect("a connection")
}

fn testing_pair() -> Pair {
    Pair::new(|_| Remote)
}

/// The texts of all messages that have come.
fn texts(peer: &mut TestPeer) -> Vec<String> {
    let next = || match peer.receive() {
        Some(Received::Message(message)) => Some(message.as_text().unwrap().to_owned()),
        None => None,
        other => panic!("{other:?} instead of a message"),
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn a_message_reaches_every_subscriber_and_nobody_else() {
    let mut ann = remote();
    let mut ben = testing_pair().topics_of(&ann).connect().unwrap();
    let mut cid = testing_pair().topics_of(&ann).connect().unwrap();
    ann.send("subscribe a");
    ben.send("subscribe a\nsubscribe b");
    cid.send("subscribe b");
    ann.send("publish a 1\npublish b 2\npublish a 3");
    assert_eq!(texts(&mut ann), ["[a 0: ]", "1", "3"]);
    let ben = texts(&mut ben);
    assert_eq!(ben[..2], ["[a 0: ]", "[b 0: ]"]);
    let of_a: Vec<&String> = ben.iter().filter(|it| *it == "1" || *it == "3").collect();
    assert_eq!(of_a, ["1", "3"]);
    assert_eq!(ben.len(), 5);
    assert_eq!(texts(&mut cid), ["[b 0: ]", "2"]);
}

#[test]
fn a_server_publishes_from_any_thread() {
    let mut peer = remote();
    peer.send("subscribe a");
    let server = peer.server();
    let publish = move || server.publish("a", vec![1, 2, 3]).unwrap().number;
    assert_eq!(std::thread::spawn(publish).join().unwrap(), 1);
    assert_eq!(texts_of_one(&mut peer), "[a 0: ]");
    let bytes = Message::from(vec![1, 2, 3]);
    assert_eq!(peer.receive(), Some(Received::Message(bytes)));
    assert_eq!(peer.stats().deliveries, 1);
}

fn texts_of_one(peer: &mut TestPeer) -> String {
    match peer.receive() {
        Some(Received::Message(message)) => message.as_text().unwrap().to_owned(),
        other => panic!("{other:?} instead of a message"),
    }
}

#[test]
fn what_a_handler_sends_when_subscribed_comes_before_what_is_live() {
    let mut peer = remote();
    // All in one event: the subscription lies between the publications.
    peer.send("publish a 1\npublish a 2\nhistory a\npublish a 3\nsend x\npublish a 4");
    let mut texts = texts(&mut peer);
    // What the handler sends itself is in no order with publications.
    let x = texts
        .iter()
        .position(|it| it == "x")
        .expect("what was sent");
    texts.remove(x);
    assert_eq!(texts, ["[a 2: 1 2]", "3", "4"]);
}

#[test]
fn subscribing_twice_is_subscribing_once() {
    let mut peer = remote();
    peer.send("subscribe a\nsubscribe a\npublish a 1");
    peer.send("history a\npublish a 2");
    assert_eq!(texts(&mut peer), ["[a 0: ]", "1", "2"]);
}

#[test]
fn whoever_left_gets_nothing_more_and_may_come_again() {
    let mut peer = remote();
    peer.send("subscribe a\npublish a 1");
    peer.send("unsubscribe a\npublish a 2");
    peer.send("unsubscribe a\nsubscribe a\npublish a 3");
    assert_eq!(texts(&mut peer), ["[a 0: ]", "1", "[a 2: ]", "3"]);
    // A subscription that ends before the handler hears of it is never heard of.
    peer.send("unsubscribe a\nsubscribe a\nunsubscribe a\npublish a 4");
    assert_eq!(peer.receive(), None);
    peer.send("unsubscribe a\nsubscribe a\nunsubscribe a\nhistory a\npublish a 5");
    assert_eq!(texts(&mut peer), ["[a 4: 1 2 3 4]", "5"]);
}

#[test]
fn a_subscriber_resumes_where_it_was() {
    let mut config = Config::default();
    config.limits.history = 3;
    let mut ann = testing_pair().config(config).connect().unwrap();
    let server = ann.server();
    let offsets: Vec<_> = (1..=5)
        .map(|at| server.publish("a", at.to_string()).unwrap())
        .collect();
    let expect = |offset: String, told: &str| {
        let mut ben = testing_pair().topics_of(&ann).connect().unwrap();
        ben.send(format!("after {offset} a"));
        assert_eq!(texts(&mut ben), [told], "after {offset}");
    };
    expect(offsets[4].to_string(), "[a 5: ]");
    expect(offsets[1].to_string(), "[a 5: 3 4 5]");
    expect(offsets[0].to_string(), "[a 5 lost: ]");
    expect("1-4".into(), "[a 5 lost: ]");
    ann.send("unsubscribe a");
}

#[test]
fn by_default_a_replay_comes_as_messages() {
    struct Plain;
    impl Handler for Plain {
        fn on_open(&mut self, peer: &mut Peer<'_>) {
            peer.send("welcome");
            peer.subscribe("a", Since::History).unwrap();
            peer.publish("a", "I came").unwrap();
        }

        fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}
    }
    let ann = remote();
    let large = "x".repeat(100_000);
    ann.server().publish("a", large.as_str()).unwrap();
    ann.server().publish("a", "2").unwrap();
    let mut ben = Pair::new(|_| Plain).topics_of(&ann).connect().unwrap();
    assert_eq!(texts(&mut ben), ["welcome", &large, "2", "I came"]);
}

#[test]
fn a_replay_that_is_too_much_closes() {
    struct Plain;
    impl Handler for Plain {
        fn on_open(&mut self, peer: &mut Peer<'_>) {
            peer.subscribe("a", Since::History).unwrap();
        }

        fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}
    }
    let ann = remote();
    (0..100).for_each(|_| assert!(ann.server().publish("a", vec![0; 2_000]).is_ok()));
    let mut config = Config::default();
    config.limits.outbox = 1_000;
    let pair = Pair::new(|_| Plain).topics_of(&ann).config(config);
    let mut ben = pair.connect().unwrap();
    let mut messages = 0;
    loop {
        match ben.receive() {
            Some(Received::Message(_)) => messages += 1,
            Some(Received::Close(code, reason)) => {
                assert_eq!(code, Some(CloseCode::POLICY_VIOLATION));
                assert_eq!(reason, "slow consumer");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(messages < 100, "{messages} messages");
}

#[test]
fn a_history_can_be_switched_off() {
    let pair = testing_pair().history("relay/", 0);
    let mut peer = pair.connect().unwrap();
    peer.send("publish relay/1 x\npublish chat y\nhistory relay/1\nhistory chat");
    let texts: BTreeSet<String> = texts(&mut peer).into_iter().collect();
    // The first was forgotten as soon as nobody used it, and has begun anew; or it was not.
    assert!(texts.contains("[chat 1: y]"), "{texts:?}");
    assert!(
        texts
            .iter()
            .any(|it| it.starts_with("[relay/1") && it.ends_with(": ]"))
    );
}

#[test]
fn limits_are_told_of() {
    let mut config = Config::default();
    config.limits.subscriptions = 2;
    config.limits.topics = 3;
    let mut peer = testing_pair().config(config).connect().unwrap();
    peer.send("subscribe a\nsubscribe b\nsubscribe c");
    let error = SubscribeError::Subscriptions.to_string();
    assert_eq!(texts(&mut peer), [error.as_str(), "[a 0: ]", "[b 0: ]"]);
    let server = peer.server();
    assert_eq!(server.publish("", "x"), Err(PublishError::Name));
    server.publish("c", "x").unwrap();
    peer.send("unsubscribe a\nsubscribe d");
    assert_eq!(texts(&mut peer), ["[d 0: ]"]);
    // Again there is room for one more only.
    peer.send("unsubscribe d\nsubscribe a\npublish a 1");
    assert_eq!(texts(&mut peer), ["[a 0: ]", "1"]);
}

#[test]
fn a_closing_connection_neither_subscribes_nor_is_sent_anything() {
    let log = Log::default();
    let pair = probe(&log, |peer, on| match on {
        On::Open => peer.subscribe("a", Since::New).unwrap(),
        On::Message(_) => {
            peer.close(CloseCode::NORMAL, "");
            let again = peer.subscribe("b", Since::New);
            assert_eq!(again, Err(SubscribeError::Closing));
            peer.publish("a", "too late for this one").unwrap();
        }
        On::Close => {
            assert_eq!(
                peer.subscribe("c", Since::New),
                Err(SubscribeError::Closing)
            );
            peer.publish("a", "gone").unwrap();
        }
        _ => {}
    });
    let mut ann = pair.connect().unwrap();
    let mut ben = testing_pair().topics_of(&ann).connect().unwrap();
    ben.send("subscribe a");
    ann.send("close");
    assert!(matches!(ann.receive(), Some(Received::Close(..))));
    ann.close(Some(CloseCode::NORMAL), "");
    assert_eq!(ann.receive(), Some(Received::End));
    let told = ["[a 0: ]", "too late for this one", "gone"];
    assert_eq!(texts(&mut ben), told);
}

#[test]
fn whoever_ends_is_no_subscriber_any_more() {
    type Ending = fn(&mut TestPeer);
    let endings: [Ending; 4] = [
        |peer| peer.close(Some(CloseCode::NORMAL), ""),
        TestPeer::reset,
        TestPeer::end_stream,
        |peer| peer.send("close"),
    ];
    for end in endings {
        let mut ann = remote();
        ann.send("subscribe a\nsubscribe b\nhistory c");
        assert_eq!(subscribers(&ann), 3);
        end(&mut ann);
        ann.advance(Duration::from_secs(20));
        assert_eq!(subscribers(&ann), 0);
        ann.server().publish("a", "x").unwrap();
        ann.advance(Duration::from_secs(1));
        assert_eq!(ann.stats().deliveries, 0);
    }
}

fn subscribers(peer: &TestPeer) -> usize {
    let inspection = peer.engine.inspect(0, peer.now);
    inspection.expect("a running reactor").subscribers
}

#[test]
fn a_handler_that_panics_is_no_subscriber_any_more() {
    struct Bad;
    impl Handler for Bad {
        fn on_open(&mut self, peer: &mut Peer<'_>) {
            peer.subscribe("a", Since::New).unwrap();
        }

        fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}

        fn on_subscribed(&mut self, _: &mut Peer<'_>, _: &Subscription) {
            panic!("on purpose");
        }
    }
    let mut peer = super::super::pair(|_| Bad);
    assert!(matches!(
        peer.receive(),
        Some(Received::Close(Some(CloseCode::INTERNAL_ERROR), _))
    ));
    peer.server().publish("a", "x").unwrap();
    peer.close(Some(CloseCode::INTERNAL_ERROR), "");
    assert_eq!(peer.receive(), Some(Received::End));
    assert_eq!(subscribers(&peer), 0);
}

#[test]
fn a_slow_consumer_is_closed_and_the_others_get_everything() {
    let mut config = Config::default();
    config.limits.outbox = 10_000;
    let mut ann = testing_pair().connect().unwrap();
    let slow = testing_pair().config(config).window(5_000);
    let mut slow = slow.topics_of(&ann).connect().unwrap();
    ann.send("subscribe a");
    slow.send("subscribe a");
    assert_eq!(texts(&mut slow), ["[a 0: ]"]);
    slow.stop_reading();
    let text = |at: usize| format!("{at:01000}");
    for at in 0..100 {
        ann.server().publish("a", text(at)).unwrap();
        slow.advance(Duration::from_millis(1));
    }
    assert!(slow.stats().memory < 20_000, "{}", slow.stats().memory);
    slow.resume_reading();
    let mut got = Vec::new();
    let close = loop {
        match slow.receive() {
            Some(Received::Message(message)) => got.push(message.as_text().unwrap().to_owned()),
            other => break other,
        }
    };
    let reason = "slow consumer".to_owned();
    let expected = Received::Close(Some(CloseCode::POLICY_VIOLATION), reason);
    assert_eq!(close, Some(expected));
    // What it got is what came first, up to the last that had begun to leave.
    assert_eq!(got, (0..got.len()).map(text).collect::<Vec<_>>());
    assert!((4..=6).contains(&got.len()), "{} messages", got.len());
    let all: Vec<String> = (0..100).map(text).collect();
    assert_eq!(texts(&mut ann)[1..], all);
}

#[test]
fn the_handler_hears_why_a_slow_consumer_was_closed() {
    let log = Log::default();
    let mut config = Config::default();
    config.limits.outbox = 1_000;
    let pair = probe(&log, |peer, on| {
        if let On::Open = on {
            peer.subscribe("a", Since::New).unwrap();
        }
    });
    let mut peer = pair.config(config).window(1_500).connect().unwrap();
    peer.stop_reading();
    for _ in 0..20 {
        peer.server().publish("a", vec![0; 500]).unwrap();
        peer.advance(Duration::from_millis(1));
    }
    assert!(
        log.has("close SlowConsumer 1008 unclean slow consumer"),
        "{:?}",
        log.take()
    );
    peer.resume_reading();
    while let Some(Received::Message(_)) = peer.receive() {}
    peer.close(Some(CloseCode::POLICY_VIOLATION), "");
    assert_eq!(peer.receive(), Some(Received::End));
}

#[test]
fn one_message_is_always_accepted() {
    let mut config = Config::default();
    config.limits.outbox = 1_000;
    let pair = testing_pair().config(config).window(1_500);
    let mut peer = pair.connect().unwrap();
    peer.send("subscribe a");
    peer.stop_reading();
    let large = "x".repeat(50_000);
    peer.server().publish("a", large.as_str()).unwrap();
    peer.advance(Duration::from_millis(1));
    peer.resume_reading();
    assert_eq!(texts(&mut peer), ["[a 0: ]", large.as_str()]);
}

#[test]
fn several_publications_leave_in_one_write() {
    let mut peer = remote();
    peer.send("subscribe a");
    assert_eq!(texts(&mut peer).len(), 1);
    let writes = Rc::new(Cell::new(0));
    let counted = Rc::clone(&writes);
    peer.engine.network(0).set_fates(move |call| {
        counted.set(counted.get() + usize::from(call == Call::Write));
        Fate::Proceed(usize::MAX)
    });
    let server = peer.server();
    (0..50).for_each(|at| assert!(server.publish("a", at.to_string()).is_ok()));
    assert_eq!(texts(&mut peer).len(), 50);
    assert_eq!(writes.get(), 1);
}

#[test]
fn a_write_that_stops_within_a_frame_goes_on_there() {
    for window in [1, 2, 3, 7, 8, 9, 15, 16, 20, 100] {
        let pair = testing_pair().window(window);
        let mut peer = pair.connect().unwrap();
        peer.send("subscribe a");
        assert_eq!(texts(&mut peer), ["[a 0: ]"]);
        let server = peer.server();
        (0..10).for_each(|at| assert!(server.publish("a", format!("{at:06}")).is_ok()));
        let all: Vec<String> = (0..10).map(|at| format!("{at:06}")).collect();
        assert_eq!(texts(&mut peer), all, "window {window}");
    }
}

#[test]
fn a_lost_connection_is_found_by_a_publication() {
    let mut ann = remote();
    ann.send("subscribe a");
    assert_eq!(texts(&mut ann).len(), 1);
    let network = ann.engine.network(0).clone();
    network.set_fates(|call| match call {
        Call::Write => Fate::Fail(rustix::io::Errno::PIPE),
        _ => Fate::Proceed(usize::MAX),
    });
    ann.server().publish("a", "x").unwrap();
    ann.advance(Duration::from_millis(1));
    assert!(ann.is_closed());
    assert_eq!(subscribers(&ann), 0);
}

#[test]
fn a_stopped_server_takes_publications_without_end() {
    let mut peer = remote();
    peer.send("subscribe a");
    let server = peer.server();
    drop(peer);
    // No reactor will ever take them.
    for _ in 0..100 {
        server.publish("a", vec![0; 1 << 20]).unwrap();
    }
}

/// Connections of the same slot on different reactors are not taken for each other.
#[test]
fn others_get_what_its_publisher_does_not() {
    let mut ann = remote();
    let mut ben = testing_pair().topics_of(&ann).connect().unwrap();
    ann.send("subscribe a");
    ben.send("subscribe a");
    ann.send("others a 1\npublish a 2\nothers a 3");
    ben.send("others a 4");
    ann.send("publish a 5\nothers a 6\npublish a 7");
    assert_eq!(texts(&mut ann), ["[a 0: ]", "2", "4", "5", "7"]);
    assert_eq!(texts(&mut ben), ["[a 0: ]", "1", "2", "3", "5", "6", "7"]);
    // Who comes later finds all of it.
    ann.send("unsubscribe a\nhistory a");
    assert_eq!(texts(&mut ann), ["[a 7: 1 2 3 4 5 6 7]"]);
}

/// Also while it is held back, because its handler has not been told of its subscription.
#[test]
fn a_publisher_that_has_just_subscribed_is_not_sent_its_own() {
    let mut ann = remote();
    ann.send("subscribe a\nothers a 1\npublish a 2\nothers a 3\npublish a 4");
    assert_eq!(texts(&mut ann), ["[a 0: ]", "2", "4"]);
}

/// That a handler has heard of its subscription says nothing of the one after it, which the reactor
/// may know of before.
#[test]
fn who_was_told_of_a_subscription_was_not_told_of_the_next() {
    let mut setup = config(|config| config.workers = Some(1));
    setup.timeouts.handshake = None;
    let mut ann = testing_pair().config(setup).connect().unwrap();
    let other = another(&mut ann, &request());
    ann.run();
    let say =
        |wire: &Wire, command: &str| wire.write(&frame(true, Opcode::Text, command.as_bytes()));
    // Four batches are on their way to the worker, which has answered the first.
    say(&ann.wire, "subscribe a");
    ann.turn();
    for _ in 0..3 {
        say(&other, "send x");
        ann.turn();
    }
    assert!(ann.engine.work(0));
    // So what comes now is in one batch: that it is subscribed, that it leaves, and that it comes again.
    ann.turn();
    say(&ann.wire, "unsubscribe a\nsubscribe a");
    ann.turn();
    // All batches but that one are given back; it has only been answered.
    for _ in 0..7 {
        assert!(ann.engine.work(0));
        ann.turn();
    }
    assert!(ann.engine.work(0));
    // The reactor learns of the new subscription, and only then gets the answer about the old one.
    ann.turn();
    assert!(ann.engine.work(0));
    ann.turn();
    ann.server().publish("a", "1").unwrap();
    ann.turn();
    assert_eq!(texts(&mut ann), ["[a 0: ]", "[a 0: ]", "1"]);
}

/// What was held back for the first of two subscriptions is not sent for the second.
#[test]
fn a_handler_may_subscribe_anew_when_it_is_told() {
    #[derive(Default)]
    struct Anew(u32);
    impl Handler for Anew {
        fn on_open(&mut self, peer: &mut Peer<'_>) {
            peer.subscribe("a", Since::New).unwrap();
            peer.publish("a", "1").unwrap();
        }

        fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}

        fn on_subscribed(&mut self, peer: &mut Peer<'_>, subscription: &Subscription) {
            self.0 += 1;
            peer.send(format!("told at {}", subscription.offset().number));
            if self.0 == 1 {
                peer.publish("a", "2").unwrap();
                peer.unsubscribe("a");
                peer.publish("a", "3").unwrap();
                peer.subscribe("a", Since::History).unwrap();
            }
            for publication in subscription.replay() {
                peer.send(publication.message());
            }
        }
    }
    let ann = remote();
    let mut ben = Pair::new(|_| Anew::default())
        .topics_of(&ann)
        .connect()
        .unwrap();
    ann.server().publish("a", "4").unwrap();
    assert_eq!(
        texts(&mut ben),
        ["told at 0", "told at 3", "1", "2", "3", "4"]
    );
}
