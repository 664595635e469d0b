//! What a load thread has beside its connections.

use std::sync::Arc;

use super::link::{Link, SCRATCH};
use super::{Nanos, Phase, Plan, Shared, Stats, now};
use crate::payload::{Pattern, Verdict};
use crate::wire::Data;

/// What a load thread has beside its connections; scenarios get it with every call.
#[derive(Debug)]
pub struct Context {
    /// The settings of the run.
    pub plan: Arc<Plan>,
    /// What messages say.
    pub pattern: Arc<Pattern>,
    /// What the thread counts.
    pub stats: Stats,
    /// The number of the thread.
    pub thread: u32,
    /// The phase, as far as this thread has followed.
    pub phase: Phase,
    /// The time of the last read.
    pub now: Nanos,
    pub(super) shared: Arc<Shared>,
    /// Messages to be written, made up here.
    pub(super) scratch: Vec<u8>,
    /// Right echoes in the whole run.
    pub(super) done: u64,
    /// Messages whose sending began, less those settled; wraps.
    pub(super) outstanding: u64,
    /// Right echoes of one connection that are not counted yet.
    right: u32,
    /// Whether a schedule says which messages are those of the measured part.
    scheduled: bool,
    /// Of the right echoes not counted yet: how many were due before the measured part, and how many
    /// in it. Those after them were due after it.
    early: u32,
    measured: u32,
}

impl Context {
    pub(super) fn new(plan: Arc<Plan>, shared: Arc<Shared>, thread: u32) -> Self {
        Self {
            pattern: plan.pattern.clone(),
            plan,
            stats: Stats::new(),
            thread,
            phase: Phase::Open,
            now: now(),
            shared,
            scratch: vec![0; SCRATCH],
            done: 0,
            outstanding: 0,
            right: 0,
            scheduled: false,
            early: 0,
            measured: 0,
        }
    }

    /// From now on messages count by when they were due, not by when they were sent: each right echo
    /// must be told with [`due`](Self::due).
    pub fn follow_schedule(&mut self) {
        self.scheduled = true;
    }

    /// Counts the echo that came last against the time it was due; none if it is known to have been
    /// before the measured part.
    #[inline]
    pub fn due(&mut self, intended: Option<Nanos>) {
        let now = self.now;
        if intended.is_some_and(|intended| self.stats.corrected(intended, now)) {
            self.measured += 1;
        } else if self.measured == 0 && intended.is_none_or(|at| at < self.stats.begin) {
            self.early += 1;
        }
    }

    /// Whether a message counts as sent that leaves now. What leaves late counts too if there is a
    /// schedule, for it was due before.
    #[inline]
    pub(super) fn counts_sent(&self) -> bool {
        if self.scheduled {
            self.stats.begin <= self.now
        } else {
            self.stats.measures(self.now)
        }
    }

    /// The step of the measured part, in scenarios that have such.
    pub fn step(&self) -> u32 {
        self.shared.step()
    }

    /// Counts so many of what the scenario is about, where that is no echoes.
    pub fn did(&mut self, count: u64) {
        self.done += count;
    }

    /// Wakes a load thread, this or another: its [`timers`](super::Scenario::timers) are called soon.
    pub fn wake(&self, thread: u32) {
        self.shared.wake(thread);
    }

    /// Ends the run soon, if it has no load yet: nothing can come of it, for this reason.
    pub fn give_up(&self, why: String) {
        self.shared.give_up(why);
    }

    /// Expects no echo of what was sent on this connection so far.
    pub fn expect_no_echo(&mut self, link: &mut Link) {
        let count = link.ledger.expect_nothing();
        if count > 0 {
            self.outstanding = self.outstanding.wrapping_sub(u64::from(count));
            link.stamps.take(count, |_, _| {});
        }
    }

    /// Checks a piece of an echo, and counts the message when it is whole. Returns its sequence
    /// number if it is right.
    #[inline]
    pub fn check(&mut self, link: &mut Link, data: &Data<'_>) -> Option<u32> {
        if link.ledger.receive_next(&self.pattern, data) {
            self.right += 1;
            return Some(link.ledger.next().wrapping_sub(1));
        }
        self.check_piece(link, data)
    }

    /// Takes an echo off the start of `input`, if it is there, whole and right: what follows, and its
    /// sequence number.
    #[inline(always)]
    pub(super) fn strip<'a>(
        &mut self,
        link: &mut Link,
        input: &'a [u8],
    ) -> Option<(&'a [u8], u32)> {
        let rest = link.ledger.strip_next(&self.pattern, input)?;
        self.right += 1;
        Some((rest, link.ledger.next().wrapping_sub(1)))
    }

    #[cold]
    fn check_piece(&mut self, link: &mut Link, data: &Data<'_>) -> Option<u32> {
        self.count_right(link);
        let before = link.ledger.next();
        let verdict = link.ledger.receive(&self.pattern, data)?;
        let settled = link.ledger.next().wrapping_sub(before);
        self.outstanding = self.outstanding.wrapping_sub(u64::from(settled));
        if verdict != Verdict::Right {
            link.stamps.take(settled, |_, _| {});
            self.fault(link, verdict);
            return None;
        }
        // Those before it were skipped.
        link.stamps.take(settled - 1, |_, _| {});
        self.outstanding = self.outstanding.wrapping_add(1);
        self.right += 1;
        Some(link.ledger.next().wrapping_sub(1))
    }

    /// Counts the right echoes of the read that ended.
    #[inline]
    pub(super) fn count_right(&mut self, link: &mut Link) {
        let right = std::mem::take(&mut self.right);
        self.done += u64::from(right);
        self.outstanding = self.outstanding.wrapping_sub(u64::from(right));
        let (stats, now) = (&mut self.stats, self.now);
        if self.scheduled {
            let early = std::mem::take(&mut self.early);
            let measured = std::mem::take(&mut self.measured);
            link.stamps.take(early, |_, _| {});
            link.stamps
                .take(measured, |sent, count| stats.scheduled(sent, now, count));
            link.stamps.take(right - early - measured, |_, _| {});
        } else {
            link.stamps
                .take(right, |sent, count| stats.echoed(sent, now, count));
        }
    }

    #[cold]
    fn fault(&mut self, link: &Link, verdict: Verdict) {
        let what = match verdict {
            Verdict::Right => return,
            Verdict::Duplicated => {
                self.stats.duplicated += 1;
                "a message came back twice"
            }
            Verdict::Reordered => {
                self.stats.reordered += 1;
                "a message came back after one that was sent later"
            }
            Verdict::Corrupted(corruption) => {
                self.stats.corrupted += 1;
                corruption.what()
            }
        };
        self.stats.faults.add(what, || {
            format!(
                "connection {}, before message {}",
                link.id(),
                link.ledger.next()
            )
        });
    }
}
