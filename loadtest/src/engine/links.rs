//! The connections of a load thread.

use std::io;

use slab::Slab;

use super::link::State;
use super::{Context, Leave, Link};
use crate::wire::Parser;

/// One connection and what the scenario keeps for it.
#[derive(Debug)]
pub struct Slot<L> {
    /// The connection.
    pub link: Link,
    /// The scenario's.
    pub local: L,
    pub(super) parser: Parser,
}

/// The connections of a thread.
#[derive(Debug)]
pub struct Links<L> {
    pub(super) slab: Slab<Slot<L>>,
    generation: u32,
    /// Those whose socket failed outside of their own events.
    pub(super) broken: Vec<(usize, io::Error)>,
    /// Those the scenario leaves outside of their own events.
    pub(super) left: Vec<usize>,
}

impl<L> Links<L> {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::new(),
            generation: 0,
            broken: Vec::new(),
            left: Vec::new(),
        }
    }

    /// All connections, with keys that stay the same while they last.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Slot<L>)> {
        self.slab.iter_mut()
    }

    /// The connection with this key.
    pub fn at(&mut self, key: usize) -> Option<&mut Slot<L>> {
        self.slab.get_mut(key)
    }

    /// Writes what is queued on this connection.
    #[inline]
    pub fn flush(&mut self, key: usize, context: &mut Context) {
        if let Some(slot) = self.slab.get_mut(key)
            && slot.link.has_output()
            && matches!(slot.link.state, State::Open | State::Raw | State::Closing)
            && let Err(error) = slot.link.flush(context)
        {
            self.broken.push((key, error));
        }
    }

    /// Ends this connection soon, from outside of its own events.
    pub fn leave(&mut self, key: usize, how: Leave) {
        if let Some(slot) = self.slab.get_mut(key) {
            slot.link.leave(how);
            self.left.push(key);
        }
    }

    /// Connections, also those that are still being opened or closed.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// The generation of the next connection, and its key.
    pub(super) fn vacancy(&mut self) -> (usize, u32) {
        self.generation = (self.generation + 1) & 0x7fff_ffff;
        (self.slab.vacant_key(), self.generation)
    }

    pub(super) fn insert(&mut self, link: Link, local: L) {
        self.slab.insert(Slot {
            link,
            local,
            parser: Parser::default(),
        });
    }
}
