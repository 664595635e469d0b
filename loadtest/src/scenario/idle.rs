//! Connections that are held and do next to nothing.

use std::time::Duration;

use crate::engine::{Context, Link, Links, Nanos, Phase, Scenario, now};
use crate::wire::{Data, Opcode};

/// The scenario `idle`, of one thread.
#[derive(Debug)]
pub struct Idle {
    /// Each connection sends a ping that often while it is held; at most one is under way.
    ping_every: Option<Duration>,
    /// Connections in the order in which pings go round.
    keys: Vec<usize>,
    /// When the next ping is due, and between two.
    next: Option<Nanos>,
    interval: Nanos,
    pings: u64,
}

/// What is kept for a connection.
#[derive(Debug, Default)]
pub struct Held {
    /// When the ping was sent whose pong is waited for.
    pinged: Option<Nanos>,
    /// Whether the message that is coming began before anything was sent that it could answer.
    unasked: bool,
}

impl Idle {
    /// Pings if there is a time for them; one echo of each connection with each step of the plan.
    pub fn new(ping_every: Option<Duration>) -> Self {
        Self {
            ping_every,
            keys: Vec::new(),
            next: None,
            interval: 0,
            pings: 0,
        }
    }

    /// Begins the round of pings.
    fn begin(&mut self, every: Duration, links: &mut Links<Held>, context: &Context) {
        self.keys = links.iter_mut().map(|(key, _)| key).collect();
        if !self.keys.is_empty() {
            self.interval = every.as_nanos() as Nanos / self.keys.len() as Nanos;
            self.next = Some(context.now + self.interval);
        }
    }

    /// Sends one ping.
    fn ping(&mut self, links: &mut Links<Held>, context: &mut Context) {
        let key = self.keys[(self.pings % self.keys.len() as u64) as usize];
        self.pings += 1;
        let Some(slot) = links.at(key).filter(|slot| slot.link.is_open()) else {
            return;
        };
        if slot.local.pinged.is_some() {
            // Late is not lost: that shows at the end.
            context.stats.count("late_pongs", 1.0);
            return;
        }
        context.now = now();
        slot.local.pinged = Some(context.now);
        let payload = context.now.to_be_bytes();
        slot.link
            .control(Opcode::Ping, &payload, context.pattern.key());
        context.stats.count("pings", 1.0);
        links.flush(key, context);
    }
}

impl Scenario for Idle {
    type Local = Held;

    fn data(&mut self, link: &mut Link, held: &mut Held, data: &Data<'_>, context: &mut Context) {
        if data.offset == 0 {
            held.unasked = link.ledger.sent() == 0;
        }
        if !held.unasked {
            context.check(link, data);
        } else if data.last {
            context.stats.count("unasked", 1.0);
        }
    }

    fn pong(&mut self, link: &mut Link, held: &mut Held, payload: &[u8], context: &mut Context) {
        match held.pinged.take() {
            Some(sent) if payload == sent.to_be_bytes() => {
                context.stats.count("pongs", 1.0);
                context.stats.answered(sent, context.now);
            }
            // RFC 6455 section 5.5.3 allows pongs nobody asked for.
            None => context.stats.count("unsolicited_pongs", 1.0),
            _ => {
                let what = "a pong does not have its ping's payload";
                let case = || format!("connection {}", link.id());
                context.stats.faults.add(what, case);
            }
        }
    }

    fn phase(&mut self, links: &mut Links<Held>, context: &mut Context) {
        match (context.phase, context.step()) {
            (Phase::Measure, 0) => {
                if let Some(every) = self.ping_every {
                    self.begin(every, links, context);
                }
            }
            (Phase::Measure, _) => {
                for (_, slot) in links.iter_mut().filter(|(_, slot)| slot.link.is_open()) {
                    slot.link.queue(1);
                }
            }
            (Phase::Close, _) => {
                let waiting = links
                    .iter_mut()
                    .filter(|(_, slot)| slot.local.pinged.is_some());
                let unanswered = waiting.count() as u64;
                let what = "a ping was not answered before the end";
                context.stats.faults.add_many(what, unanswered, String::new);
            }
            _ => self.next = None,
        }
    }

    fn timers(&mut self, links: &mut Links<Held>, context: &mut Context) -> Option<Nanos> {
        while let Some(next) = self.next.filter(|&next| next <= context.now) {
            self.next = Some(next + self.interval.max(1));
            self.ping(links, context);
        }
        self.next
    }
}
