//! What is published to a connection's topics.

use std::io::IoSlice;

use super::outbox::write_once;
use super::{Cause, CloseReason, Connection, Context, Delivery, Flags, Postponed, State};
use crate::protocol::CloseFrame;
use crate::topics::{Frame, Subscription};
use crate::transport::{Sys, Token};

/// Frames that many connections are sent.
pub(crate) struct News<'a> {
    pub(crate) frames: &'a [Frame],
    /// The same, as one write takes them.
    pub(crate) parts: &'a [IoSlice<'a>],
    /// Bytes of all of them.
    pub(crate) bytes: usize,
}

impl<T> Connection<T> {
    /// Sends what was published in one write, if nothing waits before it. Says whether something
    /// is left to do for this connection.
    #[inline]
    pub(crate) fn publish<S, D>(
        &mut self,
        token: Token,
        news: &News<'_>,
        cx: &mut Context<S, D>,
    ) -> bool
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        if !self.takes_news() {
            return false;
        }
        if self.cold.is_some() && self.outbox_len() > 0 {
            self.queue_news(token, news, cx);
            return true;
        }
        let written = match news.parts {
            [part] => write_once(|| cx.sys.write(&self.socket, part)),
            parts => write_once(|| cx.sys.write_vectored(&self.socket, parts)),
        };
        match written {
            Ok(sent) if sent == news.bytes => return false,
            Ok(sent) => self.keep_news(token, news, sent, cx),
            Err(error) => self.lost(token, error.kind(), cx),
        }
        true
    }

    #[inline]
    pub(crate) fn takes_news(&self) -> bool {
        self.is_open() && !self.flags.has(Flags::CLOSE_ASKED)
    }

    /// Queues what the kernel refused, unless that is more than may wait. One message may always.
    #[inline(never)]
    fn keep_news<S, D: Delivery>(
        &mut self,
        token: Token,
        news: &News<'_>,
        sent: usize,
        cx: &mut Context<S, D>,
    ) {
        let mut sent = sent;
        let mut frames = news.frames;
        while let [frame, rest @ ..] = frames
            && sent >= frame.len()
        {
            sent -= frame.len();
            frames = rest;
        }
        let [first, rest @ ..] = frames else { return };
        let outbox = &mut self.cold().outbox;
        outbox.push_shared_rest(&first.bytes, sent);
        for frame in rest {
            outbox.push_shared(&frame.bytes);
        }
        let over = !rest.is_empty() && outbox.len() > cx.settings.outbox;
        self.queued(cx);
        self.flags.set(Flags::BLOCKED | Flags::REARM);
        if over {
            return self.fall_behind(token, cx);
        }
        self.note_outbox();
    }

    /// Queues news behind what waits already, unless all of it is more than may wait.
    #[inline(never)]
    fn queue_news<S, D: Delivery>(
        &mut self,
        token: Token,
        news: &News<'_>,
        cx: &mut Context<S, D>,
    ) {
        if self.outbox_len() + news.bytes > cx.settings.outbox {
            return self.fall_behind(token, cx);
        }
        let outbox = &mut self.cold().outbox;
        for frame in news.frames {
            outbox.push_shared(&frame.bytes);
        }
        self.queued(cx);
        self.note_outbox();
    }

    /// Handles count what waits for the peer, too.
    fn note_outbox(&self) {
        if let Some(cold) = &self.cold
            && let Some(link) = &cold.link
        {
            link.set_outbox(cold.outbox.len());
        }
    }

    /// Whether so much may not wait in front of this connection, besides what does.
    pub(crate) fn is_behind_by<S, D>(&self, bytes: usize, cx: &Context<S, D>) -> bool {
        self.outbox_len() + bytes > cx.settings.outbox
    }

    /// Ends a connection that is behind with its topics by more than may wait for it: what has
    /// not begun to leave is dropped, and a Close frame takes its place.
    pub(crate) fn fall_behind<S, D: Delivery>(&mut self, token: Token, cx: &mut Context<S, D>) {
        if !self.is_open() {
            return;
        }
        if let Some(cold) = &mut self.cold {
            cold.outbox.drop_unsent();
        }
        // What its handler has sent meanwhile may not leave with a gap before it.
        let reason = CloseReason::new(Cause::SlowConsumer);
        let mut close = Vec::new();
        CloseFrame::encode(&mut close, None, Some(reason.code()), reason.reason());
        self.push_bytes(&close, cx);
        self.flags.set(Flags::CUT);
        self.note_outbox();
        self.end(token, reason, cx);
    }

    /// Passes the outcome of a subscription on. False if there is no handler to hear of it.
    pub(crate) fn subscribed<S, D: Delivery>(
        &mut self,
        token: Token,
        subscription: Box<Subscription>,
        cx: &mut Context<S, D>,
    ) -> bool {
        match (self.state, self.target(token)) {
            (State::Open { .. }, Some(target)) => cx.delivery.subscribed(target, subscription),
            (State::Opening { .. }, _) => {
                let postponed = Postponed::Subscribed(subscription);
                self.cold().postponed.push(postponed);
            }
            _ => return false,
        }
        true
    }
}
