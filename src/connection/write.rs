//! Output: replies, frames from elsewhere, and the states that wait for them to leave.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::outbox::write_once;
use super::reply::Answer;
use super::{
    Cause, CloseReason, Connection, Context, Delivery, Flags, Link, Op, OutFrame, Postponed, Slot,
    State,
};
use crate::protocol::CloseCode;
use crate::transport::{Sys, Token};

/// A piece of output that has not been queued, because it may leave at once.
enum Piece<'a> {
    Bytes(&'a [u8]),
    Frame(OutFrame),
}

impl<T> Connection<T> {
    /// Carries out an answer that is nothing but bytes, as nearly all are.
    #[inline(always)]
    pub(crate) fn apply_bytes<S, D>(
        &mut self,
        token: Token,
        bytes: &[u8],
        delivered: u32,
        cx: &mut Context<S, D>,
    ) where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        // Nearly always nothing waits for this peer, either.
        if self.cold.is_some() || !self.is_open() {
            return self.apply(
                Answer {
                    token,
                    ops: &mut [],
                    bytes,
                    delivered,
                },
                cx,
            );
        }
        self.in_flight = self.in_flight.saturating_sub(delivered);
        self.applied = self.applied.wrapping_add(bytes.len() as u32);
        if bytes.is_empty() {
            return;
        }
        match write_once(|| cx.sys.write(&self.socket, bytes)) {
            Ok(sent) if sent == bytes.len() => {}
            Ok(sent) => self.keep(Piece::Bytes(bytes), sent, cx),
            Err(error) => self.lost(token, error.kind(), cx),
        }
    }

    /// Carries out the answer to what was delivered.
    #[inline(never)]
    pub(crate) fn apply<S, D>(&mut self, answer: Answer<'_>, cx: &mut Context<S, D>)
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        self.in_flight = self.in_flight.saturating_sub(answer.delivered);
        let token = answer.token;
        let mut first = None;
        let mut rest = answer.bytes;
        for op in answer.ops {
            match op {
                Op::Bytes { len } => {
                    let (bytes, after) = rest.split_at(*len);
                    rest = after;
                    self.applied = self.applied.wrapping_add(bytes.len() as u32);
                    self.stage(&mut first, Piece::Bytes(bytes), cx);
                }
                Op::Frame(frame) => {
                    let frame = std::mem::replace(frame, OutFrame::empty());
                    self.applied = self.applied.wrapping_add(frame.len() as u32);
                    self.stage(&mut first, Piece::Frame(frame), cx);
                }
                op => self.decide(op, cx),
            }
        }
        if !rest.is_empty() {
            self.applied = self.applied.wrapping_add(rest.len() as u32);
            self.stage(&mut first, Piece::Bytes(rest), cx);
        }
        if let Some(piece) = first
            && let Err(error) = self.write_now(piece, cx)
        {
            self.lost(token, error.kind(), cx);
        }
    }

    fn decide<S, D>(&mut self, op: &Op, cx: &mut Context<S, D>) {
        match (op, self.state) {
            (Op::Accept { slot, .. }, State::Opening { .. }) => {
                self.state = State::Open {
                    slot: *slot,
                    seen: cx.now,
                };
                self.flags.set(Flags::REARM);
            }
            (Op::Refuse, State::Opening { .. }) => {
                self.state = State::lingering(cx.now);
                if let Some(cold) = &mut self.cold {
                    cold.input = Vec::new();
                }
                self.flags.set(Flags::REARM);
            }
            (Op::Close, State::Open { slot, .. }) => {
                self.state = State::Closing {
                    slot: Slot::new(slot),
                    since: cx.now,
                };
                // A closing connection never fires it, and would be looked at for it for ever.
                if let Some(cold) = &mut self.cold {
                    cold.timer = None;
                }
                self.flags.set(Flags::REARM);
            }
            (Op::Drain, State::Open { .. }) => self.flags.set(Flags::DRAIN_OWED),
            (&Op::Timer { after, epoch }, State::Open { .. }) => {
                // Never at once: a timer set again and again must not keep a turn from ending.
                let at = after.map(|after| (cx.now.after(after.max(1)), epoch));
                if at.is_some() || self.cold.is_some() {
                    self.cold().timer = at;
                }
                self.flags.set(Flags::REARM);
            }
            (Op::End, State::Ending(then)) => self.proceed(then, cx.now),
            _ => {}
        }
    }

    /// Keeps a single piece of output back to be written without a detour through the outbox.
    fn stage<'a, S, D>(
        &mut self,
        first: &mut Option<Piece<'a>>,
        piece: Piece<'a>,
        cx: &mut Context<S, D>,
    ) {
        if self.state == State::Gone || self.flags.has(Flags::CUT) {
            return;
        }
        if first.is_none() && self.outbox_len() == 0 {
            *first = Some(piece);
            return;
        }
        if let Some(earlier) = first.take() {
            self.push(earlier, cx);
        }
        self.push(piece, cx);
    }

    fn push<S, D>(&mut self, piece: Piece<'_>, cx: &mut Context<S, D>) {
        match piece {
            Piece::Bytes(bytes) => self.push_bytes(bytes, cx),
            Piece::Frame(frame) => self.push_frame(frame, cx),
        }
    }

    pub(super) fn push_bytes<S, D>(&mut self, bytes: &[u8], cx: &mut Context<S, D>) {
        self.cold().outbox.push_bytes(bytes);
        self.queued(cx);
    }

    pub(super) fn push_frame<S, D>(&mut self, frame: OutFrame, cx: &mut Context<S, D>) {
        self.cold().outbox.push_frame(frame);
        self.queued(cx);
    }

    /// After output was queued: the write deadline starts with the first of it.
    pub(super) fn queued<S, D>(&mut self, cx: &mut Context<S, D>) {
        let now = cx.now;
        if !self.flags.has(Flags::BLOCKED) {
            self.cold().stalled = now;
        }
        if self.outbox_len() > cx.settings.outbox {
            self.flags.set(Flags::DRAIN_OWED);
        }
    }

    /// Writes to a connection with nothing queued; what the kernel refuses is queued.
    fn write_now<S, D>(&mut self, piece: Piece<'_>, cx: &mut Context<S, D>) -> io::Result<()>
    where
        S: Sys<Socket = T>,
    {
        let sent = match &piece {
            Piece::Bytes(bytes) => write_once(|| cx.sys.write(&self.socket, bytes))?,
            Piece::Frame(frame) => {
                let parts = [IoSlice::new(frame.header()), IoSlice::new(&frame.payload)];
                write_once(|| cx.sys.write_vectored(&self.socket, &parts))?
            }
        };
        self.keep(piece, sent, cx);
        Ok(())
    }

    /// Queues what the kernel refused of a piece, if it did.
    #[inline(never)]
    fn keep<S, D>(&mut self, piece: Piece<'_>, sent: usize, cx: &mut Context<S, D>) {
        match piece {
            Piece::Bytes(bytes) if sent < bytes.len() => {
                self.cold().outbox.push_bytes(&bytes[sent..]);
            }
            Piece::Frame(frame) if sent < frame.len() => {
                self.cold().outbox.push_rest(frame, sent);
            }
            _ => return,
        }
        self.queued(cx);
        self.flags.set(Flags::BLOCKED | Flags::REARM);
    }

    /// Queues a frame that a handle sent. Says whether the connection still took it.
    pub(crate) fn send<S, D>(
        &mut self,
        frame: OutFrame,
        link: &Arc<Link>,
        cx: &mut Context<S, D>,
    ) -> bool {
        if self.flags.has(Flags::CLOSE_ASKED) {
            return false;
        }
        match self.state {
            State::Open { .. } => self.push_frame(frame, cx),
            State::Opening { .. } => {
                // With what it takes to keep it, which is more than its bytes if it is small.
                link.add_outbox(frame.len() + size_of::<Postponed>());
                let postponed = &mut self.cold().postponed;
                postponed.push(Postponed::Send(frame, Arc::clone(link)));
                return false;
            }
            _ => return false,
        }
        let cold = self.cold();
        let link = cold.link.get_or_insert_with(|| Arc::clone(link));
        link.set_outbox(cold.outbox.len());
        true
    }

    /// Passes on a handle's wish to close, once. Whatever handles send after it is dropped.
    pub(crate) fn close<S, D: Delivery>(
        &mut self,
        token: Token,
        code: CloseCode,
        reason: &str,
        cx: &mut Context<S, D>,
    ) {
        if self.flags.has(Flags::CLOSE_ASKED) {
            return;
        }
        match (self.state, self.target(token)) {
            (State::Open { .. }, Some(target)) => cx.delivery.close(target, code, reason),
            (State::Opening { .. }, _) => {
                let close = Postponed::Close(code, reason.to_owned());
                self.cold().postponed.push(close);
            }
            _ => return,
        }
        self.flags.set(Flags::CLOSE_ASKED);
    }

    /// Does what handles asked for while the connection's acceptance was on its way.
    pub(crate) fn catch_up<S, D: Delivery>(&mut self, token: Token, cx: &mut Context<S, D>) {
        let Some(cold) = &mut self.cold else { return };
        if cold.postponed.is_empty() {
            return;
        }
        self.flags.clear(Flags::CLOSE_ASKED);
        for asked in std::mem::take(&mut cold.postponed) {
            match asked {
                Postponed::Send(frame, link) => {
                    link.set_outbox(0);
                    self.send(frame, &link, cx);
                }
                Postponed::Close(code, reason) => self.close(token, code, &reason, cx),
                Postponed::Subscribed(subscription) => {
                    self.subscribed(token, subscription, cx);
                }
            }
        }
    }

    /// Whether the handler is to be told that the outbox has drained.
    pub(super) fn owes_drain<S, D>(&self, cx: &Context<S, D>) -> bool {
        self.flags.has(Flags::DRAIN_OWED)
            && self.is_open()
            && self.outbox_len() <= cx.settings.low_water()
    }

    /// Tells the handler that its outbox has drained, if that is due.
    #[inline]
    pub(crate) fn deliver_drain<S, D: Delivery>(&mut self, token: Token, cx: &mut Context<S, D>) {
        if self.flags.has(Flags::DRAIN_OWED) {
            self.drained(token, cx);
        }
    }

    #[inline(never)]
    fn drained<S, D: Delivery>(&mut self, token: Token, cx: &mut Context<S, D>) {
        if self.owes_drain(cx)
            && let Some(target) = self.target(token)
        {
            self.flags.clear(Flags::DRAIN_OWED);
            cx.delivery.drain(target);
        }
    }

    /// Writes what waits, lets states that waited for it move on, and accounts for memory.
    #[inline]
    pub(crate) fn settle<S, D>(&mut self, token: Token, cx: &mut Context<S, D>)
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        if self.cold.is_some() || matches!(self.state, State::Lingering { .. }) {
            self.settle_slowly(token, cx);
        }
    }

    #[inline(never)]
    fn settle_slowly<S, D>(&mut self, token: Token, cx: &mut Context<S, D>)
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        self.flush(token, cx);
        match self.state {
            State::Lingering { .. } => self.linger(cx),
            State::Fetching { .. } => self.fetch_on(token, cx),
            _ => {}
        }
        if let Some(cold) = &mut self.cold {
            if cold.is_needed() && self.state != State::Gone {
                let held = cold.held();
                cx.account.adjust(&mut cold.charged, held);
            } else {
                cx.account.adjust(&mut cold.charged, 0);
                if let Some(link) = &cold.link {
                    link.set_outbox(0);
                }
                self.cold = None;
            }
        }
    }

    fn flush<S, D>(&mut self, token: Token, cx: &mut Context<S, D>)
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        let Some(cold) = &mut self.cold else { return };
        if cold.outbox.is_empty() || self.flags.has(Flags::BLOCKED) {
            return;
        }
        match cold.outbox.flush(&mut cx.sys, &self.socket) {
            Ok(taken) => {
                if taken > 0 {
                    cold.stalled = cx.now;
                }
                if let Some(link) = &cold.link {
                    link.set_outbox(cold.outbox.len());
                }
                if !cold.outbox.is_empty() {
                    self.flags.set(Flags::BLOCKED | Flags::REARM);
                } else if let State::Closing { since, .. } = &mut self.state {
                    // The peer's time to answer starts when our Close frame has left.
                    *since = cx.now;
                    self.flags.set(Flags::REARM);
                }
            }
            Err(error) => self.lost(token, error.kind(), cx),
        }
    }

    fn linger<S, D>(&mut self, cx: &mut Context<S, D>)
    where
        S: Sys<Socket = T>,
    {
        if self.outbox_len() > 0 {
            return;
        }
        if self.flags.has(Flags::EOF) {
            self.state = State::Gone;
        } else if self.flags.raise(Flags::SHUT) {
            self.state = match cx.sys.shutdown_write(&self.socket) {
                Ok(()) => State::lingering(cx.now),
                Err(_) => State::Gone,
            };
            self.flags.set(Flags::REARM);
        }
    }

    /// Ends the connection because its peer takes nothing any more.
    pub(super) fn give_up<S, D: Delivery>(&mut self, token: Token, cx: &mut Context<S, D>) {
        match self.state {
            State::Open { .. } | State::Closing { .. } => {
                self.end(token, CloseReason::new(Cause::WriteTimeout), cx);
            }
            _ => self.lost(token, io::ErrorKind::TimedOut, cx),
        }
    }
}
