//! What topics may take: histories, the number of topics, what readers are behind by.

use super::*;

/// Bytes that topics remember, as they account for them, and as a replay shows them.
fn remembered(hub: &Memory, topics: &[&str]) -> usize {
    let of = |topic: &&str| {
        let (_, subscription) = Reader::new().join(hub, topic, Since::History);
        let replay = subscription.replay().iter();
        replay.map(|it| it.frame().len()).sum::<usize>()
    };
    let sum = topics.iter().map(of).sum();
    assert_eq!(hub.held().history, sum);
    sum
}

#[test]
fn all_histories_together_keep_to_their_bytes() {
    let hub = Memory::new(TopicLimits {
        history_total: 30,
        ..limits()
    });
    let reader = Reader::new();
    reader.join(&hub, "a", Since::New);
    // Two bytes of header, and eight of payload.
    let publish = |topic| publish(&hub, topic, text("12345678")).unwrap();
    let replay = |topic| replayed(&Reader::new().join(&hub, topic, Since::History).1);
    publish("a");
    let first = publish("b");
    publish("c");
    assert_eq!(hub.held().history, 30);
    // "b" is given up, because nobody subscribes to it and it has not been used for longest.
    publish("c");
    assert_eq!((hub.held().topics, hub.held().history), (2, 30));
    assert_eq!(replay("a"), [1]);
    assert_eq!(replay("c"), [1, 2]);
    let (_, subscription) = Reader::new().join(&hub, "b", Since::After(first));
    assert!(!subscription.recovered() && subscription.replay().is_empty());
    // All have subscribers now: the one that is published to forgets.
    let offset = publish("b");
    assert_eq!(replay("b"), [0u64; 0]);
    for _ in 0..5 {
        publish("c");
    }
    assert_eq!(replay("c"), [6, 7]);
    assert_eq!(remembered(&hub, &["a", "b", "c"]), 30);
    // Resuming stays whole or says that it is not.
    let (_, subscription) = Reader::new().join(&hub, "b", Since::After(offset));
    assert!(subscription.recovered() && subscription.replay().is_empty());
    publish("b");
    let (_, subscription) = Reader::new().join(&hub, "b", Since::After(offset));
    assert!(!subscription.recovered() && subscription.replay().is_empty());
}

#[test]
fn what_a_topic_remembered_is_given_back_when_it_is_forgotten() {
    let hub = Memory::new(limits());
    for at in 0..50 {
        publish(&hub, &format!("{at}"), text("12345678")).unwrap();
        assert_eq!(hub.held().history, hub.held().topics * 10);
    }
}

/// Who has yet to be sent a publication gets it, whatever is forgotten.
#[test]
fn what_is_forgotten_for_others_still_reaches_its_subscribers() {
    let hub = Memory::new(TopicLimits {
        history_total: 15,
        ..limits()
    });
    let reader = Reader::new();
    let (topic, _) = reader.join(&hub, "a", Since::New);
    for payload in ["12345678", "23456789", "34567890"] {
        number(&hub, "a", payload);
    }
    assert_eq!(hub.held().history, 10);
    assert_eq!(reader.take(&topic).2, ["12345678", "23456789", "34567890"]);
    assert_eq!(remembered(&hub, &["a"]), 10);
}

#[test]
fn topics_without_subscribers_make_room_for_others() {
    let hub = Memory::new(limits());
    let readers = ["a", "b"].map(|name| {
        let reader = Reader::new();
        reader.join(&hub, name, Since::New);
        (reader, name)
    });
    for at in 0..20 {
        number(&hub, &format!("room {at}"), "x");
        assert!(hub.held().topics <= 4);
    }
    // The last is still there, and so are those with subscribers.
    assert_eq!(number(&hub, "room 19", "x"), 2);
    for (reader, name) in &readers {
        assert_eq!(number(&hub, name, "x"), 1);
        assert_eq!(reader.post.0.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn there_is_a_limit_to_topics_with_subscribers() {
    let hub = Memory::new(limits());
    let readers: Vec<Reader> = (0..4).map(|_| Reader::new()).collect();
    for (at, reader) in readers.iter().enumerate() {
        reader.join(&hub, &format!("{at}"), Since::New);
    }
    let one_more = hub.subscribe("4", Since::New, readers[0].member());
    assert_eq!(one_more.err(), Some(SubscribeError::Topics));
    assert_eq!(publish(&hub, "4", text("x")), Err(PublishError::Topics));
    assert_eq!(number(&hub, "3", "x"), 1);
    // It is seen at once when one loses its last.
    let topic = hub.topic_of("3");
    topic.leave(readers[3].member());
    readers[3].take(&topic);
    assert!(topic.retire(&readers[3].mailbox, false));
    assert_eq!(number(&hub, "4", "x"), 1);
    assert_eq!(publish(&hub, "3", text("x")).map(|it| it.number), Ok(1));
    assert_eq!(publish(&hub, "4", text("x")).map(|it| it.number), Ok(1));
}

/// Whoever looks for room does not wait for a publication that is being made, which may wait for him.
#[test]
fn a_publication_that_takes_long_keeps_only_its_topic_waiting() {
    let hub = Memory::new(limits());
    for name in ["a", "b", "c", "d"] {
        number(&hub, name, "x");
    }
    let make = &mut |_| {
        let (done, over) = std::sync::mpsc::channel();
        let others = Arc::clone(&hub);
        std::thread::spawn(move || {
            for at in 0..20 {
                number(&others, &format!("room {at}"), "x");
            }
            done.send(others.held().topics).unwrap();
        });
        let patience = std::time::Duration::from_secs(10);
        assert_eq!(over.recv_timeout(patience), Ok(4));
        text("made")
    };
    let offset = hub.publish("a", None, make).expect("room");
    // It was not given up meanwhile.
    assert_eq!(offset.number, 2);
    assert_eq!(number(&hub, "a", "x"), 3);
}

/// Only as much as it takes, and only those that remember something.
#[test]
fn no_more_topics_are_given_up_for_histories_than_it_takes() {
    let hub = Memory::new(TopicLimits {
        topics: 1000,
        history_total: 1000,
        ..limits()
    });
    hub.set_history("without/".into(), 0);
    let without = hub.topic_of("without/history");
    for at in 0..100 {
        number(&hub, &format!("{at}"), "12345678");
    }
    number(&hub, "one more", "12345678");
    assert!(
        (930..=1000).contains(&hub.held().history),
        "{:?}",
        hub.held()
    );
    assert!(Arc::ptr_eq(&without, &hub.topic_of("without/history")));
}

#[test]
fn a_topic_that_is_kept_outlasts_all_others() {
    let hub = Memory::new(TopicLimits {
        history_total: 20,
        ..limits()
    });
    hub.set_history("without/".into(), 0);
    hub.keep("a");
    hub.keep("without/history");
    number(&hub, "a", "12345678");
    let (topic, _) = Reader::new().join(&hub, "without/history", Since::New);
    let epoch = topic.offset().epoch;
    for at in 0..20 {
        number(&hub, &format!("room {at}"), "12345678");
    }
    // One room is all that there is memory for.
    assert_eq!(hub.held().topics, 3);
    let (_, subscription) = Reader::new().join(&hub, "a", Since::History);
    assert_eq!(replayed(&subscription), [1]);
    let reader = Reader::new();
    let (topic, _) = reader.join(&hub, "without/history", Since::New);
    topic.leave(reader.member());
    reader.take(&topic);
    assert!(topic.retire(&reader.mailbox, false));
    assert_eq!(hub.topic_of("without/history").offset().epoch, epoch);
}

#[test]
fn topics_that_are_kept_take_no_room_from_others() {
    let hub = Memory::new(limits());
    for at in 0..10 {
        hub.keep(&format!("kept {at}"));
        hub.keep(&format!("kept {at}"));
    }
    for at in 0..20 {
        number(&hub, &format!("room {at}"), "x");
    }
    assert_eq!(hub.held().topics, 10 + 4);
}

#[test]
fn a_topic_nobody_uses_is_forgotten_unless_it_has_a_history() {
    for (name, left) in [("relay/1", 0), ("chat", 1)] {
        let hub = Memory::new(limits());
        hub.set_history("relay/".into(), 0);
        let reader = Reader::new();
        let (topic, _) = reader.join(&hub, name, Since::New);
        number(&hub, name, "x");
        reader.take(&topic);
        topic.leave(reader.member());
        reader.take(&topic);
        assert!(topic.retire(&reader.mailbox, false));
        assert_eq!(hub.held().topics, left, "{name}");
        // Who still knows the old one gets to the new one.
        let (_, subscription) = Reader::new().join(&hub, name, Since::History);
        assert_eq!(subscription.replay().len(), left);
    }
}

#[test]
fn who_comes_and_goes_before_its_reactor_knows_leaves_nothing_behind() {
    let hub = Memory::new(limits());
    let reader = Reader::new();
    let (topic, _) = reader.join(&hub, "a", Since::New);
    let join = |member| hub.subscribe("a", Since::History, member).expect("room");
    for at in 0..1000 {
        // In turn, as two workers may have it.
        members(&reader, 2).for_each(|member| drop(join(member)));
        if at % 100 == 0 {
            number(&hub, "a", "x");
        }
        members(&reader, 2).for_each(|member| topic.leave(member));
    }
    let (more, changes, payloads) = reader.take(&topic);
    assert!(!more && changes.is_empty());
    assert_eq!(payloads.len(), 10);
    // Once it knows, there is something to end.
    join(reader.member());
    reader.take(&topic);
    topic.leave(reader.member());
    assert!(matches!(reader.take(&topic).1[..], [Change::Leave(_)]));
}

#[test]
fn there_is_a_limit_to_changes_that_wait() {
    const MOST: u32 = 64 * 1024;
    let hub = Memory::new(limits());
    let reader = Reader::new();
    let mut joined = 0;
    let mut topic = None;
    for member in members(&reader, MOST + 1) {
        match hub.subscribe("a", Since::New, member) {
            Ok((it, _)) => (joined, topic) = (joined + 1, Some(it)),
            Err(error) => assert_eq!(error, SubscribeError::Full),
        }
    }
    assert_eq!(joined, MOST);
    let topic = topic.expect("a topic");
    // Whoever is subscribed may leave at any time.
    number(&hub, "a", "x");
    members(&reader, MOST).for_each(|member| topic.leave(member));
    // Another reactor has nothing to do with it.
    Reader::new().join(&hub, "a", Since::New);
    let mut changes = 0;
    loop {
        let (more, some, _) = reader.take(&topic);
        changes += some.len();
        if !more {
            break;
        }
    }
    assert_eq!(changes, 2 * MOST as usize);
    reader.join(&hub, "a", Since::New);
}

#[test]
fn a_reader_that_takes_nothing_fills_its_log_and_nothing_else() {
    let hub = Memory::new(limits());
    let reader = Reader::new();
    let (topic, _) = reader.join(&hub, "a", Since::New);
    // One is always accepted, and then up to the limit.
    let large = "x".repeat(200);
    assert_eq!(number(&hub, "a", &large), 1);
    assert_eq!(publish(&hub, "a", text("y")), Err(PublishError::Full));
    assert_eq!(reader.take(&topic).2, [large]);
    let accepted = (0..50).take_while(|_| publish(&hub, "a", text("12345678")).is_ok());
    assert_eq!(accepted.count(), 10);
    assert_eq!(topic.offset().number, 11);
    // Nothing was lost or numbered by the one that failed.
    assert_eq!(reader.take(&topic).2.len(), 10);
    assert_eq!(number(&hub, "a", "z"), 12);
}
