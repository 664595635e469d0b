//! The hub without reactors: offsets, histories, resuming, and schedules against a model.

mod limits;
mod schedules;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::*;
use crate::protocol::MessageKind;
use crate::transport::Token;

/// A reactor that counts how often it was told.
#[derive(Default)]
struct Post(AtomicUsize);

impl Mailbox for Post {
    fn news(&self, _: Arc<Topic>) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

fn limits() -> TopicLimits {
    TopicLimits {
        topics: 4,
        history: 3,
        history_bytes: 1000,
        history_total: 4000,
        log: 100,
    }
}

fn text(text: &str) -> Frame {
    Frame::new(MessageKind::Text, text.as_bytes())
}

fn publish(hub: &Memory, topic: &str, frame: Frame) -> Result<Offset, PublishError> {
    hub.publish(topic, None, &mut |_| frame.clone())
}

fn number(hub: &Memory, topic: &str, payload: &str) -> u64 {
    publish(hub, topic, text(payload)).expect("room").number
}

/// A reactor with one connection.
struct Reader {
    post: Arc<Post>,
    mailbox: Weak<dyn Mailbox>,
}

impl Reader {
    fn new() -> Self {
        let post = Arc::new(Post::default());
        let weak = Arc::downgrade(&post);
        Self {
            post,
            mailbox: weak,
        }
    }

    fn member(&self) -> Member<'_> {
        Member {
            mailbox: &self.mailbox,
            token: Token::new(1, 1),
        }
    }

    /// What the reactor takes at once: whether there is more, changes, and payloads.
    fn take(&self, topic: &Topic) -> (bool, Vec<Change>, Vec<String>) {
        let (mut changes, mut batch) = (Vec::new(), Batch::default());
        let more = topic.take(&self.mailbox, (64, 1 << 20), &mut changes, &mut batch);
        let payloads = batch.frames_for(self.member().token);
        let payloads = payloads.map(|frame| frame.payload().to_vec());
        let payloads = payloads.map(|bytes| String::from_utf8(bytes).expect("text"));
        (more, changes, payloads.collect())
    }

    /// Joins and takes the subscription at once.
    fn join(&self, hub: &Memory, topic: &str, since: Since) -> (Arc<Topic>, Box<Subscription>) {
        let (topic, _) = hub.subscribe(topic, since, self.member()).expect("room");
        let (_, mut changes, _) = self.take(&topic);
        match changes.pop() {
            Some(Change::Join(subscription)) => (topic, subscription),
            other => panic!("{other:?} instead of a subscription"),
        }
    }
}

fn replayed(subscription: &Subscription) -> Vec<u64> {
    let replay = subscription.replay().iter();
    replay.map(|it| it.offset().number).collect()
}

#[test]
fn publications_are_numbered_from_one_in_an_epoch_of_their_topic() {
    let hub = Memory::new(limits());
    assert_eq!(number(&hub, "a", "x"), 1);
    assert_eq!(number(&hub, "a", "y"), 2);
    assert_eq!(number(&hub, "b", "z"), 1);
    let [a, b] = ["a", "b"].map(|name| publish(&hub, name, text("!")).unwrap().epoch);
    assert_ne!(a, b);
}

#[test]
fn a_frame_is_what_a_peer_is_sent() {
    let frame = text("Hello");
    // RFC 6455 section 5.7.
    assert_eq!(&frame.bytes[..], b"\x81\x05Hello");
    assert_eq!(&frame.payload()[..], b"Hello");
    let large = Frame::new(MessageKind::Binary, &[7; 70_000]);
    assert_eq!(large.len(), 70_010);
    assert_eq!(large.payload_bytes(), [7; 70_000]);
}

#[test]
fn a_history_keeps_the_last_messages() {
    let hub = Memory::new(limits());
    let reader = Reader::new();
    (1..=5).for_each(|at| assert_eq!(number(&hub, "a", "x"), at));
    let (_, subscription) = reader.join(&hub, "a", Since::History);
    assert_eq!(replayed(&subscription), [3, 4, 5]);
    assert_eq!(subscription.offset().number, 5);
    assert!(subscription.recovered());
}

#[test]
fn a_history_keeps_to_its_bytes() {
    let hub = Memory::new(TopicLimits {
        history_bytes: 10,
        ..limits()
    });
    let reader = Reader::new();
    for payload in ["one", "two", "three"] {
        number(&hub, "a", payload);
    }
    // Each has two bytes of header.
    let (_, subscription) = reader.join(&hub, "a", Since::History);
    assert_eq!(replayed(&subscription), [3]);
    number(&hub, "a", "more than ten");
    let (_, subscription) = Reader::new().join(&hub, "a", Since::History);
    assert_eq!(replayed(&subscription), [0u64; 0]);
    assert_eq!(subscription.offset().number, 4);
}

#[test]
fn the_longest_prefix_says_how_much_is_kept() {
    let hub = Memory::new(limits());
    hub.set_history("a/".into(), 0);
    hub.set_history("a/b".into(), 2);
    for (topic, kept) in [("a", 3), ("a/a", 0), ("a/bc", 2)] {
        (0..5).for_each(|_| assert!(number(&hub, topic, "x") > 0));
        let (_, subscription) = Reader::new().join(&hub, topic, Since::History);
        assert_eq!(subscription.replay().len(), kept, "{topic}");
    }
}

#[test]
fn whoever_resumes_gets_all_or_is_told() {
    let hub = Memory::new(limits());
    let offsets: Vec<Offset> = (0..6)
        .map(|_| publish(&hub, "a", text("x")).unwrap())
        .collect();
    let epoch = offsets[0].epoch;
    for (number, expected) in [
        (6, Some(vec![])),
        (5, Some(vec![6])),
        (3, Some(vec![4, 5, 6])),
        (2, None),
        (0, None),
        // Not published yet.
        (7, None),
        (u64::MAX, None),
    ] {
        let since = Since::After(Offset { epoch, number });
        let (_, subscription) = Reader::new().join(&hub, "a", since);
        let recovered = subscription.recovered().then(|| replayed(&subscription));
        assert_eq!(recovered, expected, "after {number}");
        assert!(subscription.recovered() || subscription.replay().is_empty());
        assert_eq!(subscription.offset(), Offset { epoch, number: 6 });
        let other = Since::After(Offset {
            epoch: epoch ^ 1,
            number,
        });
        let (_, subscription) = Reader::new().join(&hub, "a", other);
        assert!(!subscription.recovered());

        // Or else everything, if that is wanted.
        let since = Since::AfterOrHistory(Offset { epoch, number });
        let (_, subscription) = Reader::new().join(&hub, "a", since);
        assert_eq!(subscription.recovered(), expected.is_some());
        let or_else = expected.unwrap_or(vec![4, 5, 6]);
        assert_eq!(replayed(&subscription), or_else, "after {number}");
    }
}

#[test]
fn a_publication_is_made_with_its_own_offset() {
    let hub = Memory::new(limits());
    let make = &mut |offset: Offset| text(&offset.to_string());
    let offsets = [(); 3].map(|()| hub.publish("a", None, make).unwrap());
    assert_eq!(offsets.map(|offset| offset.number), [1, 2, 3]);
    let (_, subscription) = Reader::new().join(&hub, "a", Since::History);
    for (publication, offset) in subscription.replay().iter().zip(offsets) {
        assert_eq!(publication.as_bytes(), offset.to_string().as_bytes());
    }
}

#[test]
fn a_topic_that_is_new_is_resumed_from_its_beginning_only() {
    let hub = Memory::new(limits());
    let reader = Reader::new();
    let (_, subscription) = reader.join(&hub, "a", Since::History);
    let Offset { epoch, number } = subscription.offset();
    assert_eq!(number, 0);
    number_and_resume(&hub, Offset { epoch, number });
}

fn number_and_resume(hub: &Memory, offset: Offset) {
    assert_eq!(number(hub, "a", "first"), 1);
    let (_, subscription) = Reader::new().join(hub, "a", Since::After(offset));
    assert!(subscription.recovered());
    assert_eq!(replayed(&subscription), [1]);
}

#[test]
fn a_reader_is_told_once_and_takes_everything() {
    let hub = Memory::new(limits());
    let reader = Reader::new();
    let (topic, _) = reader.join(&hub, "a", Since::New);
    let told = || reader.post.0.load(Ordering::Relaxed);
    assert_eq!(told(), 1);
    for payload in ["1", "2", "3"] {
        number(&hub, "a", payload);
    }
    assert_eq!(told(), 2);
    let (more, _, payloads) = reader.take(&topic);
    assert_eq!(
        (more, payloads),
        (false, ["1", "2", "3"].map(String::from).to_vec())
    );
    number(&hub, "a", "4");
    assert_eq!(told(), 3);
}

#[test]
fn what_a_reader_takes_never_reaches_over_a_change() {
    let hub = Memory::new(limits());
    let reader = Reader::new();
    let (topic, _) = reader.join(&hub, "a", Since::New);
    number(&hub, "a", "before");
    let another = members(&reader, 1).next().expect("one");
    hub.subscribe("a", Since::New, another).unwrap();
    number(&hub, "a", "between");
    topic.leave(reader.member());
    number(&hub, "a", "after");
    let (more, changes, payloads) = reader.take(&topic);
    assert!(more && changes.is_empty());
    assert_eq!(payloads, ["before"]);
    let (more, changes, payloads) = reader.take(&topic);
    assert!(more && matches!(changes[..], [Change::Join(_)]));
    assert_eq!(payloads, ["between"]);
    let (more, changes, payloads) = reader.take(&topic);
    assert!(!more && matches!(changes[..], [Change::Leave(_)]));
    assert_eq!(payloads, ["after"]);
}

/// Of one reactor, by its number.
fn members(reader: &Reader, count: u32) -> impl Iterator<Item = Member<'_>> {
    (0..count).map(|index| Member {
        token: Token::new(index, 0),
        ..reader.member()
    })
}

#[test]
fn a_reactor_that_ended_holds_nothing_up() {
    struct Dead;
    impl Mailbox for Dead {
        fn news(&self, _: Arc<Topic>) -> bool {
            false
        }
    }
    let hub = Memory::new(limits());
    let dead = Arc::new(Dead);
    let mailbox: Weak<dyn Mailbox> = Arc::downgrade(&dead) as Weak<Dead>;
    let member = Member {
        mailbox: &mailbox,
        token: Token::new(1, 1),
    };
    hub.subscribe("a", Since::New, member).unwrap();
    (0..50).for_each(|_| assert!(number(&hub, "a", "12345678") > 0));
}

#[test]
fn a_reader_is_not_retired_while_somebody_joins() {
    let hub = Memory::new(limits());
    let reader = Reader::new();
    let (topic, _) = hub.subscribe("a", Since::New, reader.member()).unwrap();
    assert!(!topic.retire(&reader.mailbox, false));
    assert_eq!(reader.take(&topic).1.len(), 1);
}

#[test]
fn a_name_has_a_length() {
    let hub = Memory::new(limits());
    let reader = Reader::new();
    for name in ["", &"x".repeat(256)] {
        assert_eq!(publish(&hub, name, text("x")), Err(PublishError::Name));
        let subscribed = hub.subscribe(name, Since::New, reader.member());
        assert_eq!(subscribed.err(), Some(SubscribeError::Name));
    }
    assert_eq!(number(&hub, &"x".repeat(255), "x"), 1);
}

#[test]
fn offsets_are_read_as_they_are_written() {
    for text in ["", "1", "-", "x-1", "1-x", "1-2-3", "1--2"] {
        assert_eq!(text.parse::<Offset>(), Err(ParseOffsetError), "{text}");
    }
    let last = Offset {
        epoch: u64::MAX,
        number: u64::MAX,
    };
    assert_eq!(last.to_string().parse(), Ok(last));
}
