//! Open loop: messages are sent when a schedule says, whether or not the server keeps up.

use crate::engine::{Context, Link, Links, Nanos, Phase, Scenario, now};

/// Messages issued in one turn, so that a thread that is behind still reads and follows the run.
const MOST_ISSUED: u64 = 1 << 14;

/// The scenario `rate`, of one thread.
///
/// The schedule goes round the connections, one message each: message `s` of the connection at
/// position `p` of `n` is due at the start plus `s * n + p` intervals. So the time a message was
/// meant to leave follows from its number, however long it had to wait.
///
/// The schedule begins again with the measured part. What came due in the warm-up and could not even
/// begin to leave is left out, or the measured part would only be about that.
#[derive(Debug)]
pub struct Rate {
    /// Nanoseconds between two messages of this thread.
    interval: f64,
    start: Option<Nanos>,
    /// What the schedule is for: the warm-up or the measured part.
    phase: Option<Phase>,
    /// Whether messages are still to be issued.
    goes_on: bool,
    /// The connections, by position.
    keys: Vec<usize>,
    /// Messages of the schedule that have come due.
    issued: u64,
}

/// A connection's part in the schedule.
#[derive(Debug, Default)]
pub struct Part {
    /// Its position in the round.
    position: u32,
    /// The sequence number of its first message in this schedule.
    first: u32,
}

impl Rate {
    /// The part of `rate` messages per second that falls on a thread with `share` of all
    /// `connections`.
    pub fn new(rate: f64, share: u32, connections: u32) -> Self {
        Self {
            interval: 1e9 * f64::from(connections) / (rate * f64::from(share)),
            start: None,
            phase: None,
            goes_on: false,
            keys: Vec::new(),
            issued: 0,
        }
    }

    /// When message `i` of the thread is due.
    fn due(&self, i: u64) -> Nanos {
        self.start.unwrap_or_default() + (i as f64 * self.interval) as Nanos
    }

    /// When this message was meant to leave, unless it is of an earlier schedule.
    fn intended(&self, part: &Part, sequence: u32) -> Option<Nanos> {
        let round = u64::from(sequence.checked_sub(part.first)?);
        Some(self.due(round * self.keys.len() as u64 + u64::from(part.position)))
    }

    /// How many messages of the schedule come due before `end`.
    fn due_before(&self, end: Nanos) -> u64 {
        let Some(start) = self.start.filter(|&start| start < end) else {
            return 0;
        };
        // What `due` says decides; the division may round otherwise.
        let mut due = ((end - start) as f64 / self.interval) as u64 + 2;
        while due > 0 && self.due(due - 1) >= end {
            due -= 1;
        }
        due
    }

    /// How many messages have come due by `now`, beside those issued.
    fn newly_due(&self, now: Nanos) -> u64 {
        self.due_before(now + 1).saturating_sub(self.issued)
    }

    /// Begins a schedule, over the connections that are open.
    fn begin(&mut self, links: &mut Links<Part>, context: &mut Context) {
        context.follow_schedule();
        self.keys.clear();
        self.issued = 0;
        for (key, slot) in links.iter_mut().filter(|(_, slot)| slot.link.is_open()) {
            slot.link.unqueue();
            slot.local = Part {
                position: self.keys.len() as u32,
                first: slot.link.ledger.sent(),
            };
            self.keys.push(key);
        }
        self.goes_on = !self.keys.is_empty();
        if self.goes_on {
            // Threads take turns.
            let turn = f64::from(context.thread) / f64::from(context.plan.threads);
            self.start = Some(now() + (turn * self.interval) as Nanos);
        }
    }

    /// Ends the schedule: whatever came due before the end of the measured part still counts, and
    /// nothing that came due after it.
    fn finish(&mut self, links: &mut Links<Part>, context: &mut Context) {
        if !std::mem::take(&mut self.goes_on) {
            return;
        }
        // Without a measured part nothing was due in it.
        let all = if self.phase == Some(Phase::Measure) {
            let end = context.stats.end;
            self.issue(end - 1, u64::MAX, links, context);
            self.due_before(end)
        } else {
            0
        };
        let connections = self.keys.len() as u64;
        for (_, slot) in links.iter_mut().filter(|(_, slot)| slot.link.is_open()) {
            let position = u64::from(slot.local.position);
            let due = all / connections + u64::from(position < all % connections);
            let sent = slot.link.ledger.sent().wrapping_sub(slot.local.first);
            let sent = u64::from(sent);
            let unsent = u64::from(slot.link.unqueue());
            slot.link.queue(unsent.min(due.saturating_sub(sent)) as u32);
            if all > 0 {
                context.stats.sent -= sent.saturating_sub(due);
            }
        }
    }

    /// Issues what is due by `until`, at most so many: every connection's messages together.
    fn issue(&mut self, until: Nanos, most: u64, links: &mut Links<Part>, context: &mut Context) {
        let due = self.newly_due(until).min(most);
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
    type Local = Part;

    const EXACT: bool = true;

    #[inline]
    fn echoed(&mut self, _: &mut Link, part: &mut Part, sequence: u32, context: &mut Context) {
        context.due(self.intended(part, sequence));
    }

    fn phase(&mut self, links: &mut Links<Part>, context: &mut Context) {
        if !context.phase.has_load() {
            self.finish(links, context);
        } else if self.phase != Some(context.phase) {
            self.phase = Some(context.phase);
            self.begin(links, context);
        }
    }

    #[inline]
    fn timers(&mut self, links: &mut Links<Part>, context: &mut Context) -> Option<Nanos> {
        if !self.goes_on {
            return None;
        }
        self.issue(context.now, MOST_ISSUED, links, context);
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
        let part = |position| Part { position, first: 5 };
        assert_eq!(rate.intended(&part(0), 5), Some(1_000));
        assert_eq!(rate.intended(&part(3), 5), Some(751_000));
        assert_eq!(rate.intended(&part(1), 7), Some(2_251_000));
        assert_eq!(rate.intended(&part(1), 4), None, "of the warm-up");
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
