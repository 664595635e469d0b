//! The one way into a reactor from other threads.

use std::sync::{Arc, PoisonError};

use super::batch::Batch;
use crate::connection::{Link, MAX_ERRANDS, OutFrame, Part};
use crate::protocol::CloseCode;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, Receiver, Sender, bounded};
use crate::topics::{Mailbox, Topic};
use crate::transport::Token;

/// Items besides batches and parts that the inbox holds at most; a thread that would exceed it is told [`Full`].
const ITEMS: usize = if cfg!(all(test, loom)) { 2 } else { 8 * 1024 };
/// Parts of responses for which there is room besides: as many as errands may be out.
const PARTS: usize = if cfg!(all(test, loom)) {
    0
} else {
    MAX_ERRANDS
};
/// Payload bytes the inbox holds at most. One item is always accepted.
const BYTES: usize = 64 << 20;

/// Wakes the reactor's poll; called when something was pushed while it may be asleep.
pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

pub(crate) enum Item {
    /// A batch that a worker has answered.
    Batch(Box<Batch>),
    /// A frame for one connection. Its length was reserved with the link.
    Send { link: Arc<Link>, frame: OutFrame },
    /// Close one connection.
    Close {
        link: Arc<Link>,
        code: CloseCode,
        reason: String,
    },
    /// What an errand brought for one connection.
    Part { token: Token, part: Part },
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Item::Batch(batch) => batch.replies.written(),
            Item::Send { frame, .. } => frame.len(),
            Item::Close { reason, .. } => reason.len(),
            Item::Part { part, .. } => match part {
                Part::Bytes { head, body, .. } => head.len() + body.len(),
                Part::Broken => 0,
            },
        }
    }

    /// Whether there is room for it whatever else there is.
    fn is_promised(&self) -> bool {
        matches!(self, Item::Batch(_) | Item::Part { .. })
    }
}

/// The inbox has no room.
#[derive(Debug)]
pub(crate) struct Full;

/// A bounded first-in first-out queue with a wake-up that is sent once per sleep.
///
/// The order that loses no wake-up: a producer pushes, then swaps the flag to true, and wakes
/// the reactor if it was false; the reactor, if the flag is true, swaps it to false and then takes
/// what is there. What it leaves has no flag of its own: it has to come back for it by itself.
pub(crate) struct Inbox {
    sender: Sender<Item>,
    receiver: Receiver<Item>,
    bytes: AtomicUsize,
    /// Items besides batches and parts.
    items: AtomicUsize,
    signalled: AtomicBool,
    stopping: AtomicBool,
    news: Mutex<News>,
    has_news: AtomicBool,
    wake: Wake,
}

/// Topics that have something for this reactor. Each is here once at most, so their number limits
/// the list, and there is always room.
#[derive(Default)]
struct News {
    topics: Vec<Arc<Topic>>,
    /// The reactor has ended.
    closed: bool,
}

impl Inbox {
    /// `batches`: how many batches there are that may come back to this reactor.
    pub(crate) fn new(batches: usize, wake: Wake) -> Self {
        let (sender, receiver) = bounded(ITEMS + batches + PARTS);
        Self {
            sender,
            receiver,
            bytes: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            signalled: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            news: Mutex::new(News::default()),
            has_news: AtomicBool::new(false),
            wake,
        }
    }

    /// Never blocks.
    pub(crate) fn push(&self, item: Item) -> Result<(), Full> {
        let bytes = item.bytes();
        let items = self.items.fetch_add(1, Ordering::AcqRel);
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if items < ITEMS && before <= BYTES && self.sender.try_send(item).is_ok() {
            self.signal();
            return Ok(());
        }
        self.items.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        Err(Full)
    }

    /// Returns a batch; there is room for every batch there is.
    pub(crate) fn give_back(&self, batch: Box<Batch>) {
        self.take(Item::Batch(batch));
    }

    /// Brings a part of a response; there is room for those of all errands that are out.
    pub(crate) fn bring(&self, token: Token, part: Part) {
        self.take(Item::Part { token, part });
    }

    fn take(&self, item: Item) {
        debug_assert!(item.is_promised());
        self.bytes.fetch_add(item.bytes(), Ordering::AcqRel);
        if self.sender.try_send(item).is_err() {
            log::error!("the inbox of a reactor has no room for what was promised room");
            debug_assert!(false, "the inbox has room for every batch and part");
        }
        self.signal();
    }

    /// Whether so much waits here that workers should not be given more to do.
    pub(super) fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Acquire) > BYTES
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

    /// The reactor's side, before it takes items. Says whether anything came since the last time,
    /// be it an item, news or the stop; if not, what comes from now on wakes the reactor.
    pub(super) fn acknowledge(&self) -> bool {
        // Without workers there is nearly never anything, and a load does not take the line away
        // from other threads.
        self.signalled.load(Ordering::Relaxed) && self.signalled.swap(false, Ordering::AcqRel)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the topics with news; `topics` is empty.
    pub(super) fn take_news(&self, topics: &mut Vec<Arc<Topic>>) {
        let mut news = self.news();
        std::mem::swap(&mut news.topics, topics);
        self.has_news.store(false, Ordering::Release);
    }

    /// Takes them for the last time.
    pub(super) fn close_news(&self, topics: &mut Vec<Arc<Topic>>) {
        self.news().closed = true;
        self.take_news(topics);
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn len(&self) -> usize {
        self.receiver.len()
    }

    pub(super) fn pop(&self) -> Option<Item> {
        let item = self.receiver.try_recv().ok()?;
        self.bytes.fetch_sub(item.bytes(), Ordering::AcqRel);
        if !item.is_promised() {
            self.items.fetch_sub(1, Ordering::AcqRel);
        }
        Some(item)
    }
}

impl Mailbox for Inbox {
    fn news(&self, topic: Arc<Topic>) -> bool {
        let mut news = self.news();
        if news.closed {
            return false;
        }
        news.topics.push(topic);
        self.has_news.store(true, Ordering::Release);
        drop(news);
        self.signal();
        true
    }
}

#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, loom))]
pub(crate) use loom_models::{Poll, check};
