//! What the load threads and their leader share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use mio::Waker;

use super::Nanos;

/// The parts of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Connections are opened.
    Open,
    /// Load that does not count yet.
    Warmup,
    /// Load that counts.
    Measure,
    /// Nothing new is sent; echoes are waited for.
    Grace,
    /// Closing handshakes.
    Close,
    /// The threads end.
    Done,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Open,
        Self::Warmup,
        Self::Measure,
        Self::Grace,
        Self::Close,
        Self::Done,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "opening",
            Self::Warmup => "warming up",
            Self::Measure => "measuring",
            Self::Grace => "waiting for echoes",
            Self::Close => "closing",
            Self::Done => "done",
        }
    }

    /// Whether messages are sent.
    pub fn has_load(self) -> bool {
        matches!(self, Self::Warmup | Self::Measure)
    }
}

/// What the leader tells all threads, and asks of them.
#[derive(Debug)]
pub struct Shared {
    phase: AtomicU8,
    /// When the measured part ended; the largest number before.
    end: AtomicU64,
    /// Counts the samples asked for.
    sample: AtomicU32,
    /// Counts the nudges of [`Observer::mark`](super::Observer::mark)s; free for scenarios.
    step: AtomicU32,
    /// Why nothing can come of the run, if a scenario found that out.
    useless: OnceLock<String>,
    /// One of each thread, as soon as all are there.
    wakers: OnceLock<Vec<Waker>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Open as u8),
            end: AtomicU64::new(Nanos::MAX),
            sample: AtomicU32::new(0),
            step: AtomicU32::new(0),
            useless: OnceLock::new(),
            wakers: OnceLock::new(),
        }
    }
}

impl Shared {
    /// The phase that was set last.
    #[inline]
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    /// Hands over the wakers of all threads, before the first phase.
    pub(super) fn set_wakers(&self, wakers: Vec<Waker>) {
        // A second call would be of no use: the threads are the same.
        let _ = self.wakers.set(wakers);
    }

    pub(super) fn wake(&self, thread: u32) {
        let wakers = self.wakers.get();
        if let Some(waker) = wakers.and_then(|wakers| wakers.get(thread as usize)) {
            // An eventfd can always be written to while its counter is that small.
            let _ = waker.wake();
        }
    }

    pub(super) fn wake_all(&self) {
        for thread in 0..self.wakers.get().map_or(0, Vec::len) {
            self.wake(thread as u32);
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// When the measured part ended; the largest number before. The load goes on for a moment, in
    /// which the leader looks at the server.
    #[inline]
    pub(super) fn end(&self) -> Nanos {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn set_end(&self, end: Nanos) {
        self.end.store(end, Ordering::Release);
    }

    /// Why nothing can come of the run.
    pub(super) fn useless(&self) -> Option<&str> {
        self.useless.get().map(String::as_str)
    }

    pub(super) fn give_up(&self, why: String) {
        // The first reason is as good as any.
        let _ = self.useless.set(why);
    }

    /// The number of the sample that was asked for last.
    #[inline]
    pub(super) fn sample(&self) -> u32 {
        self.sample.load(Ordering::Relaxed)
    }

    pub(super) fn ask_for_sample(&self) {
        self.sample.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the step that was taken last, in scenarios that have steps in their measured
    /// part.
    #[inline]
    pub fn step(&self) -> u32 {
        self.step.load(Ordering::Relaxed)
    }

    pub(super) fn take_step(&self) {
        self.step.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a thread shows while it runs; only it writes.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    /// Connections open.
    pub(super) open: AtomicU64,
    /// Opening handshakes completed.
    pub(super) opened: AtomicU64,
    /// Attempts failed.
    pub(super) failed: AtomicU64,
    /// Right echoes, or opening handshakes where those are what is measured, in the whole run.
    pub(super) done: AtomicU64,
    /// Whether it waits for nothing any more: set in each phase when its part of it is complete.
    pub(super) idle: AtomicBool,
}
