//! Attackers: connections that cost the server more than they cost us.

mod attack;
mod tally;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

pub use attack::{Attack, Next, Opening};
pub use tally::Tally;

use crate::engine::{Cause, Context, Leave, Link, Links, Nanos, Phase, Scenario, Setup, now};
use crate::wire::Data;

/// Between two steps of a slow attacker.
const SLOW: Nanos = 100_000_000;
/// How often the attackers are looked through for what is due.
const TICK: Nanos = 5_000_000;
/// Steps of one attacker in one tick; what is due beyond them is left out.
const MOST_STEPS: u32 = 16;
/// `SO_RCVBUF` of a peer that never reads.
const SMALL: u32 = 4096;

/// What became of the attackers of all threads, by attack.
pub type Tallies = Arc<Mutex<BTreeMap<Attack, Tally>>>;

/// The attackers of one thread. They share the attacks evenly: the place of one that ended is taken
/// by another of the same attack.
#[derive(Debug)]
pub struct Hostile {
    attacks: Vec<Seats>,
    /// Where the seats are looked through from: attacks take turns, so that those that free theirs
    /// at once are not always the first to get one.
    made: usize,
    /// Between two steps of a flood.
    interval: Nanos,
    /// Bytes that may still be sent.
    bytes: u64,
    /// After this an attacker has been borne too long.
    overstay: Nanos,
    rng: Rng,
    next: Nanos,
    buffer: Vec<u8>,
    over: Tallies,
}

/// Those who make the same attack.
#[derive(Debug)]
struct Seats {
    attack: Attack,
    taken: u32,
    tally: Tally,
}

/// What the attackers of a thread are told.
#[derive(Clone, Debug)]
pub struct Orders {
    /// What to do; at least one.
    pub attacks: Vec<Attack>,
    /// Steps of each flooding attacker per second.
    pub rate: f64,
    /// Bytes that the thread sends at most.
    pub bytes: u64,
    /// How long a server may bear an attacker it should end.
    pub overstay: Duration,
    /// Makes the garbage.
    pub seed: u64,
}

/// What is kept for an attacker.
#[derive(Debug, Default)]
pub struct Attacker {
    /// Index of its attack.
    seat: usize,
    opened: Nanos,
    /// When its next step is due; none is while the server's answer is waited for.
    due: Option<Nanos>,
    steps: u64,
    /// Of the response, where there was no opening handshake.
    status: Option<u16>,
}

impl Hostile {
    /// Attackers whose tallies are added to `over` at the end.
    pub fn new(orders: &Orders, over: Tallies) -> Self {
        let seats = |&attack: &Attack| Seats {
            attack,
            taken: 0,
            tally: Tally::default(),
        };
        Self {
            attacks: orders.attacks.iter().map(seats).collect(),
            made: 0,
            interval: (1e9 / orders.rate) as Nanos,
            bytes: orders.bytes,
            overstay: orders.overstay.as_nanos() as Nanos,
            rng: Rng::with_seed(orders.seed),
            next: 0,
            buffer: Vec::new(),
            over,
        }
    }

    /// Takes one step; whether the attacker leaves now.
    fn step(&mut self, link: &mut Link, attacker: &mut Attacker, context: &Context) -> bool {
        let seats = &mut self.attacks[attacker.seat];
        self.buffer.clear();
        let plan = &context.plan;
        let (n, out) = (attacker.steps, &mut self.buffer);
        let next = seats
            .attack
            .step(n, &plan.host, &plan.path, &mut self.rng, out);
        attacker.steps += 1;
        let bytes = out.len() as u64;
        if bytes > self.bytes {
            attacker.due = None;
            return false;
        }
        self.bytes -= bytes;
        seats.tally.bytes += bytes;
        link.raw(out);
        let due = attacker.due.unwrap_or(context.now);
        attacker.due = match next {
            Next::Soon => Some(due + self.interval),
            Next::Slowly => Some(due + SLOW),
            Next::Never | Next::Reset => None,
        };
        if next == Next::Reset {
            seats.tally.left += 1;
        }
        next == Next::Reset
    }

    /// Takes the steps that are due; whether the attacker leaves now. While the server does not take
    /// what was sent, nothing is added to it.
    fn catch_up(&mut self, link: &mut Link, attacker: &mut Attacker, context: &Context) -> bool {
        for _ in 0..MOST_STEPS {
            match attacker.due {
                Some(due) if due <= context.now && link.is_flushed() => {}
                _ => break,
            }
            if self.step(link, attacker, context) {
                return true;
            }
        }
        if let Some(due) = &mut attacker.due {
            *due = (*due).max(context.now.saturating_sub(self.interval));
        }
        false
    }

    /// Whether this attacker was borne for too long.
    fn overstays(&self, attacker: &Attacker, age: Nanos) -> bool {
        self.attacks[attacker.seat].attack.is_to_be_ended() && age > self.overstay
    }

    /// Counts those who are still there, and hands the tallies over.
    fn finish(&mut self, links: &mut Links<Attacker>) {
        let end = now();
        for (_, slot) in links.iter_mut() {
            if slot.local.opened > 0 {
                let age = end.saturating_sub(slot.local.opened);
                let overstays = self.overstays(&slot.local, age);
                let tally = &mut self.attacks[slot.local.seat].tally;
                tally.keep(age, overstays);
            }
            slot.link.leave(Leave::Reset);
        }
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        for seats in &self.attacks {
            over.entry(seats.attack).or_default().merge(&seats.tally);
        }
    }
}

impl Scenario for Hostile {
    type Local = Attacker;

    const STAYS: bool = false;
    const ECHOES: bool = false;
    /// A pong would be part of the frame that an attacker does not complete.
    const ANSWERS_PINGS: bool = false;

    fn connect(&mut self, attacker: &mut Attacker, context: &mut Context) -> Setup {
        let all = self.attacks.len();
        let most = context.plan.share(context.thread).div_ceil(all as u32);
        let seat = (0..all)
            .map(|i| (self.made + i) % all)
            .find(|&seat| self.attacks[seat].taken < most)
            .expect("a connection is only made where one is missing");
        self.made = seat + 1;
        let seats = &mut self.attacks[seat];
        seats.taken += 1;
        attacker.seat = seat;
        Setup {
            handshake: seats.attack.opening() == Opening::Handshake,
            receive_buffer: (seats.attack == Attack::NeverRead).then_some(SMALL),
        }
    }

    fn opened(&mut self, link: &mut Link, attacker: &mut Attacker, context: &mut Context) {
        let seats = &mut self.attacks[attacker.seat];
        seats.tally.opened += 1;
        if seats.attack == Attack::NeverRead {
            link.stop_reading();
        }
        attacker.opened = context.now;
        if self.step(link, attacker, context) {
            link.leave(Leave::Reset);
        }
    }

    fn data(&mut self, _: &mut Link, _: &mut Attacker, _: &Data<'_>, _: &mut Context) {}

    fn raw(&mut self, _: &mut Link, attacker: &mut Attacker, bytes: &[u8], _: &mut Context) {
        if attacker.status.is_none() {
            let status = bytes
                .strip_prefix(b"HTTP/1.1 ")
                .and_then(|rest| rest.get(..3));
            let status = status.and_then(|status| std::str::from_utf8(status).ok());
            attacker.status = status.and_then(|status| status.parse().ok());
        }
    }

    fn ended(
        &mut self,
        _: &mut Link,
        attacker: &mut Attacker,
        why: &Cause,
        context: &mut Context,
    ) -> bool {
        if context.phase > Phase::Measure {
            return true;
        }
        if attacker.opened == 0 {
            self.attacks[attacker.seat].tally.refused += 1;
            // Nobody looks at these faults unless there is nothing else to tell.
            return false;
        }
        let age = now().saturating_sub(attacker.opened);
        let overstays = self.overstays(attacker, age);
        let tally = &mut self.attacks[attacker.seat].tally;
        tally.overstayed += u64::from(overstays);
        tally.end(why, attacker.status, age);
        true
    }

    fn gone(&mut self, attacker: &Attacker) {
        self.attacks[attacker.seat].taken -= 1;
    }

    fn phase(&mut self, links: &mut Links<Attacker>, context: &mut Context) {
        if context.phase == Phase::Grace
            || (context.phase == Phase::Close && self.next != Nanos::MAX)
        {
            self.next = Nanos::MAX;
            self.finish(links);
        }
    }

    fn timers(&mut self, links: &mut Links<Attacker>, context: &mut Context) -> Option<Nanos> {
        if !context.phase.has_load() {
            return None;
        }
        context.now = now();
        if self.next <= context.now {
            self.next = context.now + TICK;
            let mut moved = Vec::new();
            for (key, slot) in links.iter_mut() {
                if slot.link.is_open() && slot.local.due.is_some_and(|due| due <= context.now) {
                    let leaves = self.catch_up(&mut slot.link, &mut slot.local, context);
                    moved.push((key, leaves));
                }
            }
            for (key, leaves) in moved {
                context.now = now();
                links.flush(key, context);
                if leaves {
                    links.leave(key, Leave::Reset);
                }
            }
        }
        Some(self.next)
    }
}
