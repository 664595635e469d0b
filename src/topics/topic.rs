//! One topic: its log, and the reactors that read it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use super::log::{Keep, Log};
use super::{Frame, Hub, Offset, Since, Subscription};
use crate::transport::Token;

/// Publications one reader may be behind by, besides the limit in bytes.
const MAX_BEHIND: u64 = 64 * 1024;

/// Changes a reader may have yet to carry out, before nobody can join there any more.
const MAX_CHANGES: usize = 64 * 1024;

/// Whoever leaves looks through so many changes for its own joining, which then never was. That makes
/// nothing of a peer that comes and goes faster than its reactor has turns.
const RECENT: usize = 16;

/// Memory for so many changes is kept for the next ones.
const KEPT_CHANGES: usize = 1024;

/// The way to a reactor: it is told that a topic has news, and comes to take them.
pub(crate) trait Mailbox: Send + Sync {
    /// Never blocks; called at most once until the topic was taken from. False if the reactor
    /// has ended.
    fn news(&self, topic: Arc<Topic>) -> bool;
}

/// A connection that is to be subscribed, or no longer.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) mailbox: &'a Weak<dyn Mailbox>,
    pub(crate) token: Token,
}

/// Publications that a reader takes together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) frames: Vec<Frame>,
    /// Places in `frames`, each with a subscriber of this reader that does not get it.
    pub(crate) excepted: Vec<(usize, Token)>,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.excepted.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether somebody gets less than the others.
    pub(crate) fn has_exceptions(&self) -> bool {
        !self.excepted.is_empty()
    }

    /// Whether this subscriber gets less than the others.
    pub(crate) fn is_excepted(&self, token: Token) -> bool {
        self.excepted.iter().any(|&(_, other)| other == token)
    }

    /// What this subscriber gets.
    pub(crate) fn frames_for(&self, token: Token) -> impl Iterator<Item = &Frame> {
        let frames = self.frames.iter().enumerate();
        let gets = move |at| !self.excepted.contains(&(at, token));
        frames.filter_map(move |(at, frame)| gets(at).then_some(frame))
    }
}

/// What happened to the subscribers of one reader, between two publications.
#[derive(Debug)]
pub(crate) enum Change {
    Join(Box<Subscription>),
    Leave(Token),
}

/// A reactor with subscribers.
struct Reader {
    mailbox: Weak<dyn Mailbox>,
    /// The number of the first publication it has not taken.
    cursor: u64,
    /// It was told of news and has not taken all of them yet.
    signalled: bool,
    /// With the number of the publication that each comes before.
    changes: VecDeque<(u64, Change)>,
}

impl Reader {
    /// Takes back that somebody joined recently, if the reader does not know of it yet: what was
    /// published since would not reach a handler that has not been told. Says whether it did.
    fn take_back(&mut self, token: Token) -> bool {
        let mut recent = self.changes.iter().enumerate().rev().take(RECENT);
        let joined = recent.find_map(|(at, (_, change))| match change {
            Change::Join(subscription) if subscription.token == token => Some(at),
            _ => None,
        });
        if let Some(at) = joined {
            self.changes.remove(at);
        }
        joined.is_some()
    }
}

struct State {
    log: Log,
    readers: Vec<Reader>,
    tickets: u32,
    /// The hub has forgotten it; another topic may have its name by now.
    removed: bool,
}

impl State {
    /// The oldest publication that some reader has not taken.
    fn needed(&self) -> u64 {
        let cursors = self.readers.iter().map(|reader| reader.cursor);
        cursors.min().unwrap_or(u64::MAX)
    }

    fn reader(&mut self, mailbox: &Weak<dyn Mailbox>) -> Option<usize> {
        let is_its = |reader: &Reader| Weak::ptr_eq(&reader.mailbox, mailbox);
        self.readers.iter().position(is_its)
    }
}

pub(crate) struct Topic {
    name: Arc<str>,
    hub: Weak<dyn Hub>,
    /// Bytes a reader may be behind by. One publication is always accepted.
    max_behind: u64,
    state: Mutex<State>,
}

impl Topic {
    pub(super) fn new(
        name: Arc<str>,
        hub: Weak<dyn Hub>,
        epoch: u64,
        keep: Keep,
        max_behind: usize,
    ) -> Self {
        Self {
            name,
            hub,
            max_behind: max_behind as u64,
            state: Mutex::new(State {
                log: Log::new(epoch, keep),
                readers: Vec::new(),
                tickets: 0,
                removed: false,
            }),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a publication and tells every reader that has not been told yet. `None` if the
    /// topic has been removed.
    pub(super) fn publish(
        self: &Arc<Self>,
        except: Option<Member<'_>>,
        make: &mut dyn FnMut(Offset) -> Frame,
    ) -> Option<Result<Offset, ()>> {
        let mut state = self.state();
        if state.removed {
            return None;
        }
        let needed = state.needed();
        let behind = state.log.bytes_from(needed);
        let count = state.log.next().saturating_sub(needed);
        if behind > 0 && (behind > self.max_behind || count >= MAX_BEHIND) {
            return Some(Err(()));
        }
        let frame = make(state.log.next_offset());
        if behind > 0 && behind + frame.len() as u64 > self.max_behind {
            return Some(Err(()));
        }
        let offset = state.log.push(frame, except, needed);
        state.readers.retain_mut(|reader| self.signal(reader));
        Some(Ok(offset))
    }

    /// Tells a reader of news, unless it has been told. False if it has ended.
    fn signal(self: &Arc<Self>, reader: &mut Reader) -> bool {
        if !reader.signalled {
            let mailbox = reader.mailbox.upgrade();
            reader.signalled = mailbox.is_some_and(|mailbox| mailbox.news(Arc::clone(self)));
        }
        reader.signalled
    }

    /// Adds a subscriber between the last publication and the next, if its reader is not too far
    /// behind. `None` if the topic has been removed.
    pub(super) fn join(
        self: &Arc<Self>,
        since: Since,
        member: Member<'_>,
    ) -> Option<Result<u32, ()>> {
        let mut state = self.state();
        if state.removed {
            return None;
        }
        let reader = state.reader(member.mailbox);
        if reader.is_some_and(|at| state.readers[at].changes.len() >= MAX_CHANGES) {
            return Some(Err(()));
        }
        state.tickets = state.tickets.wrapping_add(1);
        let ticket = state.tickets;
        let (replay, start, recovered) = state.log.replay(since);
        let subscription = Subscription {
            topic: Arc::clone(self),
            token: member.token,
            ticket,
            offset: state.log.offset(),
            replay,
            start,
            recovered,
        };
        let next = state.log.next();
        let at = reader.unwrap_or_else(|| {
            state.readers.push(Reader {
                mailbox: Weak::clone(member.mailbox),
                cursor: next,
                signalled: false,
                changes: VecDeque::new(),
            });
            state.readers.len() - 1
        });
        let reader = &mut state.readers[at];
        let change = Change::Join(Box::new(subscription));
        reader.changes.push_back((next, change));
        if !self.signal(reader) {
            state.readers.swap_remove(at);
        }
        Some(Ok(ticket))
    }

    /// Ends a subscription.
    pub(crate) fn leave(self: &Arc<Self>, member: Member<'_>) {
        let mut state = self.state();
        let next = state.log.next();
        if let Some(at) = state.reader(member.mailbox) {
            let reader = &mut state.readers[at];
            if reader.take_back(member.token) {
                return;
            }
            let change = Change::Leave(member.token);
            reader.changes.push_back((next, change));
            if !self.signal(reader) {
                state.readers.swap_remove(at);
            }
        }
    }

    /// Takes what comes next for one reader: first the changes before the next publication, then
    /// publications up to the next change. At most `most` changes and frames, and as many bytes.
    /// Says whether there is more; if there is not, the reader will be told when there is.
    pub(crate) fn take(
        &self,
        mailbox: &Weak<dyn Mailbox>,
        most: (usize, usize),
        changes: &mut Vec<Change>,
        batch: &mut Batch,
    ) -> bool {
        let mut state = self.state();
        let Some(at) = state.reader(mailbox) else {
            return false;
        };
        let State { log, readers, .. } = &mut *state;
        let reader = &mut readers[at];
        while changes.len() < most.0
            && let Some((before, _)) = reader.changes.front()
            && *before == reader.cursor
        {
            changes.extend(reader.changes.pop_front().map(|(_, change)| change));
        }
        if reader.changes.is_empty() && reader.changes.capacity() > KEPT_CHANGES {
            reader.changes = VecDeque::new();
        }
        let end = reader.changes.front().map_or(u64::MAX, |(at, _)| *at);
        reader.cursor += log.read(mailbox, reader.cursor..end, most, batch);
        let more = reader.cursor < log.next() || !reader.changes.is_empty();
        reader.signalled = more;
        let needed = state.needed();
        state.log.trim(needed);
        more
    }

    /// Ends the reading of a reactor without subscribers, unless there are new ones and it is not
    /// `over`. Says whether it did.
    pub(crate) fn retire(&self, mailbox: &Weak<dyn Mailbox>, over: bool) -> bool {
        let mut state = self.state();
        if let Some(at) = state.reader(mailbox) {
            let joins = |(_, change): &(u64, Change)| matches!(change, Change::Join(_));
            if !over && state.readers[at].changes.iter().any(joins) {
                return false;
            }
            state.readers.swap_remove(at);
            let needed = state.needed();
            state.log.trim(needed);
        }
        let abandoned = state.readers.is_empty();
        drop(state);
        if abandoned && let Some(hub) = self.hub.upgrade() {
            hub.abandoned(self);
        }
        true
    }

    /// Forgets so many bytes of its history, the oldest first, as far as it has them.
    pub(super) fn forget(&self, bytes: usize) {
        let mut state = self.state();
        let needed = state.needed();
        state.log.forget(bytes, needed);
    }

    /// For those who hold other locks: never waits for a publication that is being made.
    fn state_if_free(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether nobody subscribes and nothing is being published, as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        self.state_if_free()
            .is_some_and(|state| state.readers.is_empty())
    }

    /// Whether it has a history, if nobody subscribes.
    pub(super) fn is_idle_with_history(&self) -> bool {
        let is_it =
            |state: MutexGuard<'_, State>| state.readers.is_empty() && !state.log.is_empty();
        self.state_if_free().is_some_and(is_it)
    }

    /// Removes the topic unless somebody subscribes, something is being published or, if that counts,
    /// it has a history. Says whether it is removed.
    pub(super) fn remove(&self, even_with_history: bool) -> bool {
        let Some(mut state) = self.state_if_free() else {
            return false;
        };
        if state.readers.is_empty() && (even_with_history || state.log.is_empty()) {
            state.removed = true;
        }
        state.removed
    }

    /// The last publication.
    #[cfg(all(test, not(loom)))]
    pub(super) fn offset(&self) -> Offset {
        self.state().log.offset()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", self.name)
    }
}
