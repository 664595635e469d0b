//! One connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write as _};

use mio::net::TcpStream;

use super::{Context, Nanos};
use crate::net;
use crate::payload::{Cursor, Front, Ledger, Pattern};
use crate::wire::{self, Key, Opcode};

/// Messages from this size on leave from where they lie; smaller ones are copied together.
const LARGE: usize = 4096;
/// Large messages in one write.
const MOST_LARGE: usize = 8;
/// Bytes of small messages in one write, beyond which no more are added.
const ENOUGH: usize = 64 << 10;
/// Bytes that wait to be written, from which on pings go without a pong: a server that pings and
/// does not read would have them gathered without end.
const MOST_PONGS: usize = 64 << 10;
/// Bytes of the room where small messages are put together: the last may begin just below
/// [`ENOUGH`], behind the rest of one that was cut, and may spoil some bytes behind it.
pub(super) const SCRATCH: usize = ENOUGH + 2 * LARGE + 64;

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// With a reset, at once.
    Reset,
    /// With the closing handshake.
    Close,
}

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum State {
    /// The request has not been written, since `connect`.
    Connecting {
        key: Key,
        started: Nanos,
        handshake: bool,
    },
    /// The response is not whole: what has come of it.
    Opening {
        key: Key,
        started: Nanos,
        response: Vec<u8>,
    },
    Open,
    /// Connected, and never to speak the protocol: only the scenario's bytes.
    Raw,
    /// Our Close frame is on its way, or the end of the stream is waited for.
    Closing,
}

/// One connection: its socket, what is to be written and what has come back.
#[derive(Debug)]
pub struct Link {
    pub(super) socket: TcpStream,
    pub(super) state: State,
    pub(super) generation: u32,
    pub(super) leave: Option<Leave>,
    /// The kernel takes no more: nothing is written before it says so.
    blocked: bool,
    /// Nothing that comes is read.
    pub(super) deaf: bool,
    /// Whole messages to be sent that have not begun.
    queued: u32,
    /// How much of the message that has begun is written; 0 between messages.
    cut: usize,
    /// Bytes that go before the next message: control frames, the request.
    first: Vec<u8>,
    /// What was sent and came back.
    pub ledger: Ledger,
    pub(super) stamps: Stamps,
}

impl Link {
    pub(super) fn new(socket: TcpStream, ledger: Ledger, generation: u32, state: State) -> Self {
        Self {
            socket,
            state,
            generation,
            leave: None,
            blocked: true,
            deaf: false,
            queued: 0,
            cut: 0,
            first: Vec::new(),
            ledger,
            stamps: Stamps::default(),
        }
    }

    /// The number of the connection, unlike that of any other in the run.
    pub fn id(&self) -> u32 {
        self.ledger.connection()
    }

    /// Whether messages, or without a handshake bytes, can be sent.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open | State::Raw) && self.leave.is_none()
    }

    /// Messages queued or sent whose echo has not come.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.queued + self.ledger.outstanding()
    }

    /// Queues so many messages; they leave when the call into the scenario returns, or with
    /// [`flush`](Self::flush).
    #[inline]
    pub fn queue(&mut self, count: u32) {
        self.queued += count;
    }

    /// Forgets the messages that have not begun to leave: how many.
    pub(super) fn unqueue(&mut self) -> u32 {
        std::mem::take(&mut self.queued)
    }

    /// Queues a control frame, which goes before messages that have not begun.
    pub fn control(&mut self, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
        wire::control(&mut self.first, opcode, payload, key);
    }

    /// Answers a ping, unless the answers to those before it pile up.
    pub(super) fn pong(&mut self, payload: &[u8], key: [u8; 4]) {
        if self.first.len() < MOST_PONGS {
            self.control(Opcode::Pong, payload, key);
        }
    }

    /// Queues any bytes, which go before messages that have not begun.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.first.extend_from_slice(bytes);
    }

    /// Ends the connection when the call into the scenario returns.
    pub fn leave(&mut self, how: Leave) {
        self.leave = Some(how);
    }

    /// Reads nothing from now on, so that what the server sends stays in the kernel's buffers.
    pub fn stop_reading(&mut self) {
        self.deaf = true;
    }

    pub(super) fn writable(&mut self) {
        self.blocked = false;
    }

    /// Whether [`flush`](Self::flush) has something to do.
    #[inline]
    pub(super) fn has_output(&self) -> bool {
        !self.blocked && (self.queued > 0 || self.cut > 0 || !self.first.is_empty())
    }

    /// Whether everything queued is written.
    pub fn is_flushed(&self) -> bool {
        self.queued == 0 && self.cut == 0 && self.first.is_empty()
    }

    /// Writes what is queued, as far as the kernel takes it.
    ///
    /// # Errors
    ///
    /// Those of the socket, after which it is of no use.
    pub fn flush(&mut self, context: &mut Context) -> io::Result<()> {
        while self.has_output() {
            let frame = context.pattern.frame_len();
            let write = if frame < LARGE {
                self.write_small(&context.pattern, &mut context.scratch)
            } else {
                self.write_large(&context.pattern)
            };
            match write.result {
                Ok(written) => {
                    self.written(written, &write, context);
                    self.blocked = written < write.len;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes small messages as one piece. What goes before them is rare, and goes alone.
    #[inline]
    fn write_small(&mut self, pattern: &Pattern, out: &mut [u8]) -> Write {
        let mut end = 0;
        let mut cursor = self.ledger.to_send();
        if self.cut > 0 {
            end = self.write_rest(pattern, out);
        }
        let mut messages = 0;
        if self.first.is_empty() {
            while messages < self.queued && end < ENOUGH {
                end = pattern.write(out, end, cursor);
                cursor = pattern.after(cursor);
                messages += 1;
            }
        }
        let out = if end == 0 {
            &self.first[..]
        } else {
            &out[..end]
        };
        Write {
            result: net::write(&self.socket, out),
            len: out.len(),
            messages,
            next: cursor,
        }
    }

    /// Puts the rest of the message that was cut to the start of `out`; returns where it ends.
    #[cold]
    fn write_rest(&self, pattern: &Pattern, out: &mut [u8]) -> usize {
        let whole = pattern.write(out, 0, self.before_to_send(pattern));
        out.copy_within(self.cut..whole, 0);
        whole - self.cut
    }

    /// Writes large messages from the table.
    #[inline(never)]
    fn write_large(&mut self, pattern: &Pattern) -> Write {
        let whole = (self.queued as usize).min(MOST_LARGE);
        let mut cursors = [self.ledger.to_send(); MOST_LARGE + 1];
        for i in 0..whole {
            cursors[i + 1] = pattern.after(cursors[i]);
        }
        let (cut_front, cut_body) = pattern.parts(self.before_to_send(pattern));
        let fronts: [Front; MOST_LARGE] = std::array::from_fn(|i| pattern.parts(cursors[i]).0);
        let mut slices = [IoSlice::new(&[]); 2 * MOST_LARGE + 3];
        if self.cut > 0 {
            let front = cut_front.bytes();
            slices[0] = IoSlice::new(&front[self.cut.min(front.len())..]);
            slices[1] = IoSlice::new(&cut_body[self.cut.saturating_sub(front.len())..]);
        }
        slices[2] = IoSlice::new(&self.first);
        for (i, front) in fronts.iter().enumerate().take(whole) {
            slices[3 + 2 * i] = IoSlice::new(front.bytes());
            slices[4 + 2 * i] = IoSlice::new(pattern.parts(cursors[i]).1);
        }
        let slices = &slices[..3 + 2 * whole];
        Write {
            result: self.socket.write_vectored(slices),
            len: slices.iter().map(|slice| slice.len()).sum(),
            messages: whole as u32,
            next: cursors[whole],
        }
    }

    /// The message that was begun last.
    fn before_to_send(&self, pattern: &Pattern) -> Cursor {
        pattern.cursor(self.id(), self.ledger.sent().wrapping_sub(1))
    }

    /// Accounts for bytes the kernel took.
    #[inline]
    fn written(&mut self, mut written: usize, write: &Write, context: &mut Context) {
        let frame = context.pattern.frame_len();
        if self.cut > 0 || !self.first.is_empty() {
            written -= self.written_before(written, frame);
        }
        if written == 0 {
            return;
        }
        let (begun, next) = if written == frame * write.messages as usize {
            (write.messages, write.next)
        } else {
            self.cut = written % frame;
            let begun = written.div_ceil(frame) as u32;
            let sequence = self.ledger.sent().wrapping_add(begun);
            (begun, context.pattern.cursor(self.id(), sequence))
        };
        self.queued -= begun;
        self.ledger.begin(begun, next);
        self.stamps.push(context.now, begun);
        context.outstanding = context.outstanding.wrapping_add(u64::from(begun));
        if context.stats.measures(context.now) {
            context.stats.sent += u64::from(begun);
        }
    }

    /// Accounts for what goes before messages that have not begun: how much of `written` it was.
    #[cold]
    fn written_before(&mut self, written: usize, frame: usize) -> usize {
        let mut rest = 0;
        if self.cut > 0 {
            rest = (frame - self.cut).min(written);
            self.cut = (self.cut + rest) % frame;
        }
        let first = self.first.len().min(written - rest);
        self.first.drain(..first);
        if self.first.is_empty() {
            // Few connections have any at any time.
            self.first = Vec::new();
        }
        rest + first
    }
}

/// What one write was to send, and what came of it.
struct Write {
    result: io::Result<usize>,
    /// Bytes.
    len: usize,
    /// Messages that had not begun before.
    messages: u32,
    /// The message after those.
    next: Cursor,
}

/// When the messages whose echoes are waited for were sent, oldest first; those of one write
/// together.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    runs: VecDeque<(Nanos, u32)>,
}

impl Stamps {
    #[inline]
    fn push(&mut self, at: Nanos, count: u32) {
        self.runs.push_back((at, count));
    }

    /// Takes `count` stamps off, and hands them on, those of one write together.
    #[inline]
    pub(super) fn take(&mut self, mut count: u32, mut each: impl FnMut(Nanos, u64)) {
        while count > 0 {
            let Some((at, left)) = self.runs.front_mut() else {
                break;
            };
            let taken = count.min(*left);
            each(*at, u64::from(taken));
            *left -= taken;
            count -= taken;
            if *left == 0 {
                self.runs.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pongs_that_the_server_does_not_take_are_bounded() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = net::connect(listener.local_addr().unwrap(), None, None).unwrap();
        let ledger = Ledger::new(0, &Pattern::new(1, false));
        let mut link = Link::new(socket, ledger, 0, State::Open);
        for _ in 0..10_000 {
            link.pong(&[7; 125], [1, 2, 3, 4]);
        }
        assert!(link.first.len() > MOST_PONGS / 2);
        assert!(link.first.len() < MOST_PONGS + 200, "{}", link.first.len());
    }

    #[test]
    fn stamps_come_off_in_order() {
        let mut stamps = Stamps::default();
        let take = |stamps: &mut Stamps, count| {
            let mut taken = Vec::new();
            stamps.take(count, |at, count| taken.push((at, count)));
            taken
        };
        stamps.push(10, 2);
        stamps.push(20, 3);
        stamps.push(30, 1);
        assert_eq!(take(&mut stamps, 1), [(10, 1)]);
        assert_eq!(take(&mut stamps, 2), [(10, 1), (20, 1)]);
        assert_eq!(take(&mut stamps, 0), []);
        assert_eq!(take(&mut stamps, 4), [(20, 2), (30, 1)]);
    }
}
