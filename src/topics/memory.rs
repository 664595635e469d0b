//! The hub of one process.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::log::Keep;
use super::{
    Frame, Held, Hub, MAX_NAME, Member, Offset, PublishError, Since, SubscribeError, Topic,
};

/// Of so many topics one is given up, and of so many bytes of histories one, when there is no room
/// for another.
const GIVE_UP: usize = 16;

/// What topics may hold.
#[derive(Clone, Debug)]
pub(crate) struct TopicLimits {
    /// Topics at once.
    pub(crate) topics: usize,
    /// Publications in the history of a topic.
    pub(crate) history: usize,
    /// Bytes of them, frame headers included.
    pub(crate) history_bytes: usize,
    /// Bytes in the histories of all topics.
    pub(crate) history_total: usize,
    /// Bytes of a topic that a reactor may be behind by.
    pub(crate) log: usize,
}

struct Named {
    topic: Arc<Topic>,
    /// When it was last used, by the count of uses.
    used: AtomicU64,
    /// It is never given up.
    kept: bool,
}

/// After a search that found nothing, which takes a look at every topic: so many times it is not
/// tried again, unless there is something new to find.
#[derive(Default)]
struct Pause(AtomicUsize);

impl Pause {
    fn begin(&self, times: usize) {
        self.0.store(times, Ordering::Relaxed);
    }

    fn end(&self) {
        self.begin(0);
    }

    /// Whether to do without, this time.
    fn is_on(&self) -> bool {
        let less = |times: usize| times.checked_sub(1);
        let order = Ordering::Relaxed;
        self.0.fetch_update(order, order, less).is_ok()
    }
}

type Topics = HashMap<Arc<str>, Named>;

/// All topics of one server, in memory.
pub(crate) struct Memory {
    limits: TopicLimits,
    /// Publications in the history of topics whose names begin so; the longest match counts.
    prefixes: RwLock<Vec<(String, usize)>>,
    /// Whoever holds this never waits for a topic.
    topics: RwLock<Topics>,
    /// How many there are, and how many of them are kept.
    count: AtomicUsize,
    kept: AtomicUsize,
    uses: AtomicU64,
    /// Bytes in the histories of all topics.
    remembered: Arc<AtomicUsize>,
    /// In looking for topics to give up for another, and for the histories of others.
    no_room: Pause,
    no_relief: Pause,
    me: Weak<Memory>,
}

impl Memory {
    pub(crate) fn new(limits: TopicLimits) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            limits,
            prefixes: RwLock::default(),
            topics: RwLock::default(),
            count: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            uses: AtomicU64::new(0),
            remembered: Arc::default(),
            no_room: Pause::default(),
            no_relief: Pause::default(),
            me: Weak::clone(me),
        })
    }

    /// Topics that are made from now on with names that begin so remember so many publications.
    pub(crate) fn set_history(&self, prefix: String, messages: usize) {
        let prefixes = self.prefixes.write();
        let mut prefixes = prefixes.unwrap_or_else(PoisonError::into_inner);
        prefixes.retain(|(known, _)| *known != prefix);
        prefixes.push((prefix, messages));
    }

    fn history_of(&self, name: &str) -> usize {
        let prefixes = self.prefixes.read();
        let prefixes = prefixes.unwrap_or_else(PoisonError::into_inner);
        let matching = prefixes.iter().filter(|it| name.starts_with(&it.0));
        let longest = matching.max_by_key(|(prefix, _)| prefix.len());
        longest.map_or(self.limits.history, |&(_, messages)| messages)
    }

    /// Makes a topic that is there for good.
    pub(crate) fn keep(&self, name: &str) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if !topics.contains_key(name) {
            self.insert(&mut topics, name);
        }
        let named = topics.get_mut(name).filter(|named| !named.kept);
        if let Some(named) = named {
            named.kept = true;
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_full(&self, topics: &Topics) -> bool {
        topics.len() >= self.limits.topics + self.kept.load(Ordering::Relaxed)
    }

    /// The topic with this name, which may have to be made; `None` if there is no room.
    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = self.known(&topics, name) {
            return Some(topic);
        }
        let is_full = self.is_full(&topics);
        drop(topics);
        if is_full && self.no_room.is_on() {
            return None;
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = self.known(&topics, name) {
            return Some(topic);
        }
        if self.is_full(&topics) {
            let most = topics.len() / GIVE_UP;
            let given = give_up(&mut topics, Topic::is_idle, |given| given > most);
            if given == 0 {
                self.no_room.begin(topics.len());
                return None;
            }
        }
        Some(self.insert(&mut topics, name))
    }

    fn known(&self, topics: &Topics, name: &str) -> Option<Arc<Topic>> {
        let named = topics.get(name)?;
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        named.used.store(now, Ordering::Relaxed);
        Some(Arc::clone(&named.topic))
    }

    fn insert(&self, topics: &mut Topics, name: &str) -> Arc<Topic> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        let name: Arc<str> = name.into();
        let topic = Arc::new(Topic::new(
            Arc::clone(&name),
            self.me.clone(),
            RandomState::new().hash_one(now),
            Keep {
                messages: self.history_of(&name),
                bytes: self.limits.history_bytes,
                total: Arc::clone(&self.remembered),
            },
            self.limits.log,
        ));
        let named = Named {
            topic: Arc::clone(&topic),
            used: AtomicU64::new(now),
            kept: false,
        };
        topics.insert(name, named);
        self.count.store(topics.len(), Ordering::Relaxed);
        self.found();
        topic
    }

    /// There is one more topic without subscribers.
    fn found(&self) {
        self.no_room.end();
        self.no_relief.end();
    }

    /// Bytes of histories over the limit.
    fn excess(&self) -> usize {
        let remembered = self.remembered.load(Ordering::Relaxed);
        remembered.saturating_sub(self.limits.history_total)
    }

    /// Brings the histories back to their limit after a publication to `topic`: gives up others
    /// that nobody subscribes to and, if that is not enough, makes this one forget.
    #[cold]
    fn relieve(&self, topic: &Topic) {
        if !self.no_relief.is_on() {
            let limit = self.limits.history_total;
            let goal = limit - limit / GIVE_UP;
            let is_other = |it: &Topic| !std::ptr::eq(it, topic) && it.is_idle_with_history();
            let is_enough = |_| self.remembered.load(Ordering::Relaxed) <= goal;
            let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
            if give_up(&mut topics, is_other, is_enough) == 0 {
                self.no_relief.begin(topics.len());
            }
            self.count.store(topics.len(), Ordering::Relaxed);
        }
        topic.forget(self.excess());
    }

    /// The topic with this name.
    #[cfg(test)]
    pub(crate) fn topic_of(&self, name: &str) -> Arc<Topic> {
        self.topic(name).expect("room")
    }
}

/// Forgets topics that are not kept and that `may` go, those first that have not been used for
/// longest, until there are `enough`. Says how many.
fn give_up(
    topics: &mut Topics,
    may: impl Fn(&Topic) -> bool,
    enough: impl Fn(usize) -> bool,
) -> usize {
    let mut idle: Vec<(u64, Arc<str>)> = topics
        .iter()
        .filter(|(_, named)| !named.kept && may(&named.topic))
        .map(|(name, named)| (named.used.load(Ordering::Relaxed), Arc::clone(name)))
        .collect();
    idle.sort_unstable_by_key(|&(used, _)| used);
    let mut given = 0;
    for (_, name) in idle {
        // Whoever has found it before may just be subscribing.
        if topics.get(&name).is_some_and(|it| it.topic.remove(true)) {
            topics.remove(&name);
            given += 1;
            if enough(given) {
                break;
            }
        }
    }
    given
}

pub(crate) fn is_topic_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
}

impl Hub for Memory {
    fn publish(
        &self,
        topic: &str,
        except: Option<Member<'_>>,
        make: &mut dyn FnMut(Offset) -> Frame,
    ) -> Result<Offset, PublishError> {
        if !is_topic_name(topic) {
            return Err(PublishError::Name);
        }
        loop {
            let topic = self.topic(topic).ok_or(PublishError::Topics)?;
            // A topic that was removed meanwhile is made anew.
            if let Some(published) = topic.publish(except, make) {
                if self.excess() > 0 {
                    self.relieve(&topic);
                }
                return published.map_err(|()| PublishError::Full);
            }
        }
    }

    fn subscribe(
        &self,
        topic: &str,
        since: Since,
        member: Member<'_>,
    ) -> Result<(Arc<Topic>, u32), SubscribeError> {
        if !is_topic_name(topic) {
            return Err(SubscribeError::Name);
        }
        loop {
            let topic = self.topic(topic).ok_or(SubscribeError::Topics)?;
            if let Some(joined) = topic.join(since, member) {
                let ticket = joined.map_err(|()| SubscribeError::Full)?;
                return Ok((topic, ticket));
            }
        }
    }

    fn held(&self) -> Held {
        Held {
            topics: self.count.load(Ordering::Relaxed),
            history: self.remembered.load(Ordering::Relaxed),
        }
    }

    fn abandoned(&self, topic: &Topic) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        self.found();
        let known = topics.get(topic.name());
        let is_known = known.is_some_and(|it| std::ptr::eq(&*it.topic, topic) && !it.kept);
        if is_known && topic.remove(false) {
            topics.remove(topic.name());
            self.count.store(topics.len(), Ordering::Relaxed);
        }
    }
}
