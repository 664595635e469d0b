//! What the inbox and the links of handles are made of: atomics and a queue. The model checker
//! loom puts its own in their place (`--cfg loom`), and the code around them stays the same.

#[cfg(not(all(test, loom)))]
pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic;
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic;
#[cfg(all(test, loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(all(test, loom))]
pub(crate) use model::{Receiver, Sender, bounded};

/// A queue for loom. It promises less than the real one: a message is seen by whoever is told of
/// it by other means, and may be overlooked by anybody else.
#[cfg(all(test, loom))]
mod model {
    use std::sync::{Arc, Mutex};

    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// The most messages in one run of a model.
    const SLOTS: usize = 8;

    struct Slot<T> {
        ready: AtomicBool,
        /// Never contended: `ready` says whose it is.
        value: Mutex<Option<T>>,
    }

    struct Queue<T> {
        slots: [Slot<T>; SLOTS],
        capacity: usize,
        sent: AtomicUsize,
        taken: AtomicUsize,
    }

    pub(crate) struct Sender<T>(Arc<Queue<T>>);
    pub(crate) struct Receiver<T>(Arc<Queue<T>>);

    pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let queue = Arc::new(Queue {
            slots: std::array::from_fn(|_| Slot {
                ready: AtomicBool::new(false),
                value: Mutex::new(None),
            }),
            capacity,
            sent: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
        });
        (Sender(Arc::clone(&queue)), Receiver(queue))
    }

    impl<T> Sender<T> {
        pub(crate) fn try_send(&self, value: T) -> Result<(), T> {
            let queue = &*self.0;
            let place = |sent: usize| {
                let taken = queue.taken.load(Ordering::Acquire);
                // What was read first may be older.
                (sent.saturating_sub(taken) < queue.capacity).then_some(sent + 1)
            };
            let order = Ordering::Relaxed;
            let Ok(place) = queue.sent.fetch_update(order, order, place) else {
                return Err(value);
            };
            let slot = &queue.slots[place];
            *slot.value.lock().unwrap() = Some(value);
            slot.ready.store(true, Ordering::Release);
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        /// There is one receiver, on one thread.
        pub(crate) fn try_recv(&self) -> Result<T, ()> {
            let queue = &*self.0;
            let at = queue.taken.load(Ordering::Relaxed);
            let slot = queue.slots.get(at).ok_or(())?;
            if !slot.ready.load(Ordering::Acquire) {
                return Err(());
            }
            queue.taken.store(at + 1, Ordering::Release);
            slot.value.lock().unwrap().take().ok_or(())
        }
    }
}
