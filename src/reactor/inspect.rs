//! What the simulation may know of a reactor.

use super::{Handoff, Reactor};
use crate::connection::{self, Tick};
use crate::transport::{Sys, Token};

/// A reactor at one moment.
pub(crate) struct Inspection {
    pub(crate) connections: Vec<connection::Inspection>,
    /// What the memory account says.
    pub(crate) memory: usize,
    /// What of it is spare buffers.
    pub(crate) spares: usize,
    /// Items nobody has taken from the inbox.
    pub(crate) has_inbox: bool,
    /// Subscribers, one for each topic.
    pub(crate) subscribers: usize,
    /// Connections on the list of those that wait for a worker.
    pub(crate) waiting: usize,
    /// Nothing is collected for workers or with them.
    pub(crate) lanes_rest: bool,
    /// A worker's connections are not read.
    pub(crate) lanes_full: bool,
}

impl<S: Sys, D: Handoff> Reactor<S, D> {
    pub(crate) fn inspect(&self, now: Tick) -> Inspection {
        let connections = self.connections.iter().map(|(index, connection)| {
            let generation = connection.generation();
            let index = index as u32;
            connection.inspect(Token::new(index, generation), &self.cx, now)
        });
        Inspection {
            connections: connections.collect(),
            memory: self.cx.account.held(),
            spares: self.cx.spares(),
            has_inbox: self.inbox.len() > 0 || self.inbox.has_news() || !self.fanout.is_at_rest(),
            subscribers: self.fanout.subscribers(),
            waiting: self.waiting.len(),
            lanes_rest: true,
            lanes_full: false,
        }
    }

    pub(crate) fn delivery(&self) -> &D {
        &self.cx.delivery
    }
}
