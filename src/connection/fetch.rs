//! A response that comes in parts, each fetched when the one before it has left.

use bytes::Bytes;

use super::errand::{Errand, Part};
use super::reply::OutFrame;
use super::{Connection, Context, Flags, State};
use crate::transport::Token;

impl<T> Connection<T> {
    /// Begins a response that is not here yet.
    pub(super) fn fetch<S, D>(
        &mut self,
        token: Token,
        errand: Box<dyn Errand>,
        cx: &mut Context<S, D>,
    ) {
        self.state = State::Fetching {
            since: cx.now,
            begun: false,
        };
        self.flags.set(Flags::REARM);
        match &mut cx.errands {
            Some(errands) => errands.send(token, errand),
            None => self.state = State::Gone,
        }
    }

    /// Takes what an errand brought.
    pub(crate) fn take_part<S, D>(&mut self, part: Part, cx: &mut Context<S, D>) {
        // It may be too late.
        let State::Fetching { begun, .. } = self.state else {
            return;
        };
        match part {
            Part::Bytes { head, body, rest } => {
                self.push_response(&head, body, cx);
                self.flags.set(Flags::REARM);
                if rest.is_some() {
                    self.cold().rest = rest;
                    self.state = State::Fetching {
                        since: cx.now,
                        begun: true,
                    };
                } else {
                    self.state = State::lingering(cx.now);
                }
            }
            Part::Broken if begun => self.state = State::Gone,
            Part::Broken => self.refuse(500, "the page cannot be read", cx),
        }
    }

    /// Sends for the next part once all before it has left.
    pub(super) fn fetch_on<S, D>(&mut self, token: Token, cx: &mut Context<S, D>) {
        let Some(cold) = &mut self.cold else { return };
        if !cold.outbox.is_empty() {
            return;
        }
        if let (Some(rest), Some(errands)) = (cold.rest.take(), &mut cx.errands) {
            errands.send(token, rest);
            self.state = State::Fetching {
                since: cx.now,
                begun: true,
            };
            self.flags.set(Flags::REARM);
        }
    }

    /// An errand has taken too long.
    pub(super) fn fetch_expired<S, D>(&mut self, begun: bool, cx: &mut Context<S, D>) {
        if begun {
            self.state = State::Gone;
        } else {
            self.refuse(504, "the page takes too long to be read", cx);
        }
    }

    /// Queues a response; its body is not copied unless it is small.
    pub(super) fn push_response<S, D>(&mut self, head: &[u8], body: Bytes, cx: &mut Context<S, D>) {
        if !head.is_empty() {
            self.push_bytes(head, cx);
        }
        if !body.is_empty() {
            self.push_frame(OutFrame::raw(body), cx);
        }
    }
}
