//! Random schedules of publishing, subscribing, leaving and taking, against a model that knows
//! nothing of logs, batches and cursors.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;

const READERS: usize = 3;
const CONNECTIONS: u32 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// So many bytes of payload, and who does not get it.
    Publish(usize, Option<(usize, u32)>),
    /// Who, and how far back the offset lies that is resumed from, if it is one.
    Subscribe(usize, u32, Past),
    Leave(usize, u32),
    /// A reactor takes so much at once.
    Take(usize, usize, usize),
}

#[derive(Clone, Copy, Debug)]
enum Past {
    New,
    History,
    After(i64),
    OtherEpoch,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || (0..READERS, 0..CONNECTIONS);
    let past = prop_oneof![
        Just(Past::New),
        Just(Past::History),
        (-3..12i64).prop_map(Past::After),
        Just(Past::OtherEpoch),
    ];
    prop_oneof![
        6 => (1..60usize, of(who())).prop_map(|(len, except)| Step::Publish(len, except)),
        3 => (who(), past).prop_map(|((reader, it), past)| Step::Subscribe(reader, it, past)),
        2 => who().prop_map(|(reader, it)| Step::Leave(reader, it)),
        5 => (0..READERS, 1..5usize, 1..200usize).prop_map(|(a, b, c)| Step::Take(a, b, c)),
    ]
}

/// One subscription as the model and the reader see it.
#[derive(Default)]
struct Seen {
    /// What it has to get: numbers from here on.
    from: u64,
    /// Up to here, without it, if it has left.
    to: Option<u64>,
    /// What it asked for of the past; `None` if it cannot have it.
    replay: Option<Vec<u64>>,
    got: Vec<u64>,
    told: bool,
}

struct World {
    hub: Arc<Memory>,
    topic: Arc<Topic>,
    readers: Vec<Reader>,
    keep: (usize, usize),
    /// Lengths of the frames of all publications.
    lens: Vec<usize>,
    /// Who does not get which.
    excepted: Vec<Option<(usize, u32)>>,
    /// Subscriptions in the order in which they began, by reader and connection.
    all: HashMap<(usize, u32), Vec<Seen>>,
    /// Which of them the reader currently serves.
    serving: HashMap<(usize, u32), usize>,
    /// The next number each reader takes.
    next: Vec<u64>,
}

fn member(reader: &Reader, connection: u32) -> Member<'_> {
    Member {
        mailbox: &reader.mailbox,
        token: Token::new(connection, 0),
    }
}

impl World {
    /// One topic, to which a limit for all means the same as one for each.
    fn new(keep: (usize, usize), in_all: bool) -> Self {
        let (each, total) = if in_all {
            (usize::MAX, keep.1)
        } else {
            (keep.1, usize::MAX)
        };
        let hub = Memory::new(TopicLimits {
            topics: 1,
            history: keep.0,
            history_bytes: each,
            history_total: total,
            log: usize::MAX,
        });
        let topic = hub.topic_of("a");
        Self {
            hub,
            topic,
            readers: (0..READERS).map(|_| Reader::new()).collect(),
            keep,
            lens: Vec::new(),
            excepted: Vec::new(),
            all: HashMap::new(),
            serving: HashMap::new(),
            next: vec![0; READERS],
        }
    }

    fn published(&self) -> u64 {
        self.lens.len() as u64
    }

    /// The number of the oldest publication in the history.
    fn window(&self) -> u64 {
        let mut bytes = 0;
        let kept = self.lens.iter().rev().take(self.keep.0).take_while(|&len| {
            bytes += len;
            bytes <= self.keep.1
        });
        self.published() + 1 - kept.count() as u64
    }

    fn is_subscribed(&self, who: (usize, u32)) -> bool {
        let last = self.all.get(&who).and_then(|all| all.last());
        last.is_some_and(|seen| seen.to.is_none())
    }

    fn subscribe(&mut self, who: (usize, u32), past: Past) {
        // The executor asks only once.
        if self.is_subscribed(who) {
            return;
        }
        let published = self.published();
        let epoch = self.topic.offset().epoch;
        let after = |back: i64| (published as i64 - back) as u64;
        let since = match past {
            Past::New => Since::New,
            Past::History => Since::History,
            Past::After(back) => Since::After(Offset {
                epoch,
                number: after(back),
            }),
            Past::OtherEpoch => Since::After(Offset {
                epoch: !epoch,
                number: published,
            }),
        };
        let replay = match past {
            Past::New => Some(vec![]),
            Past::History => Some((self.window()..=published).collect()),
            Past::After(back) => {
                let wanted = after(back).wrapping_add(1);
                let known = (0..=published as i64).contains(&back);
                let whole = known && wanted >= self.window();
                whole.then(|| (wanted..=published).collect())
            }
            Past::OtherEpoch => None,
        };
        let member = member(&self.readers[who.0], who.1);
        self.hub.subscribe("a", since, member).expect("room");
        self.all.entry(who).or_default().push(Seen {
            from: published + 1,
            replay,
            ..Seen::default()
        });
    }

    fn leave(&mut self, who: (usize, u32)) {
        if self.is_subscribed(who) {
            let published = self.published();
            let all = self.all.get_mut(&who).expect("it subscribed");
            let last = all.last_mut().expect("it subscribed");
            last.to = Some(published + 1);
            // Nobody will ever hear of it.
            if !last.told {
                all.pop();
            }
            self.topic.leave(member(&self.readers[who.0], who.1));
        }
    }

    /// Says whether there is more.
    fn take(&mut self, reader: usize, most: (usize, usize)) -> bool {
        let (mut changes, mut batch) = (Vec::new(), Batch::default());
        let mailbox = &self.readers[reader].mailbox;
        let more = self.topic.take(mailbox, most, &mut changes, &mut batch);
        assert!(changes.len() <= most.0 && batch.frames.len() <= most.0);
        let bytes: usize = batch.frames.iter().map(Frame::len).sum();
        assert!(batch.frames.len() <= 1 || bytes <= most.1);
        for change in changes {
            self.change(reader, change);
        }
        let number = |frame: &Frame| -> u64 {
            let payload = std::str::from_utf8(frame.payload_bytes()).unwrap();
            payload.trim().parse().unwrap()
        };
        for frame in &batch.frames {
            let number = number(frame);
            assert!(number > self.next[reader], "in order");
            self.next[reader] = number;
        }
        for (&(of, connection), &at) in &self.serving {
            if of == reader {
                let all = self.all.get_mut(&(of, connection)).unwrap();
                let frames = batch.frames_for(Token::new(connection, 0));
                all[at].got.extend(frames.map(number));
            }
        }
        more
    }

    fn change(&mut self, reader: usize, change: Change) {
        match change {
            Change::Join(subscription) => {
                let who = (reader, subscription.token.index());
                let all = self.all.get_mut(&who).expect("it subscribed");
                let at = all.iter().position(|seen| !seen.told).expect("one more");
                all[at].told = true;
                assert_eq!(subscription.offset().number + 1, all[at].from);
                let recovered = subscription.recovered();
                assert_eq!(recovered.then(|| replayed(&subscription)), all[at].replay);
                assert!(recovered || subscription.replay().is_empty());
                for publication in subscription.replay() {
                    let payload = std::str::from_utf8(publication.as_bytes()).unwrap();
                    let number: u64 = payload.trim().parse().unwrap();
                    assert_eq!(number, publication.offset().number);
                }
                self.serving.insert(who, at);
            }
            Change::Leave(token) => {
                self.serving.remove(&(reader, token.index()));
            }
        }
    }

    fn check(&self) {
        for (who, all) in &self.all {
            for seen in all {
                let to = seen.to.unwrap_or(self.published() + 1);
                assert!(seen.told, "{who:?} was told");
                let gets = |&number: &u64| self.excepted[number as usize - 1] != Some(*who);
                let due: Vec<u64> = (seen.from..to).filter(gets).collect();
                assert_eq!(seen.got, due, "what {who:?} got");
            }
        }
    }
}

proptest! {
    #[test]
    fn everybody_gets_what_was_published_while_subscribed(
        keep in (0..6usize, 0..300usize),
        in_all in any::<bool>(),
        steps in vec(step(), 0..200),
    ) {
        let mut world = World::new(keep, in_all);
        for step in steps {
            match step {
                Step::Publish(len, except) => {
                    let number = world.published() + 1;
                    let frame = text(&format!("{number:<len$}"));
                    world.lens.push(frame.len());
                    world.excepted.push(except);
                    let except = except.map(|(reader, it)| member(&world.readers[reader], it));
                    let publish = world.hub.publish("a", except, &mut |_| frame.clone());
                    let offset = publish.expect("room");
                    prop_assert_eq!(offset.number, number);
                }
                Step::Subscribe(reader, connection, past) => {
                    world.subscribe((reader, connection), past);
                }
                Step::Leave(reader, connection) => world.leave((reader, connection)),
                Step::Take(reader, count, bytes) => {
                    world.take(reader, (count, bytes));
                }
            }
        }
        for reader in 0..READERS {
            while world.take(reader, (3, 50)) {}
        }
        world.check();
    }
}
