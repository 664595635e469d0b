//! Figures of a running server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::reactor::Stats;
use crate::topics::Held;

/// Figures of a running server, summed over its reactors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections at the moment, unfinished handshakes included.
    pub connections: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Messages received since the start.
    pub messages: u64,
    /// Publications given to subscribers since the start, one for each of them.
    pub deliveries: u64,
    /// Bytes of memory held for connections beyond their fixed cost: partial messages, unsent
    /// output, unfinished requests.
    pub memory: u64,
    /// Topics at the moment, those included that nobody subscribes to but that remember something.
    pub topics: u64,
    /// Bytes that they remember; see [`Limits::history_total`](crate::Limits::history_total).
    pub history: u64,
    /// The workers, in the order of their numbers; empty if handlers run on the reactors.
    pub workers: Vec<WorkerStats>,
}

/// Figures of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Connections whose handlers live there.
    pub connections: usize,
    /// How long the batch of events under way has been there, to the millisecond; zero between
    /// two batches. Many seconds mean that a handler is stuck.
    pub busy_for: Duration,
}

impl ServerStats {
    pub(super) fn new<'a>(
        reactors: impl Iterator<Item = &'a Stats>,
        workers: Vec<WorkerStats>,
        held: Held,
    ) -> Self {
        let load = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let sum = Self {
            topics: held.topics as u64,
            history: held.history as u64,
            workers,
            ..Self::default()
        };
        reactors.fold(sum, |sum, stats| Self {
            connections: sum.connections + load(&stats.connections),
            accepted: sum.accepted + load(&stats.accepted),
            messages: sum.messages + load(&stats.messages),
            deliveries: sum.deliveries + load(&stats.deliveries),
            memory: sum.memory + load(&stats.memory),
            ..sum
        })
    }
}
