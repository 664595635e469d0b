//! A worker: batches in, the same batches back with replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::executor::{Application, Executor, Sink};
use crate::connection::{Body, Target};
use crate::protocol::{MAX_HEADERS, Request};
use crate::reactor::{Batch, Delivered, Inbox, Rare};

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
}

impl<A: Application> Worker<A> {
    pub(crate) fn new(executor: Executor<A>) -> Self {
        Self { executor }
    }

    /// Handles batches until every reactor has gone, then ends the handlers that are left.
    pub(crate) fn run(
        mut self,
        batches: &Receiver<Box<Batch>>,
        reactors: &[Arc<Inbox>],
        activity: &Activity,
    ) {
        for mut batch in batches {
            activity.begin();
            self.handle(&mut batch);
            activity.end();
            reactors[usize::from(batch.reactor())].give_back(batch);
        }
        self.finish();
    }

    /// Ends the handlers that are left.
    pub(crate) fn finish(mut self) {
        self.executor.finish();
    }

    /// Runs every event of a batch, and leaves the answers in it.
    pub(crate) fn handle(&mut self, batch: &mut Batch) {
        let reactor = batch.reactor();
        batch.deliver(|to, event, replies| {
            let sink = Sink { reactor, replies };
            match event {
                Delivered::Small(kind, bytes) => {
                    self.executor.message(to, kind, Body::Borrowed(bytes), sink);
                }
                Delivered::Large(kind, bytes) => {
                    self.executor.message(to, kind, Body::Owned(bytes), sink);
                }
                Delivered::Timer => self.executor.timer(to, sink),
                Delivered::Drain => self.executor.drain(to, sink),
                Delivered::Rare(rare, head) => self.rare(to, rare, head, sink),
            }
        });
    }

    fn rare(&mut self, to: Target, event: Rare, head: &[u8], sink: Sink<'_>) {
        match event {
            Rare::Open { remote } => {
                let mut storage = [httparse::EMPTY_HEADER; MAX_HEADERS];
                // The reactor has let it pass: it parses.
                let request = Request::parse(head, &mut storage);
                if let Ok(request) = request
                    && let Ok(Some(upgrade)) = request.upgrade()
                {
                    self.executor.open(to, &request, &upgrade, remote, sink);
                }
            }
            Rare::Close { code, reason } => self.executor.close(to, code, &reason, sink),
            Rare::End(reason) => self.executor.end(to, reason, sink),
        }
    }
}
