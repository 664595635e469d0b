//! What a handler can do to its connection while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::executor::{Links, Meta};
use crate::connection::{Body, Link, Op, Replies, ticks};
use crate::protocol::{CloseCode, MessageKind};
use crate::reactor::Inbox;
use crate::transport::Token;

/// Bytes beyond the outbox limit that answers to messages already under way may take: what one
/// read brings, or if that is more, what the messages it completed add up to. A handler that
/// answers each message with at most as much is never refused.
const IN_FLIGHT: usize = crate::connection::READ_BUFFER;

/// What became of a message given to `send`.
pub(crate) enum Sending {
    Queued,
    OverLimit,
    Closing,
}

/// What handlers of one reactor can reach beyond their own connection.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) reactor: u16,
    pub(crate) inbox: Arc<Inbox>,
    /// The outbox limit, in bytes.
    pub(crate) outbox: usize,
}

/// The connection whose event is being handled.
pub(crate) struct Output<'a> {
    pub(super) token: Token,
    pub(super) slot: u32,
    pub(super) backlog: usize,
    pub(super) meta: &'a mut Meta,
    pub(super) replies: &'a mut Replies,
    pub(super) outside: &'a Outside,
    pub(super) links: &'a mut Links,
}

impl Output<'_> {
    #[inline]
    pub(crate) fn send(&mut self, kind: MessageKind, body: Body<'_>) -> Sending {
        if self.meta.closing {
            return Sending::Closing;
        }
        let in_flight = IN_FLIGHT.max(self.replies.echo_bytes());
        if self.buffered_amount() > self.outside.outbox.saturating_add(in_flight) {
            self.replies.want_drain();
            return Sending::OverLimit;
        }
        self.replies.message(kind, body);
        Sending::Queued
    }

    /// Sends a Close frame after what was sent before. Says whether this was the first.
    pub(crate) fn close(&mut self, code: Option<CloseCode>, reason: &str) -> bool {
        if self.meta.closing {
            return false;
        }
        self.meta.closing = true;
        self.replies.close_frame(code, reason);
        self.replies.push(Op::Close);
        true
    }

    #[inline]
    pub(crate) fn buffered_amount(&self) -> usize {
        self.backlog + self.replies.group_bytes()
    }

    pub(crate) fn set_timer(&mut self, after: Option<Duration>) {
        self.replies.set_timer(after.map(ticks));
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        self.meta.remote()
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    pub(crate) fn outside(&self) -> &Outside {
        self.outside
    }

    pub(crate) fn link(&mut self) -> Arc<Link> {
        self.links.get(self.token, self.slot, self.meta)
    }
}
