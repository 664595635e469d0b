//! Ways to a running server from outside its threads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::message::Message;
use super::peer::{PeerId, sendable};
use super::stats::{ServerStats, WorkerStats};
use crate::connection::{Link, OutFrame};
use crate::protocol::CloseCode;
use crate::reactor::{Inbox, Item, Load, Stats};
use crate::topics::{Hub, Offset, PublishError};
use crate::worker::{Activity, Outside};

/// Sends to one connection from any thread, at any time, without ever blocking. It never
/// reaches another connection, however long it is kept.
#[derive(Clone)]
pub struct PeerHandle {
    id: PeerId,
    link: Arc<Link>,
    outside: Outside,
}

/// Why a handle could not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection has ended, or has begun to close.
    Gone,
    /// More than [`Limits::outbox`](crate::Limits::outbox) waits for this peer, or the reactor
    /// is behind with what handles sent. Try again later.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Gone => "the connection has ended or is closing",
            SendError::Full => "too much is waiting for this peer",
        })
    }
}

impl std::error::Error for SendError {}

impl PeerHandle {
    pub(super) fn new(id: PeerId, link: Arc<Link>, outside: Outside) -> Self {
        Self { id, link, outside }
    }

    /// The connection's name.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Whether the connection had neither ended nor begun to close when this was asked.
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// Queues a message after everything this handle sent before. An empty queue accepts one
    /// message, whatever its size.
    ///
    /// # Errors
    /// [`SendError::Gone`] after the end of the connection, [`SendError::Full`] over the limit;
    /// in both cases nothing was queued.
    pub fn send<'m>(&self, message: impl Into<Message<'m>>) -> Result<(), SendError> {
        if !self.link.is_open() {
            return Err(SendError::Gone);
        }
        let (kind, body) = message.into().into_parts();
        let frame = OutFrame::new(kind.opcode(), body.into_bytes());
        let bytes = frame.len();
        if !self.link.reserve(bytes, self.outside.outbox) {
            return Err(SendError::Full);
        }
        let item = Item::Send {
            link: Arc::clone(&self.link),
            frame,
        };
        self.outside.inbox.push(item).map_err(|_| {
            self.link.release(bytes);
            SendError::Full
        })
    }

    /// Closes the connection, as [`Peer::close`](crate::Peer::close) does.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        if !self.link.is_open() {
            return Err(SendError::Gone);
        }
        let item = Item::Close {
            link: Arc::clone(&self.link),
            code: sendable(code),
            reason: reason.to_owned(),
        };
        self.outside.inbox.push(item).map_err(|_| SendError::Full)
    }

    /// Bytes sent by handles and not yet taken by the kernel.
    pub fn buffered_amount(&self) -> usize {
        self.link.pending()
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerHandle({})", self.id)
    }
}

/// What a [`ServerHandle`] knows of one reactor.
pub(super) struct ReactorLink {
    pub(super) inbox: Arc<Inbox>,
    pub(super) stats: Arc<Stats>,
}

/// What it knows of one worker.
pub(crate) struct WorkerLink {
    pub(crate) load: Load,
    pub(crate) activity: Arc<Activity>,
}

impl WorkerLink {
    pub(crate) fn new() -> Self {
        Self {
            load: Load::default(),
            activity: Arc::new(Activity::new()),
        }
    }
}

/// What whoever waits for a server's threads is told.
#[derive(Debug)]
pub(super) enum Signal {
    /// A shutdown has begun at this time; said once.
    Stopping(Instant),
    /// This thread has ended.
    Ended(usize),
}

/// Steers a server from any thread.
#[derive(Clone)]
pub struct ServerHandle {
    links: Arc<Links>,
}

struct Links {
    reactors: Vec<ReactorLink>,
    workers: Vec<WorkerLink>,
    hub: Arc<dyn Hub>,
    stopping: AtomicBool,
    signals: Sender<Signal>,
}

impl ServerHandle {
    pub(super) fn new(
        reactors: Vec<ReactorLink>,
        workers: Vec<WorkerLink>,
        hub: Arc<dyn Hub>,
    ) -> (Self, Receiver<Signal>) {
        let (signals, receiver) = unbounded();
        let links = Links {
            reactors,
            workers,
            hub,
            stopping: AtomicBool::new(false),
            signals,
        };
        let links = Arc::new(links);
        (Self { links }, receiver)
    }

    pub(super) fn workers(&self) -> &[WorkerLink] {
        &self.links.workers
    }

    /// The thread with this number ends.
    pub(super) fn ended(&self, index: usize) {
        self.signal(Signal::Ended(index));
    }

    fn signal(&self, signal: Signal) {
        // Nobody listens once the server has been waited for.
        let _ = self.links.signals.send(signal);
    }

    /// Steers reactors and workers that belong to no server.
    pub(crate) fn of(
        inboxes: Vec<Arc<Inbox>>,
        stats: Vec<Arc<Stats>>,
        workers: Vec<WorkerLink>,
        hub: Arc<dyn Hub>,
    ) -> Self {
        let reactors = inboxes.into_iter().zip(stats);
        let links = reactors.map(|(inbox, stats)| ReactorLink { inbox, stats });
        Self::new(links.collect(), workers, hub).0
    }

    /// Begins a shutdown: no further connection is accepted, what was read is answered, every
    /// connection is sent Close 1001, and the server ends when all have ended, or after
    /// [`Timeouts::drain`](crate::Timeouts::drain). Does not wait. May be called before the
    /// server runs; then it ends as soon as it does.
    pub fn stop(&self) {
        if self.links.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        self.signal(Signal::Stopping(Instant::now()));
        for reactor in &self.links.reactors {
            reactor.inbox.stop();
        }
    }

    /// Publishes a message to a topic, as [`Peer::publish`](crate::Peer::publish) does. Never
    /// blocks.
    ///
    /// ```
    /// use sockeye::testing::{self, Received};
    /// use sockeye::{CloseCode, Handler, Message, Peer, Since};
    ///
    /// struct Listener;
    ///
    /// impl Handler for Listener {
    ///     fn on_open(&mut self, peer: &mut Peer<'_>) {
    ///         if let Err(error) = peer.subscribe("news", Since::New) {
    ///             peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
    ///         }
    ///     }
    ///
    ///     fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}
    /// }
    ///
    /// let mut peer = testing::pair(|_request| Listener);
    /// let server = peer.server();
    /// let offset = std::thread::spawn(move || server.publish("news", "rain"));
    /// assert_eq!(offset.join().unwrap()?.number, 1);
    /// assert_eq!(peer.receive(), Some(Received::Message("rain".into())));
    /// # Ok::<(), sockeye::PublishError>(())
    /// ```
    ///
    /// # Errors
    /// [`PublishError`]; nobody gets the message then.
    pub fn publish<'m>(
        &self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<Offset, PublishError> {
        let frame = message.into().frame();
        let mut make = |_| frame.clone();
        self.links.hub.publish(topic, None, &mut make)
    }

    /// Publishes a message that knows its own offset, as
    /// [`Peer::publish_with`](crate::Peer::publish_with) does.
    ///
    /// # Errors
    /// [`PublishError`]; nobody gets the message then.
    pub fn publish_with<'m, M: Into<Message<'m>>>(
        &self,
        topic: &str,
        mut make: impl FnMut(Offset) -> M,
    ) -> Result<Offset, PublishError> {
        let mut make = |offset| make(offset).into().frame();
        self.links.hub.publish(topic, None, &mut make)
    }

    /// Figures of the moment, each at most one turn of its event loop old.
    pub fn stats(&self) -> ServerStats {
        let reactors = self.links.reactors.iter().map(|reactor| &*reactor.stats);
        let workers = self.links.workers.iter().map(|worker| WorkerStats {
            connections: worker.load.load(Ordering::Relaxed),
            busy_for: Duration::from_millis(worker.activity.busy_for()),
        });
        ServerStats::new(reactors, workers.collect(), self.links.hub.held())
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerHandle({} reactors)", self.links.reactors.len())
    }
}
