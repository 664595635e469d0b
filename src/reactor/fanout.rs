//! Publications on their way from the logs of topics to this reactor's subscribers.
//!
//! A reactor takes a batch of publications from a topic's log, serves every subscriber with one
//! write of all of it, and only then takes the next: what is published meanwhile leaves together.
//! No batch reaches over a subscription or its end, so everybody in the list gets every batch.
//! Only a subscriber whose handler has not been told of its subscription yet is held back, and
//! what it misses meanwhile is kept for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::IoSlice;
use std::sync::{Arc, Weak};

use slab::Slab;

use super::members::Members;
use super::{Handoff, Inbox, Reactor, find};
use crate::connection::{Connection, Context, Delivery, News, Op};
use crate::topics::{Batch, Change, Frame, Mailbox, Topic};
use crate::transport::{Sys, Token};

/// Publications that leave a subscriber in one write, at most.
const BATCH: usize = 64;
/// Bytes of them, at most; one publication is always taken.
const BATCH_BYTES: usize = 256 * 1024;
/// Writes for all topics in one turn.
const WRITES: usize = 1024;
/// Bytes for all topics in one turn.
const BYTES: usize = 16 << 20;
/// A publication that waits for a subscriber weighs at least what it takes to keep track of it.
const LEAST: usize = size_of::<Frame>();
/// Writes for one topic before the next one has its turn.
const QUANTUM: usize = 256;

/// What is kept for a subscriber whose handler has yet to be told.
struct Gated {
    ticket: u32,
    held: Vec<Frame>,
    bytes: usize,
    /// It was too much; nothing is held any more.
    over: bool,
}

/// A topic with subscribers here.
struct Local {
    topic: Arc<Topic>,
    members: Members,
    gated: BTreeMap<u64, Gated>,
    /// What is being served, and how many bytes that is.
    batch: Batch,
    bytes: usize,
    /// There is more in the log.
    fresh: bool,
    queued: bool,
}

impl Local {
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.gated.is_empty()
    }

    fn leave(&mut self, token: Token) {
        self.members.remove(token);
        self.gated.remove(&token.to_u64());
    }
}

/// A topic's name that costs nothing; as long as it is held here, no other has it.
fn address(topic: &Arc<Topic>) -> usize {
    Arc::as_ptr(topic) as usize
}

pub(super) struct Fanout {
    inbox: Arc<Inbox>,
    mailbox: Weak<dyn Mailbox>,
    locals: Slab<Local>,
    /// Where the local side of a topic is, by the topic's address.
    keys: HashMap<usize, usize>,
    /// Topics with something to do, who has waited longest first.
    queue: VecDeque<usize>,
    /// Memory that is used again: news, changes, a batch.
    news: Vec<Arc<Topic>>,
    changes: Vec<Change>,
    batch: Batch,
}

impl Fanout {
    pub(super) fn new(inbox: &Arc<Inbox>) -> Self {
        let mailbox: Weak<Inbox> = Arc::downgrade(inbox);
        Self {
            inbox: Arc::clone(inbox),
            mailbox,
            locals: Slab::new(),
            keys: HashMap::new(),
            queue: VecDeque::new(),
            news: Vec::new(),
            changes: Vec::new(),
            batch: Batch::default(),
        }
    }

    /// Whether every topic that has news has been served.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues the topics that others say have news.
    fn hear(&mut self) {
        let mut news = std::mem::take(&mut self.news);
        self.inbox.take_news(&mut news);
        for topic in news.drain(..) {
            let key = *self.keys.entry(address(&topic)).or_insert_with(|| {
                self.locals.insert(Local {
                    topic,
                    members: Members::default(),
                    gated: BTreeMap::new(),
                    batch: Batch::default(),
                    bytes: 0,
                    fresh: true,
                    queued: false,
                })
            });
            let local = &mut self.locals[key];
            local.fresh = true;
            if !std::mem::replace(&mut local.queued, true) {
                self.queue.push_back(key);
            }
        }
        self.news = news;
    }

    /// After a topic had its turn: it has another, or waits for news, or is of no interest any
    /// more.
    fn requeue(&mut self, key: usize) {
        let local = &mut self.locals[key];
        if local.members.next().is_none() {
            local.batch.clear();
        }
        if local.is_empty() && local.topic.retire(&self.mailbox, false) {
            let local = self.locals.remove(key);
            self.keys.remove(&address(&local.topic));
        } else if local.fresh || !local.batch.is_empty() {
            self.queue.push_back(key);
        } else {
            local.queued = false;
        }
    }

    /// What the simulation looks at: subscribers here, with those that are held back.
    #[cfg(all(test, not(loom)))]
    pub(super) fn subscribers(&self) -> usize {
        let of = |(_, local): (usize, &Local)| local.members.len() + local.gated.len();
        self.locals.iter().map(of).sum()
    }
}

impl Drop for Fanout {
    /// Nobody takes from the topics any more.
    fn drop(&mut self) {
        self.inbox.close_news(&mut self.news);
        let locals = self.locals.iter().map(|(_, local)| &local.topic);
        for topic in locals.chain(&self.news) {
            topic.retire(&self.mailbox, true);
        }
    }
}

/// What may still be done in this turn.
struct Budget {
    writes: usize,
    bytes: usize,
}

impl Budget {
    fn spend(&mut self, writes: usize, bytes: usize) {
        self.writes = self.writes.saturating_sub(writes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_left(&self) -> bool {
        self.writes > 0 && self.bytes > 0
    }
}

impl<S: Sys, D: Handoff> Reactor<S, D> {
    /// Gives subscribers what was published, as far as one turn's budget goes.
    #[inline]
    pub(super) fn fan_out(&mut self) {
        if self.inbox.has_news() || !self.fanout.is_at_rest() {
            self.serve_topics();
        }
    }

    #[inline(never)]
    fn serve_topics(&mut self) {
        self.fanout.hear();
        let mut budget = Budget {
            writes: WRITES,
            bytes: BYTES,
        };
        while budget.is_left()
            && let Some(key) = self.fanout.queue.pop_front()
        {
            if self.fanout.locals[key].batch.is_empty() {
                self.refill(key, &mut budget);
            }
            self.serve(key, &mut budget);
            self.fanout.requeue(key);
        }
    }

    /// Takes the next batch from the log, and whoever joined or left before it.
    fn refill(&mut self, key: usize, budget: &mut Budget) {
        let mut batch = std::mem::take(&mut self.fanout.batch);
        loop {
            let Fanout {
                mailbox,
                locals,
                changes,
                ..
            } = &mut self.fanout;
            let local = &mut locals[key];
            let most = (BATCH, BATCH_BYTES);
            local.fresh = local.topic.take(mailbox, most, changes, &mut batch);
            let changes = changes.len();
            self.take_changes(key);
            budget.spend(1 + changes, 0);
            if !batch.is_empty() || changes == 0 || !budget.is_left() {
                break;
            }
        }
        let local = &mut self.fanout.locals[key];
        std::mem::swap(&mut local.batch, &mut batch);
        self.fanout.batch = batch;
        self.hold_back(key, budget);
        let local = &mut self.fanout.locals[key];
        local.bytes = local.batch.frames.iter().map(Frame::len).sum();
        local.members.rewind();
    }

    fn take_changes(&mut self, key: usize) {
        let mut changes = std::mem::take(&mut self.fanout.changes);
        for change in changes.drain(..) {
            let local = &mut self.fanout.locals[key];
            let subscription = match change {
                Change::Join(subscription) => subscription,
                Change::Leave(token) => {
                    local.leave(token);
                    continue;
                }
            };
            let token = subscription.token;
            let gated = Gated {
                ticket: subscription.ticket,
                held: Vec::new(),
                bytes: 0,
                over: false,
            };
            local.leave(token);
            local.gated.insert(token.to_u64(), gated);
            let connection = find(&mut self.connections, token);
            if connection.is_some_and(|it| it.subscribed(token, subscription, &mut self.cx)) {
                self.finish(token);
                self.enqueue(token);
            } else {
                self.fanout.locals[key].leave(token);
            }
        }
        self.fanout.changes = changes;
    }

    /// Keeps a new batch for those whose handlers have yet to be told of their subscription.
    fn hold_back(&mut self, key: usize, budget: &mut Budget) {
        let Local { gated, batch, .. } = &mut self.fanout.locals[key];
        if batch.is_empty() {
            return;
        }
        budget.spend(gated.len(), 0);
        for (&raw, gated) in gated {
            let token = Token::from_u64(raw);
            let Some(connection) = find(&mut self.connections, token) else {
                continue;
            };
            if gated.over || !(connection.takes_news() || connection.is_opening()) {
                continue;
            }
            for frame in batch.frames_for(token) {
                gated.bytes += frame.len().max(LEAST);
                gated.held.push(frame.clone());
            }
            let is_one = gated.held.len() <= 1;
            if !is_one && connection.is_behind_by(gated.bytes, &self.cx) {
                gated.over = true;
                gated.held = Vec::new();
                connection.fall_behind(token, &mut self.cx);
                if connection.soil() {
                    self.dirty.push(token);
                }
            }
        }
    }

    /// Serves the next subscribers of a topic with its batch.
    fn serve(&mut self, key: usize, budget: &mut Budget) {
        let Local {
            members,
            batch,
            bytes,
            ..
        } = &mut self.fanout.locals[key];
        if batch.is_empty() {
            return;
        }
        let mut parts = [IoSlice::new(&[]); BATCH];
        let news = news(&batch.frames, &mut parts, *bytes);
        let mut served = 0;
        let mut missed = 0;
        while served < QUANTUM
            && budget.is_left()
            && let Some(token) = members.next()
        {
            let Some(connection) = find(&mut self.connections, token) else {
                members.remove(token);
                continue;
            };
            members.advance();
            served += 1;
            budget.spend(1, *bytes);
            let is_soiled = if batch.has_exceptions() && batch.is_excepted(token) {
                let frames: Vec<Frame> = batch.frames_for(token).cloned().collect();
                missed += batch.frames.len() - frames.len();
                publish_all(connection, token, &frames, &mut self.cx)
            } else {
                connection.publish(token, &news, &mut self.cx)
            };
            if is_soiled && connection.soil() {
                self.dirty.push(token);
            }
        }
        self.cx.totals.deliveries += (served * batch.frames.len() - missed) as u64;
    }

    /// Lets publications through to subscribers whose handlers have answered.
    #[inline(never)]
    pub(super) fn admit(&mut self, token: Token, ops: &[Op]) {
        for op in ops {
            let Op::Admit { topic, ticket } = op else {
                continue;
            };
            let Some(&key) = self.fanout.keys.get(&address(topic)) else {
                continue;
            };
            let local = &mut self.fanout.locals[key];
            let gate = local.gated.get(&token.to_u64());
            if gate.is_none_or(|gated| gated.ticket != *ticket) {
                continue;
            }
            if let Some(gated) = local.gated.remove(&token.to_u64()) {
                local.members.insert(token);
                self.catch_up(token, &gated);
            }
        }
    }

    /// Sends what was held back.
    fn catch_up(&mut self, token: Token, gated: &Gated) {
        let Some(connection) = find(&mut self.connections, token) else {
            return;
        };
        if gated.over {
            connection.fall_behind(token, &mut self.cx);
        }
        publish_all(connection, token, &gated.held, &mut self.cx);
        self.cx.totals.deliveries += gated.held.len() as u64;
        if connection.soil() {
            self.dirty.push(token);
        }
    }
}

/// At most a batch of frames, as one write takes them.
fn news<'a>(frames: &'a [Frame], parts: &'a mut [IoSlice<'a>; BATCH], bytes: usize) -> News<'a> {
    for (part, frame) in parts.iter_mut().zip(frames) {
        *part = IoSlice::new(&frame.bytes);
    }
    News {
        frames,
        parts: &parts[..frames.len()],
        bytes,
    }
}

/// Sends one subscriber frames that the others are not sent just so. Says whether something is left to
/// do for this connection.
#[inline(never)]
fn publish_all<S: Sys, D: Delivery>(
    connection: &mut Connection<S::Socket>,
    token: Token,
    frames: &[Frame],
    cx: &mut Context<S, D>,
) -> bool {
    let mut is_soiled = false;
    for frames in frames.chunks(BATCH) {
        let mut parts = [IoSlice::new(&[]); BATCH];
        let bytes = frames.iter().map(Frame::len).sum();
        let news = news(frames, &mut parts, bytes);
        is_soiled |= connection.publish(token, &news, cx);
    }
    is_soiled
}
