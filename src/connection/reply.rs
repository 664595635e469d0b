//! What handlers answer: encoded replies and decisions, grouped by connection, in order.

use std::sync::Arc;

use bytes::Bytes;

use crate::mapped_vec::MappedVec;
use crate::protocol::{CloseCode, CloseFrame, FrameHeader, MessageKind, Opcode};
use crate::topics::Topic;
use crate::transport::Token;

/// Payloads from here on are passed along instead of being copied.
pub(crate) const OWNED_FROM: usize = 16 * 1024;
/// Lent payloads from here on get memory of their own. Below, a copy next to their header costs
/// less than the memory and a write in two parts.
const APART_FROM: usize = 64 * 1024;

/// The bytes of a message, lent or given.
pub(crate) enum Body<'a> {
    Borrowed(&'a [u8]),
    Owned(Bytes),
}

impl Body<'_> {
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Body::Borrowed(bytes) => bytes,
            Body::Owned(bytes) => bytes,
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Body::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Body::Owned(bytes) => bytes,
        }
    }
}

/// What a message of `len` bytes counts while it is with its handler: at least what it takes
/// to send it back.
#[inline]
pub(crate) fn weight(len: usize) -> usize {
    FrameHeader::MAX_LEN + len
}

/// An unmasked frame whose payload is held apart from its header, so that it is never copied.
#[derive(Clone, Debug)]
pub(crate) struct OutFrame {
    header: [u8; FrameHeader::MAX_LEN],
    header_len: u8,
    pub(crate) payload: Bytes,
}

impl OutFrame {
    pub(crate) fn new(opcode: Opcode, payload: Bytes) -> Self {
        let mut header = [0; FrameHeader::MAX_LEN];
        let header_len = FrameHeader {
            fin: true,
            opcode,
            mask: None,
            payload_len: payload.len() as u64,
        }
        .encode(&mut header) as u8;
        Self {
            header,
            header_len,
            payload,
        }
    }

    /// Stands in for a frame that was taken away.
    pub(crate) fn empty() -> Self {
        Self {
            header: [0; FrameHeader::MAX_LEN],
            header_len: 0,
            payload: Bytes::new(),
        }
    }

    /// Bytes that are not a frame, for which the same holds.
    pub(crate) fn raw(bytes: Bytes) -> Self {
        Self {
            payload: bytes,
            ..Self::empty()
        }
    }

    pub(crate) fn header(&self) -> &[u8] {
        &self.header[..usize::from(self.header_len)]
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.header_len) + self.payload.len()
    }
}

/// One step of a connection's answer.
#[derive(Debug)]
pub(crate) enum Op {
    /// The handshake is accepted; its connection is known to the executor by this slot.
    Accept { slot: u32, worker: u16 },
    /// The handshake is refused; the response follows, then the connection ends.
    Refuse,
    /// So many encoded bytes.
    Bytes { len: usize },
    /// A frame with a payload of its own.
    Frame(OutFrame),
    /// A Close frame is among the bytes before this: nothing may follow it.
    Close,
    /// A message was refused: tell the handler when there is room again.
    Drain,
    /// Call the timer in so many milliseconds, instead of any earlier call for it.
    Timer { after: Option<u32>, epoch: u8 },
    /// The handler has been told of this subscription and has answered: publications follow.
    Admit { topic: Arc<Topic>, ticket: u32 },
    /// The handler has gone. A Close frame, if one is due, is among the bytes before this.
    End,
}

/// A group that is finished: what it has from the end of the one before it.
#[derive(Clone, Copy, Debug)]
struct Group {
    token: Token,
    ops_end: usize,
    end: usize,
    delivered: u32,
}

/// One group, as its connection carries it out.
pub(crate) struct Answer<'a> {
    pub(crate) token: Token,
    pub(crate) ops: &'a mut [Op],
    /// The group's encoded bytes. Those that no operation names come after the last.
    pub(crate) bytes: &'a [u8],
    /// What the events weigh that it answers; see [`weight`].
    pub(crate) delivered: u32,
}

/// Replies under construction: groups of operations over one arena of encoded bytes.
#[derive(Default)]
pub(crate) struct Replies {
    arena: MappedVec<u8>,
    ops: MappedVec<Op>,
    groups: MappedVec<Group>,
    /// Whose group is under construction; nobody's only as long as there is no group at all.
    current: Option<Token>,
    /// How far the current group's operations reach in the arena. What lies behind becomes an
    /// operation only when another follows, so that it leaves as one run of bytes.
    sealed: usize,
    /// What the events of the current group weigh so far.
    delivered: usize,
    /// Bytes of frames that the arena does not hold.
    apart: usize,
    /// What had been written, and what `delivered` was, when the event under way began.
    event: (usize, usize),
    /// For heads of responses and Close frames, before they go to the arena.
    scratch: Vec<u8>,
}

/// Scratch capacity kept from one response to the next.
const KEPT_SCRATCH: usize = 512;

/// Arena capacity kept from one turn to the next: what answers a full batch lies in a mapping of
/// twice its size at most.
const KEPT_ARENA: usize = 512 * 1024;

impl Replies {
    /// Starts (or goes on with) the group of one connection.
    #[inline]
    pub(crate) fn begin(&mut self, token: Token) {
        if !self.is_for(token) {
            self.finish_group();
            self.current = Some(token);
            self.sealed = self.arena.len();
        }
    }

    /// Whether the group under construction is this connection's.
    #[inline]
    fn is_for(&self, token: Token) -> bool {
        match self.current {
            Some(current) => current == token,
            None => false,
        }
    }

    #[inline]
    fn finish_group(&mut self) {
        if let Some(token) = self.current {
            self.groups.push(Group {
                token,
                ops_end: self.ops.len(),
                end: self.arena.len(),
                delivered: self.delivered as u32,
            });
            self.delivered = 0;
        }
    }

    /// Marks where an event of the current group begins; says what has been written so far.
    #[inline]
    pub(crate) fn begin_event(&mut self) -> usize {
        let written = self.written();
        self.event = (written, self.delivered);
        written
    }

    /// What the event has written, and what its messages weigh, so far.
    pub(crate) fn of_event(&self) -> (usize, usize) {
        let (written, delivered) = self.event;
        (self.written() - written, self.delivered - delivered)
    }

    /// Adds to what the events of the current group weigh.
    #[inline]
    pub(crate) fn add_delivered(&mut self, delivered: usize) {
        self.delivered += delivered;
    }

    /// Bytes of output so far.
    #[inline]
    pub(crate) fn written(&self) -> usize {
        self.arena.len() + self.apart
    }

    /// What the events of the current group weigh; see [`weight`].
    #[inline]
    pub(crate) fn delivered(&self) -> usize {
        self.delivered
    }

    #[inline]
    pub(crate) fn message(&mut self, kind: MessageKind, body: Body<'_>) {
        match body {
            Body::Borrowed(bytes) if bytes.len() < APART_FROM => {
                self.frame(kind.opcode(), bytes);
            }
            body => self.owned(kind, body),
        }
    }

    #[inline]
    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let header = FrameHeader::short(opcode, payload.len());
        if !header.is_some_and(|header| self.arena.append(&header, payload)) {
            self.general_frame(opcode, payload);
        }
    }

    /// Any frame but a fragment.
    #[inline(never)]
    fn general_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut header = [0; FrameHeader::MAX_LEN];
        let header_len = FrameHeader {
            fin: true,
            opcode,
            mask: None,
            payload_len: payload.len() as u64,
        }
        .encode(&mut header);
        self.arena.reserve(header_len + payload.len());
        self.arena.extend_from_slice(&header[..header_len]);
        self.arena.extend_from_slice(payload);
    }

    // Kept apart, because the path of small borrowed messages is taken most.
    #[inline(never)]
    fn owned(&mut self, kind: MessageKind, body: Body<'_>) {
        if body.as_bytes().len() < OWNED_FROM {
            self.general_frame(kind.opcode(), body.as_bytes());
        } else {
            let frame = OutFrame::new(kind.opcode(), body.into_bytes());
            self.apart += frame.len();
            self.push(Op::Frame(frame));
        }
    }

    /// Bytes that are not a frame: an HTTP response.
    pub(crate) fn raw(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(&mut self.scratch);
        self.arena.extend_from_slice(&self.scratch);
        self.scratch.shrink_to(KEPT_SCRATCH);
    }

    /// A Close frame (RFC 6455 section 5.5.1).
    pub(crate) fn close_frame(&mut self, code: Option<CloseCode>, reason: &str) {
        self.raw(|bytes| CloseFrame::encode(bytes, None, code, reason));
    }

    pub(crate) fn push(&mut self, op: Op) {
        self.seal();
        self.ops.push(op);
    }

    /// Asks for a call when the outbox has drained. Asking again adds nothing.
    #[cold]
    pub(crate) fn want_drain(&mut self) {
        self.seal();
        if !matches!(self.group_ops().last(), Some(Op::Drain)) {
            self.ops.push(Op::Drain);
        }
    }

    /// `epoch` comes back with the call, which may meanwhile be wanted no longer.
    pub(crate) fn set_timer(&mut self, after: Option<u32>, epoch: u8) {
        self.seal();
        let op = Op::Timer { after, epoch };
        match self.group_ops().last_mut() {
            Some(pending @ Op::Timer { .. }) => *pending = op,
            _ => self.ops.push(op),
        }
    }

    fn group_ops(&mut self) -> &mut [Op] {
        let first = self.groups.last().map_or(0, |group| group.ops_end);
        &mut self.ops[first..]
    }

    #[inline]
    fn seal(&mut self) {
        let reached = self.arena.len();
        if reached > self.sealed {
            self.ops.push(Op::Bytes {
                len: reached - self.sealed,
            });
            self.sealed = reached;
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_none()
    }

    /// Whether there are bytes for this connection and nothing else.
    #[inline]
    pub(crate) fn has_only_bytes_for(&self, token: Token) -> bool {
        self.is_for(token) && self.groups.is_empty() && self.ops.is_empty()
    }

    /// The bytes of replies that hold nothing else, and what the events weigh that they answer.
    #[inline]
    pub(crate) fn only_bytes(&self) -> (&[u8], u32) {
        debug_assert!(self.groups.is_empty() && self.ops.is_empty());
        (&self.arena, self.delivered as u32)
    }

    /// Hands every group to `apply`, in order, and forgets them all.
    #[inline(always)]
    pub(crate) fn for_each(&mut self, mut apply: impl FnMut(Answer<'_>)) {
        self.finish_group();
        let mut ops = 0;
        let mut start = 0;
        for group in self.groups.iter() {
            apply(Answer {
                token: group.token,
                ops: &mut self.ops[ops..group.ops_end],
                bytes: &self.arena[start..group.end],
                delivered: group.delivered,
            });
            ops = group.ops_end;
            start = group.end;
        }
        self.clear();
    }

    /// Forgets everything but keeps the memory.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.groups.clear();
        self.current = None;
        self.delivered = 0;
        self.apart = 0;
        if !self.ops.is_empty() {
            self.ops.clear();
        }
        self.arena.clear();
        if self.arena.capacity() > KEPT_ARENA {
            self.arena.shrink_to(KEPT_ARENA);
        }
    }
}
