//! What a handler can do to its connection while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::executor::{Links, Meta};
use crate::connection::{Body, Link, Op, Replies, Target, ticks};
use crate::protocol::{CloseCode, MessageKind, encode_switching_protocols};
use crate::reactor::Inbox;
use crate::transport::Token;

/// Bytes beyond the outbox limit that answers to messages already with the handler may take,
/// besides those to the event's own group. A handler that answers each message with at most as
/// much is never refused.
const IN_FLIGHT: usize = crate::connection::IN_FLIGHT as usize;

/// What became of a message given to `send`.
pub(crate) enum Sending {
    Queued,
    OverLimit,
    Closing,
}

/// What handlers of one reactor's connections can reach beyond their own.
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
        let under_way = IN_FLIGHT + self.replies.delivered();
        if self.buffered_amount() > self.outside.outbox + under_way {
            self.replies.want_drain();
            return Sending::OverLimit;
        }
        self.produce(|replies| replies.message(kind, body));
        Sending::Queued
    }

    /// Sends a Close frame after what was sent before. Says whether this was the first.
    pub(crate) fn close(&mut self, code: Option<CloseCode>, reason: &str) -> bool {
        if self.meta.closing {
            return false;
        }
        self.meta.closing = true;
        self.produce(|replies| replies.close_frame(code, reason));
        self.replies.push(Op::Close);
        true
    }

    /// Accepts the handshake (RFC 6455 section 4.2.2).
    pub(super) fn switch_protocols<'h>(
        &mut self,
        key: &[u8],
        subprotocol: Option<&str>,
        headers: impl Iterator<Item = (&'h str, &'h str)>,
    ) {
        self.produce(|replies| {
            replies.raw(|arena| encode_switching_protocols(arena, key, subprotocol, headers));
        });
    }

    /// Counts what is written, to know how much of it has reached the connection.
    #[inline]
    fn produce(&mut self, write: impl FnOnce(&mut Replies)) {
        let before = self.replies.written();
        write(self.replies);
        let written = (self.replies.written() - before) as u32;
        self.meta.produced = self.meta.produced.wrapping_add(written);
    }

    /// What waits in the outbox, and what is on its way there.
    #[inline]
    pub(crate) fn buffered_amount(&self) -> usize {
        let under_way = self.meta.produced.wrapping_sub(self.to.applied);
        self.to.backlog as usize + under_way as usize
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
