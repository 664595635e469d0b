//! What a connection shares with threads that hold a handle to it.

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

#[cfg(all(test, loom))]
mod loom_models {
    use std::sync::Arc;

    use loom::thread;

    use super::*;
    use crate::reactor::check;

    const TOKEN: Token = Token::new(0, 0);
    const MESSAGE: usize = 10;

    /// Two threads send two messages each while the reactor moves what they sent to its outbox,
    /// as it does it: first into the outbox, then out of the account of what is on its way.
    #[test]
    fn the_limit_holds_while_bytes_move_to_the_outbox() {
        check(|| {
            let link = Arc::new(Link::new(TOKEN));
            assert!(link.reserve(MESSAGE, MESSAGE));
            let senders = [2, 1].map(|messages| {
                let link = Arc::clone(&link);
                thread::spawn(move || {
                    let accepted = (0..messages).filter(|_| link.reserve(MESSAGE, MESSAGE));
                    accepted.count()
                })
            });
            link.set_outbox(MESSAGE);
            link.release(MESSAGE);
            let accepted = senders.map(|sender| sender.join().unwrap());
            let accepted = 1 + accepted[0] + accepted[1];
            // Nothing was written: the limit and the message that passes it.
            assert!(accepted <= 2, "{accepted} messages");
            assert_eq!(link.pending(), accepted * MESSAGE);
            for _ in 1..accepted {
                link.release(MESSAGE);
            }
            link.set_outbox(0);
            assert_eq!(link.pending(), 0);
        });
    }

    /// Whoever sees a connection's end also sees what was done before it.
    #[test]
    fn the_end_is_seen_after_what_came_before() {
        check(|| {
            let link = Arc::new(Link::new(TOKEN));
            link.set_outbox(MESSAGE);
            let other = Arc::clone(&link);
            let reactor = thread::spawn(move || {
                other.set_outbox(0);
                other.end();
            });
            if !link.is_open() {
                assert_eq!(link.pending(), 0);
            }
            reactor.join().unwrap();
            assert!(!link.is_open());
        });
    }
}
