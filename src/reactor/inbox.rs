//! The one way into a reactor from other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::connection::{Link, OutFrame};
use crate::protocol::CloseCode;

/// Items the inbox holds at most; a thread that would exceed it is told [`Full`].
const ITEMS: usize = 8 * 1024;
/// Payload bytes the inbox holds at most. One item is always accepted.
const BYTES: usize = 64 << 20;

/// Wakes the reactor's poll; called when something was pushed while it may be asleep.
pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

pub(crate) enum Item {
    /// A frame for one connection. Its length was reserved with the link.
    Send { link: Arc<Link>, frame: OutFrame },
    /// Close one connection.
    Close {
        link: Arc<Link>,
        code: CloseCode,
        reason: String,
    },
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Item::Send { frame, .. } => frame.len(),
            Item::Close { reason, .. } => reason.len(),
        }
    }
}

/// The inbox has no room.
#[derive(Debug)]
pub(crate) struct Full;

/// A bounded first-in first-out queue with a wake-up that is sent once per sleep.
///
/// The order that loses no wake-up: a producer pushes, then swaps the flag to true, and wakes
/// the reactor if it was false; the reactor swaps it to false, then takes what is there.
pub(crate) struct Inbox {
    sender: Sender<Item>,
    receiver: Receiver<Item>,
    bytes: AtomicUsize,
    signalled: AtomicBool,
    stopping: AtomicBool,
    wake: Wake,
}

impl Inbox {
    pub(crate) fn new(wake: Wake) -> Self {
        let (sender, receiver) = bounded(ITEMS);
        Self {
            sender,
            receiver,
            bytes: AtomicUsize::new(0),
            signalled: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            wake,
        }
    }

    /// Never blocks.
    pub(crate) fn push(&self, item: Item) -> Result<(), Full> {
        let bytes = item.bytes();
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let pushed = if before > BYTES {
            Err(Full)
        } else {
            self.sender.try_send(item).map_err(|error| match error {
                TrySendError::Full(_) | TrySendError::Disconnected(_) => Full,
            })
        };
        match pushed {
            Ok(()) => self.signal(),
            Err(Full) => {
                self.bytes.fetch_sub(bytes, Ordering::AcqRel);
            }
        }
        pushed
    }

    /// Tells the reactor to close its connections and end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.signal();
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }

    /// The reactor's side, before it takes items.
    pub(super) fn acknowledge(&self) {
        self.signalled.swap(false, Ordering::AcqRel);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    pub(super) fn pop(&self) -> Option<Item> {
        let item = self.receiver.try_recv().ok()?;
        self.bytes.fetch_sub(item.bytes(), Ordering::AcqRel);
        Some(item)
    }
}
