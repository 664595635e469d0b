//! What travels between a reactor and a worker: events on the way there, replies on the way
//! back, in the same recycled memory.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::connection::{Body, CloseReason, OWNED_FROM, Replies, Target, weight};
use crate::mapped_vec::MappedVec;
use crate::protocol::{CloseCode, MessageKind};
use crate::topics::Subscription;

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
    Timer(u8),
    Drain,
    /// Whatever bytes it has, such as the head of a request, end here in the arena.
    Rare(u32),
}

/// An event that a connection has once or seldom.
#[derive(Debug)]
pub(crate) enum Rare {
    Open { remote: SocketAddr },
    Close { code: CloseCode, reason: String },
    Subscribed(Box<Subscription>),
    End(CloseReason),
}

/// An event that is not a small message, as a worker takes it out.
pub(crate) enum Event<'a> {
    Large(MessageKind, Bytes),
    Timer(u8),
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
    arena: MappedVec<u8>,
    /// Bytes of large messages.
    apart: usize,
    groups: MappedVec<Group>,
    entries: MappedVec<Entry>,
    large: Vec<Bytes>,
    /// Each is taken out where it is.
    rare: MappedVec<Option<Rare>>,
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

    /// Takes messages from `next` until there is none.
    #[inline]
    pub(super) fn messages<'b>(
        &mut self,
        to: &Target,
        mut next: impl FnMut() -> Option<(MessageKind, &'b [u8])>,
    ) {
        let first = self.entries.len();
        while let Some((kind, bytes)) = next() {
            if bytes.len() < OWNED_FROM {
                self.arena.extend_from_slice(bytes);
                let end = self.arena.len() as u32;
                self.entries.push(Entry::Small(kind, end));
            } else {
                let entry = self.large(kind, Bytes::copy_from_slice(bytes));
                self.entries.push(entry);
            }
        }
        if self.entries.len() > first {
            self.close_group(to);
        }
    }

    pub(super) fn message(&mut self, to: &Target, kind: MessageKind, body: Body<'_>) {
        let entry = match body {
            Body::Borrowed(bytes) if bytes.len() < OWNED_FROM => {
                self.arena.extend_from_slice(bytes);
                Entry::Small(kind, self.arena.len() as u32)
            }
            body => self.large(kind, body.into_bytes()),
        };
        self.push(to, entry);
    }

    fn large(&mut self, kind: MessageKind, bytes: Bytes) -> Entry {
        self.apart += bytes.len();
        self.large.push(bytes);
        Entry::Large(kind)
    }

    pub(super) fn timer(&mut self, to: &Target, epoch: u8) {
        self.push(to, Entry::Timer(epoch));
    }

    pub(super) fn drain(&mut self, to: &Target) {
        self.push(to, Entry::Drain);
    }

    pub(super) fn open(&mut self, to: &Target, head: &[u8], remote: SocketAddr) {
        self.arena.extend_from_slice(head);
        self.rare(to, Rare::Open { remote });
    }

    pub(super) fn rare(&mut self, to: &Target, rare: Rare) {
        self.rare.push(Some(rare));
        self.push(to, Entry::Rare(self.arena.len() as u32));
    }

    fn push(&mut self, to: &Target, entry: Entry) {
        self.entries.push(entry);
        self.close_group(to);
    }

    /// The entries without a group belong to this connection.
    fn close_group(&mut self, to: &Target) {
        let end = self.entries.len() as u32;
        match self.groups.last_mut() {
            Some(group) if group.to == *to => group.end = end,
            _ => self.groups.push(Group { to: *to, end }),
        }
    }

    /// Hands every event to `consumer` in order, together with the replies to be filled, and
    /// leaves the events empty, with their memory.
    pub(crate) fn deliver(&mut self, consumer: &mut impl Consumer) {
        let mut large = self.large.drain(..);
        let mut rare = self.rare.iter_mut();
        let mut at = 0;
        let mut start = 0;
        for Group { to, end } in self.groups.iter() {
            let end = *end as usize;
            let mut small = Small {
                entries: &self.entries[at..end],
                arena: &self.arena,
                start,
            };
            at = end;
            while let Some(&entry) = small.entries.first() {
                let event = match entry {
                    Entry::Small(..) => {
                        consumer.messages(to, || small.next(), &mut self.replies);
                        // A handler that closed takes no more.
                        while let Some((_, bytes)) = small.next() {
                            self.replies.add_delivered(weight(bytes.len()));
                        }
                        continue;
                    }
                    Entry::Large(kind) => {
                        Event::Large(kind, large.next().expect("each large entry has its bytes"))
                    }
                    Entry::Timer(epoch) => Event::Timer(epoch),
                    Entry::Drain => Event::Drain,
                    Entry::Rare(end) => {
                        let event = rare.next().and_then(Option::take);
                        let event = event.expect("each rare entry has its event");
                        Event::Rare(event, small.bytes(end))
                    }
                };
                small.entries = &small.entries[1..];
                consumer.event(to, event, &mut self.replies);
            }
            start = small.start;
        }
        drop(large);
        self.rare.clear();
        self.groups.clear();
        self.entries.clear();
        self.arena.clear();
        self.apart = 0;
        if self.arena.capacity() > KEPT_ARENA {
            self.arena.shrink_to(KEPT_ARENA);
        }
    }
}

/// The small messages at the front of some entries.
struct Small<'a> {
    entries: &'a [Entry],
    arena: &'a [u8],
    /// Where the bytes of the first entry begin.
    start: usize,
}

impl<'a> Small<'a> {
    #[inline]
    fn next(&mut self) -> Option<(MessageKind, &'a [u8])> {
        let (&Entry::Small(kind, end), rest) = self.entries.split_first()? else {
            return None;
        };
        self.entries = rest;
        Some((kind, self.bytes(end)))
    }

    #[inline]
    fn bytes(&mut self, end: u32) -> &'a [u8] {
        let end = end as usize;
        let bytes = &self.arena[self.start..end];
        self.start = end;
        bytes
    }
}

/// Whoever takes the events out of a batch.
pub(crate) trait Consumer {
    /// Small messages of one connection that follow each other. Need not take them all.
    fn messages<'b>(
        &mut self,
        to: &Target,
        next: impl FnMut() -> Option<(MessageKind, &'b [u8])>,
        replies: &mut Replies,
    );
    fn event(&mut self, to: &Target, event: Event<'_>, replies: &mut Replies);
}
