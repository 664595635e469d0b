//! What a handler can do to its connection while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::executor::{Links, Meta};
use crate::connection::{Body, Link, Op, Replies, Target, ticks};
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
    pub(super) to: &'a Target,
    pub(super) meta: &'a mut Meta,
    pub(super) replies: &'a mut Replies,
    pub(super) outside: &'a Outside,
    pub(super) links: &'a mut Links,
}

impl Output<'_> {
    /// The same for one of several events.
    #[inline]
    pub(super) fn reborrow(&mut self) -> Output<'_> {
        Output {
            to: self.to,
            meta: self.meta,
            replies: self.replies,
            outside: self.outside,
            links: self.links,
        }
    }

    /// Whether a Close frame was sent.
    #[inline]
    pub(super) fn is_closing(&self) -> bool {
        self.meta.closing
    }

    #[inline]
    pub(crate) fn send(&mut self, kind: MessageKind, body: Body<'_>) -> Sending {
        if self.meta.closing {
            return Sending::Closing;
        }
        let over = self.buffered_amount().saturating_sub(self.outside.outbox);
        if over > IN_FLIGHT && over > self.replies.echo_bytes() {
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
        self.to.backlog + self.replies.group_bytes()
    }

    pub(crate) fn set_timer(&mut self, after: Option<Duration>) {
        self.replies.set_timer(after.map(ticks));
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        self.meta.remote()
    }

    pub(crate) fn token(&self) -> Token {
        self.to.token
    }

    pub(crate) fn outside(&self) -> &Outside {
        self.outside
    }

    pub(crate) fn link(&mut self) -> Arc<Link> {
        self.links.get(self.to.token, self.to.slot, self.meta)
    }
}
