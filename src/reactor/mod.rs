//! One event loop: connections, timers and the inbox, driven by [`Reactor::turn`].
//!
//! A turn is a function of what became ready and of the time: it never looks at a clock and
//! never blocks, so that a test can drive it with sockets and time of its own. The poll around
//! it is in [`shell`].

mod accept;
mod batch;
mod dispatch;
mod errands;
mod fanout;
mod inbox;
#[cfg(all(test, not(loom)))]
mod inspect;
mod members;
mod queue;
mod shell;
mod stats;
mod wheel;

use std::sync::Arc;

use slab::Slab;

use crate::connection::{
    Answer, Cause, CloseReason, Connection, Context, Op, Replies, Target, Tick,
};
use crate::transport::{Readiness, Sys, Token};

pub(crate) use accept::Population;
pub(crate) use batch::{Batch, Consumer, Event, Rare};
pub(crate) use dispatch::{BATCHES, Dispatch, Handoff, Load};
pub(crate) use errands::{Job, Outgoing, errands};
pub(crate) use inbox::{Inbox, Item, Wake};
#[cfg(all(test, loom))]
pub(crate) use inbox::{Poll, check};
#[cfg(all(test, not(loom)))]
pub(crate) use inspect::Inspection;
pub(crate) use queue::{Queue, take};
pub(crate) use shell::{Shell, pin};
pub(crate) use stats::Stats;

use accept::{ACCEPT_BUDGET, Door, Pause, Verdict, verdict};
use fanout::Fanout;
use wheel::TimerWheel;

/// Bytes read from one connection in one turn, at least; then the others have theirs.
const READ_BUDGET: usize = 256 * 1024;
/// Items taken from the inbox in one turn.
const INBOX_BUDGET: usize = 4096;
/// Slots for which address space is reserved at once, so that growing never copies.
const RESERVED_SLOTS: usize = 1 << 20;

/// When the reactor wants its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Now,
    At(Tick),
    WhenReady,
    /// Every connection has ended after [`Inbox::stop`].
    Never,
}

pub(crate) struct Reactor<S: Sys, D> {
    doors: Vec<Door<S::Listener>>,
    pause: Pause,
    population: Population,
    connections: Slab<Connection<S::Socket>>,
    generation: u32,
    wheel: TimerWheel,
    /// Connections with input that no edge will announce, in the order they became so: they have
    /// their turn in the next turn of the reactor.
    ready: Vec<Token>,
    /// Those of the last turn, while they have theirs.
    turns: Vec<Token>,
    /// Connections with output that came through the inbox.
    dirty: Vec<Token>,
    /// Connections that are not read because their worker is full.
    waiting: Vec<Token>,
    inbox: Arc<Inbox>,
    /// The budget left something in the inbox, which sends no further wake-up.
    inbox_left: bool,
    /// The replies being carried out, or the memory of the last ones.
    replies: Box<Replies>,
    /// For replies to be built in while others are carried out.
    spare: Option<Box<Replies>>,
    fanout: Fanout,
    stats: Arc<Stats>,
    accepted: u64,
    /// How long a shutdown may take, in ticks.
    drain: Option<u32>,
    /// `Some` while shutting down; then the deadline, if there is one.
    draining: Option<Option<Tick>>,
    cx: Context<S, D>,
}

impl<S: Sys, D: Handoff> Reactor<S, D> {
    pub(crate) fn new(
        listeners: Vec<S::Listener>,
        population: Population,
        inbox: Arc<Inbox>,
        stats: Arc<Stats>,
        drain: Option<u32>,
        cx: Context<S, D>,
    ) -> Self {
        let reserved = reserved_slots(&population);
        let mut wheel = TimerWheel::new(cx.now);
        wheel.reserve(reserved);
        let doors = listeners.into_iter().map(|listener| Door {
            listener,
            ready: true,
        });
        Self {
            doors: doors.collect(),
            pause: Pause::default(),
            population,
            connections: Slab::with_capacity(reserved),
            generation: 0,
            wheel,
            ready: Vec::new(),
            turns: Vec::new(),
            dirty: Vec::new(),
            waiting: Vec::new(),
            fanout: Fanout::new(&inbox),
            inbox,
            inbox_left: false,
            replies: Box::default(),
            spare: None,
            stats,
            accepted: 0,
            drain,
            draining: None,
            cx,
        }
    }

    /// Does everything that can be done now, and says when there will be more.
    pub(crate) fn turn(&mut self, events: impl IntoIterator<Item = Readiness>, now: Tick) -> Next {
        self.cx.now = now;
        self.cx.delivery.begin(now);
        std::mem::swap(&mut self.ready, &mut self.turns);
        self.take_events(events);
        self.take_turns();
        self.take_inbox();
        self.fan_out();
        self.fire_timers();
        self.write_dirty();
        self.accept();
        self.cx.delivery.flush(now);
        self.cx.tend(self.draining.is_some());
        self.publish();
        self.next()
    }

    /// Records what the poll said, and reads from the connections it spoke of.
    fn take_events(&mut self, events: impl IntoIterator<Item = Readiness>) {
        for event in events {
            let token = event.token;
            let Some(connection) = find(&mut self.connections, token) else {
                self.ring(token);
                continue;
            };
            let unblocked = connection.note(&event, self.cx.now);
            let queued = connection.is_queued();
            if unblocked {
                self.finish(token);
                if !queued {
                    self.read(token);
                }
            } else if !queued
                && let Some(count) = read_once(connection, token, &mut self.cx, &mut self.replies)
            {
                self.read_on(token, count);
            }
        }
    }

    /// An event that is not a connection's is a listener's, or says nothing.
    #[inline(never)]
    fn ring(&mut self, token: Token) {
        if token.is_listener()
            && let Some(door) = self.doors.get_mut(token.index() as usize)
        {
            door.ready = true;
        }
    }

    /// Reads from the connections that were left on the ready list.
    fn take_turns(&mut self) {
        for at in 0..self.turns.len() {
            let token = self.turns[at];
            if let Some(connection) = find(&mut self.connections, token) {
                connection.dequeue();
                self.read(token);
            }
        }
        self.turns.clear();
    }

    /// Gives a connection its turn; if it wants another, that is the next one's business.
    #[inline(never)]
    fn read(&mut self, token: Token) {
        if let Some(connection) = find(&mut self.connections, token)
            && let Some(count) = read_once(connection, token, &mut self.cx, &mut self.replies)
        {
            self.read_on(token, count);
        }
    }

    /// Goes on with a turn in which `count` bytes were just read.
    #[inline(never)]
    fn read_on(&mut self, token: Token, mut count: usize) {
        let mut budget = READ_BUDGET;
        loop {
            budget = budget.saturating_sub(count);
            if !self.finish(token) || count == 0 || budget == 0 {
                return self.enqueue(token);
            }
            let Some(connection) = find(&mut self.connections, token) else {
                return;
            };
            match read_once(connection, token, &mut self.cx, &mut self.replies) {
                Some(more) => count = more,
                None => return,
            }
        }
    }

    fn enqueue(&mut self, token: Token) {
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        if connection.wants_turn(&self.cx) {
            if connection.enqueue() {
                self.ready.push(token);
            }
        } else if connection.waits_for_worker(&self.cx) && connection.wait() {
            self.waiting.push(token);
        }
    }

    /// A worker has room again, perhaps: whoever waited tries again.
    fn resume_waiting(&mut self) {
        for at in 0..self.waiting.len() {
            let token = self.waiting[at];
            if let Some(connection) = find(&mut self.connections, token) {
                connection.stop_waiting();
            }
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        for token in waiting.drain(..) {
            self.enqueue(token);
        }
        // Whoever still has to wait is on the new list.
        if self.waiting.is_empty() {
            self.waiting = waiting;
        }
    }

    /// After anything happened to a connection: carries out what its handler answered, writes
    /// what waits, sets its timer, and frees it if it has gone. Says whether it wants another turn
    /// without waiting for an edge.
    fn finish(&mut self, token: Token) -> bool {
        loop {
            self.apply();
            let Some(connection) = find(&mut self.connections, token) else {
                return false;
            };
            connection.settle(token, &mut self.cx);
            // A handler that was told of a failed write may have answered.
            if !self.cx.delivery.replies().is_empty() {
                continue;
            }
            if let Some(at) = connection.rearm(token, &self.cx) {
                self.wheel.arm(token.index(), at);
            }
            if connection.is_gone() {
                self.free(token);
                return false;
            }
            return connection.wants_turn(&self.cx);
        }
    }

    fn apply(&mut self) {
        // What is delivered while replies are carried out may be answered in turn.
        while !self.cx.delivery.replies().is_empty() {
            let spare = self.spare.take().unwrap_or_default();
            let mut replies = std::mem::replace(self.cx.delivery.replies(), spare);
            replies.for_each(|answer| {
                self.carry_out(answer.token, answer.ops, answer.bytes, answer.delivered);
            });
            self.spare = Some(replies);
        }
    }

    /// Gives an [`Answer`] to its connection; in its parts, because what nearly always does without
    /// this call would have to put the whole together first.
    #[inline(never)]
    fn carry_out(&mut self, token: Token, ops: &mut [Op], bytes: &[u8], delivered: u32) {
        let Some(connection) = find(&mut self.connections, token) else {
            return self.orphaned(token, ops);
        };
        let answer = Answer {
            token,
            ops: &mut *ops,
            bytes,
            delivered,
        };
        let was_opening = connection.is_opening();
        connection.apply(answer, &mut self.cx);
        if was_opening {
            connection.opened(token, &mut self.cx);
            if self.draining.is_some() {
                connection.shut_down(token, &mut self.cx);
            }
        }
        self.admit(token, ops);
    }

    /// A handshake was accepted whose connection has gone meanwhile: its handler must be told.
    #[inline(never)]
    fn orphaned(&mut self, token: Token, ops: &[Op]) {
        for op in ops {
            if let Op::Accept { slot, worker } = *op {
                let to = Target::new(token, slot, worker);
                let reason = CloseReason::new(Cause::Lost(std::io::ErrorKind::NotConnected));
                self.cx.delivery.end(to, reason);
            }
        }
    }

    /// Carries out what a worker answered, and takes its batch back.
    #[inline(never)]
    fn take_back(&mut self, mut batch: Box<Batch>) {
        let mut replies = std::mem::take(&mut batch.replies);
        replies.for_each(|answer| {
            let Answer {
                token,
                ops,
                bytes,
                delivered,
            } = answer;
            // Nearly always the answer is bytes, they leave at once, and that was all.
            if ops.is_empty()
                && let Some(connection) = find(&mut self.connections, token)
                && connection.is_open()
            {
                connection.apply_bytes(token, bytes, delivered, &mut self.cx);
                if connection.is_at_rest() {
                    return;
                }
            } else {
                self.carry_out(token, ops, bytes, delivered);
            }
            self.finish(token);
            self.enqueue(token);
        });
        batch.replies = replies;
        self.cx.delivery.returned(batch);
    }

    #[inline(never)]
    fn free(&mut self, token: Token) {
        self.wheel.cancel(token.index());
        self.connections.remove(token.index() as usize);
        self.population.leave();
        self.pause.end();
    }

    fn take_inbox(&mut self) {
        if !self.inbox.acknowledge() && !self.inbox_left {
            return;
        }
        // Asked first and obeyed last: what was sent before the stop is older than it.
        let stopping = self.inbox.is_stopping() && self.draining.is_none();
        let mut returned = false;
        self.inbox_left = true;
        for _ in 0..INBOX_BUDGET {
            let Some(item) = self.inbox.pop() else {
                self.inbox_left = false;
                break;
            };
            match item {
                Item::Batch(batch) => {
                    self.take_back(batch);
                    returned = true;
                }
                Item::Send { link, frame } => {
                    let token = link.token;
                    let bytes = frame.len();
                    if let Some(connection) = find(&mut self.connections, token)
                        && connection.send(frame, &link, &mut self.cx)
                        && connection.soil()
                    {
                        self.dirty.push(token);
                    }
                    link.release(bytes);
                }
                Item::Part { token, part } => {
                    // Whoever waits is before the one whose part this is.
                    if let Some(errands) = &mut self.cx.errands {
                        errands.returned();
                    }
                    if let Some(connection) = find(&mut self.connections, token) {
                        connection.take_part(part, &mut self.cx);
                        self.finish(token);
                        self.enqueue(token);
                    }
                }
                Item::Close { link, code, reason } => {
                    let token = link.token;
                    if let Some(connection) = find(&mut self.connections, token) {
                        connection.close(token, code, &reason, &mut self.cx);
                        self.finish(token);
                        self.enqueue(token);
                    }
                }
            }
        }
        if returned {
            // The room is what the next batch has: it leaves first.
            self.cx.delivery.flush(self.cx.now);
            self.resume_waiting();
        }
        if stopping {
            self.begin_drain();
        }
    }

    fn fire_timers(&mut self) {
        let now = self.cx.now;
        while let Some(index) = self.wheel.pop(now) {
            let Some(connection) = self.connections.get_mut(index as usize) else {
                continue;
            };
            let token = Token::new(index, connection.generation());
            connection.expire(token, &mut self.cx);
            self.finish(token);
            self.enqueue(token);
        }
        if let Some(Some(deadline)) = self.draining
            && !now.is_before(deadline)
        {
            self.abort_all();
        }
    }

    fn write_dirty(&mut self) {
        while let Some(token) = self.dirty.pop() {
            if let Some(connection) = find(&mut self.connections, token) {
                connection.launder();
                self.finish(token);
                self.enqueue(token);
            }
        }
    }

    fn accept(&mut self) {
        let mut budget = ACCEPT_BUDGET;
        for at in 0..self.doors.len() {
            while budget > 0 && self.doors[at].ready && self.pause.is_over(self.cx.now) {
                budget -= 1;
                self.accept_one(at);
            }
        }
    }

    #[inline(never)]
    fn accept_one(&mut self, at: usize) {
        if !self.population.enter() {
            if self.pause.begin(self.cx.now) {
                log::warn!("accepting pauses: as many connections as allowed");
            }
            return;
        }
        let door = &mut self.doors[at];
        let (socket, remote) = match self.cx.sys.accept(&door.listener) {
            Ok(accepted) => accepted,
            Err(error) => {
                self.population.leave();
                match verdict(&error) {
                    Verdict::Empty => door.ready = false,
                    Verdict::Next => {}
                    Verdict::Pause => {
                        if self.pause.begin(self.cx.now) {
                            log::warn!("accepting pauses: {error}");
                        }
                    }
                }
                return;
            }
        };
        self.generation = Token::next_generation(self.generation);
        let connection = Connection::new(socket, remote, self.generation, self.cx.now);
        let index = self.connections.insert(connection) as u32;
        let token = Token::new(index, self.generation);
        self.accepted += 1;
        let connection = &self.connections[token.index() as usize];
        if let Err(error) = self.cx.sys.register(connection.socket(), token) {
            log::warn!("a connection was dropped: {error}");
            return self.free(token);
        }
        self.finish(token);
    }

    /// Stops accepting and says goodbye to every connection.
    fn begin_drain(&mut self) {
        self.draining = Some(self.drain.map(|after| self.cx.now.after(after)));
        self.doors.clear();
        for token in self.tokens() {
            if let Some(connection) = find(&mut self.connections, token) {
                connection.shut_down(token, &mut self.cx);
                self.finish(token);
                self.enqueue(token);
            }
        }
    }

    fn abort_all(&mut self) {
        log::warn!(
            "connections that did not end in time and are dropped: {}",
            self.connections.len()
        );
        for token in self.tokens() {
            if let Some(connection) = find(&mut self.connections, token) {
                connection.abort(token, &mut self.cx);
                self.finish(token);
            }
        }
    }

    fn tokens(&self) -> Vec<Token> {
        let tokens = self
            .connections
            .iter()
            .map(|(index, connection)| Token::new(index as u32, connection.generation()));
        tokens.collect()
    }

    fn publish(&self) {
        Stats::set(&self.stats.connections, self.connections.len() as u64);
        Stats::set(&self.stats.accepted, self.accepted);
        Stats::set(&self.stats.messages, self.cx.totals.messages);
        Stats::set(&self.stats.deliveries, self.cx.totals.deliveries);
        Stats::set(&self.stats.memory, self.cx.account.held() as u64);
    }

    fn next(&mut self) -> Next {
        if self.draining.is_some() && self.connections.is_empty() {
            return Next::Never;
        }
        let accepting = self.doors.iter().any(|door| door.ready);
        if !self.ready.is_empty()
            || self.inbox_left
            || !self.fanout.is_at_rest()
            || (accepting && self.pause.until().is_none())
        {
            return Next::Now;
        }
        let mut at = self.wheel.next();
        if accepting && let Some(until) = self.pause.until() {
            at = Some(until.earlier(at));
        }
        if let Some(Some(deadline)) = self.draining {
            at = Some(deadline.earlier(at));
        }
        for deadline in [self.cx.delivery.deadline(), self.cx.deadline()] {
            at = deadline.map(|deadline| deadline.earlier(at)).or(at);
        }
        at.map_or(Next::WhenReady, Next::At)
    }
}

/// Reads from a connection once, and writes what its handler answers at once, if it runs right
/// here. Says how many bytes that was, unless the connection is at rest then.
#[inline(never)]
fn read_once<S: Sys, D: Handoff>(
    connection: &mut Connection<S::Socket>,
    token: Token,
    cx: &mut Context<S, D>,
    spare: &mut Box<Replies>,
) -> Option<usize> {
    connection.deliver_drain(token, cx);
    let count = connection.read(token, cx);
    cx.delivery.collected();
    // Nearly always the answer is bytes, they leave at once, and that was all.
    if cx.delivery.replies().has_only_bytes_for(token) {
        std::mem::swap(cx.delivery.replies(), spare);
        let (bytes, delivered) = spare.only_bytes();
        connection.apply_bytes(token, bytes, delivered, cx);
        spare.clear();
    }
    if connection.is_at_rest() && cx.delivery.replies().is_empty() {
        None
    } else {
        Some(count)
    }
}

/// Slots to reserve for one reactor: all connections may come to the same one.
pub(crate) fn reserved_slots(population: &Population) -> usize {
    population.limit().min(RESERVED_SLOTS)
}

/// The connection a token names, unless it has gone.
#[inline]
fn find<T>(connections: &mut Slab<Connection<T>>, token: Token) -> Option<&mut Connection<T>> {
    connections
        .get_mut(token.index() as usize)
        .filter(|connection| connection.generation() == token.generation())
}
