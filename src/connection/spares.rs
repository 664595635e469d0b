//! Buffers of large messages, used again.
//!
//! A large message costs most where its buffer grows: copies, and pages that the kernel clears.
//! So the buffer of a message that has been dealt with comes back, from whatever thread let go of
//! it last, and the next message is received into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::Tick;
use super::context::MemoryAccount;

/// Bytes kept for further messages at most.
const KEPT: usize = 32 << 20;
/// Buffers kept at most.
const BUFFERS: usize = 128;
/// Smaller buffers are not worth keeping: the allocator has them at hand.
const SMALLEST: usize = 64 * 1024;
/// Below so many bytes in the memory account, a message gets a buffer for all of it at once.
/// Above, only one for about what has come: peers that declare much and send little cannot
/// gather more than this.
const EAGER: usize = 64 << 20;
/// Ticks (milliseconds) without a large message after which the buffers are freed.
const QUIET_AFTER: u32 = 1_000;

/// Where buffers come back to.
#[derive(Debug)]
struct Home {
    sender: Sender<Vec<u8>>,
    /// Bytes of what has come back and has not been used again.
    bytes: AtomicUsize,
    /// Whether anything is kept.
    open: AtomicBool,
}

impl Home {
    fn take_back(&self, buffer: Vec<u8>) {
        let size = buffer.capacity();
        let before = self.bytes.fetch_add(size, Ordering::AcqRel);
        let kept = self.open.load(Ordering::Acquire)
            && before.saturating_add(size) <= KEPT
            && self.sender.try_send(buffer).is_ok();
        if !kept {
            self.bytes.fetch_sub(size, Ordering::AcqRel);
        }
    }
}

/// The bytes of a message, whose buffer goes home with the last reference to them.
struct Lent {
    buffer: Vec<u8>,
    home: Arc<Home>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.take_back(std::mem::take(&mut self.buffer));
    }
}

/// The spare buffers of one reactor.
pub(crate) struct Spares {
    home: Arc<Home>,
    returned: Receiver<Vec<u8>>,
    /// What has come back, the oldest first.
    buffers: Vec<Vec<u8>>,
    /// When a large message last began or ended.
    used: Tick,
    charged: usize,
}

impl Spares {
    pub(super) fn new() -> Self {
        let (sender, returned) = bounded(BUFFERS);
        let home = Home {
            sender,
            bytes: AtomicUsize::new(0),
            open: AtomicBool::new(false),
        };
        Self {
            home: Arc::new(home),
            returned,
            buffers: Vec::new(),
            used: Tick::default(),
            charged: 0,
        }
    }

    /// A buffer for a message that will have `most` bytes and needs `least` now, while `held`
    /// bytes are in the memory account.
    pub(super) fn take(
        &mut self,
        least: usize,
        most: usize,
        held: usize,
        now: Tick,
    ) -> Option<Vec<u8>> {
        self.used = now;
        self.collect();
        let wanted = if held <= EAGER { most } else { least };
        // A much larger one is left to larger messages. The last is the warmest.
        let fits =
            |buffer: &Vec<u8>| (wanted..=wanted.saturating_mul(2)).contains(&buffer.capacity());
        let at = self.buffers.iter().rposition(fits);
        // Those that nobody can use make room.
        let oldest = (!self.buffers.is_empty()).then_some(0);
        let buffer = self.buffers.remove(at.or(oldest)?);
        self.home
            .bytes
            .fetch_sub(buffer.capacity(), Ordering::AcqRel);
        at.map(|_| buffer)
    }

    fn collect(&mut self) {
        while self.buffers.len() < BUFFERS
            && let Ok(buffer) = self.returned.try_recv()
        {
            self.buffers.push(buffer);
        }
    }

    /// The bytes of a message; a large buffer will come back.
    pub(super) fn lend(&mut self, buffer: Vec<u8>, now: Tick) -> Bytes {
        if buffer.capacity() < SMALLEST {
            return buffer.into();
        }
        self.used = now;
        self.home.open.store(true, Ordering::Release);
        let home = Arc::clone(&self.home);
        Bytes::from_owner(Lent { buffer, home })
    }

    /// At the end of a turn: frees what has not been used for a while, or everything if `last`,
    /// and accounts for the rest.
    #[inline]
    pub(super) fn tend(&mut self, now: Tick, last: bool, account: &mut MemoryAccount) {
        let kept = self.home.bytes.load(Ordering::Acquire);
        if kept | self.charged != 0 {
            self.tend_slowly(now, last, account);
        }
    }

    #[inline(never)]
    fn tend_slowly(&mut self, now: Tick, last: bool, account: &mut MemoryAccount) {
        if last || now.since(self.used) >= QUIET_AFTER {
            self.home.open.store(false, Ordering::Release);
            self.collect();
            let freed: usize = self.buffers.iter().map(Vec::capacity).sum();
            self.home.bytes.fetch_sub(freed, Ordering::AcqRel);
            self.buffers = Vec::new();
        }
        let kept = self.home.bytes.load(Ordering::Acquire);
        account.adjust(&mut self.charged, kept);
    }

    /// When [`tend`](Self::tend) has to be called again, whatever happens.
    pub(super) fn deadline(&self) -> Option<Tick> {
        (self.charged > 0).then(|| self.used.after(QUIET_AFTER))
    }

    /// What the memory account was charged.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn charged(&self) -> usize {
        self.charged
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const NOW: Tick = Tick(0);

    fn take(spares: &mut Spares, least: usize, most: usize, held: usize) -> Option<usize> {
        let buffer = spares.take(least, most, held, NOW)?;
        Some(buffer.capacity())
    }

    /// Spares with buffers of these sizes, the oldest first.
    fn with(sizes: &[usize]) -> Spares {
        let mut spares = Spares::new();
        for &size in sizes {
            drop(spares.lend(vec![0; size], NOW));
        }
        spares
    }

    #[test]
    fn a_buffer_comes_back_with_the_last_reference() {
        let mut spares = Spares::new();
        let bytes = spares.lend(vec![7; MIB], NOW);
        let copy = bytes.clone();
        assert_eq!(bytes, vec![7; MIB]);
        drop(bytes);
        assert_eq!(take(&mut spares, 1, MIB, 0), None);
        std::thread::spawn(move || drop(copy)).join().unwrap();
        assert_eq!(take(&mut spares, 1, MIB, 0), Some(MIB));
        assert_eq!(take(&mut spares, 1, MIB, 0), None);
    }

    #[test]
    fn a_message_gets_one_that_fits_all_of_it() {
        let mut spares = with(&[MIB, 4 * MIB, 2 * MIB]);
        assert_eq!(take(&mut spares, 1, MIB, 0), Some(2 * MIB));
        assert_eq!(take(&mut spares, 1, MIB, 0), Some(MIB));
        // Too large, and since nobody took it, the next to go.
        assert_eq!(take(&mut spares, 1, MIB, 0), None);
        assert_eq!(take(&mut spares, 1, 4 * MIB, 0), None);
    }

    #[test]
    fn when_much_is_held_a_buffer_is_for_what_has_come() {
        let mut spares = with(&[MIB, 128 << 10]);
        assert_eq!(
            take(&mut spares, 128 << 10, MIB, EAGER + 1),
            Some(128 << 10)
        );
        assert_eq!(take(&mut spares, MIB, 2 * MIB, EAGER + 1), Some(MIB));
    }

    #[test]
    fn no_more_is_kept_than_allowed() {
        let mut account = MemoryAccount::default();
        let mut spares = with(&[MIB; 2 * BUFFERS]);
        spares.tend(NOW, false, &mut account);
        assert_eq!(account.held(), KEPT);
        let mut spares = with(&[SMALLEST; 2 * BUFFERS]);
        spares.tend(NOW, false, &mut account);
        assert_eq!(account.held(), KEPT + BUFFERS * SMALLEST);
        let mut spares = with(&[SMALLEST - 1]);
        assert_eq!(take(&mut spares, 1, SMALLEST - 1, 0), None);
    }

    #[test]
    fn what_is_not_used_is_freed() {
        let mut account = MemoryAccount::default();
        let mut spares = with(&[MIB; 3]);
        let out = spares.lend(vec![0; MIB], NOW);
        spares.tend(NOW, false, &mut account);
        assert_eq!(account.held(), 3 * MIB);
        let quiet = spares.deadline().unwrap();
        assert_eq!(quiet, NOW.after(QUIET_AFTER));
        spares.tend(Tick(quiet.0 - 1), false, &mut account);
        assert_eq!(account.held(), 3 * MIB);
        spares.tend(quiet, false, &mut account);
        assert_eq!((account.held(), spares.deadline()), (0, None));
        // What comes back later is not kept.
        drop(out);
        spares.tend(quiet, false, &mut account);
        assert_eq!(account.held(), 0);
        assert_eq!(take(&mut spares, 1, MIB, 0), None);
    }
}
