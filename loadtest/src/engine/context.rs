//! What a load thread has beside its connections.

use std::sync::Arc;

use super::Link;
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
    /// Echoes of one read with the same time of sending, not yet counted: the time, and how many.
    run: (Nanos, u64),
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
            scratch: Vec::new(),
            done: 0,
            outstanding: 0,
            run: (0, 0),
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

    /// Checks a piece of an echo, and counts the message when it is whole. Returns its sequence
    /// number if it is right.
    #[inline]
    pub fn check(&mut self, link: &mut Link, data: &Data<'_>) -> Option<u32> {
        let before = link.ledger.next();
        let verdict = link.ledger.receive(&self.pattern, data)?;
        let settled = link.ledger.next().wrapping_sub(before);
        let sent = link.stamps.take(settled);
        self.outstanding = self.outstanding.wrapping_sub(u64::from(settled));
        if verdict != Verdict::Right {
            self.fault(link, verdict);
            return None;
        }
        self.done += 1;
        if sent == self.run.0 {
            self.run.1 += 1;
        } else {
            self.count_run();
            self.run = (sent, 1);
        }
        Some(link.ledger.next().wrapping_sub(1))
    }

    /// Counts the echoes of the read that ended.
    #[inline]
    pub(super) fn count_run(&mut self) {
        let (sent, count) = std::mem::take(&mut self.run);
        if count > 0 {
            self.stats.echoed(sent, self.now, count);
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
