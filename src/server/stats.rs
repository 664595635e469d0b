//! Figures of a running server.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::reactor::Stats;

/// Figures of a running server, summed over its reactors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections at the moment, unfinished handshakes included.
    pub connections: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Messages received since the start.
    pub messages: u64,
    /// Bytes of memory held for connections beyond their fixed cost: partial messages, unsent
    /// output, unfinished requests.
    pub memory: u64,
}

impl ServerStats {
    pub(super) fn sum<'a>(reactors: impl Iterator<Item = &'a Stats>) -> Self {
        let load = |field: &AtomicU64| field.load(Ordering::Relaxed);
        reactors.fold(Self::default(), |sum, stats| Self {
            connections: sum.connections + load(&stats.connections),
            accepted: sum.accepted + load(&stats.accepted),
            messages: sum.messages + load(&stats.messages),
            memory: sum.memory + load(&stats.memory),
        })
    }
}
