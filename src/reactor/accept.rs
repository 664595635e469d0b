//! Accepting connections without ever spinning on a limit.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::connection::Tick;

/// Connections accepted in one turn, so that a flood of them does not starve the others.
pub(super) const ACCEPT_BUDGET: usize = 128;

/// Pause after the kernel or the connection limit refused one, in ticks (milliseconds).
const RETRY: u32 = 50;

/// Ticks after which another pause is worth a word.
const QUIET: u32 = 10_000;

/// The number of connections of the whole server, with its limit.
#[derive(Clone)]
pub(crate) struct Population {
    count: Arc<AtomicUsize>,
    limit: usize,
}

impl Population {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            count: Arc::new(AtomicUsize::new(0)),
            limit,
        }
    }

    pub(super) fn enter(&self) -> bool {
        let entered = self.count.fetch_add(1, Ordering::Relaxed) < self.limit;
        if !entered {
            self.leave();
        }
        entered
    }

    pub(super) fn leave(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}

/// A listener and whether it is worth asking.
pub(super) struct Door<L> {
    pub(super) listener: L,
    /// Connections may be waiting that no further edge will announce.
    pub(super) ready: bool,
}

/// Whether this reactor accepts at the moment.
#[derive(Default)]
pub(super) struct Pause {
    until: Option<Tick>,
    last: Option<Tick>,
}

impl Pause {
    /// Says whether it is the first for a while, which is worth a word.
    pub(super) fn begin(&mut self, now: Tick) -> bool {
        self.until = Some(now.after(RETRY));
        let before = self.last.replace(now);
        before.is_none_or(|before| now.since(before) > QUIET)
    }

    /// Ends early: a descriptor has become free.
    pub(super) fn end(&mut self) {
        self.until = None;
    }

    pub(super) fn until(&self) -> Option<Tick> {
        self.until
    }

    pub(super) fn is_over(&mut self, now: Tick) -> bool {
        if self.until.is_some_and(|until| !now.is_before(until)) {
            self.until = None;
        }
        self.until.is_none()
    }
}

/// What an error of `accept` means for the listener (accept(2)).
pub(super) enum Verdict {
    /// No connection is waiting.
    Empty,
    /// That connection failed on its way; the next may not.
    Next,
    /// Out of descriptors or memory: asking again at once would spin.
    Pause,
}

pub(super) fn verdict(error: &io::Error) -> Verdict {
    match error.kind() {
        io::ErrorKind::WouldBlock => Verdict::Empty,
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => Verdict::Next,
        _ => match error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            // Errors of the network that Linux passes on to accept.
            Some(
                rustix::io::Errno::PROTO
                | rustix::io::Errno::NOPROTOOPT
                | rustix::io::Errno::NETDOWN
                | rustix::io::Errno::NETUNREACH
                | rustix::io::Errno::HOSTDOWN
                | rustix::io::Errno::HOSTUNREACH
                | rustix::io::Errno::OPNOTSUPP
                | rustix::io::Errno::NONET,
            ) => Verdict::Next,
            _ => Verdict::Pause,
        },
    }
}
