//! Handlers on the reactor itself: every event runs at once.

use std::net::SocketAddr;

use super::executor::{Application, Executor};
use crate::connection::{Body, CloseReason, Delivery, Replies, Target};
use crate::protocol::{CloseCode, MessageKind, Payload, Request, UpgradeRequest};
use crate::transport::Token;

pub(crate) struct Inline<A: Application> {
    executor: Executor<A>,
    /// Boxed, because the reactor swaps them with a set of its own.
    replies: Box<Replies>,
}

impl<A: Application> Inline<A> {
    pub(crate) fn new(executor: Executor<A>) -> Self {
        Self {
            executor,
            replies: Box::default(),
        }
    }
}

impl<A: Application> Delivery for Inline<A> {
    fn open(
        &mut self,
        token: Token,
        request: &Request<'_>,
        upgrade: &UpgradeRequest,
        remote: SocketAddr,
    ) {
        self.executor
            .open(token, request, upgrade, remote, &mut self.replies);
    }

    fn message(&mut self, to: &Target, kind: MessageKind, payload: Payload<'_>) {
        let body = match payload {
            Payload::Borrowed(bytes) => Body::Borrowed(bytes),
            Payload::Owned(bytes) => Body::Owned(bytes.into()),
        };
        self.executor.message(to, kind, body, &mut self.replies);
    }

    #[inline]
    fn messages<'b>(&mut self, to: &Target, next: impl FnMut() -> Option<(MessageKind, &'b [u8])>) {
        self.executor.messages(to, next, &mut self.replies);
    }

    fn timer(&mut self, to: Target) {
        self.executor.timer(to, &mut self.replies);
    }

    fn drain(&mut self, to: Target) {
        self.executor.drain(to, &mut self.replies);
    }

    fn close(&mut self, to: Target, code: CloseCode, reason: &str) {
        self.executor.close(to, code, reason, &mut self.replies);
    }

    fn end(&mut self, to: Target, reason: CloseReason) {
        self.executor.end(to, reason, &mut self.replies);
    }

    fn replies(&mut self) -> &mut Box<Replies> {
        &mut self.replies
    }
}
