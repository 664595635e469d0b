//! Handlers on the reactor itself: every event runs at once.

use std::net::SocketAddr;

use super::executor::{Application, Executor, Sink};
use super::output::Outside;
use crate::connection::{Body, CloseReason, Delivery, Replies, Target, Tick};
use crate::protocol::{CloseCode, MessageKind, Request, UpgradeRequest};
use crate::reactor::{Batch, Handoff};
use crate::topics::Subscription;

pub(crate) struct Inline<A: Application> {
    executor: Executor<A>,
    outside: Outside,
    /// Boxed, because the reactor swaps them with a set of its own.
    replies: Box<Replies>,
}

impl<A: Application> Inline<A> {
    pub(crate) fn new(executor: Executor<A>, outside: Outside) -> Self {
        Self {
            executor,
            outside,
            replies: Box::default(),
        }
    }

    #[inline]
    fn parts(&mut self) -> (&mut Executor<A>, Sink<'_>) {
        let sink = Sink {
            outside: &self.outside,
            replies: &mut self.replies,
        };
        (&mut self.executor, sink)
    }
}

impl<A: Application> Delivery for Inline<A> {
    fn place(&mut self) -> u16 {
        self.executor.place();
        0
    }

    fn takes_openings(&self) -> bool {
        true
    }

    #[inline]
    fn has_room(&self, _worker: u16) -> bool {
        true
    }

    fn open(
        &mut self,
        to: Target,
        _head: &[u8],
        request: &Request<'_>,
        upgrade: &UpgradeRequest,
        remote: SocketAddr,
    ) {
        let (executor, sink) = self.parts();
        executor.open(to, request, upgrade, remote, sink);
    }

    fn message(&mut self, to: &Target, kind: MessageKind, body: Body<'_>) {
        let (executor, sink) = self.parts();
        executor.message(to, kind, body, sink);
    }

    #[inline]
    fn messages<'b>(&mut self, to: &Target, next: impl FnMut() -> Option<(MessageKind, &'b [u8])>) {
        let (executor, sink) = self.parts();
        executor.messages(to, next, sink);
    }

    fn timer(&mut self, to: Target, epoch: u8) {
        let (executor, sink) = self.parts();
        executor.timer(to, epoch, sink);
    }

    fn drain(&mut self, to: Target) {
        let (executor, sink) = self.parts();
        executor.drain(to, sink);
    }

    fn subscribed(&mut self, to: Target, subscription: Box<Subscription>) {
        let (executor, sink) = self.parts();
        executor.subscribed(to, &subscription, sink);
    }

    fn close(&mut self, to: Target, code: CloseCode, reason: &str) {
        let (executor, sink) = self.parts();
        executor.close(to, code, reason, sink);
    }

    fn end(&mut self, to: Target, reason: CloseReason) {
        let (executor, sink) = self.parts();
        executor.end(to, reason, sink);
    }
}

impl<A: Application> Handoff for Inline<A> {
    fn replies(&mut self) -> &mut Box<Replies> {
        &mut self.replies
    }

    #[inline]
    fn collected(&mut self) {}

    fn returned(&mut self, _batch: Box<Batch>) {}

    fn begin(&mut self, _now: Tick) {}

    fn flush(&mut self, _now: Tick) {}

    fn deadline(&self) -> Option<Tick> {
        None
    }
}
