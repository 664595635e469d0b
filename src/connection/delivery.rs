//! The way from a connection to its handler, as seen from below.

use std::net::SocketAddr;

use super::CloseReason;
use super::reply::Replies;
use crate::protocol::{CloseCode, MessageKind, Payload, Request, UpgradeRequest};
use crate::transport::Token;

/// Where an event goes: a connection and the handler it was accepted with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) token: Token,
    pub(crate) slot: u32,
    /// Bytes in the connection's outbox.
    pub(crate) backlog: usize,
}

/// Takes the events of connections to their handlers, in the order they are given here.
///
/// For every connection: `open` first; if it is accepted, any number of the others; `end` last,
/// answered by [`Op::End`](super::reply::Op::End) unless the handler had already gone.
pub(crate) trait Delivery {
    fn open(
        &mut self,
        token: Token,
        request: &Request<'_>,
        upgrade: &UpgradeRequest,
        remote: SocketAddr,
    );
    fn message(&mut self, to: &Target, kind: MessageKind, payload: Payload<'_>);
    /// Takes messages from `next` until there is none. May stop earlier when no further one would
    /// reach the handler.
    fn messages<'b>(&mut self, to: &Target, next: impl FnMut() -> Option<(MessageKind, &'b [u8])>);
    fn timer(&mut self, to: Target);
    /// The outbox fell below its low-water mark after it had been above the high one.
    fn drain(&mut self, to: Target);
    /// Somebody outside asked to close the connection.
    fn close(&mut self, to: Target, code: CloseCode, reason: &str);
    fn end(&mut self, to: Target, reason: CloseReason);
    /// The answers to what was delivered so far, when handlers run right here.
    fn replies(&mut self) -> &mut Box<Replies>;
}

/// Decides on requests before any handler hears of them.
pub(crate) trait Front: Send + Sync {
    /// The response to a request that no handler needs to see; `None` lets an upgrade pass.
    fn answer(&self, request: &Request<'_>, upgrade: Option<&UpgradeRequest>) -> Option<Vec<u8>>;
    /// The response to a request that cannot be understood or takes too long.
    fn refuse(&self, status: u16, reason: &str) -> Vec<u8>;
}
