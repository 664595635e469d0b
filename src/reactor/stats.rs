//! Figures a reactor publishes for other threads, once per turn.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connections: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) deliveries: AtomicU64,
    pub(crate) memory: AtomicU64,
}

impl Stats {
    pub(super) fn set(field: &AtomicU64, value: u64) {
        field.store(value, Ordering::Relaxed);
    }
}
