//! The queue of a worker.

use std::thread::{self, Thread};

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::batch::Batch;

/// A reactor's end of a worker's queue. Sending never blocks, and is a system call only if the
/// worker is asleep.
#[derive(Clone)]
pub(crate) struct Queue {
    /// `Some` until it is dropped.
    sender: Option<Sender<Box<Batch>>>,
    worker: Thread,
}

/// The queue is full, or the worker has ended.
#[derive(Debug)]
pub(crate) struct Refused;

impl Queue {
    /// `worker` is the thread that [`take`]s from the other end of `sender`.
    pub(crate) fn new(sender: Sender<Box<Batch>>, worker: Thread) -> Self {
        let sender = Some(sender);
        Self { sender, worker }
    }

    pub(super) fn send(&self, batch: Box<Batch>) -> Result<(), Refused> {
        let sent = self.sender.as_ref().map(|sender| sender.try_send(batch));
        self.worker.unpark();
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(Refused),
        }
    }
}

impl Drop for Queue {
    /// The last one to go ends the worker, which has to be awake to notice.
    fn drop(&mut self) {
        self.sender = None;
        self.worker.unpark();
    }
}

/// The next batch for this worker, which sleeps until there is one; `None` once every [`Queue`]
/// has gone.
///
/// It goes to sleep without delay, unlike the channel's own way, which first looks again and
/// again for a while: on a core that it shares with its reactor, that keeps the batch from coming.
pub(crate) fn take(batches: &Receiver<Box<Batch>>) -> Option<Box<Batch>> {
    loop {
        match batches.try_recv() {
            Ok(batch) => return Some(batch),
            // Whatever came since was followed by a call that ends this at once.
            Err(TryRecvError::Empty) => thread::park(),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn a_sleeping_worker_takes_everything_and_ends_with_the_last_queue() {
        const BATCHES: usize = 100;
        let (sender, batches) = bounded(BATCHES);
        let worker = thread::spawn(move || {
            let mut taken = 0;
            while take(&batches).is_some() {
                taken += 1;
            }
            taken
        });
        let queues = [(); 2].map(|()| Queue::new(sender.clone(), worker.thread().clone()));
        drop(sender);
        for round in 0..BATCHES {
            queues[round % 2].send(Box::default()).unwrap();
            if round % 10 == 0 {
                thread::sleep(Duration::from_millis(2));
            }
        }
        drop(queues);
        assert_eq!(worker.join().unwrap(), BATCHES);
    }

    #[test]
    fn a_full_queue_refuses() {
        let (sender, batches) = bounded(1);
        let queue = Queue::new(sender, thread::current());
        queue.send(Box::default()).unwrap();
        assert!(queue.send(Box::default()).is_err());
        assert!(take(&batches).is_some());
        queue.send(Box::default()).unwrap();
        drop(queue);
        assert!(take(&batches).is_some());
        assert!(take(&batches).is_none());
    }
}
