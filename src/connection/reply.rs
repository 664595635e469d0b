//! What handlers answer: encoded replies and decisions, grouped by connection, in order.

use bytes::Bytes;

use crate::protocol::{CloseCode, CloseFrame, FrameHeader, MessageKind, Opcode};
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
    /// Where the group's bytes begin in the arena.
    pub(crate) start: usize,
    /// What the events weigh that it answers; see [`weight`].
    pub(crate) delivered: u32,
}

/// Replies under construction: groups of operations over one arena of encoded bytes.
#[derive(Default)]
pub(crate) struct Replies {
    arena: Vec<u8>,
    ops: Vec<Op>,
    groups: Vec<Group>,
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
        let delivered = delivered as u32;
        match self.groups.last_mut() {
            Some(group) if group.token == token => group.delivered += delivered,
            _ => self.groups.push(Group {
                token,
                ops: self.ops.len() as u32,
                start: self.arena.len() as u32,
                delivered,
            }),
        }
    }

    /// Bytes of output so far.
    #[inline]
    pub(crate) fn written(&self) -> usize {
        self.arena.len() + self.apart
    }

    /// What the events of the current group weigh; see [`weight`].
    #[inline]
    pub(crate) fn delivered(&self) -> usize {
        self.groups
            .last()
            .map_or(0, |group| group.delivered as usize)
    }

    #[inline]
    pub(crate) fn message(&mut self, kind: MessageKind, body: Body<'_>) {
        match body {
            Body::Borrowed(bytes) if bytes.len() < OWNED_FROM => self.frame(kind.opcode(), bytes),
            Body::Owned(bytes) if bytes.len() < OWNED_FROM => self.frame(kind.opcode(), &bytes),
            body => {
                let frame = OutFrame::new(kind.opcode(), body.into_bytes());
                self.apart += frame.len();
                self.ops.push(Op::Frame(frame));
            }
        }
    }

    #[inline]
    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        crate::protocol::encode_frame(&mut self.arena, opcode, None, payload);
        self.seal();
    }

    /// Bytes that are not a frame: an HTTP response.
    pub(crate) fn raw(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.arena);
        self.seal();
    }

    /// A Close frame (RFC 6455 section 5.5.1).
    pub(crate) fn close_frame(&mut self, code: Option<CloseCode>, reason: &str) {
        CloseFrame::encode(&mut self.arena, None, code, reason);
        self.seal();
    }

    pub(crate) fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// Asks for a call when the outbox has drained. Asking again adds nothing.
    pub(crate) fn want_drain(&mut self) {
        if !matches!(self.group_ops().last(), Some(Op::Drain)) {
            self.ops.push(Op::Drain);
        }
    }

    pub(crate) fn set_timer(&mut self, after: Option<u32>) {
        match self.group_ops().last_mut() {
            Some(Op::Timer(pending)) => *pending = after,
            _ => self.ops.push(Op::Timer(after)),
        }
    }

    #[inline]
    fn group_ops(&mut self) -> &mut [Op] {
        let first = self.groups.last().map_or(0, |group| group.ops as usize);
        &mut self.ops[first..]
    }

    /// Notes how far the arena reaches, so that what one read brought leaves as one run of bytes.
    #[inline]
    fn seal(&mut self) {
        let reached = self.arena.len() as u32;
        match self.group_ops().last_mut() {
            Some(Op::Bytes { end }) => *end = reached,
            _ => self.ops.push(Op::Bytes { end: reached }),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Hands every group to `apply`, in order. Leaves the replies empty, with their memory.
    #[inline]
    pub(crate) fn drain(&mut self, mut apply: impl FnMut(Answer<'_>)) {
        for (at, group) in self.groups.iter().enumerate() {
            let end = match self.groups.get(at + 1) {
                Some(next) => next.ops as usize,
                None => self.ops.len(),
            };
            apply(Answer {
                token: group.token,
                ops: &mut self.ops[group.ops as usize..end],
                arena: &self.arena,
                start: group.start as usize,
                delivered: group.delivered,
            });
        }
        self.groups.clear();
        self.ops.clear();
        self.apart = 0;
        self.arena.clear();
        if self.arena.capacity() > KEPT_ARENA {
            self.arena.shrink_to(KEPT_ARENA);
        }
    }
}
