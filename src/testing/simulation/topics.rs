//! What was published to topics, who was to get it, and whether he did.

use super::handlers::Actor;
use super::ledger::{Ledger, Record};
use super::rng::Rng;
use crate::{Offset, Peer, Since, Subscription};

/// The last of them has no history.
pub(super) const TOPICS: [&str; 3] = ["a", "b", "relay/c"];

fn topic_of(name: &str) -> usize {
    let at = TOPICS.iter().position(|it| *it == name);
    at.expect("a topic of this run")
}

/// Everything that was published, by topic.
#[derive(Default)]
pub(super) struct Board {
    /// Whether handlers use topics in this run.
    pub(super) is_on: bool,
    /// Whether the others have one.
    pub(super) remembers: bool,
    published: [Vec<Published>; TOPICS.len()],
}

/// A publication: its name, its length, and the connection that does not get it.
#[derive(Clone, Copy)]
struct Published {
    offset: Offset,
    len: usize,
    except: Option<usize>,
}

impl Board {
    /// The payload of the publication with this index among all of its topic.
    pub(super) fn payload(topic: usize, index: usize, len: usize) -> String {
        format!("{:x<len$}", format!("P{topic}{index:08};"))
    }

    fn len(&self, topic: usize) -> usize {
        self.published[topic].len()
    }

    /// The index of what a connection is sent next that has everything before this one.
    fn next(&self, topic: usize, connection: usize, from: usize) -> usize {
        let rest = self.published[topic].iter().skip(from);
        from + rest.take_while(|it| it.except == Some(connection)).count()
    }

    /// Notes a publication; what is wrong with its offset.
    fn note(&mut self, topic: usize, publication: Published) -> Option<String> {
        let offset = publication.offset;
        let published = &mut self.published[topic];
        let last = published.last().map(|last| last.offset);
        published.push(publication);
        let expected = match last {
            Some(last) if last.epoch == offset.epoch => last.number + 1,
            // Only a topic without history is ever forgotten.
            Some(_) if self.remembers && topic + 1 < TOPICS.len() => 0,
            _ => 1,
        };
        let (number, last) = (offset.number, last.map(|last| last.number));
        (number != expected).then(|| format!("{number} follows {last:?}"))
    }
}

/// One subscription of one connection.
#[derive(Debug)]
pub(super) struct Session {
    topic: usize,
    since: Since,
    /// The index of the first publication after it, and after its end.
    from: usize,
    to: Option<usize>,
    /// How many messages the handler had queued when it had answered; `None` before.
    told: Option<usize>,
    /// The client has heard everything before this index that it was to hear.
    next: usize,
}

impl Record {
    fn session(&mut self, topic: usize) -> Option<&mut Session> {
        let mut sessions = self.sessions.iter_mut().rev();
        sessions.find(|it| it.topic == topic)
    }

    /// What an open connection that has read everything should have heard and has not.
    pub(super) fn misses(&self, connection: usize, board: &Board) -> Option<String> {
        let current = self.sessions.iter().filter(|it| it.to.is_none());
        let next = |it: &Session| board.next(it.topic, connection, it.next);
        let mut missing = current.filter(|it| it.told.is_none() || next(it) != board.len(it.topic));
        missing
            .next()
            .map(|it| format!("{it:?} of {}", board.len(it.topic)))
    }
}

impl Ledger {
    /// A client hears something that was published; what is wrong with that.
    pub(super) fn hears(
        &mut self,
        connection: usize,
        got: usize,
        payload: &[u8],
    ) -> Option<String> {
        let text = String::from_utf8_lossy(payload);
        let known = || {
            let topic: usize = text.get(1..2)?.parse().ok()?;
            let index: usize = text.get(2..10)?.parse().ok()?;
            let &Published { len, .. } = self.board.published.get(topic)?.get(index)?;
            Some((topic, index, len))
        };
        let Some((topic, index, len)) = known() else {
            return Some(format!("{text:.20} was never published"));
        };
        if text != Board::payload(topic, index, len) {
            return Some(format!("{topic} {index} is not what was published"));
        }
        self.cover("deliveries");
        let record = &mut self.records[connection];
        let of_topic = record.sessions.iter_mut().filter(|it| it.topic == topic);
        let fits = |it: &Session| index >= it.from && it.to.is_none_or(|to| index < to);
        let mut later = of_topic.skip_while(|it| !fits(it));
        let Some(session) = later.next() else {
            return Some(format!("{topic} {index} is of no subscription"));
        };
        if index != self.board.next(topic, connection, session.next) {
            return Some(format!(
                "{topic} {index} comes in the wrong place: {session:?}"
            ));
        }
        session.next = index + 1;
        // What the handler sent when it was told has to have come.
        let told = session.told;
        if told.is_none_or(|told| got < told) {
            return Some(format!(
                "{topic} {index} comes after {got} messages, not {told:?}"
            ));
        }
        None
    }
}

/// Publishes something as a handler or another thread would.
pub(super) fn publish(
    ledger: &mut Ledger,
    rng: &mut Rng,
    except: Option<usize>,
    publish: impl FnOnce(&str, String) -> Result<Offset, crate::PublishError>,
) {
    let topic = rng.below(TOPICS.len());
    let size = rng.pick(&[12, 100, 100, 3_000, 20_000]);
    let text = Board::payload(topic, ledger.board.len(topic), 12 + rng.below(size));
    let len = text.len();
    let result = publish(TOPICS[topic], text);
    ledger.note(|| {
        format!(
            "publishes {len} to {topic} except for {except:?}: {:?}",
            result.map(|it| it.number)
        )
    });
    match result {
        Ok(offset) => {
            ledger.cover("publications");
            if except.is_some() {
                ledger.cover("publications to the others");
            }
            let publication = Published {
                offset,
                len,
                except,
            };
            if let Some(fault) = ledger.board.note(topic, publication) {
                ledger.faults.push(fault);
            }
        }
        Err(_) => ledger.cover("publications that did not fit"),
    }
}

impl Actor {
    /// Uses topics, perhaps.
    pub(super) fn gossip(&mut self, peer: &mut Peer<'_>) {
        let connection = self.connection;
        let ledgers = self.ledgers.clone();
        let mut ledger = ledgers.lock();
        if !ledger.board.is_on || self.topics.one_in(3) {
            return;
        }
        let topic = self.topics.below(TOPICS.len());
        match self.topics.below(8) {
            0..2 => {
                let since = self.since(&ledger.board, topic);
                let result = peer.subscribe(TOPICS[topic], since);
                let from = ledger.board.len(topic);
                let number = match since {
                    Since::After(offset) | Since::AfterOrHistory(offset) => Some(offset.number),
                    _ => None,
                };
                ledger
                    .note(|| format!("{connection} subscribes to {topic} {number:?}: {result:?}"));
                let record = &mut ledger.records[connection];
                let again = record.session(topic).is_some_and(|it| it.to.is_none());
                match result {
                    Ok(()) if again => ledger.cover("subscriptions again"),
                    Ok(()) => {
                        record.sessions.push(Session {
                            topic,
                            since,
                            from,
                            to: None,
                            told: None,
                            next: from,
                        });
                        ledger.cover("subscriptions");
                    }
                    Err(_) => ledger.fault(connection, format_args!("{result:?}")),
                }
            }
            2 => {
                let left = peer.unsubscribe(TOPICS[topic]);
                let to = ledger.board.len(topic);
                ledger.note(|| format!("{connection} leaves {topic}: {left}"));
                let session = ledger.records[connection].session(topic);
                let session = session.filter(|it| it.to.is_none());
                if session.is_some() != left {
                    return ledger.fault(connection, "it was subscribed, or not");
                }
                if let Some(session) = session {
                    session.to = Some(to);
                    ledger.cover("subscriptions that end");
                }
            }
            3 | 4 => publish(
                &mut ledger,
                &mut self.topics,
                Some(connection),
                |topic, text| peer.publish_to_others(topic, text),
            ),
            _ => publish(&mut ledger, &mut self.topics, None, |topic, text| {
                peer.publish(topic, text)
            }),
        }
    }

    fn since(&mut self, board: &Board, topic: usize) -> Since {
        let published = &board.published[topic];
        match self.topics.below(4) {
            0 => Since::New,
            1 => Since::History,
            _ if published.is_empty() => Since::New,
            _ => {
                let back = self.topics.below(published.len().min(5));
                let mut offset = published[published.len() - 1 - back].offset;
                if self.topics.one_in(10) {
                    offset.epoch ^= 1;
                }
                if self.topics.one_in(4) {
                    return Since::AfterOrHistory(offset);
                }
                Since::After(offset)
            }
        }
    }

    /// The handler hears of a subscription.
    pub(super) fn told(&mut self, peer: &mut Peer<'_>, subscription: &Subscription) {
        let connection = self.connection;
        let topic = topic_of(subscription.topic());
        if let Some(fault) = self.check_subscription(topic, subscription) {
            self.ledgers.lock().fault(connection, fault);
        }
        if let Some(item) = self.make() {
            self.send(peer, item);
        }
        let mut ledger = self.ledgers.lock();
        let record = &mut ledger.records[connection];
        let queued = record.queued.len();
        if let Some(session) = record.session(topic) {
            session.told = Some(queued);
        }
    }

    fn check_subscription(&self, topic: usize, subscription: &Subscription) -> Option<String> {
        let mut ledger = self.ledgers.lock();
        let Ledger { records, board, .. } = &mut *ledger;
        let record = &mut records[self.connection];
        if !record.is_live() || record.is_closing() {
            return Some("on_subscribed after the end".into());
        }
        let session = record.session(topic)?;
        if session.to.is_some() || session.told.is_some() {
            return Some(format!("on_subscribed for {session:?}"));
        }
        let before = &board.published[topic][..session.from];
        let offset = subscription.offset();
        let is_last = before.last().is_some_and(|last| last.offset == offset);
        if !is_last && offset.number != 0 {
            return Some(format!(
                "a subscription at {offset}, not at {:?}",
                before.last().map(|last| last.offset)
            ));
        }
        let replay = subscription.replay();
        let last = replay.last().map(|it| it.offset());
        if last.is_some_and(|last| last != offset) {
            return Some(format!(
                "a replay to {last:?} of a subscription at {offset}"
            ));
        }
        let start = before.len() - replay.len().min(before.len());
        for (at, publication) in (start..).zip(replay) {
            let Published { offset, len, .. } = before[at];
            let is_same = publication.as_bytes() == Board::payload(topic, at, len).as_bytes();
            if publication.offset() != offset || !is_same {
                return Some(format!(
                    "a replay of {} instead of {offset}",
                    publication.offset()
                ));
            }
        }
        let whole = match session.since {
            Since::New => Some(0),
            Since::History => None,
            Since::After(after) | Since::AfterOrHistory(after) => {
                Some((offset.number.wrapping_sub(after.number)) as usize)
            }
        };
        let or_history = matches!(session.since, Since::AfterOrHistory(_));
        let count = replay.len();
        let fault = match (subscription.recovered(), whole) {
            (true, Some(whole)) if count != whole => Some(format!("{count} instead of {whole}")),
            (false, _) if count > 0 && !or_history => Some("a partial replay".into()),
            _ => None,
        };
        match subscription.recovered() {
            true if count > 0 => ledger.cover("replays"),
            true => {}
            false => ledger.cover("replays that are lost"),
        }
        fault
    }
}
