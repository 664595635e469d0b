//! Open loop: messages are sent when a schedule says, whether or not the server keeps up.

use crate::engine::{Context, Link, Links, Nanos, Scenario, now};

/// The scenario `rate`, of one thread.
///
/// The schedule goes round the connections, one message each: message `s` of the connection at
/// position `p` of `n` is due at the start plus `s * n + p` intervals. So the time a message was
/// meant to leave follows from its number, however long it had to wait.
#[derive(Debug)]
pub struct Rate {
    /// Nanoseconds between two messages of this thread.
    interval: f64,
    start: Option<Nanos>,
    /// The connections, by position.
    keys: Vec<usize>,
    /// Messages of the schedule that have come due.
    issued: u64,
}

/// A connection's position in the round.
type Position = u32;

impl Rate {
    /// The part of `rate` messages per second that falls on a thread with `share` of all
    /// `connections`.
    pub fn new(rate: f64, share: u32, connections: u32) -> Self {
        Self {
            interval: 1e9 * f64::from(connections) / (rate * f64::from(share)),
            start: None,
            keys: Vec::new(),
            issued: 0,
        }
    }

    /// When message `i` of the thread is due.
    fn due(&self, i: u64) -> Nanos {
        self.start.unwrap_or_default() + (i as f64 * self.interval) as Nanos
    }

    /// When this message was meant to leave.
    fn intended(&self, position: Position, sequence: u32) -> Nanos {
        self.due(u64::from(sequence) * self.keys.len() as u64 + u64::from(position))
    }

    /// How many messages have come due by `now`, beside those issued.
    fn newly_due(&self, now: Nanos) -> u64 {
        let Some(start) = self.start.filter(|&start| start <= now) else {
            return 0;
        };
        let mut due = ((now - start) as f64 / self.interval) as u64 + 1;
        // What `due` says decides; the division may round otherwise.
        while due > 0 && self.due(due - 1) > now {
            due -= 1;
        }
        due.saturating_sub(self.issued)
    }

    /// Begins the schedule, over the connections that are open.
    fn begin(&mut self, links: &mut Links<Position>, context: &Context) {
        self.keys.clear();
        for (key, slot) in links.iter_mut().filter(|(_, slot)| slot.link.is_open()) {
            slot.local = self.keys.len() as Position;
            self.keys.push(key);
        }
        if !self.keys.is_empty() {
            // Threads take turns.
            let turn = f64::from(context.thread) / f64::from(context.plan.threads);
            self.start = Some(context.now + (turn * self.interval) as Nanos);
        }
    }

    /// Issues what is due by `until`: every connection's messages together.
    fn issue(&mut self, until: Nanos, links: &mut Links<Position>, context: &mut Context) {
        let due = self.newly_due(until);
        if due == 0 {
            return;
        }
        let lag = context.now.saturating_sub(self.due(self.issued));
        context.stats.late(lag, due);
        let connections = self.keys.len() as u64;
        for i in 0..due.min(connections) {
            let key = self.keys[((self.issued + i) % connections) as usize];
            let count = due / connections + u64::from(i < due % connections);
            // A connection that was lost, which is a fault of its own, leaves its part out.
            if let Some(slot) = links.at(key) {
                slot.link.queue(count as u32);
                context.now = now();
                links.flush(key, context);
            }
        }
        self.issued += due;
    }
}

impl Scenario for Rate {
    type Local = Position;

    const EXACT: bool = true;

    #[inline]
    fn echoed(
        &mut self,
        _: &mut Link,
        position: &mut Position,
        sequence: u32,
        context: &mut Context,
    ) {
        let intended = self.intended(*position, sequence);
        context.stats.corrected(intended, context.now);
    }

    fn phase(&mut self, links: &mut Links<Position>, context: &mut Context) {
        if !context.phase.has_load() {
            // Whatever came due before the end still counts.
            let end = context.stats.end;
            if end < Nanos::MAX && self.start.is_some() {
                self.issue(end - 1, links, context);
            }
            self.start = None;
        } else if self.start.is_none() {
            self.begin(links, context);
        }
    }

    #[inline]
    fn timers(&mut self, links: &mut Links<Position>, context: &mut Context) -> Option<Nanos> {
        self.start?;
        self.issue(context.now, links, context);
        Some(self.due(self.issued))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rate: f64, connections: usize) -> Rate {
        let mut rate = Rate::new(rate, connections as u32, connections as u32);
        rate.start = Some(1_000);
        rate.keys = (0..connections).collect();
        rate
    }

    #[test]
    fn the_schedule_goes_round() {
        // One every 250 microseconds, so each connection has one per millisecond.
        let rate = rate(4000.0, 4);
        assert_eq!(rate.intended(0, 0), 1_000);
        assert_eq!(rate.intended(3, 0), 751_000);
        assert_eq!(rate.intended(1, 2), 2_251_000);
    }

    #[test]
    fn a_thread_has_its_share() {
        let third = Rate::new(900.0, 10, 30);
        assert!((third.interval - 1e9 / 300.0).abs() < 1.0);
    }

    #[test]
    fn everything_comes_due_once_and_in_time() {
        for per_second in [1.0, 3.0, 7_777.7, 1_000_000.0] {
            let mut rate = rate(per_second, 3);
            let mut now = 0;
            while now < 2_000_000_000 {
                let due = rate.newly_due(now);
                rate.issued += due;
                assert!(rate.due(rate.issued) > now);
                assert!(rate.issued == 0 || rate.due(rate.issued - 1) <= now);
                now += 1 + (per_second as u64 * 7919) % 1_234_567;
            }
            let expected = (now - 1_000) as f64 / 1e9 * per_second;
            assert!((rate.issued as f64 - expected).abs() < 0.01 * expected + 2.0);
        }
    }
}
