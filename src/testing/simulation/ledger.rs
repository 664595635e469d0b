//! What was meant to happen and what did: handlers, clients and the driver write it down, and
//! whoever sees a contradiction adds it to the faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::handlers::Plan;
use super::topics::{Board, Session};
use crate::connection::Tick;
use crate::{Cause, CloseCode, CloseReason, MessageKind, PeerHandle};

/// Who made a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    Client,
    Handler,
    Outside,
}

/// A message, by what its payload follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) author: Author,
    pub(super) number: u32,
    pub(super) len: usize,
    pub(super) kind: MessageKind,
}

impl Item {
    /// Length from which on a payload names its connection and its author in full.
    pub(super) const NAMED: usize = 16;

    /// The payload: the names of connection, author and message, then filling that differs
    /// between messages; cut where the length says.
    pub(super) fn payload(&self, connection: usize) -> Vec<u8> {
        let author = match self.author {
            Author::Client => 'c',
            Author::Handler => 'h',
            Author::Outside => 'o',
        };
        let name = format!("{connection:04}{author}{:010};", self.number);
        let mut bytes = Vec::with_capacity(self.len);
        bytes.extend(name.bytes().take(self.len));
        match self.kind {
            MessageKind::Text => {
                let block = "aé€𝄞".as_bytes();
                while bytes.len() + block.len() <= self.len {
                    bytes.extend_from_slice(block);
                }
                bytes.resize(self.len, b'x');
            }
            MessageKind::Binary => {
                let first = connection as u32 * 31 + self.number * 7;
                let block: Vec<u8> = (0..251u32).map(|at| (first + at) as u8).collect();
                while bytes.len() < self.len {
                    let count = block.len().min(self.len - bytes.len());
                    bytes.extend_from_slice(&block[..count]);
                }
            }
        }
        bytes
    }
}

/// A message of a client and where it ends in the stream of what the client sends.
pub(super) struct Spoken {
    pub(super) item: Item,
    pub(super) end: usize,
}

/// How the handler heard of the end.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    pub(super) cause: Cause,
    pub(super) code: CloseCode,
}

/// Everything about one connection that handlers and clients have to agree on.
#[derive(Default)]
pub(super) struct Record {
    pub(super) plan: Plan,
    /// What the client has said or is about to.
    pub(super) spoken: Vec<Spoken>,
    /// How many of these the handler was given.
    pub(super) heard: usize,
    /// What the handler queued.
    pub(super) queued: Vec<Item>,
    /// What handles queued.
    pub(super) outside: Vec<Item>,
    pub(super) asked: bool,
    pub(super) opened: bool,
    pub(super) panicked: bool,
    pub(super) dropped: bool,
    pub(super) closed: Option<Closed>,
    /// The handler called `close` with this code.
    pub(super) closing: Option<u16>,
    /// A handle did.
    pub(super) closing_outside: Option<u16>,
    /// A message was refused, and `on_drain` has not come.
    pub(super) awaits_drain: bool,
    /// When the timer was set and how long it runs; then when the reactor surely knew.
    pub(super) timer: Option<(Tick, u32, Option<Tick>)>,
    pub(super) name: Option<String>,
    /// Subscriptions, in the order in which they began.
    pub(super) sessions: Vec<Session>,
}

impl Record {
    pub(super) fn is_live(&self) -> bool {
        self.opened && self.closed.is_none() && !self.panicked
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some() || self.panicked
    }
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) now: Tick,
    pub(super) records: Vec<Record>,
    pub(super) handles: Vec<(usize, PeerHandle)>,
    pub(super) board: Board,
    pub(super) faults: Vec<String>,
    pub(super) coverage: Coverage,
    pub(super) trace: Option<Vec<String>>,
    /// The run has been judged: whatever still goes is let go.
    pub(super) is_over: bool,
}

impl Ledger {
    pub(super) fn fault(&mut self, connection: usize, what: impl std::fmt::Display) {
        self.note(|| format!("FAULT connection {connection}: {what}"));
        self.faults.push(format!("connection {connection}: {what}"));
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8} {}", self.now.0, line()));
        }
    }

    pub(super) fn cover(&mut self, what: &'static str) {
        self.coverage.add(what, 1);
    }

    /// The handler was told of the end.
    pub(super) fn ended(&mut self, connection: usize, reason: &CloseReason) {
        self.note(|| format!("{connection} on_close {reason}"));
        let record = &mut self.records[connection];
        record.timer = None;
        record.awaits_drain = false;
        let again = record.closed.replace(Closed {
            cause: reason.cause().clone(),
            code: reason.code(),
        });
        if again.is_some() || !record.opened || record.panicked {
            self.fault(connection, "on_close was not to come");
        }
        self.cover(match reason.cause() {
            Cause::Peer => "closed by the peer",
            Cause::Handler => "closed by the handler",
            Cause::Fault(_) => "protocol fault",
            Cause::Idle => "idle timeout",
            Cause::PongTimeout => "pong timeout",
            Cause::WriteTimeout => "write timeout",
            Cause::SlowConsumer => "slow consumer",
            Cause::Shutdown => "shutdown",
            Cause::EndOfStream => "end of stream",
            Cause::Lost(_) => "lost",
        });
    }
}

#[derive(Clone, Default)]
pub(super) struct Ledgers(Arc<Mutex<Ledger>>);

impl Ledgers {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0
            .lock()
            .expect("nobody panics with the ledger in hand")
    }
}

/// What a run came across, so that nothing is believed tested that never happened.
#[derive(Clone, Default)]
pub(super) struct Coverage(pub(super) BTreeMap<&'static str, u64>);

impl Coverage {
    pub(super) fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub(super) fn merge(&mut self, other: Coverage) {
        for (what, count) in other.0 {
            self.add(what, count);
        }
    }

    pub(super) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}
