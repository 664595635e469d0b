//! One peer: its socket, its protocol state and what waits to be written to it.
//!
//! A [`Connection`] is 40 bytes. Whatever most connections lack most of the time (a partial
//! frame, waiting output, a timer of the handler) is in one box that exists while it is needed.
//! The reactor calls [`read`](Connection::read) and [`apply`](Connection::apply), and after
//! either [`settle`](Connection::settle), the one place where waiting output leaves, states
//! that waited for it move on, and memory is accounted.

mod context;
mod deadline;
mod delivery;
mod errand;
mod fetch;
#[cfg(all(test, not(loom)))]
mod inspect;
mod link;
mod news;
mod outbox;
mod read;
mod reason;
mod reply;
mod source;
mod spares;
mod tick;
mod write;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::protocol::{CloseCode, Decoder};
use crate::topics::Subscription;
use crate::transport::{Readiness, Token};

pub(crate) use context::{Context, Settings};
pub(crate) use delivery::{Delivery, Front, Target};
pub(crate) use errand::{Errand, Errands, MAX_ERRANDS, Part, Verdict};
#[cfg(all(test, not(loom)))]
pub(crate) use inspect::Inspection;
pub(crate) use link::Link;
pub(crate) use news::News;
pub(crate) use read::IN_FLIGHT;
pub use reason::{Cause, CloseReason};
pub(crate) use reply::{Answer, Body, OWNED_FROM, Op, OutFrame, Replies, weight};
pub(crate) use tick::{MAX_TICKS, Tick, ticks};

use outbox::Outbox;
use source::Source;

/// Where a connection is in its life. `since` is when its current deadline began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The head of the request is being read.
    Handshake { since: Tick, from: Source },
    /// The request is with its handler's factory; early frames wait.
    Opening { since: Tick },
    /// A response is being fetched; `begun`: a part of it has been. Input waits.
    Fetching { since: Tick, begun: bool },
    /// Messages flow. `seen`: the last byte from the peer or taken by it, or our ping if that is
    /// later.
    Open { slot: u32, seen: Tick },
    /// The handler was told of the end; its last answers and its agreement are awaited.
    Ending(Then),
    /// Our Close frame is queued or sent, the peer's is awaited; data frames are dropped.
    Closing { slot: Option<Slot>, since: Tick },
    /// All that will ever be written is queued. Once it has left, our side of the stream ends
    /// and input is discarded until the peer's side does, because closing with input unread
    /// would reset the stream and could destroy what the peer has not read yet.
    Lingering { since: Tick, discarded: u32 },
    /// To be dropped.
    Gone,
}

impl State {
    fn lingering(now: Tick) -> State {
        State::Lingering {
            since: now,
            discarded: 0,
        }
    }
}

/// An executor's slot, with room for `Option` to cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(std::num::NonZeroU32);

impl Slot {
    fn new(slot: u32) -> Option<Slot> {
        slot.checked_add(1)
            .and_then(std::num::NonZeroU32::new)
            .map(Slot)
    }

    fn get(self) -> u32 {
        self.0.get() - 1
    }
}

/// What follows once the handler has agreed to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// This side sent its Close frame first: await the peer's.
    AwaitClose,
    /// Both sides are done.
    Linger,
    /// The peer's stream has ended: write what waits, then drop.
    Finish,
    /// The stream is of no use any more: drop.
    Abort,
}

impl Then {
    fn after(cause: &Cause) -> Then {
        match cause {
            Cause::Idle | Cause::SlowConsumer | Cause::Shutdown => Then::AwaitClose,
            Cause::Peer | Cause::Fault(_) => Then::Linger,
            Cause::EndOfStream => Then::Finish,
            Cause::Handler | Cause::PongTimeout | Cause::WriteTimeout | Cause::Lost(_) => {
                Then::Abort
            }
        }
    }
}

/// Marks a connection carries between turns.
#[derive(Clone, Copy, Debug, Default)]
struct Flags(u16);

impl Flags {
    /// There may be input that no further edge will announce.
    const READABLE: u16 = 1 << 0;
    /// The poll said that the peer's end of stream is on its way: short reads mean nothing.
    const READ_CLOSED: u16 = 1 << 1;
    /// The end of the peer's stream was read.
    const EOF: u16 = 1 << 2;
    /// The kernel took less than was offered; an edge will say when it takes more.
    const BLOCKED: u16 = 1 << 3;
    /// The outbox went over its limit, and the handler has not been told that it fell again.
    const DRAIN_OWED: u16 = 1 << 4;
    /// A ping is unanswered.
    const PINGED: u16 = 1 << 5;
    /// Our side of the stream has been shut down.
    const SHUT: u16 = 1 << 6;
    /// A deadline may have come nearer than the timer.
    const REARM: u16 = 1 << 7;
    /// On the reactor's ready list.
    const QUEUED: u16 = 1 << 8;
    /// On the reactor's list of connections with output from elsewhere.
    const DIRTY: u16 = 1 << 9;
    /// On the reactor's list of connections whose worker is full.
    const WAITING: u16 = 1 << 10;
    /// A handle has asked for the end: what handles send after that is too late.
    const CLOSE_ASKED: u16 = 1 << 11;
    /// The last frame is queued, whatever the handler has sent besides.
    const CUT: u16 = 1 << 12;
    /// The request is HEAD: whatever answers it has no body (RFC 9110 section 9.3.2).
    const HEAD: u16 = 1 << 13;

    fn has(self, flag: u16) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flags: u16) {
        self.0 |= flags;
    }

    fn clear(&mut self, flags: u16) {
        self.0 &= !flags;
    }

    /// The peer has shown a sign of life. The next ping may be due before the pong was.
    fn answered(&mut self) {
        if self.has(Flags::PINGED) {
            self.clear(Flags::PINGED);
            self.set(Flags::REARM);
        }
    }

    /// Sets `flag` and says whether it was clear.
    fn raise(&mut self, flag: u16) -> bool {
        let was = self.has(flag);
        self.set(flag);
        !was
    }
}

/// What a handle asked for, or a topic had to say, before its connection was open.
enum Postponed {
    Send(OutFrame, Arc<Link>),
    Close(CloseCode, String),
    Subscribed(Box<Subscription>),
}

impl Postponed {
    fn len(&self) -> usize {
        match self {
            Postponed::Send(frame, _) => frame.len(),
            Postponed::Close(_, reason) => reason.len(),
            // The replay is the topic's.
            Postponed::Subscribed(_) => size_of::<Subscription>(),
        }
    }
}

/// State that most connections do without most of the time.
#[derive(Default)]
struct Cold {
    /// The part of the head that has come, or early frames while the handshake is decided.
    input: Vec<u8>,
    /// What handles want of a connection whose acceptance is still on its way.
    postponed: Vec<Postponed>,
    decoder: Decoder,
    outbox: Outbox,
    /// Since when the kernel has taken nothing of the outbox.
    stalled: Tick,
    /// When the handler wants to be called, and what to say then.
    timer: Option<(Tick, u8)>,
    link: Option<Arc<Link>>,
    /// What brings the next part of a response.
    rest: Option<Box<dyn Errand>>,
    charged: usize,
}

impl Cold {
    fn is_needed(&self) -> bool {
        !self.outbox.is_empty()
            || !self.decoder.is_idle()
            || !self.input.is_empty()
            || !self.postponed.is_empty()
            || self.timer.is_some()
            || self.rest.is_some()
    }

    fn held(&self) -> usize {
        size_of::<Self>()
            + self.input.capacity()
            + self.postponed.capacity() * size_of::<Postponed>()
            + self.postponed.iter().map(Postponed::len).sum::<usize>()
            + self.decoder.buffered_bytes()
            + self.outbox.held()
    }
}

pub(crate) struct Connection<S> {
    cold: Option<Box<Cold>>,
    socket: S,
    generation: u32,
    /// The weight of the messages that are with the handler.
    in_flight: u32,
    /// See [`Target::applied`].
    applied: u32,
    state: State,
    flags: Flags,
    worker: u16,
}

impl<S> Connection<S> {
    /// A connection that was just accepted. Its first bytes are often there already, but their
    /// edge comes with the registration.
    ///
    /// `remote` is its peer's address, if it was told; if not, the kernel is asked when it matters.
    pub(crate) fn new(socket: S, remote: Option<SocketAddr>, generation: u32, now: Tick) -> Self {
        Self {
            cold: None,
            socket,
            generation,
            in_flight: 0,
            applied: 0,
            state: State::Handshake {
                since: now,
                from: Source::new(remote),
            },
            flags: Flags(Flags::REARM),
            worker: 0,
        }
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn socket(&self) -> &S {
        &self.socket
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// Whether its request is with the factory.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening { .. })
    }

    /// Whether a handler is told what comes.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    fn outbox_len(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.outbox.len())
    }

    fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    /// Where events for the handler go, while there is one.
    fn target(&self, token: Token) -> Option<Target> {
        let slot = match self.state {
            State::Open { slot, .. } => slot,
            State::Closing {
                slot: Some(slot), ..
            } => slot.get(),
            _ => return None,
        };
        Some(self.target_of(token, slot))
    }

    fn target_of(&self, token: Token, slot: u32) -> Target {
        Target {
            token,
            slot,
            worker: self.worker,
            backlog: u32::try_from(self.outbox_len()).unwrap_or(u32::MAX),
            applied: self.applied,
        }
    }

    /// Records what the poll said. Says whether waiting output can go on.
    #[inline]
    pub(crate) fn note(&mut self, event: &Readiness, now: Tick) -> bool {
        if event.read_closed {
            self.flags.set(Flags::READABLE | Flags::READ_CLOSED);
        } else if event.readable {
            self.flags.set(Flags::READABLE);
        }
        // A socket with room is reported writable with every other edge, too.
        let unblocked = event.writable && self.flags.has(Flags::BLOCKED);
        if unblocked {
            self.unblock(now);
        }
        unblocked
    }

    #[inline(never)]
    fn unblock(&mut self, now: Tick) {
        self.flags.clear(Flags::BLOCKED);
        self.flags.answered();
        // The peer has taken something. A ping may be far behind in what it has yet to take,
        // and its answers are not read while it has much: this is its sign of life.
        if let State::Open { seen, .. } = &mut self.state {
            *seen = now;
        }
    }

    /// Whether the reactor should give this connection a turn without waiting for an edge.
    #[inline]
    pub(crate) fn wants_turn<D: Delivery>(&self, cx: &Context<impl Sized, D>) -> bool {
        (self.flags.has(Flags::READABLE) && self.may_read(cx)) || self.owes_drain(cx)
    }

    /// Whether only its worker keeps this connection from being read: nothing that happens to
    /// the connection itself will announce the end of that.
    pub(crate) fn waits_for_worker<D: Delivery>(&self, cx: &Context<impl Sized, D>) -> bool {
        self.flags.has(Flags::READABLE)
            && match self.state {
                State::Handshake { .. } => !cx.delivery.takes_openings(),
                _ => !cx.delivery.has_room(self.worker),
            }
    }

    /// Puts the connection on the ready list, once; says whether the caller has to.
    pub(crate) fn enqueue(&mut self) -> bool {
        self.flags.raise(Flags::QUEUED)
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.flags.has(Flags::QUEUED)
    }

    /// Whether nothing is to be done until the next event: it is open, holds nothing, and no mark
    /// asks for more.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_open()
            && self.cold.is_none()
            && !self
                .flags
                .has(Flags::READABLE | Flags::REARM | Flags::DRAIN_OWED)
    }

    pub(crate) fn dequeue(&mut self) {
        self.flags.clear(Flags::QUEUED);
    }

    /// The same for the list of connections whose worker is full.
    pub(crate) fn wait(&mut self) -> bool {
        self.flags.raise(Flags::WAITING)
    }

    pub(crate) fn stop_waiting(&mut self) {
        self.flags.clear(Flags::WAITING);
    }

    /// The same for the list of connections to be written.
    pub(crate) fn soil(&mut self) -> bool {
        self.flags.raise(Flags::DIRTY)
    }

    pub(crate) fn launder(&mut self) {
        self.flags.clear(Flags::DIRTY);
    }

    /// Tells the handler of the end. What the handler still answers is written, then the
    /// connection goes on to what follows such an end.
    fn end<D: Delivery>(
        &mut self,
        token: Token,
        reason: CloseReason,
        cx: &mut Context<impl Sized, D>,
    ) {
        let target = self.target(token);
        let closing = matches!(self.state, State::Closing { .. });
        let then = match Then::after(reason.cause()) {
            // Our Close frame is out already; a second goodbye from this side changes nothing.
            Then::AwaitClose if closing => return,
            then => then,
        };
        if let Some(cold) = &mut self.cold {
            // While the peer's Close frame is awaited, a frame under way goes on.
            if then != Then::AwaitClose {
                cold.decoder = Decoder::default();
            }
            cold.timer = None;
            if then == Then::Abort {
                cold.outbox.clear();
            }
        }
        self.flags.set(Flags::REARM);
        match target {
            Some(target) => {
                // A stream that is of no use is let go at once: what the handler still answers
                // will miss.
                self.state = match then {
                    Then::Abort => State::Gone,
                    then => State::Ending(then),
                };
                cx.delivery.end(target, reason);
            }
            None => self.proceed(then, cx.now),
        }
    }

    fn proceed(&mut self, then: Then, now: Tick) {
        self.flags.set(Flags::REARM);
        self.state = match then {
            Then::AwaitClose => State::Closing {
                slot: None,
                since: now,
            },
            Then::Linger => State::lingering(now),
            Then::Finish => {
                self.flags.set(Flags::EOF);
                State::lingering(now)
            }
            Then::Abort => State::Gone,
        };
    }

    /// The server is shutting down: whoever has not finished a handshake is dropped, everybody
    /// else is sent Close 1001.
    pub(crate) fn shut_down<D: Delivery>(&mut self, token: Token, cx: &mut Context<impl Sized, D>) {
        match self.state {
            State::Handshake { .. } => self.state = State::Gone,
            State::Open { .. } => self.end(token, CloseReason::new(Cause::Shutdown), cx),
            // A handshake under way is closed when it is decided; the others are ending.
            _ => {}
        }
    }

    /// Ends at once, whatever waits.
    pub(crate) fn abort<D: Delivery>(&mut self, token: Token, cx: &mut Context<impl Sized, D>) {
        self.end(
            token,
            CloseReason::new(Cause::Lost(std::io::ErrorKind::TimedOut)),
            cx,
        );
        self.state = State::Gone;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Option<Connection<std::os::fd::OwnedFd>>>() <= 40);
    }
}
