//! Deadlines: which comes next, and what happens when it has come.

use super::{Cause, CloseReason, Connection, Context, Delivery, Flags, State, Tick};
use crate::transport::Token;

/// An unmasked Ping frame without a payload (RFC 6455 section 5.5.2).
const PING: [u8; 2] = [0x89, 0x00];

/// The earliest of some deadlines.
pub(super) struct Earliest(pub(super) Option<Tick>);

impl Earliest {
    pub(super) fn add(&mut self, from: Tick, after: Option<u32>) {
        if let Some(after) = after {
            self.0 = Some(from.after(after).earlier(self.0));
        }
    }
}

fn is_due(from: Tick, after: Option<u32>, now: Tick) -> bool {
    after.is_some_and(|after| !now.is_before(from.after(after)))
}

impl<T> Connection<T> {
    /// The next deadline, if it may have come nearer since this was last asked.
    #[inline]
    pub(crate) fn rearm<S, D>(&mut self, token: Token, cx: &Context<S, D>) -> Option<Tick> {
        if self.flags.has(Flags::REARM) {
            self.next_deadline(token, cx)
        } else {
            None
        }
    }

    #[inline(never)]
    fn next_deadline<S, D>(&mut self, token: Token, cx: &Context<S, D>) -> Option<Tick> {
        self.flags.clear(Flags::REARM);
        let settings = &cx.settings;
        let mut earliest = Earliest(None);
        if let Some(cold) = &self.cold {
            if let Some((timer, _)) = cold.timer {
                earliest.add(timer, Some(0));
            }
            if !cold.outbox.is_empty() {
                earliest.add(cold.stalled, settings.write);
            }
        }
        match self.state {
            State::Handshake { since, .. } | State::Opening { since } => {
                earliest.add(since, settings.handshake);
            }
            State::Open { seen, .. } => {
                earliest.add(seen, self.liveness(cx));
                earliest.add(heard(token, cx), settings.idle);
            }
            State::Fetching { since, .. } if self.outbox_len() == 0 => {
                earliest.add(since, settings.handshake);
            }
            State::Closing { since, .. } | State::Lingering { since, .. }
                if self.outbox_len() == 0 =>
            {
                earliest.add(since, settings.close);
            }
            _ => {}
        }
        earliest.0
    }

    /// From `seen` to the next ping, or to the end for want of a pong.
    pub(super) fn liveness<S, D>(&self, cx: &Context<S, D>) -> Option<u32> {
        let settings = &cx.settings;
        if self.flags.has(Flags::PINGED) && settings.pong.is_some() {
            settings.pong
        } else {
            settings.ping_interval
        }
    }

    /// Does what is due now. Any number of deadlines, or none, may be.
    pub(crate) fn expire<S, D: Delivery>(&mut self, token: Token, cx: &mut Context<S, D>) {
        self.flags.set(Flags::REARM);
        let now = cx.now;
        if let Some(cold) = &self.cold
            && !cold.outbox.is_empty()
            && is_due(cold.stalled, cx.settings.write, now)
        {
            return self.give_up(token, cx);
        }
        match self.state {
            State::Handshake { since, .. } if is_due(since, cx.settings.handshake, now) => {
                // Whoever sent nothing gets nothing.
                if self.cold.take().is_some_and(|mut cold| {
                    cx.account.adjust(&mut cold.charged, 0);
                    !cold.input.is_empty()
                }) {
                    self.refuse(408, "the request did not arrive in time", cx);
                } else {
                    self.state = State::Gone;
                }
            }
            // Should its factory accept it after all, the handler will hear that it is late.
            State::Opening { since } if is_due(since, cx.settings.handshake, now) => {
                log::debug!("a request was not decided in time");
                self.state = State::Gone;
            }
            State::Fetching { since, begun }
                if self.outbox_len() == 0 && is_due(since, cx.settings.handshake, now) =>
            {
                self.fetch_expired(begun, cx);
            }
            State::Open { seen, .. } => self.expire_open(token, seen, cx),
            State::Closing { since, .. }
                if self.outbox_len() == 0 && is_due(since, cx.settings.close, now) =>
            {
                self.end(token, CloseReason::new(Cause::Handler), cx);
            }
            State::Lingering { since, .. }
                if self.outbox_len() == 0 && is_due(since, cx.settings.close, now) =>
            {
                self.state = State::Gone;
            }
            _ => {}
        }
    }

    fn expire_open<S, D: Delivery>(&mut self, token: Token, seen: Tick, cx: &mut Context<S, D>) {
        let now = cx.now;
        // Input that waits because we do not read it is a sign of life.
        if self.flags.has(Flags::READABLE) {
            self.flags.clear(Flags::PINGED);
            if let State::Open { seen, .. } = &mut self.state {
                *seen = now;
            }
            self.start_idle(token, cx);
        }
        let seen = if self.flags.has(Flags::READABLE) {
            now
        } else {
            seen
        };
        if is_due(heard(token, cx), cx.settings.idle, now) {
            return self.end(token, CloseReason::new(Cause::Idle), cx);
        }
        if is_due(seen, self.liveness(cx), now) {
            if self.flags.has(Flags::PINGED) && cx.settings.pong.is_some() {
                return self.end(token, CloseReason::new(Cause::PongTimeout), cx);
            }
            self.flags.set(Flags::PINGED);
            if let State::Open { seen, .. } = &mut self.state {
                *seen = now;
            }
            self.push_bytes(&PING, cx);
        }
        if let Some(cold) = &mut self.cold
            && let Some((timer, epoch)) = cold.timer
            && !now.is_before(timer)
        {
            cold.timer = None;
            if let Some(target) = self.target(token) {
                cx.delivery.timer(target, epoch);
            }
        }
    }

    /// Starts the idle deadline of a connection that has just been opened.
    pub(super) fn start_idle<S, D>(&self, token: Token, cx: &mut Context<S, D>) {
        if cx.settings.idle.is_none() {
            return;
        }
        let index = token.index() as usize;
        if cx.heard.len() <= index {
            cx.heard.resize(index + 1, cx.now);
        }
        cx.heard[index] = cx.now;
    }
}

pub(super) fn heard<S, D>(token: Token, cx: &Context<S, D>) -> Tick {
    cx.heard
        .get(token.index() as usize)
        .copied()
        .unwrap_or(cx.now)
}
