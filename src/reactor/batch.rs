//! What travels between a reactor and a worker: events on the way there, replies on the way
//! back, in the same recycled memory.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::connection::{CloseReason, OWNED_FROM, Replies, Target};
use crate::protocol::{CloseCode, MessageKind, Payload};

/// Memory of a batch that is kept when it is recycled.
const KEPT_ARENA: usize = 512 * 1024;

/// Events of one connection that follow each other.
#[derive(Clone, Copy, Debug)]
struct Group {
    to: Target,
    /// The index after the group's last event.
    end: u32,
}

/// One event; what is large or rare lies in a list of its own, in the same order.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// A message whose payload ends here in the arena.
    Small(MessageKind, u32),
    /// A message with memory of its own.
    Large(MessageKind),
    Timer,
    Drain,
    /// Whatever bytes it has, such as the head of a request, end here in the arena.
    Rare(u32),
}

/// An event that a connection has once or seldom.
#[derive(Debug)]
pub(crate) enum Rare {
    Open { remote: SocketAddr },
    Close { code: CloseCode, reason: String },
    End(CloseReason),
}

/// An event as a worker takes it out.
pub(crate) enum Delivered<'a> {
    Small(MessageKind, &'a [u8]),
    Large(MessageKind, Bytes),
    Timer,
    Drain,
    /// With the head of the request, if it is one.
    Rare(Rare, &'a [u8]),
}

#[derive(Default)]
pub(crate) struct Batch {
    /// The reactor it belongs to.
    reactor: u16,
    /// The worker it is filled for.
    pub(super) worker: u16,
    arena: Vec<u8>,
    /// Bytes of large messages.
    apart: usize,
    groups: Vec<Group>,
    entries: Vec<Entry>,
    large: Vec<Bytes>,
    rare: Vec<Rare>,
    pub(crate) replies: Replies,
}

impl Batch {
    pub(super) fn new(reactor: u16, worker: u16) -> Self {
        Self {
            reactor,
            worker,
            ..Self::default()
        }
    }

    pub(crate) fn reactor(&self) -> u16 {
        self.reactor
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes it carries to the worker. Events count too, or a flood of empty messages would
    /// never fill it.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.arena.len() + self.apart + self.entries.len() * size_of::<Entry>()
    }

    #[inline]
    pub(super) fn message(&mut self, to: Target, kind: MessageKind, payload: Payload<'_>) {
        let entry = match payload {
            Payload::Borrowed(bytes) if bytes.len() < OWNED_FROM => {
                self.arena.extend_from_slice(bytes);
                Entry::Small(kind, self.arena.len() as u32)
            }
            Payload::Borrowed(bytes) => self.large(kind, Bytes::copy_from_slice(bytes)),
            Payload::Owned(bytes) => self.large(kind, bytes.into()),
        };
        self.push(to, entry);
    }

    fn large(&mut self, kind: MessageKind, bytes: Bytes) -> Entry {
        self.apart += bytes.len();
        self.large.push(bytes);
        Entry::Large(kind)
    }

    pub(super) fn timer(&mut self, to: Target) {
        self.push(to, Entry::Timer);
    }

    pub(super) fn drain(&mut self, to: Target) {
        self.push(to, Entry::Drain);
    }

    pub(super) fn open(&mut self, to: Target, head: &[u8], remote: SocketAddr) {
        self.arena.extend_from_slice(head);
        self.rare(to, Rare::Open { remote });
    }

    pub(super) fn rare(&mut self, to: Target, rare: Rare) {
        self.rare.push(rare);
        self.push(to, Entry::Rare(self.arena.len() as u32));
    }

    #[inline]
    fn push(&mut self, to: Target, entry: Entry) {
        self.entries.push(entry);
        let end = self.entries.len() as u32;
        match self.groups.last_mut() {
            Some(group) if group.to == to => group.end = end,
            _ => self.groups.push(Group { to, end }),
        }
    }

    /// Hands every event to `run` in order, together with the replies to be filled, and leaves
    /// the events empty, with their memory.
    pub(crate) fn deliver(&mut self, mut run: impl FnMut(Target, Delivered<'_>, &mut Replies)) {
        let mut large = self.large.drain(..);
        let mut rare = self.rare.drain(..);
        let mut start = 0;
        let mut first = 0;
        for group in &self.groups {
            for entry in &self.entries[first..group.end as usize] {
                let event = match *entry {
                    Entry::Small(kind, end) => {
                        let payload = &self.arena[start..end as usize];
                        start = end as usize;
                        Delivered::Small(kind, payload)
                    }
                    Entry::Large(kind) => Delivered::Large(
                        kind,
                        large.next().expect("each large entry has its bytes"),
                    ),
                    Entry::Timer => Delivered::Timer,
                    Entry::Drain => Delivered::Drain,
                    Entry::Rare(end) => {
                        let head = &self.arena[start..end as usize];
                        start = end as usize;
                        let event = rare.next().expect("each rare entry has its event");
                        Delivered::Rare(event, head)
                    }
                };
                run(group.to, event, &mut self.replies);
            }
            first = group.end as usize;
        }
        drop(large);
        drop(rare);
        self.groups.clear();
        self.entries.clear();
        self.arena.clear();
        self.apart = 0;
        if self.arena.capacity() > KEPT_ARENA {
            self.arena.shrink_to(KEPT_ARENA);
        }
    }
}
