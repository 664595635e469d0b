//! Few publish, everyone receives.

mod assemble;
mod hub;
mod reach;
mod track;

use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use hub::{EchoesSender, Hub, Settings};
pub use reach::{complete, reach};

use self::track::{Incoming, Place, Track};
use crate::engine::{Cause, Context, Link, Links, Nanos, Phase, Scenario, now};
use crate::payload::Corruption;
use crate::wire::Data;

/// The shortest messages that tell publisher and sequence number whole.
pub const SHORTEST_TEXT: usize = 16;
/// See [`SHORTEST_TEXT`].
pub const SHORTEST_BINARY: usize = 8;

const MILLISECOND: Nanos = 1_000_000;
/// Between two looks at what others do, where nothing tells.
const LOOK: Nanos = 5 * MILLISECOND;
/// How long a message may keep the closed loop waiting.
const PATIENCE: Nanos = 2_000 * MILLISECOND;
/// Messages of one publisher published at once.
const MOST_AT_ONCE: u64 = 512;

/// The scenario `broadcast`, of one thread.
///
/// While connections are opened, publishers send until every connection has had a message of each:
/// from that one on each connection must have every message once and in order.
#[derive(Debug)]
pub struct Broadcast {
    hub: Arc<Hub>,
    /// The publishers of this thread.
    mine: Vec<Mine>,
    /// Since every connection was open, or had failed: how often one has heard of a publisher of this
    /// thread, and since when none more has.
    heard: Option<(u64, Nanos)>,
    settled: bool,
    next_look: Nanos,
    /// Whether the load has begun.
    begun: bool,
    /// Whether this thread has published its last message.
    finished: bool,
    /// Of messages of the measured part.
    deliveries: u64,
    /// Messages whose time was forgotten before they came.
    untimed: u64,
}

/// A publisher of this thread.
#[derive(Debug)]
struct Mine {
    key: usize,
    id: u32,
    /// Messages of the schedule.
    issued: u64,
    next_probe: Nanos,
    /// When everyone else had heard of it, and one more message was sent.
    last_probe: Option<Nanos>,
    /// How many messages had reached everyone, and since when no more have.
    progress: (u32, Nanos),
}

/// What is kept for each connection.
#[derive(Debug, Default)]
pub struct Listener {
    opened: bool,
    /// One for each publisher.
    tracks: Vec<Track>,
    incoming: Incoming,
}

impl Broadcast {
    /// Threads of a run share the hub.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            mine: Vec::new(),
            heard: None,
            settled: false,
            next_look: 0,
            begun: false,
            finished: false,
            deliveries: 0,
            untimed: 0,
        }
    }

    /// Publishes up to `count` messages of a publisher; those of a schedule are due at the time it
    /// says, from its message `issued` on. Returns how many it could.
    fn publish(
        &mut self,
        i: usize,
        count: u64,
        scheduled: Option<u64>,
        links: &mut Links<Listener>,
        context: &mut Context,
    ) -> u64 {
        let Mine { key, id, .. } = self.mine[i];
        let Some(slot) = links.at(key) else { return 0 };
        context.expect_no_echo(&mut slot.link);
        // What the kernel does not take is not published: it has no time of sending yet.
        if !slot.link.is_open() || !slot.link.is_flushed() {
            return 0;
        }
        let count = count.min(MOST_AT_ONCE);
        let publisher = &self.hub.publishers[id as usize];
        context.now = now();
        let mut measured = 0;
        for k in 0..count {
            let sent = context.now;
            let intended = scheduled.map_or(sent, |issued| self.hub.due(id, issued + k));
            if !publisher.is_measured() && intended >= context.stats.begin {
                publisher.begin_measured();
            }
            measured += u32::from(publisher.is_measured());
            publisher.publish(sent, intended);
        }
        if measured > 0 {
            context.stats.count("published", f64::from(measured));
        }
        slot.link.queue(count as u32);
        links.flush(key, context);
        if let Some(slot) = links.at(key) {
            context.expect_no_echo(&mut slot.link);
        }
        count
    }

    /// The closed loop: publishes as much as may be in flight.
    fn fill(&mut self, links: &mut Links<Listener>, context: &mut Context) -> Option<Nanos> {
        let mut next = None;
        for i in 0..self.mine.len() {
            let publisher = &self.hub.publishers[self.mine[i].id as usize];
            let (completed, since) = self.mine[i].progress;
            if publisher.completed() != completed || since == 0 {
                self.mine[i].progress = (publisher.completed(), context.now);
            } else if context.now > since + PATIENCE {
                // What is missing shows at the end; the others are still to be measured.
                let given_up = publisher.in_flight();
                publisher.give_up();
                context.stats.count("given_up", f64::from(given_up));
                self.mine[i].progress = (publisher.completed(), context.now);
            }
            let room = self.hub.settings.in_flight;
            let room = room.saturating_sub(publisher.in_flight());
            if room > 0 {
                self.publish(i, u64::from(room), None, links, context);
            }
            let again = self.mine[i].progress.1 + PATIENCE + 1;
            next = Some(next.unwrap_or(again).min(again));
        }
        next
    }

    /// The open loop: publishes what is due by `until`; when the next is due.
    fn issue(
        &mut self,
        until: Nanos,
        links: &mut Links<Listener>,
        context: &mut Context,
    ) -> Option<Nanos> {
        let mut next = None;
        for i in 0..self.mine.len() {
            let Mine { id, issued, .. } = self.mine[i];
            let mut due = 0;
            while due < MOST_AT_ONCE && self.hub.due(id, issued + due) <= until {
                due += 1;
            }
            if due > 0 {
                let lag = context.now.saturating_sub(self.hub.due(id, issued));
                let could = self.publish(i, due, Some(issued), links, context);
                self.mine[i].issued += could;
                context.stats.late(lag, could);
            }
            let again = self.hub.due(id, self.mine[i].issued);
            // A connection that takes nothing is looked at again when it does, or soon.
            let again = again.max(context.now + if due > 0 { LOOK / 50 } else { 0 });
            next = Some(next.unwrap_or(again).min(again));
        }
        next
    }

    /// Publishes what was due before the end, and waits for what has not come.
    fn conclude(&mut self, links: &mut Links<Listener>, context: &mut Context) -> Option<Nanos> {
        let end = context.stats.end - 1;
        let mut backlog = false;
        if self.hub.interval().is_some() && !self.finished {
            self.issue(end, links, context);
            let hub = &self.hub;
            backlog = self
                .mine
                .iter()
                .any(|mine| hub.due(mine.id, mine.issued) <= end && links.at(mine.key).is_some());
        }
        if !backlog && !self.finished {
            self.finished = true;
            self.hub.publishing.fetch_sub(1, Ordering::AcqRel);
        }
        if self.settled {
            return None;
        }
        if context.now >= self.next_look && self.hub.publishing.load(Ordering::Acquire) == 0 {
            self.settled = links.iter_mut().all(|(_, slot)| self.has_all(slot));
            self.next_look = context.now + LOOK;
        }
        Some(context.now + LOOK)
    }

    /// Whether the last message of every publisher has come.
    fn has_all(&self, slot: &crate::engine::Slot<Listener>) -> bool {
        let published = self.hub.publishers.iter().map(|one| one.published());
        let mut tracks = slot.local.tracks.iter().zip(published).zip(0..);
        !slot.link.is_open()
            || tracks.all(|((track, published), publisher)| {
                !self.reaches(publisher, slot.link.id()) || track.is_at(published)
            })
    }

    /// Whether this connection is to have the messages of this publisher.
    fn reaches(&self, publisher: u32, connection: u32) -> bool {
        publisher != connection || self.hub.echoes() == Some(true)
    }

    /// The load begins: whoever has had no message by now lacks every one that follows.
    fn begin(&mut self, links: &mut Links<Listener>, context: &Context) {
        self.begun = true;
        for mine in &self.mine {
            self.hub.publishers[mine.id as usize].begin_load();
        }
        self.hub.begin(context.now);
        for (_, slot) in links.iter_mut() {
            for (track, publisher) in slot.local.tracks.iter_mut().zip(&self.hub.publishers) {
                track.begin(publisher.published());
            }
        }
    }

    /// How many messages of each publisher were to come on this connection and did not.
    fn missing(&self, link: &Link, listener: &Listener) -> impl Iterator<Item = (u32, u64)> {
        let id = link.id();
        let tracks: &[Track] = if self.begun { &listener.tracks } else { &[] };
        tracks
            .iter()
            .zip(&self.hub.publishers)
            .zip(0..)
            .filter(move |&(_, publisher)| self.reaches(publisher, id))
            .map(|((track, one), publisher)| (publisher, track.lost(one.published())))
    }

    /// Counts what never came, and what else this thread knows.
    fn account(&mut self, links: &mut Links<Listener>, context: &mut Context) {
        for (_, slot) in links.iter_mut() {
            context.expect_no_echo(&mut slot.link);
            let id = slot.link.id();
            for (publisher, lost) in self.missing(&slot.link, &slot.local) {
                context.stats.lost += lost;
                let case = || format!("connection {id}, publisher {publisher}");
                let what = "a message never reached a connection";
                context.stats.faults.add_many(what, lost, case);
            }
        }
        context.stats.count("deliveries", self.deliveries as f64);
        if self.untimed > 0 {
            context
                .stats
                .count("untimed_deliveries", self.untimed as f64);
        }
        if context.thread == 0 {
            let receivers = f64::from(self.hub.receivers());
            context.stats.count("receivers", receivers);
        }
    }

    /// A message came whole and right.
    fn delivered(&mut self, (from, sequence): track::Origin, context: &mut Context) {
        let publisher = &self.hub.publishers[from as usize];
        context.did(1);
        self.deliveries += u64::from(publisher.counts(sequence));
        match publisher.times(sequence) {
            Some((sent, intended)) => {
                let sent = sent.min(context.now);
                context.stats.echoed(sent, context.now, 1);
                if self.hub.settings.rate.is_some() {
                    context.stats.corrected(intended, context.now);
                }
            }
            None => {
                self.untimed += 1;
                if context.stats.measures(context.now) {
                    context.stats.received += 1;
                }
            }
        }
        if self.hub.settings.rate.is_none() && publisher.deliver(sequence, self.hub.present()) {
            let thread = from % self.hub.threads;
            if thread != context.thread {
                context.wake(thread);
            }
        }
    }

    /// The first message of a publisher came on a connection.
    fn joined(&self, link: &Link, from: u32) {
        let publisher = &self.hub.publishers[from as usize];
        if link.id() == from {
            publisher.heard_itself.store(true, Ordering::Release);
        } else {
            publisher.joined.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// A message came whole and right: was it to come here, and now?
    fn place(
        &mut self,
        link: &Link,
        tracks: &mut [Track],
        origin: track::Origin,
        context: &mut Context,
    ) {
        let (from, sequence) = origin;
        let Some(track) = tracks.get_mut(from as usize) else {
            return corrupted(link, Corruption::Connection, context);
        };
        let own = from == link.id();
        if own && self.hub.echoes().is_none() {
            self.hub.found(true);
        }
        let what = if own && self.hub.echoes() == Some(false) {
            "a publisher got its own message"
        } else {
            let published = self.hub.publishers[from as usize].published();
            match track.receive(sequence, published) {
                Place::First => {
                    self.joined(link, from);
                    return self.delivered(origin, context);
                }
                Place::Next => return self.delivered(origin, context),
                Place::Unknown => return corrupted(link, Corruption::Sequence, context),
                Place::Duplicated => {
                    context.stats.duplicated += 1;
                    "a message came twice"
                }
                Place::Reordered => {
                    context.stats.reordered += 1;
                    self.delivered(origin, context);
                    "a message came after one that was published later"
                }
            }
        };
        let case = || {
            format!(
                "connection {}, publisher {from}, message {sequence}",
                link.id()
            )
        };
        context.stats.faults.add(what, case);
    }
}

impl Mine {
    fn new(key: usize, id: u32) -> Self {
        Self {
            key,
            id,
            issued: 0,
            next_probe: 0,
            last_probe: None,
            progress: (0, 0),
        }
    }
}

#[cold]
fn corrupted(link: &Link, corruption: Corruption, context: &mut Context) {
    context.stats.corrupted += 1;
    let what = match corruption {
        Corruption::Type => "text came as binary or binary as text",
        Corruption::Length => "a message came with another length",
        Corruption::Connection => "a message came of a publisher there is not",
        Corruption::Sequence => "a message came that was never published",
        Corruption::Content => "a message came with other content",
    };
    let case = || format!("connection {}", link.id());
    context.stats.faults.add(what, case);
}

impl Scenario for Broadcast {
    type Local = Listener;

    const EXACT: bool = true;
    const ECHOES: bool = false;

    fn opened(&mut self, _: &mut Link, local: &mut Listener, _: &mut Context) {
        local.opened = true;
        local.tracks = vec![Track::default(); self.hub.publishers.len()];
        self.hub.opened();
    }

    #[inline]
    fn data(
        &mut self,
        link: &mut Link,
        local: &mut Listener,
        data: &Data<'_>,
        context: &mut Context,
    ) {
        match local.incoming.take(&context.pattern, data) {
            None => {}
            Some(Ok(origin)) => self.place(link, &mut local.tracks, origin, context),
            Some(Err(corruption)) => corrupted(link, corruption, context),
        }
    }

    fn ended(
        &mut self,
        link: &mut Link,
        local: &mut Listener,
        _: &Cause,
        context: &mut Context,
    ) -> bool {
        context.expect_no_echo(link);
        context.stats.lost += self.missing(link, local).map(|(_, lost)| lost).sum::<u64>();
        false
    }

    fn gone(&mut self, local: &Listener) {
        self.hub.gone(local.opened);
    }

    fn phase(&mut self, links: &mut Links<Listener>, context: &mut Context) {
        match context.phase {
            // A warmup of no time may pass unseen.
            Phase::Warmup | Phase::Measure if !self.begun => self.begin(links, context),
            Phase::Grace => (self.settled, self.next_look) = (false, 0),
            Phase::Close => self.account(links, context),
            _ => {}
        }
    }

    fn is_settled(&self, _: &Context) -> bool {
        self.settled
    }

    #[inline]
    fn timers(&mut self, links: &mut Links<Listener>, context: &mut Context) -> Option<Nanos> {
        match context.phase {
            Phase::Open => self.probe(links, context),
            Phase::Warmup | Phase::Measure if self.hub.interval().is_some() => {
                self.issue(context.now, links, context)
            }
            Phase::Warmup | Phase::Measure => self.fill(links, context),
            Phase::Grace => self.conclude(links, context),
            Phase::Close | Phase::Done => None,
        }
    }
}
