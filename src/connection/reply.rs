//! What handlers answer: encoded replies and decisions, grouped by connection, in order.

use std::ops::Range;

use bytes::Bytes;

use crate::protocol::{CloseCode, CloseFrame, FrameHeader, MessageKind, Opcode, encode_frame};
use crate::transport::Token;

/// Payloads from here on are passed along instead of being copied next to their header.
pub(crate) const OWNED_FROM: usize = 16 * 1024;

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
    /// Encoded bytes, up to this offset of the arena.
    Bytes { end: u32 },
    /// A frame with a payload of its own.
    Frame(OutFrame),
    /// A Close frame is among the bytes before this: nothing may follow it.
    Close,
    /// A message was refused: tell the handler when there is room again.
    Drain,
    /// Call the timer in so many milliseconds, instead of any earlier call for it.
    Timer(Option<u32>),
    /// The handler has gone. A Close frame, if one is due, is among the bytes before this.
    End,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    token: Token,
    ops: u32,
    start: u32,
    delivered: u32,
}

/// One group, as its connection carries it out.
pub(crate) struct Answer<'a> {
    pub(crate) token: Token,
    pub(crate) ops: &'a mut [Op],
    pub(crate) arena: &'a [u8],
    /// Where the group's bytes lie in the arena. Those behind the last operation come after it.
    pub(crate) range: Range<usize>,
    /// What the events weigh that it answers; see [`weight`].
    pub(crate) delivered: u32,
}

/// Replies under construction: groups of operations over one arena of encoded bytes.
#[derive(Default)]
pub(crate) struct Replies {
    arena: Vec<u8>,
    ops: Vec<Op>,
    groups: Vec<Group>,
    /// How far the current group's operations reach in the arena. What lies behind becomes an
    /// operation only when another follows, so that it leaves as one run of bytes.
    sealed: usize,
    /// What the events of the current group weigh so far.
    delivered: usize,
    /// Bytes of frames that the arena does not hold.
    apart: usize,
}

/// Arena capacity kept from one turn to the next.
const KEPT_ARENA: usize = 256 * 1024;

impl Replies {
    /// Starts (or goes on with) the group of one connection, with an event that weighs
    /// `delivered`.
    #[inline]
    pub(crate) fn begin(&mut self, token: Token, delivered: usize) {
        if self.groups.last().is_none_or(|group| group.token != token) {
            self.finish_group();
            self.sealed = self.arena.len();
            self.groups.push(Group {
                token,
                ops: self.ops.len() as u32,
                start: self.sealed as u32,
                delivered: 0,
            });
        }
        self.delivered += delivered;
    }

    #[inline]
    fn finish_group(&mut self) {
        if let Some(group) = self.groups.last_mut() {
            group.delivered = self.delivered as u32;
        }
        self.delivered = 0;
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
            Body::Borrowed(bytes) if bytes.len() < OWNED_FROM => {
                encode_frame(&mut self.arena, kind.opcode(), None, bytes);
            }
            body => self.owned(kind, body),
        }
    }

    // Kept apart, because the path of small borrowed messages is taken most.
    #[inline(never)]
    fn owned(&mut self, kind: MessageKind, body: Body<'_>) {
        if body.as_bytes().len() < OWNED_FROM {
            encode_frame(&mut self.arena, kind.opcode(), None, body.as_bytes());
        } else {
            let frame = OutFrame::new(kind.opcode(), body.into_bytes());
            self.apart += frame.len();
            self.push(Op::Frame(frame));
        }
    }

    /// Bytes that are not a frame: an HTTP response.
    pub(crate) fn raw(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.arena);
    }

    /// A Close frame (RFC 6455 section 5.5.1).
    pub(crate) fn close_frame(&mut self, code: Option<CloseCode>, reason: &str) {
        CloseFrame::encode(&mut self.arena, None, code, reason);
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

    pub(crate) fn set_timer(&mut self, after: Option<u32>) {
        self.seal();
        match self.group_ops().last_mut() {
            Some(Op::Timer(pending)) => *pending = after,
            _ => self.ops.push(Op::Timer(after)),
        }
    }

    fn group_ops(&mut self) -> &mut [Op] {
        let first = self.groups.last().map_or(0, |group| group.ops as usize);
        &mut self.ops[first..]
    }

    #[inline]
    fn seal(&mut self) {
        let reached = self.arena.len();
        if reached > self.sealed {
            self.sealed = reached;
            self.ops.push(Op::Bytes {
                end: reached as u32,
            });
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether there are bytes for this connection and nothing else.
    #[inline]
    pub(crate) fn has_only_bytes_for(&self, token: Token) -> bool {
        matches!(&self.groups[..], [group] if group.token == token) && self.ops.is_empty()
    }

    /// The answer of replies that hold nothing but this connection's bytes.
    #[inline]
    pub(crate) fn only_bytes(&self, token: Token) -> Answer<'_> {
        debug_assert!(self.has_only_bytes_for(token));
        Answer {
            token,
            ops: &mut [],
            arena: &self.arena,
            range: 0..self.arena.len(),
            delivered: self.delivered as u32,
        }
    }

    /// Hands every group to `apply`, in order.
    pub(crate) fn for_each(&mut self, mut apply: impl FnMut(Answer<'_>)) {
        self.finish_group();
        for (at, group) in self.groups.iter().enumerate() {
            let (ops, end) = match self.groups.get(at + 1) {
                Some(next) => (next.ops as usize, next.start as usize),
                None => (self.ops.len(), self.arena.len()),
            };
            apply(Answer {
                token: group.token,
                ops: &mut self.ops[group.ops as usize..ops],
                arena: &self.arena,
                range: group.start as usize..end,
                delivered: group.delivered,
            });
        }
    }

    /// Forgets everything but keeps the memory.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.groups.clear();
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
