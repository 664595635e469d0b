//! What a handler can do to its connection while it runs.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::executor::{Links, Meta, Sink};
use crate::connection::{Body, Link, Op, Replies, Settings, Target, ticks, weight};
use crate::protocol::{CloseCode, MessageKind, encode_switching_protocols};
use crate::reactor::Inbox;
use crate::topics::{Frame, Hub, Mailbox, Member, Offset, PublishError, Since, SubscribeError};
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
    /// The same, as topics know it.
    pub(crate) mailbox: Weak<dyn Mailbox>,
    pub(crate) hub: Arc<dyn Hub>,
    /// The outbox limit, in bytes.
    pub(crate) outbox: usize,
    /// Topics of one connection at most.
    subscriptions: usize,
}

impl Outside {
    pub(crate) fn new(
        reactor: usize,
        inbox: &Arc<Inbox>,
        hub: Arc<dyn Hub>,
        settings: &Settings,
    ) -> Self {
        let mailbox: Weak<Inbox> = Arc::downgrade(inbox);
        Self {
            reactor: reactor as u16,
            inbox: Arc::clone(inbox),
            mailbox,
            hub,
            outbox: settings.outbox,
            subscriptions: settings.subscriptions,
        }
    }
}

/// The connection whose event is being handled.
pub(crate) struct Output<'a> {
    pub(super) to: &'a Target,
    pub(super) meta: &'a mut Meta,
    pub(super) replies: &'a mut Replies,
    pub(super) outside: &'a Outside,
    pub(super) links: &'a mut Links,
    /// What waited for the peer when the event began, less what `replies` held then (modulo 2^64).
    ahead: usize,
}

impl<'a> Output<'a> {
    #[inline]
    pub(super) fn new(
        to: &'a Target,
        meta: &'a mut Meta,
        sink: Sink<'a>,
        links: &'a mut Links,
    ) -> Self {
        // What is in the outbox, and what is on its way there.
        let under_way = meta.produced.wrapping_sub(to.applied);
        let waiting = to.backlog as usize + under_way as usize;
        Output {
            to,
            meta,
            ahead: waiting.wrapping_sub(sink.replies.written()),
            replies: sink.replies,
            outside: sink.outside,
            links,
        }
    }

    /// The next of several messages, as long as no Close frame is sent.
    #[inline]
    pub(crate) fn next_message<'b>(
        &mut self,
        next: &mut impl FnMut() -> Option<(MessageKind, &'b [u8])>,
    ) -> Option<(MessageKind, &'b [u8])> {
        if self.meta.closing {
            return None;
        }
        let (kind, bytes) = next()?;
        self.replies.add_delivered(weight(bytes.len()));
        Some((kind, bytes))
    }

    #[inline]
    pub(crate) fn send(&mut self, kind: MessageKind, body: Body<'_>) -> Sending {
        if self.meta.closing {
            return Sending::Closing;
        }
        let under_way = IN_FLIGHT + self.replies.delivered();
        if self.buffered_amount() > self.outside.outbox + under_way {
            return self.send_over_limit(kind, body);
        }
        self.replies.message(kind, body);
        Sending::Queued
    }

    /// Sends no more than came with the event's messages.
    #[cold]
    #[inline(never)]
    fn send_over_limit(&mut self, kind: MessageKind, body: Body<'_>) -> Sending {
        let (answered, heard) = self.replies.of_event();
        if answered + weight(body.as_bytes().len()) <= heard {
            self.replies.message(kind, body);
            return Sending::Queued;
        }
        self.replies.want_drain();
        Sending::OverLimit
    }

    /// Sends a Close frame after what was sent before. Says whether this was the first.
    pub(crate) fn close(&mut self, code: Option<CloseCode>, reason: &str) -> bool {
        if self.meta.closing {
            return false;
        }
        self.meta.closing = true;
        self.replies.close_frame(code, reason);
        self.replies.push(Op::Close);
        self.links.end(self.to.slot);
        true
    }

    /// Accepts the handshake (RFC 6455 section 4.2.2).
    pub(super) fn switch_protocols<'h>(
        &mut self,
        key: &[u8],
        subprotocol: Option<&str>,
        headers: impl Iterator<Item = (&'h str, &'h str)>,
    ) {
        self.replies
            .raw(|arena| encode_switching_protocols(arena, key, subprotocol, headers));
    }

    /// What waits in the outbox, and what is on its way there.
    #[inline]
    pub(crate) fn buffered_amount(&self) -> usize {
        self.ahead.wrapping_add(self.replies.written())
    }

    pub(crate) fn set_timer(&mut self, after: Option<Duration>) {
        self.meta.timer = self.meta.timer.wrapping_add(1);
        self.replies.set_timer(after.map(ticks), self.meta.timer);
    }

    pub(super) fn timer_epoch(&self) -> u8 {
        self.meta.timer
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

    /// This connection, as topics know it.
    fn member(&self) -> Member<'a> {
        Member {
            mailbox: &self.outside.mailbox,
            token: self.to.token,
        }
    }

    pub(crate) fn subscribe(&mut self, topic: &str, since: Since) -> Result<(), SubscribeError> {
        let slot = self.to.slot;
        if self.meta.closing {
            return Err(SubscribeError::Closing);
        }
        if self.links.subscriptions.contains(slot, topic) {
            return Ok(());
        }
        if self.links.subscriptions.len(slot) >= self.outside.subscriptions {
            return Err(SubscribeError::Subscriptions);
        }
        let hub = &self.outside.hub;
        let (topic, ticket) = hub.subscribe(topic, since, self.member())?;
        self.links.subscriptions.add(slot, ticket, topic);
        Ok(())
    }

    /// Says whether there was a subscription.
    pub(crate) fn unsubscribe(&mut self, topic: &str) -> bool {
        let topic = self.links.subscriptions.remove(self.to.slot, topic);
        if let Some(topic) = &topic {
            topic.leave(self.member());
        }
        topic.is_some()
    }

    pub(crate) fn publish(
        &self,
        topic: &str,
        to_itself: bool,
        make: &mut dyn FnMut(Offset) -> Frame,
    ) -> Result<Offset, PublishError> {
        let except = (!to_itself).then(|| self.member());
        self.outside.hub.publish(topic, except, make)
    }

    pub(crate) fn link(&mut self) -> Arc<Link> {
        let link = self.links.get(self.to.token, self.to.slot);
        if self.meta.closing {
            link.end();
        }
        link
    }
}
