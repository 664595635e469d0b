//! The reactor's side of the way to the workers.
//!
//! Batches are the credits: at most [`IN_FLIGHT`] of them are with a worker at any time, and
//! one is being filled. While all are away, the one being filled goes on collecting; once it
//! is full, the worker's connections are not read until one comes back. Nothing ever blocks,
//! and events that are not input (timers, ends) always find room.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::batch::{Batch, Rare};
use super::inbox::Inbox;
use super::queue::Queue;
use crate::connection::{Body, CloseReason, Delivery, Replies, Target, Tick};
use crate::protocol::{CloseCode, MessageKind, Request, UpgradeRequest};
use crate::topics::Subscription;

/// Batches of one reactor that are with one worker at most.
const IN_FLIGHT: usize = 4;
/// Batches there are for each pair of a reactor and a worker.
pub(crate) const BATCHES: usize = IN_FLIGHT + 1;
/// Payload bytes with which a batch leaves before the turn ends (after the read that brought
/// them), and above which no further
/// input is collected while no batch may leave.
const FULL: usize = 256 * 1024;
/// Ticks (milliseconds) after which a worker that returns nothing is reported as stuck.
const STUCK_AFTER: u32 = 5_000;
/// Ticks after which a lane without traffic gives the memory of its batches back to the system.
const QUIET_AFTER: u32 = 1_000;

/// How a reactor gets back what handlers answer.
pub(crate) trait Handoff: Delivery {
    /// The answers to what was delivered so far, when handlers run right here.
    fn replies(&mut self) -> &mut Box<Replies>;
    /// One connection's input has been delivered, as far as it was read. What one read brings
    /// stays together, so that a handler knows how much it is still to answer.
    fn collected(&mut self);
    /// A worker has answered this batch, and its replies have been carried out.
    fn returned(&mut self, batch: Box<Batch>);
    /// The beginning of a turn.
    fn begin(&mut self, now: Tick);
    /// The end of a turn: what was collected leaves.
    fn flush(&mut self, now: Tick);
    /// When [`flush`](Self::flush) has to be called again, whatever happens.
    fn deadline(&self) -> Option<Tick>;
}

/// Connections of a worker, over all reactors.
pub(crate) type Load = Arc<AtomicUsize>;

/// The way to one worker.
pub(crate) struct Lane {
    queue: Queue,
    load: Load,
    filling: Box<Batch>,
    // A box moves between threads as one word.
    #[expect(clippy::vec_box)]
    spare: Vec<Box<Batch>>,
    away: usize,
    /// When the worker last returned a batch, or was sent one while it had none.
    progress: Tick,
    reported: bool,
    /// The batches hold no memory worth mentioning.
    lean: bool,
}

impl Lane {
    /// How long after its progress the lane is to be looked at, if it is.
    fn patience(&self) -> Option<u32> {
        match self.away {
            0 => (!self.lean).then_some(QUIET_AFTER),
            _ => (!self.reported).then_some(STUCK_AFTER),
        }
    }

    /// Looks at a lane on which nothing has happened for a while.
    fn overdue(&mut self, reactor: u16, worker: usize, quiet: u32) {
        if self.away > 0 {
            self.reported = true;
            let seconds = quiet / 1000;
            log::error!("worker {worker} is stuck: a handler has been running for {seconds} s");
        } else if self.filling.is_empty() {
            self.lean = true;
            for batch in self.spare.iter_mut().chain([&mut self.filling]) {
                **batch = Batch::new(reactor, worker as u16);
            }
        }
    }
}

pub(crate) struct Dispatch {
    reactor: u16,
    lanes: Vec<Lane>,
    /// The lane that the last message filled, if it did.
    full: Option<usize>,
    inbox: Arc<Inbox>,
    now: Tick,
    /// Always empty: workers answer through the inbox.
    replies: Box<Replies>,
}

impl Dispatch {
    /// `workers`: the queue and the load of each. A queue must have room for [`BATCHES`] of
    /// every reactor.
    pub(crate) fn new(
        reactor: u16,
        workers: impl IntoIterator<Item = (Queue, Load)>,
        inbox: Arc<Inbox>,
        now: Tick,
    ) -> Self {
        let lane = |(worker, (queue, load)): (usize, (Queue, Load))| {
            let batch = || Box::new(Batch::new(reactor, worker as u16));
            Lane {
                queue,
                load,
                filling: batch(),
                spare: (0..IN_FLIGHT).map(|_| batch()).collect(),
                away: 0,
                progress: now,
                reported: false,
                lean: true,
            }
        };
        Self {
            reactor,
            full: None,
            lanes: workers.into_iter().enumerate().map(lane).collect(),
            inbox,
            now,
            replies: Box::default(),
        }
    }

    fn lane(&mut self, to: &Target) -> &mut Batch {
        &mut self.lanes[usize::from(to.worker)].filling
    }

    /// Sends a lane's batch away, if there is something in it and a credit left.
    fn send(&mut self, worker: usize) {
        let lane = &mut self.lanes[worker];
        if lane.filling.is_empty() || self.inbox.is_over() {
            return;
        }
        let Some(spare) = lane.spare.pop() else {
            return;
        };
        if lane.away == 0 {
            lane.progress = self.now;
        }
        lane.away += 1;
        lane.lean = false;
        let batch = std::mem::replace(&mut lane.filling, spare);
        // There is room for every batch there is; without a receiver the server is ending.
        if lane.queue.send(batch).is_err() {
            log::debug!("worker {worker} has ended");
        }
    }
}

impl Delivery for Dispatch {
    fn place(&mut self) -> u16 {
        // A worker that is far behind gets no more while others are not.
        let loads = self.lanes.iter().map(|lane| {
            let full = lane.filling.bytes() >= FULL;
            (full, lane.load.load(Ordering::Relaxed))
        });
        let least = loads.enumerate().min_by_key(|&(_, load)| load);
        let worker = least.map_or(0, |(worker, _)| worker);
        self.lanes[worker].load.fetch_add(1, Ordering::Relaxed);
        worker as u16
    }

    fn takes_openings(&self) -> bool {
        self.lanes.iter().any(|lane| lane.filling.bytes() < FULL)
    }

    #[inline]
    fn has_room(&self, worker: u16) -> bool {
        let lane = &self.lanes[usize::from(worker)];
        lane.filling.bytes() < FULL
    }

    fn open(
        &mut self,
        to: Target,
        head: &[u8],
        _request: &Request<'_>,
        _upgrade: &UpgradeRequest,
        remote: SocketAddr,
    ) {
        self.lane(&to).open(&to, head, remote);
    }

    #[inline]
    fn message(&mut self, to: &Target, kind: MessageKind, body: Body<'_>) {
        let lane = self.lane(to);
        lane.message(to, kind, body);
        if lane.bytes() >= FULL {
            self.full = Some(usize::from(to.worker));
        }
    }

    #[inline]
    fn messages<'b>(&mut self, to: &Target, next: impl FnMut() -> Option<(MessageKind, &'b [u8])>) {
        let lane = self.lane(to);
        lane.messages(to, next);
        if lane.bytes() >= FULL {
            self.full = Some(usize::from(to.worker));
        }
    }

    fn timer(&mut self, to: Target, epoch: u8) {
        self.lane(&to).timer(&to, epoch);
    }

    fn drain(&mut self, to: Target) {
        self.lane(&to).drain(&to);
    }

    fn subscribed(&mut self, to: Target, subscription: Box<Subscription>) {
        self.lane(&to).rare(&to, Rare::Subscribed(subscription));
    }

    fn close(&mut self, to: Target, code: CloseCode, reason: &str) {
        let reason = reason.to_owned();
        self.lane(&to).rare(&to, Rare::Close { code, reason });
    }

    fn end(&mut self, to: Target, reason: CloseReason) {
        self.lane(&to).rare(&to, Rare::End(reason));
    }
}

impl Handoff for Dispatch {
    fn replies(&mut self) -> &mut Box<Replies> {
        &mut self.replies
    }

    #[inline]
    fn collected(&mut self) {
        if let Some(worker) = self.full.take() {
            self.send(worker);
        }
    }

    fn returned(&mut self, batch: Box<Batch>) {
        let now = self.now;
        let lane = &mut self.lanes[usize::from(batch.worker)];
        lane.spare.push(batch);
        lane.away -= 1;
        lane.progress = now;
        if std::mem::take(&mut lane.reported) {
            log::warn!("a worker that was stuck goes on");
        }
    }

    fn begin(&mut self, now: Tick) {
        self.now = now;
    }

    fn flush(&mut self, now: Tick) {
        for worker in 0..self.lanes.len() {
            self.send(worker);
            let lane = &mut self.lanes[worker];
            let quiet = now.since(lane.progress);
            if lane.patience().is_some_and(|patience| quiet >= patience) {
                lane.overdue(self.reactor, worker, quiet);
            }
        }
    }

    fn deadline(&self) -> Option<Tick> {
        self.lanes
            .iter()
            .fold(None, |earliest, lane| match lane.patience() {
                Some(patience) => Some(lane.progress.after(patience).earlier(earliest)),
                None => earliest,
            })
    }
}

impl Drop for Dispatch {
    /// The reactor ends: what was collected is still delivered.
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            if !lane.filling.is_empty() {
                let batch = std::mem::take(&mut lane.filling);
                let _ = lane.queue.send(batch);
            }
        }
    }
}

/// What the simulation looks at.
#[cfg(all(test, not(loom)))]
impl Dispatch {
    /// Whether nothing is collected and every batch is back.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.lanes
            .iter()
            .all(|lane| lane.away == 0 && lane.spare.len() == IN_FLIGHT && lane.filling.is_empty())
    }

    /// Whether some worker's connections are not read.
    pub(crate) fn is_full(&self) -> bool {
        (0..self.lanes.len()).any(|worker| !self.has_room(worker as u16))
    }
}
