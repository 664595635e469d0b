//! Runs handlers. The same code serves handlers on a reactor and on a worker thread.

use std::any::Any;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use slab::Slab;

use super::output::{Output, Outside};
use super::subscriptions::Subscriptions;
use crate::connection::{Body, Cause, CloseReason, Link, Op, Replies, Target, weight};
use crate::protocol::{CloseCode, MessageKind, Request, UpgradeRequest};
use crate::reactor::Load;
use crate::topics::{Member, Subscription};
use crate::transport::Token;

/// What runs for connections; the layer above gives handlers and routes this shape.
pub(crate) trait Application: Send + Sync + 'static {
    type Session;

    /// Decides on a request: a session and its response headers, or a refusal's response.
    fn open(
        &self,
        request: &Request<'_>,
        remote: SocketAddr,
    ) -> Result<Acceptance<Self::Session>, Vec<u8>>;
    /// The response for a factory that panicked.
    fn failed(&self) -> Vec<u8>;
    fn opened(session: &mut Self::Session, output: Output<'_>);
    fn message(session: &mut Self::Session, output: Output<'_>, kind: MessageKind, body: Body<'_>);
    /// Every message of `next`, but none after a Close frame was sent.
    fn messages<'b>(
        session: &mut Self::Session,
        output: Output<'_>,
        next: impl FnMut() -> Option<(MessageKind, &'b [u8])>,
    );
    fn timer(session: &mut Self::Session, output: Output<'_>);
    fn drain(session: &mut Self::Session, output: Output<'_>);
    fn subscribed(session: &mut Self::Session, output: Output<'_>, subscription: &Subscription);
    fn closed(session: &mut Self::Session, output: Output<'_>, reason: &CloseReason);
}

/// A request that was accepted.
pub(crate) struct Acceptance<T> {
    pub(crate) session: T,
    pub(crate) subprotocol: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
}

/// What the executor knows about a connection besides its handler.
pub(super) struct Meta {
    ip: [u8; 16],
    port: u16,
    /// A Close frame was sent: nothing may follow it, and nothing more is delivered.
    pub(super) closing: bool,
    /// Changes whenever the handler's timer is set or taken back.
    pub(super) timer: u8,
    /// Bytes of output so far, modulo 2^32.
    pub(super) produced: u32,
}

impl Meta {
    fn new(remote: SocketAddr) -> Self {
        let ip = match remote.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self {
            ip: ip.octets(),
            port: remote.port(),
            closing: false,
            timer: 0,
            produced: 0,
        }
    }

    pub(super) fn remote(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }
}

struct Slot<T> {
    /// `None` after a panic. The slot stays taken until the connection's last event, so that
    /// events already on their way never reach a stranger.
    session: Option<T>,
    meta: Meta,
}

/// What few connections have, by slot.
#[derive(Default)]
pub(super) struct Links {
    /// Of those that asked for a handle.
    handles: HashMap<u32, Arc<Link>>,
    pub(super) subscriptions: Subscriptions,
}

impl Links {
    pub(super) fn get(&mut self, token: Token, slot: u32) -> Arc<Link> {
        let link = self
            .handles
            .entry(slot)
            .or_insert_with(|| Arc::new(Link::new(token)));
        Arc::clone(link)
    }

    /// Handles of this connection reach it no longer.
    pub(super) fn end(&mut self, slot: u32) {
        // Nearly always there are none at all.
        if !self.handles.is_empty()
            && let Some(link) = self.handles.remove(&slot)
        {
            link.end();
        }
    }
}

pub(crate) struct Executor<A: Application> {
    application: Arc<A>,
    slots: Slab<Slot<A::Session>>,
    links: Links,
    /// Connections placed here, for whoever places the next.
    load: Load,
}

/// Where one event's output goes.
pub(crate) struct Sink<'a> {
    /// What the connection's reactor offers.
    pub(crate) outside: &'a Outside,
    pub(crate) replies: &'a mut Replies,
}

impl Sink<'_> {
    #[inline]
    fn reborrow(&mut self) -> Sink<'_> {
        Sink {
            outside: self.outside,
            replies: self.replies,
        }
    }
}

impl<A: Application> Executor<A> {
    /// `capacity`: connections to reserve address space for.
    pub(crate) fn new(application: Arc<A>, load: Load, capacity: usize) -> Self {
        Self {
            application,
            slots: Slab::with_capacity(capacity),
            links: Links::default(),
            load,
        }
    }

    /// Counts a connection that will be opened here.
    pub(crate) fn place(&mut self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks the route's factory; on acceptance the response and what `on_open` sends leave
    /// together.
    pub(crate) fn open(
        &mut self,
        to: Target,
        request: &Request<'_>,
        upgrade: &UpgradeRequest,
        remote: SocketAddr,
        sink: Sink<'_>,
    ) {
        sink.replies.begin(to.token);
        let application = &self.application;
        let decision = catch_unwind(AssertUnwindSafe(|| application.open(request, remote)));
        let response = match decision {
            Ok(Ok(acceptance)) => return self.accept(to, acceptance, upgrade, remote, sink),
            Ok(Err(response)) => response,
            Err(thrown) => {
                defuse(thrown);
                log::error!("the factory of {} panicked", request.path());
                self.application.failed()
            }
        };
        self.load.fetch_sub(1, Ordering::Relaxed);
        sink.replies.push(Op::Refuse);
        sink.replies.raw(|arena| arena.extend_from_slice(&response));
    }

    fn accept(
        &mut self,
        to: Target,
        acceptance: Acceptance<A::Session>,
        upgrade: &UpgradeRequest,
        remote: SocketAddr,
        sink: Sink<'_>,
    ) {
        let slot = self.slots.insert(Slot {
            session: Some(acceptance.session),
            meta: Meta::new(remote),
        }) as u32;
        sink.replies.push(Op::Accept {
            slot,
            worker: to.worker,
        });
        let to = Target { slot, ..to };
        self.run(&to, 0, sink, |session, mut output| {
            let headers = acceptance.headers.iter();
            output.switch_protocols(
                &upgrade.key,
                acceptance.subprotocol.as_deref(),
                headers.map(|(name, value)| (name.as_str(), value.as_str())),
            );
            A::opened(session, output);
        });
    }

    pub(crate) fn message(
        &mut self,
        to: &Target,
        kind: MessageKind,
        body: Body<'_>,
        sink: Sink<'_>,
    ) {
        let delivered = weight(body.as_bytes().len());
        self.run(to, delivered, sink, |session, output| {
            A::message(session, output, kind, body);
        });
    }

    /// Runs the messages that `next` hands out, which are borrowed and all there, as one event.
    /// Stops at the first after which the handler takes no more. They came in one read, so what
    /// it takes to send them back is always allowed.
    #[inline]
    pub(crate) fn messages<'b>(
        &mut self,
        to: &Target,
        next: impl FnMut() -> Option<(MessageKind, &'b [u8])>,
        sink: Sink<'_>,
    ) {
        self.run(to, 0, sink, |session, output| {
            A::messages(session, output, next);
        });
    }

    /// Unless the timer has been set anew, or taken back, while this was on its way.
    pub(crate) fn timer(&mut self, to: Target, epoch: u8, sink: Sink<'_>) {
        self.run(&to, 0, sink, |session, output| {
            if output.timer_epoch() == epoch {
                A::timer(session, output);
            }
        });
    }

    pub(crate) fn drain(&mut self, to: Target, sink: Sink<'_>) {
        self.run(&to, 0, sink, A::drain);
    }

    /// Tells the handler of a subscription, unless it has ended it meanwhile.
    pub(crate) fn subscribed(
        &mut self,
        to: Target,
        subscription: &Subscription,
        mut sink: Sink<'_>,
    ) {
        let subscriptions = &self.links.subscriptions;
        if !subscriptions.is_current(to.slot, subscription) {
            // Nothing of it is let through; its end is on the way.
            return;
        }
        self.run(&to, 0, sink.reborrow(), |session, output| {
            A::subscribed(session, output, subscription);
        });
        if !self.links.subscriptions.is_current(to.slot, subscription) {
            // It has been ended just now.
            return;
        }
        sink.replies.push(Op::Admit {
            topic: Arc::clone(&subscription.topic),
            ticket: subscription.ticket,
        });
    }

    /// Closes on behalf of a handle, unless a Close frame has been sent.
    pub(crate) fn close(&mut self, to: Target, code: CloseCode, reason: &str, sink: Sink<'_>) {
        self.run(&to, 0, sink, |_, mut output| {
            output.close(Some(code), reason);
        });
    }

    /// The last event of a connection: its handler learns how it ended, and goes.
    pub(crate) fn end(&mut self, to: Target, reason: CloseReason, mut sink: Sink<'_>) {
        sink.replies.begin(to.token);
        if let Some(mut slot) = self.slots.try_remove(to.slot as usize) {
            self.load.fetch_sub(1, Ordering::Relaxed);
            let reason = if slot.meta.closing {
                reason.of_closing()
            } else {
                if let Some((code, text)) = reason.answer() {
                    sink.replies.close_frame(code, text);
                }
                reason
            };
            slot.meta.closing = true;
            if let Some(mut session) = slot.session {
                let output = Output::new(&to, &mut slot.meta, sink.reborrow(), &mut self.links);
                let closed = catch_unwind(AssertUnwindSafe(|| {
                    A::closed(&mut session, output, &reason);
                }));
                if let Err(thrown) = closed {
                    defuse(thrown);
                    log::error!("a handler panicked in on_close");
                }
                discard(session);
            }
            log::debug!("{} has ended: {reason}", slot.meta.remote());
            self.links.end(to.slot);
            let member = Member {
                mailbox: &sink.outside.mailbox,
                token: to.token,
            };
            self.links.subscriptions.leave_all(to.slot, member);
        }
        sink.replies.push(Op::End);
    }

    /// Ends every connection that is left, because the reactors have gone.
    pub(crate) fn finish(&mut self, outside: &Outside) {
        let mut replies = Replies::default();
        let left: Vec<usize> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in left {
            let to = Target::new(Token::WAKER, slot as u32, 0);
            let sink = Sink {
                outside,
                replies: &mut replies,
            };
            self.end(to, CloseReason::new(Cause::Shutdown), sink);
        }
    }

    /// Runs one event of a handler. If the handler panics, its connection ends with 1011 and
    /// everything else goes on.
    #[inline]
    fn run(
        &mut self,
        to: &Target,
        delivered: usize,
        mut sink: Sink<'_>,
        event: impl FnOnce(&mut A::Session, Output<'_>),
    ) {
        sink.replies.begin(to.token);
        let before = sink.replies.begin_event();
        sink.replies.add_delivered(delivered);
        let Some(slot) = self.slots.get_mut(to.slot as usize) else {
            return;
        };
        let Some(session) = &mut slot.session else {
            return;
        };
        if slot.meta.closing {
            return;
        }
        let output = Output::new(to, &mut slot.meta, sink.reborrow(), &mut self.links);
        let outcome = catch_unwind(AssertUnwindSafe(|| event(session, output)));
        let written = (sink.replies.written() - before) as u32;
        slot.meta.produced = slot.meta.produced.wrapping_add(written);
        if let Err(thrown) = outcome {
            self.panicked(to, sink, thrown);
        }
    }

    #[cold]
    fn panicked(&mut self, to: &Target, sink: Sink<'_>, thrown: Box<dyn Any + Send>) {
        defuse(thrown);
        let slot = &mut self.slots[to.slot as usize];
        log::error!(
            "a handler panicked; closing {} with 1011",
            slot.meta.remote()
        );
        if !slot.meta.closing {
            slot.meta.closing = true;
            sink.replies
                .close_frame(Some(CloseCode::INTERNAL_ERROR), "internal error");
            sink.replies.push(Op::Close);
        }
        self.links.end(to.slot);
        if let Some(session) = slot.session.take() {
            discard(session);
        }
    }
}

/// Drops a handler, whose `Drop` is the user's code and may panic.
fn discard<T>(session: T) {
    if let Err(thrown) = catch_unwind(AssertUnwindSafe(|| drop(session))) {
        defuse(thrown);
        log::error!("a handler panicked while it was dropped");
    }
}

/// Drops what a panic has thrown: a value of the user's, whose `Drop` may panic as well.
#[cold]
fn defuse(thrown: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
        std::mem::forget(again);
    }
}
