//! One event loop: connections, timers and the inbox, driven by [`Reactor::turn`].
//!
//! A turn is a function of what became ready and of the time: it never looks at a clock and
//! never blocks, so that a test can drive it with sockets and time of its own. The poll around
//! it is in [`shell`].

mod accept;
mod batch;
mod dispatch;
mod inbox;
mod shell;
mod stats;
mod wheel;

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use crate::connection::{Cause, CloseReason};
use crate::connection::{Connection, Context, Op, Replies, Target, Tick};
use crate::transport::{Readiness, Sys, Token};

pub(crate) use accept::Population;
pub(crate) use batch::{Batch, Delivered, Rare};
pub(crate) use dispatch::{BATCHES, Dispatch, Handoff, Load};
pub(crate) use inbox::{Inbox, Item, Wake};
#[cfg(all(test, loom))]
pub(crate) use inbox::{Poll, check};
pub(crate) use shell::{Shell, pin};
pub(crate) use stats::Stats;

use accept::{ACCEPT_BUDGET, Door, Pause, Verdict, verdict};
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
    /// Connections with input that no edge will announce, in the order they became so.
    ready: VecDeque<Token>,
    /// Connections with output that came through the inbox.
    dirty: Vec<Token>,
    /// Connections that are not read because their worker is full.
    waiting: Vec<Token>,
    inbox: Arc<Inbox>,
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
            ready: VecDeque::new(),
            dirty: Vec::new(),
            waiting: Vec::new(),
            inbox,
            stats,
            accepted: 0,
            drain,
            draining: None,
            cx,
        }
    }

    /// Does everything that can be done now, and says when there will be more.
    pub(crate) fn turn(&mut self, events: &[Readiness], now: Tick) -> Next {
        self.cx.now = now;
        self.note(events);
        self.read_ready();
        self.take_inbox();
        self.fire_timers();
        self.write_dirty();
        self.accept();
        self.cx.delivery.flush(now);
        self.publish();
        self.next()
    }

    fn note(&mut self, events: &[Readiness]) {
        for event in events {
            let token = event.token;
            if token.is_listener() {
                if let Some(door) = self.doors.get_mut(token.index as usize) {
                    door.ready = true;
                }
                continue;
            }
            let Some(connection) = find(&mut self.connections, token) else {
                continue;
            };
            connection.note(
                event.readable,
                event.writable,
                event.read_closed,
                self.cx.now,
            );
            if event.writable {
                connection.settle(token, &mut self.cx);
                self.finish(token);
            }
            self.enqueue(token);
        }
    }

    /// Gives every connection on the ready list its turn; those that want another wait for the
    /// next one.
    fn read_ready(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else {
                return;
            };
            let mut budget = READ_BUDGET;
            while let Some(connection) = find(&mut self.connections, token) {
                connection.dequeue();
                connection.deliver_drain(token, &mut self.cx);
                let count = connection.read(token, &mut self.cx);
                self.finish(token);
                budget = budget.saturating_sub(count);
                if count == 0 || budget == 0 {
                    break;
                }
                if !self.wants_turn(token) {
                    break;
                }
            }
            self.enqueue(token);
        }
    }

    fn wants_turn(&mut self, token: Token) -> bool {
        find(&mut self.connections, token).is_some_and(|connection| connection.wants_turn(&self.cx))
    }

    fn enqueue(&mut self, token: Token) {
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        if connection.wants_turn(&self.cx) {
            if connection.enqueue() {
                self.ready.push_back(token);
            }
        } else if connection.waits_for_worker(&self.cx) && connection.wait() {
            self.waiting.push(token);
        }
    }

    /// A worker has room again, perhaps: whoever waited tries again.
    fn resume_waiting(&mut self) {
        for token in std::mem::take(&mut self.waiting) {
            if let Some(connection) = find(&mut self.connections, token) {
                connection.stop_waiting();
                self.enqueue(token);
            }
        }
    }

    /// After anything happened to a connection: carries out what its handler answered, writes
    /// what waits, sets its timer, and frees it if it has gone.
    #[inline]
    fn finish(&mut self, token: Token) {
        self.cx.delivery.collected();
        self.apply();
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        connection.settle(token, &mut self.cx);
        if !self.cx.delivery.replies().is_empty() {
            // Writing failed, and the handler has been told: its answer ends the connection.
            return self.finish(token);
        }
        if let Some(at) = connection.rearm(token, &self.cx) {
            self.wheel.arm(token.index, at);
        }
        if connection.is_gone() {
            self.free(token);
        }
    }

    fn apply(&mut self) {
        // What is delivered while replies are carried out may be answered in turn.
        while !self.cx.delivery.replies().is_empty() {
            let mut replies = std::mem::take(self.cx.delivery.replies());
            self.carry_out(&mut replies, |_, _| {});
            let slot = self.cx.delivery.replies();
            if slot.is_empty() {
                *slot = replies;
            }
        }
    }

    /// Gives every answer to its connection, and calls `after` for each.
    fn carry_out(&mut self, replies: &mut Replies, mut after: impl FnMut(&mut Self, Token)) {
        replies.drain(|answer| {
            let token = answer.token;
            let Some(connection) = find(&mut self.connections, token) else {
                return self.orphaned(token, answer.ops);
            };
            let was_open = connection.is_open();
            connection.apply(answer, &mut self.cx);
            if !was_open {
                if connection.is_open() {
                    connection.start_idle(token, &mut self.cx);
                }
                connection.catch_up(token, &mut self.cx);
                connection.read_early(token, &mut self.cx);
                if self.draining.is_some() {
                    connection.shut_down(token, &mut self.cx);
                }
            }
            after(self, token);
        });
    }

    /// A handshake was accepted whose connection has gone meanwhile: its handler must be told.
    fn orphaned(&mut self, token: Token, ops: &[Op]) {
        for op in ops {
            if let Op::Accept { slot, worker } = *op {
                let to = Target::new(token, slot, worker);
                let reason = CloseReason::new(Cause::Lost(std::io::ErrorKind::NotConnected));
                self.cx.delivery.end(to, reason);
            }
        }
    }

    fn free(&mut self, token: Token) {
        self.wheel.cancel(token.index);
        self.connections.remove(token.index as usize);
        self.population.leave();
        self.pause.end();
    }

    fn take_inbox(&mut self) {
        self.inbox.acknowledge();
        // Asked first and obeyed last: what was sent before the stop is older than it.
        let stopping = self.inbox.is_stopping() && self.draining.is_none();
        let mut returned = false;
        for _ in 0..INBOX_BUDGET {
            let Some(item) = self.inbox.pop() else { break };
            match item {
                Item::Batch(mut batch) => {
                    let mut replies = std::mem::take(&mut batch.replies);
                    self.carry_out(&mut replies, |reactor, token| {
                        reactor.finish(token);
                        reactor.enqueue(token);
                    });
                    batch.replies = replies;
                    self.cx.delivery.returned(batch);
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
            let token = Token {
                index,
                generation: connection.generation(),
            };
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

    fn accept_one(&mut self, at: usize) {
        if !self.population.enter() {
            self.pause.begin(self.cx.now);
            return;
        }
        let door = &mut self.doors[at];
        let socket = match self.cx.sys.accept(&door.listener) {
            Ok(socket) => socket,
            Err(error) => {
                self.population.leave();
                match verdict(&error) {
                    Verdict::Empty => door.ready = false,
                    Verdict::Next => {}
                    Verdict::Pause => {
                        log::warn!("accepting pauses: {error}");
                        self.pause.begin(self.cx.now);
                    }
                }
                return;
            }
        };
        self.generation = Token::next_generation(self.generation);
        let connection = Connection::new(socket, self.generation, self.cx.now);
        let token = Token {
            index: self.connections.insert(connection) as u32,
            generation: self.generation,
        };
        self.accepted += 1;
        let connection = &self.connections[token.index as usize];
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
            "{} connections did not end in time and are dropped",
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
        let tokens = self.connections.iter().map(|(index, connection)| Token {
            index: index as u32,
            generation: connection.generation(),
        });
        tokens.collect()
    }

    fn publish(&self) {
        Stats::set(&self.stats.connections, self.connections.len() as u64);
        Stats::set(&self.stats.accepted, self.accepted);
        Stats::set(&self.stats.messages, self.cx.totals.messages);
        Stats::set(&self.stats.memory, self.cx.account.held() as u64);
    }

    fn next(&mut self) -> Next {
        if self.draining.is_some() && self.connections.is_empty() {
            return Next::Never;
        }
        let accepting = self.doors.iter().any(|door| door.ready);
        // What the budget left in the inbox sends no further wake-up.
        if !self.ready.is_empty()
            || !self.inbox.is_empty()
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
        if let Some(deadline) = self.cx.delivery.deadline() {
            at = Some(deadline.earlier(at));
        }
        at.map_or(Next::WhenReady, Next::At)
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
        .get_mut(token.index as usize)
        .filter(|connection| connection.generation() == token.generation)
}
