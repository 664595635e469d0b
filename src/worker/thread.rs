//! A worker: batches in, the same batches back with replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::executor::{Application, Executor, Sink};
use super::output::Outside;
use crate::connection::{Body, Replies, Target};
use crate::protocol::{MessageKind, Request, header_storage};
use crate::reactor::{Batch, Consumer, Event, Rare, take};

/// What a worker shows of itself to other threads.
#[derive(Debug)]
pub(crate) struct Activity {
    epoch: Instant,
    /// Milliseconds after the epoch, plus one, at which the batch being handled was taken up;
    /// 0 between batches.
    since: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            since: AtomicU64::new(0),
        }
    }

    fn begin(&self) {
        let now = self.epoch.elapsed().as_millis() as u64;
        self.since.store(now + 1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// How long the current batch has been with the handlers, in milliseconds.
    pub(crate) fn busy_for(&self) -> u64 {
        match self.since.load(Ordering::Relaxed) {
            0 => 0,
            since => (self.epoch.elapsed().as_millis() as u64).saturating_sub(since - 1),
        }
    }
}

pub(crate) struct Worker<A: Application> {
    executor: Executor<A>,
    /// One for each reactor.
    outsides: Arc<[Outside]>,
}

impl<A: Application> Worker<A> {
    pub(crate) fn new(executor: Executor<A>, outsides: Arc<[Outside]>) -> Self {
        Self { executor, outsides }
    }

    /// Handles batches until every reactor has gone, then ends the handlers that are left.
    pub(crate) fn run(mut self, batches: &Receiver<Box<Batch>>, activity: &Activity) {
        while let Some(mut batch) = take(batches) {
            activity.begin();
            self.handle(&mut batch);
            activity.end();
            let reactor = usize::from(batch.reactor());
            self.outsides[reactor].inbox.give_back(batch);
        }
        self.finish();
    }

    /// Ends the handlers that are left.
    pub(crate) fn finish(mut self) {
        self.executor.finish(&self.outsides[0]);
    }

    /// Runs every event of a batch, and leaves the answers in it.
    pub(crate) fn handle(&mut self, batch: &mut Batch) {
        let outside = &self.outsides[usize::from(batch.reactor())];
        batch.deliver(&mut Turn {
            executor: &mut self.executor,
            outside,
        });
    }
}

/// The executor while it handles a batch.
struct Turn<'a, A: Application> {
    executor: &'a mut Executor<A>,
    outside: &'a Outside,
}

impl<A: Application> Consumer for Turn<'_, A> {
    #[inline]
    fn messages<'b>(
        &mut self,
        to: &Target,
        next: impl FnMut() -> Option<(MessageKind, &'b [u8])>,
        replies: &mut Replies,
    ) {
        let sink = Sink {
            outside: self.outside,
            replies,
        };
        self.executor.messages(to, next, sink);
    }

    fn event(&mut self, to: &Target, event: Event<'_>, replies: &mut Replies) {
        let sink = Sink {
            outside: self.outside,
            replies,
        };
        let executor = &mut *self.executor;
        match event {
            Event::Large(kind, bytes) => executor.message(to, kind, Body::Owned(bytes), sink),
            Event::Timer(epoch) => executor.timer(*to, epoch, sink),
            Event::Drain => executor.drain(*to, sink),
            Event::Rare(Rare::Open { remote }, head) => {
                let mut storage = header_storage();
                // The reactor has let it pass: it parses.
                let request = Request::parse(head, &mut storage);
                if let Ok(request) = request
                    && let Ok(Some(upgrade)) = request.upgrade()
                {
                    executor.open(*to, &request, &upgrade, remote, sink);
                }
            }
            Event::Rare(Rare::Close { code, reason }, _) => {
                executor.close(*to, code, &reason, sink);
            }
            Event::Rare(Rare::Subscribed(subscription), _) => {
                executor.subscribed(*to, &subscription, sink);
            }
            Event::Rare(Rare::End(reason), _) => executor.end(*to, reason, sink),
        }
    }
}
