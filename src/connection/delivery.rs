//! The way from a connection to its handler, as seen from below.

use std::net::SocketAddr;

use super::{Body, CloseReason, Verdict};
use crate::protocol::{CloseCode, MessageKind, Request, UpgradeRequest};
use crate::topics::Subscription;
use crate::transport::Token;

/// Where an event goes: a connection and the handler it was accepted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) token: Token,
    /// The executor's name for the handler; meaningless before it has accepted.
    pub(crate) slot: u32,
    /// Which worker the handler lives with.
    pub(crate) worker: u16,
    /// Bytes in the connection's outbox.
    pub(crate) backlog: u32,
    /// Bytes of the handler's output that have reached the connection, modulo 2^32.
    pub(crate) applied: u32,
}

impl Target {
    /// A handler whose connection has nothing waiting.
    pub(crate) fn new(token: Token, slot: u32, worker: u16) -> Self {
        Self {
            token,
            slot,
            worker,
            backlog: 0,
            applied: 0,
        }
    }
}

/// Takes the events of connections to their handlers, in the order they are given here.
///
/// For every connection: `open` first; if it is accepted, any number of the others; `end` last,
/// answered by [`Op::End`](super::reply::Op::End) unless the handler had already gone.
pub(crate) trait Delivery {
    /// Chooses the worker of a connection that is about to be opened.
    fn place(&mut self) -> u16;
    /// Whether there is a worker that may be given one more connection.
    fn takes_openings(&self) -> bool;
    /// Whether input for this worker may be collected. Other events are always taken.
    fn has_room(&self, worker: u16) -> bool;
    /// `request` was parsed from `head`.
    fn open(
        &mut self,
        to: Target,
        head: &[u8],
        request: &Request<'_>,
        upgrade: &UpgradeRequest,
        remote: SocketAddr,
    );
    fn message(&mut self, to: &Target, kind: MessageKind, body: Body<'_>);
    /// Takes messages from `next` until there is none. May stop earlier when no further one would
    /// reach the handler.
    fn messages<'b>(&mut self, to: &Target, next: impl FnMut() -> Option<(MessageKind, &'b [u8])>);
    /// `epoch` is what the handler set its timer with.
    fn timer(&mut self, to: Target, epoch: u8);
    /// The outbox fell below its low-water mark after it had been above the high one.
    fn drain(&mut self, to: Target);
    /// The outcome of a subscription. Answered by [`Op::Admit`](super::reply::Op::Admit).
    fn subscribed(&mut self, to: Target, subscription: Box<Subscription>);
    /// Somebody outside asked to close the connection.
    fn close(&mut self, to: Target, code: CloseCode, reason: &str);
    fn end(&mut self, to: Target, reason: CloseReason);
}

/// Decides on requests before any handler hears of them.
pub(crate) trait Front: Send + Sync {
    /// Lets an upgrade pass, or answers a request that no handler needs to see.
    fn decide(&self, request: &Request<'_>, upgrade: Option<&UpgradeRequest>) -> Verdict;
    /// The response to a request that cannot be understood or takes too long; `with_body` is false
    /// for the answer to HEAD.
    fn refuse(&self, status: u16, reason: &str, with_body: bool) -> Vec<u8>;
}
