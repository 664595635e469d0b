//! Handlers of every temper. What each may be told, and when, is checked as it is told.

use std::panic::resume_unwind;
use std::time::Duration;

use bytes::Bytes;

use super::ledger::{Author, Item, Ledgers};
use super::rng::Rng;
use crate::{
    CloseReason, Handler, Message, MessageKind, Peer, Refusal, Request, Sent, Subscription, Upgrade,
};

/// What a handler answers a message with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Temper {
    /// The same message.
    #[default]
    Echo,
    /// So many messages.
    Burst(usize),
    /// Nothing.
    Mute,
    /// As much as it can until it is refused, and again when there is room.
    Stream,
}

/// When something is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Factory,
    Open,
    Message,
    Timer,
    Drain,
    Close,
    Drop,
}

impl Moment {
    fn panics(self) -> &'static str {
        match self {
            Moment::Factory => "panics in a factory",
            Moment::Open => "panics in on_open",
            Moment::Message => "panics in on_message",
            Moment::Timer => "panics in on_timer",
            Moment::Drain => "panics in on_drain",
            Moment::Close => "panics in on_close",
            Moment::Drop => "panics in drop",
        }
    }
}

/// What the handler of a connection will do.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) refuses: Option<u16>,
    pub(super) temper: Temper,
    /// Messages sent in `on_open`.
    pub(super) greets: usize,
    /// Panics at the n-th such event.
    pub(super) panics: Option<(Moment, usize)>,
    /// Closes at the n-th such event with this code.
    pub(super) closes: Option<(Moment, usize, u16)>,
    /// Timers that are set one after the other, and how long each runs.
    pub(super) timers: usize,
    pub(super) period: u32,
    /// Gives its handle away.
    pub(super) shares: bool,
    /// Messages it makes by itself at most, and how long.
    pub(super) budget: usize,
    pub(super) size: usize,
    pub(super) seed: u64,
}

impl Plan {
    pub(super) fn random(rng: &mut Rng) -> Self {
        let moments = [
            Moment::Open,
            Moment::Message,
            Moment::Message,
            Moment::Timer,
            Moment::Drain,
        ];
        let ends = [Moment::Factory, Moment::Close, Moment::Drop];
        let mut plan = Plan {
            temper: match rng.below(12) {
                0..6 => Temper::Echo,
                6..8 => Temper::Burst(2 + rng.below(5)),
                8 => Temper::Mute,
                _ => Temper::Stream,
            },
            budget: 40,
            size: rng.pick(&[10, 300, 300, 3_000, 20_000, 40_000]),
            seed: rng.next(),
            period: 1 + rng.below(300) as u32,
            shares: rng.one_in(3),
            ..Plan::default()
        };
        if rng.one_in(20) {
            plan.refuses = Some(rng.pick(&[403, 404, 429, 503]));
        }
        if rng.one_in(4) {
            plan.greets = rng.below(4);
        }
        if rng.one_in(4) {
            plan.timers = 1 + rng.below(4);
        }
        if rng.one_in(8) {
            plan.panics = Some((rng.pick(&moments), rng.below(5)));
        } else if rng.one_in(12) {
            plan.panics = Some((rng.pick(&ends), 0));
        }
        if rng.one_in(8) {
            let code = rng.pick(&[1000, 1001, 1008, 3000, 4999]);
            plan.closes = Some((rng.pick(&moments), rng.below(6), code));
        }
        plan
    }

    /// Whether every answer is one to a message and no longer, so that none may be refused.
    pub(super) fn only_echoes(&self) -> bool {
        self.temper == Temper::Echo && self.greets == 0 && self.timers == 0 && !self.shares
    }
}

/// The factory: the query names the connection.
pub(super) fn upgrade(ledgers: &Ledgers, request: &Request<'_>) -> Result<Upgrade, Refusal> {
    let number = request.query().and_then(|query| query.parse().ok());
    let connection: usize = number.expect("the query is a number");
    let plan = {
        let mut ledger = ledgers.lock();
        if std::mem::replace(&mut ledger.records[connection].asked, true) {
            ledger.fault(connection, "the factory is asked again");
        }
        ledger.records[connection].plan.clone()
    };
    if let Some((Moment::Factory, _)) = plan.panics {
        ledgers.lock().cover(Moment::Factory.panics());
        resume_unwind(Box::new("on purpose"));
    }
    if let Some(status) = plan.refuses {
        ledgers.lock().cover("refusals");
        return Err(Refusal::new(status));
    }
    let rng = Rng::new(plan.seed);
    Ok(Upgrade::new(Actor {
        connection,
        ledgers: ledgers.clone(),
        left: plan.budget,
        timers: plan.timers,
        topics: Rng::new(!plan.seed),
        plan,
        rng,
        counts: [0; 5],
        made: 0,
    }))
}

pub(super) struct Actor {
    pub(super) connection: usize,
    pub(super) ledgers: Ledgers,
    plan: Plan,
    rng: Rng,
    /// Events so far, by moment.
    counts: [usize; 5],
    left: usize,
    timers: usize,
    made: u32,
    /// Decides about topics, and about nothing else.
    pub(super) topics: Rng,
}

impl Actor {
    pub(super) fn send(&mut self, peer: &mut Peer<'_>, item: Item) -> Sent {
        let payload = item.payload(self.connection);
        let sent = match (item.kind, self.rng.below(3)) {
            (MessageKind::Text, 0) => peer.send(String::from_utf8(payload).expect("text")),
            (MessageKind::Text, _) => peer.send(std::str::from_utf8(&payload).expect("text")),
            (MessageKind::Binary, 0) => peer.send(&payload[..]),
            (MessageKind::Binary, 1) => peer.send(payload),
            (MessageKind::Binary, _) => peer.send(Bytes::from(payload)),
        };
        self.account(item, sent);
        sent
    }

    /// Writes down what became of a message.
    fn account(&mut self, item: Item, sent: Sent) {
        let connection = self.connection;
        let mut ledger = self.ledgers.lock();
        ledger.note(|| format!("{connection} sends {item:?}: {sent:?}"));
        let record = &mut ledger.records[connection];
        match sent {
            Sent::Queued => {
                record.queued.push(item);
                if record.is_closing() || record.closed.is_some() {
                    ledger.fault(connection, "something was queued after the Close frame");
                }
            }
            Sent::OverLimit => {
                record.awaits_drain = true;
                ledger.cover("over the limit");
            }
            Sent::Closing => {
                if !record.is_closing() && record.closed.is_none() {
                    ledger.fault(connection, "Closing, but nobody closed");
                }
            }
        }
    }

    /// A message of the handler's own; `None` once it has made enough.
    pub(super) fn make(&mut self) -> Option<Item> {
        self.left = self.left.checked_sub(1)?;
        self.made += 1;
        Some(Item {
            author: Author::Handler,
            number: self.made,
            len: Item::NAMED + self.rng.below(self.plan.size),
            kind: self.rng.pick(&[MessageKind::Text, MessageKind::Binary]),
        })
    }

    fn stream(&mut self, peer: &mut Peer<'_>) {
        while let Some(item) = self.make() {
            if self.send(peer, item) != Sent::Queued {
                return;
            }
        }
    }

    /// Before every event: whether it may come, and what all events have in common.
    fn begin(&mut self, peer: &mut Peer<'_>, moment: Moment) {
        let connection = self.connection;
        let mut ledger = self.ledgers.lock();
        ledger.note(|| format!("{connection} {moment:?}"));
        let record = &mut ledger.records[connection];
        let is_first = !std::mem::replace(&mut record.opened, true);
        let name = record.name.get_or_insert_with(|| peer.id().to_string());
        let is_same = *name == peer.id().to_string();
        if is_first != (moment == Moment::Open) {
            ledger.fault(connection, format_args!("{moment:?} out of turn"));
        } else if !is_same {
            ledger.fault(connection, "it has changed its name");
        } else if !record.is_live() || record.is_closing() {
            ledger.fault(connection, format_args!("{moment:?} after the end"));
        }
    }

    /// After every event: shares, sets timers, closes and panics as planned.
    fn finish(&mut self, peer: &mut Peer<'_>, moment: Moment) {
        self.gossip(peer);
        let connection = self.connection;
        let count = &mut self.counts[moment as usize - 1];
        let nth = *count;
        *count += 1;
        if self.plan.shares && (moment == Moment::Open) == self.plan.greets.is_multiple_of(2) {
            let handle = peer.handle();
            self.ledgers.lock().handles.push((connection, handle));
        }
        if self.timers > 0 && (moment == Moment::Open || moment == Moment::Timer) {
            self.timers -= 1;
            peer.set_timer(Duration::from_millis(self.plan.period.into()));
            let mut ledger = self.ledgers.lock();
            let now = ledger.now;
            ledger.records[connection].timer = Some((now, self.plan.period, None));
        }
        match self.plan.closes {
            Some((at, which, code)) if at == moment && which == nth => {
                peer.close(code.into(), "as planned");
                let mut ledger = self.ledgers.lock();
                let record = &mut ledger.records[connection];
                record.closing.get_or_insert(code);
                record.timer = None;
                record.awaits_drain = false;
                ledger.cover("closes");
            }
            _ => {}
        }
        match self.plan.panics {
            Some((at, which)) if at == moment && which == nth => {
                let mut ledger = self.ledgers.lock();
                let record = &mut ledger.records[connection];
                record.panicked = true;
                record.timer = None;
                record.awaits_drain = false;
                ledger.cover(moment.panics());
                drop(ledger);
                resume_unwind(Box::new("on purpose"));
            }
            _ => {}
        }
    }
}

impl Handler for Actor {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        self.begin(peer, Moment::Open);
        for _ in 0..self.plan.greets {
            if let Some(item) = self.make() {
                self.send(peer, item);
            }
        }
        self.finish(peer, Moment::Open);
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        self.begin(peer, Moment::Message);
        let connection = self.connection;
        let item = {
            let mut ledger = self.ledgers.lock();
            let record = &mut ledger.records[connection];
            let item = record.spoken.get(record.heard).map(|spoken| spoken.item);
            record.heard += 1;
            ledger.cover("messages");
            match item {
                Some(item)
                    if item.kind == message.kind()
                        && item.payload(connection) == message.as_bytes() => {}
                _ => {
                    let (kind, len) = (message.kind(), message.as_bytes().len());
                    let what = format!("a {kind:?} message of {len} is not {item:?}");
                    ledger.fault(connection, what);
                }
            }
            item
        };
        match (self.plan.temper, item) {
            (Temper::Echo, Some(item)) => {
                let sent = match self.rng.one_in(3) {
                    true => peer.send(message.into_owned()),
                    false => peer.send(message),
                };
                self.account(item, sent);
                let mut ledger = self.ledgers.lock();
                if sent == Sent::Queued {
                    ledger.cover("echoes");
                } else if self.plan.only_echoes() {
                    ledger.fault(connection, format_args!("an echo was refused: {sent:?}"));
                }
            }
            (Temper::Burst(count), _) => {
                for _ in 0..count {
                    if let Some(item) = self.make() {
                        self.send(peer, item);
                    }
                }
            }
            (Temper::Stream, _) => self.stream(peer),
            (Temper::Mute | Temper::Echo, _) => {}
        }
        self.finish(peer, Moment::Message);
    }

    fn on_timer(&mut self, peer: &mut Peer<'_>) {
        self.begin(peer, Moment::Timer);
        {
            let mut ledger = self.ledgers.lock();
            let now = ledger.now;
            match ledger.records[self.connection].timer.take() {
                Some((set, after, _)) if !now.is_before(set.after(after)) => {}
                timer => ledger.fault(
                    self.connection,
                    format_args!("the timer {timer:?} fires at {now:?}"),
                ),
            }
            ledger.cover("timers");
        }
        if let Some(item) = self.make() {
            self.send(peer, item);
        }
        self.finish(peer, Moment::Timer);
    }

    fn on_drain(&mut self, peer: &mut Peer<'_>) {
        self.begin(peer, Moment::Drain);
        {
            let mut ledger = self.ledgers.lock();
            ledger.records[self.connection].awaits_drain = false;
            ledger.cover("drains");
        }
        if self.plan.temper == Temper::Stream {
            self.stream(peer);
        }
        self.finish(peer, Moment::Drain);
    }

    fn on_subscribed(&mut self, peer: &mut Peer<'_>, subscription: &Subscription) {
        self.told(peer, subscription);
        self.gossip(peer);
    }

    fn on_close(&mut self, peer: &mut Peer<'_>, reason: &CloseReason) {
        if peer.send("too late") != Sent::Closing {
            let mut ledger = self.ledgers.lock();
            ledger.fault(self.connection, "sending in on_close");
        }
        self.ledgers.lock().ended(self.connection, reason);
        if let Some((Moment::Close, _)) = self.plan.panics {
            self.ledgers.lock().cover(Moment::Close.panics());
            resume_unwind(Box::new("on purpose"));
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let mut ledger = self.ledgers.lock();
        if ledger.is_over {
            return;
        }
        let record = &mut ledger.records[self.connection];
        let again = std::mem::replace(&mut record.dropped, true);
        if again || (record.closed.is_none() && !record.panicked) {
            ledger.fault(self.connection, "dropped before it was told of the end");
        }
        if let Some((Moment::Drop, _)) = self.plan.panics {
            ledger.cover(Moment::Drop.panics());
            drop(ledger);
            resume_unwind(Box::new("on purpose"));
        }
    }
}
