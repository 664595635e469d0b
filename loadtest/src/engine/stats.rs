//! What a load thread counts.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::{Faults, Nanos};

/// The longest time told apart: an hour, longer ones count as that.
const LONGEST: u64 = 3_600_000_000_000;

/// What a thread tells with each sample.
#[derive(Debug)]
pub(super) struct Interval {
    /// Since the last sample.
    pub(super) latency: Histogram<u64>,
    /// How late the thread was for what was due.
    pub(super) lag: Option<Histogram<u64>>,
}

/// An empty histogram of nanoseconds with three significant digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are constant")
}

/// Counts of one thread; merged, of a run. Messages are those of the measured part unless it says
/// otherwise.
#[derive(Clone, Debug)]
pub struct Stats {
    /// When the measured part began and ended, as this thread saw it; the largest number before.
    pub begin: Nanos,
    /// See `begin`.
    pub end: Nanos,
    /// Messages whose sending began; with a schedule, of those due in the measured part, whenever
    /// that was.
    pub sent: u64,
    /// Messages that came back right; with a schedule, of those due in the measured part.
    pub received: u64,
    /// Messages of the measured part that came back right after it.
    pub received_late: u64,
    /// Messages that came back a second time, in the whole run.
    pub duplicated: u64,
    /// Messages that came back after later ones, in the whole run.
    pub reordered: u64,
    /// Messages that came back wrong, in the whole run.
    pub corrupted: u64,
    /// Messages sent that never came back, be it because their connection was lost, in the whole run.
    pub lost: u64,
    /// Connections attempted, opened, failed and lost in the whole run; the most open at once, where
    /// connections come and go with those being opened.
    pub started: u64,
    /// See `started`.
    pub opened: u64,
    /// See `started`.
    pub failed: u64,
    /// See `started`.
    pub dropped: u64,
    /// See `started`.
    pub peak: u64,
    /// Connections opened in the measured part.
    pub opened_measured: u64,
    /// From sending to having the echo, of messages sent in the measured part; with a schedule, of
    /// those due in it.
    pub latency: Histogram<u64>,
    /// The same from the intended time, in scenarios with a schedule.
    pub corrected: Option<Histogram<u64>>,
    /// How late this thread was for what was due since the last sample, in scenarios with a schedule.
    lag: Option<Histogram<u64>>,
    /// From connecting to the whole response, in the whole run or, where connections come and go, of
    /// those opened in the measured part.
    pub handshake: Histogram<u64>,
    /// Latency since the last sample.
    pub interval: Histogram<u64>,
    /// The latency, raw and corrected, of all that came before each step of the measured part.
    before_steps: Vec<[Histogram<u64>; 2]>,
    /// What only this scenario counts; summed over threads.
    pub details: BTreeMap<&'static str, f64>,
    /// What went wrong.
    pub faults: Faults,
}

impl Stats {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self {
            begin: Nanos::MAX,
            end: Nanos::MAX,
            sent: 0,
            received: 0,
            received_late: 0,
            duplicated: 0,
            reordered: 0,
            corrupted: 0,
            lost: 0,
            started: 0,
            opened: 0,
            failed: 0,
            dropped: 0,
            peak: 0,
            opened_measured: 0,
            latency: histogram(),
            corrected: None,
            lag: None,
            handshake: histogram(),
            interval: histogram(),
            before_steps: Vec::new(),
            details: BTreeMap::new(),
            faults: Faults::default(),
        }
    }

    /// Whether this moment is in the measured part.
    #[inline]
    pub fn measures(&self, at: Nanos) -> bool {
        self.begin <= at && at < self.end
    }

    /// Counts `count` right echoes that came at `now` and were sent, or meant to be sent, at `sent`.
    #[inline]
    pub fn echoed(&mut self, sent: Nanos, now: Nanos, count: u64) {
        if self.measures(now) {
            self.received += count;
        }
        if self.measures(sent) {
            self.interval.saturating_record_n(now - sent, count);
            if now >= self.end {
                self.received_late += count;
            }
        }
    }

    /// Counts `count` right echoes, that came at `now`, of messages sent at `sent` that were due in
    /// the measured part.
    #[inline]
    pub(super) fn scheduled(&mut self, sent: Nanos, now: Nanos, count: u64) {
        if now < self.end {
            self.received += count;
        } else {
            self.received_late += count;
        }
        self.interval.saturating_record_n(now - sent, count);
    }

    /// Counts one echo against the time it was meant to be sent: whether that was in the measured
    /// part.
    #[inline]
    pub fn corrected(&mut self, intended: Nanos, now: Nanos) -> bool {
        let measured = self.measures(intended);
        if measured {
            let corrected = self.corrected.get_or_insert_with(histogram);
            corrected.saturating_record_n(now.saturating_sub(intended), 1);
        }
        measured
    }

    /// Counts the answer to something else than a message, such as a ping, that was sent at `sent`.
    pub fn answered(&mut self, sent: Nanos, now: Nanos) {
        if self.measures(sent) {
            self.interval.saturating_record(now.saturating_sub(sent));
        }
    }

    /// Notes that this thread was so late for `count` messages that were due.
    pub fn late(&mut self, lag: Nanos, count: u64) {
        if self.begin < self.end && self.end == Nanos::MAX {
            let lags = self.lag.get_or_insert_with(histogram);
            lags.saturating_record_n(lag, count);
        }
    }

    /// Adds to what only this scenario counts.
    pub fn count(&mut self, what: &'static str, count: f64) {
        *self.details.entry(what).or_default() += count;
    }

    /// Notes the latency so far: a step of the measured part is taken.
    pub(super) fn mark(&mut self) {
        let (mut raw, mut corrected) = (histogram(), histogram());
        add(&mut raw, &self.latency);
        add(&mut raw, &self.interval);
        if let Some(all) = &self.corrected {
            add(&mut corrected, all);
        }
        self.before_steps.push([raw, corrected]);
    }

    /// The latency of each part of the measured part, corrected if there is a schedule, in order: one
    /// more than there were steps. A
    /// message belongs to the part in which its echo came.
    pub fn parts(&self) -> Vec<Histogram<u64>> {
        let which = usize::from(self.corrected.is_some());
        let all = self.corrected.as_ref().unwrap_or(&self.latency);
        let mut parts = Vec::new();
        let mut before = histogram();
        let steps = self.before_steps.iter().map(|step| &step[which]);
        for until in steps.chain([all]) {
            let mut part = until.clone();
            part.subtract(&before)
                .expect("what came by a step only grows");
            parts.push(part);
            before = until.clone();
        }
        parts
    }

    /// What came since the last call; its latency is in `latency` from now on.
    pub(super) fn take_interval(&mut self) -> Interval {
        let latency = std::mem::replace(&mut self.interval, histogram());
        add(&mut self.latency, &latency);
        Interval {
            latency,
            lag: self.lag.take(),
        }
    }

    /// Takes the counts of another thread in.
    pub fn merge(&mut self, other: Self) {
        self.begin = self.begin.min(other.begin);
        self.end = self.end.min(other.end);
        self.sent += other.sent;
        self.received += other.received;
        self.received_late += other.received_late;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.lost += other.lost;
        self.started += other.started;
        self.opened += other.opened;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.peak += other.peak;
        self.opened_measured += other.opened_measured;
        add(&mut self.latency, &other.latency);
        add(&mut self.handshake, &other.handshake);
        for (i, before) in other.before_steps.iter().enumerate() {
            match self.before_steps.get_mut(i) {
                Some(ours) => {
                    add(&mut ours[0], &before[0]);
                    add(&mut ours[1], &before[1]);
                }
                None => self.before_steps.push(before.clone()),
            }
        }
        if let Some(corrected) = other.corrected {
            add(self.corrected.get_or_insert_with(histogram), &corrected);
        }
        for (what, count) in other.details {
            self.count(what, count);
        }
        self.faults.merge(other.faults);
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

/// Both must be of [`histogram`].
pub(super) fn add(to: &mut Histogram<u64>, from: &Histogram<u64>) {
    to.add(from).expect("all histograms have the same bounds");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_measured_part_counts() {
        let mut stats = Stats::new();
        stats.echoed(10, 20, 1);
        assert_eq!((stats.received, stats.interval.len()), (0, 0));
        stats.begin = 100;
        stats.echoed(90, 110, 2);
        assert_eq!((stats.received, stats.interval.len()), (2, 0));
        stats.echoed(100, 130, 3);
        assert_eq!((stats.received, stats.interval.len()), (5, 3));
        stats.end = 200;
        stats.echoed(150, 250, 4);
        assert_eq!((stats.received, stats.interval.len()), (5, 7));
        assert_eq!(stats.received_late, 4);
        stats.echoed(200, 260, 5);
        assert_eq!((stats.received, stats.interval.len()), (5, 7));
        let interval = stats.take_interval().latency;
        assert_eq!((interval.len(), stats.latency.len()), (7, 7));
        assert_eq!((interval.min(), interval.max()), (30, 100));
    }

    #[test]
    fn long_times_are_cut_not_lost() {
        let mut stats = Stats::new();
        (stats.begin, stats.end) = (0, Nanos::MAX);
        stats.echoed(0, 10 * LONGEST, 1);
        stats.corrected(0, 10 * LONGEST);
        let interval = stats.take_interval().latency;
        assert_eq!(interval.len(), 1);
        assert!(interval.max() >= LONGEST);
        assert_eq!(stats.corrected.unwrap().len(), 1);
    }

    #[test]
    fn parts_are_told_apart() {
        let mut stats = Stats::new();
        (stats.begin, stats.end) = (0, Nanos::MAX);
        stats.echoed(0, 10, 5);
        stats.take_interval();
        stats.echoed(0, 20, 2);
        stats.mark();
        stats.echoed(0, 3_000, 1);
        stats.take_interval();
        let mut all = Stats::new();
        all.merge(stats.clone());
        all.merge(stats);
        let parts = all.parts();
        let found: Vec<_> = parts.iter().map(|part| (part.len(), part.max())).collect();
        assert_eq!(found[0], (14, 20));
        assert_eq!((parts.len(), found[1].0), (2, 2));
        assert!(found[1].1 >= 3_000);
    }

    #[test]
    fn threads_add_up() {
        let mut one = Stats::new();
        (one.begin, one.end) = (5, 10);
        one.echoed(5, 6, 3);
        one.take_interval();
        let mut all = Stats::new();
        all.merge(one.clone());
        all.merge(one);
        assert_eq!((all.received, all.latency.len(), all.begin), (6, 6, 5));
    }
}
