//! What a connection shares with threads that hold a handle to it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::transport::Token;

/// Made by the first request for a handle; connections that never ask pay nothing.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) token: Token,
    open: AtomicBool,
    /// Bytes that handles have given to the inbox and the reactor has not taken yet.
    inbound: AtomicUsize,
    /// Bytes the reactor last saw in the outbox.
    outbox: AtomicUsize,
}

impl Link {
    pub(crate) fn new(token: Token) -> Self {
        Self {
            token,
            open: AtomicBool::new(true),
            inbound: AtomicUsize::new(0),
            outbox: AtomicUsize::new(0),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// Counts `bytes` in, unless more than `limit` are already on their way.
    pub(crate) fn reserve(&self, bytes: usize, limit: usize) -> bool {
        let before = self.inbound.fetch_add(bytes, Ordering::AcqRel);
        let accepted = before.saturating_add(self.outbox.load(Ordering::Acquire)) <= limit;
        if !accepted {
            self.release(bytes);
        }
        accepted
    }

    /// Counts out what [`reserve`](Self::reserve) counted in.
    pub(crate) fn release(&self, bytes: usize) {
        self.inbound.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn set_outbox(&self, bytes: usize) {
        self.outbox.store(bytes, Ordering::Release);
    }

    /// Counts in what waits for the connection to open.
    pub(crate) fn add_outbox(&self, bytes: usize) {
        self.outbox.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn pending(&self) -> usize {
        self.inbound.load(Ordering::Acquire) + self.outbox.load(Ordering::Acquire)
    }
}
