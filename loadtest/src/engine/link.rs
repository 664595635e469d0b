//! One connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use mio::net::TcpStream;

use super::{Context, Nanos};
use crate::payload::{Front, Ledger, Pattern};
use crate::wire::{self, Key, Opcode};

/// Messages from this size on leave from where they lie; smaller ones are copied together.
const LARGE: usize = 4096;
/// Large messages in one write.
const MOST_LARGE: usize = 8;
/// Bytes of small messages in one write, beyond which no more are added.
const ENOUGH: usize = 64 << 10;

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
    pub(super) fn new(socket: TcpStream, id: u32, generation: u32, state: State) -> Self {
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
            ledger: Ledger::new(id),
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
            let (result, total) = if frame < LARGE {
                self.write_small(&context.pattern, &mut context.scratch)
            } else {
                self.write_large(&context.pattern)
            };
            match result {
                Ok(written) => {
                    self.written(written, frame, context);
                    self.blocked = written < total;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes small messages as one piece: its result and length.
    #[inline]
    fn write_small(&mut self, pattern: &Pattern, out: &mut Vec<u8>) -> (io::Result<usize>, usize) {
        out.clear();
        let (id, sent) = (self.ledger.connection(), self.ledger.sent());
        if self.cut > 0 {
            pattern.write(out, id, sent.wrapping_sub(1));
            out.drain(..self.cut);
        }
        out.extend_from_slice(&self.first);
        for i in 0..self.queued {
            pattern.write(out, id, sent.wrapping_add(i));
            if out.len() > ENOUGH {
                break;
            }
        }
        (self.socket.write(out), out.len())
    }

    /// Writes large messages from the table: the result and how much there was.
    fn write_large(&mut self, pattern: &Pattern) -> (io::Result<usize>, usize) {
        let (id, sent) = (self.ledger.connection(), self.ledger.sent());
        let whole = (self.queued as usize).min(MOST_LARGE);
        let sequence = |i: usize| sent.wrapping_add(i as u32);
        let (cut_front, cut_body) = pattern.parts(id, sent.wrapping_sub(1));
        let fronts: [Front; MOST_LARGE] = std::array::from_fn(|i| pattern.parts(id, sequence(i)).0);
        let mut slices = [IoSlice::new(&[]); 2 * MOST_LARGE + 3];
        if self.cut > 0 {
            let front = cut_front.bytes();
            slices[0] = IoSlice::new(&front[self.cut.min(front.len())..]);
            slices[1] = IoSlice::new(&cut_body[self.cut.saturating_sub(front.len())..]);
        }
        slices[2] = IoSlice::new(&self.first);
        for (i, front) in fronts.iter().enumerate().take(whole) {
            slices[3 + 2 * i] = IoSlice::new(front.bytes());
            slices[4 + 2 * i] = IoSlice::new(pattern.parts(id, sequence(i)).1);
        }
        let slices = &slices[..3 + 2 * whole];
        let total = slices.iter().map(|slice| slice.len()).sum();
        (self.socket.write_vectored(slices), total)
    }

    /// Accounts for bytes the kernel took.
    #[inline]
    fn written(&mut self, mut written: usize, frame: usize, context: &mut Context) {
        if self.cut > 0 {
            let rest = (frame - self.cut).min(written);
            self.cut = (self.cut + rest) % frame;
            written -= rest;
        }
        if !self.first.is_empty() {
            let first = self.first.len().min(written);
            written -= first;
            self.first.drain(..first);
            if self.first.is_empty() {
                // Few connections have any at any time.
                self.first = Vec::new();
            }
        }
        if written > 0 {
            self.cut = written % frame;
            let begun = written.div_ceil(frame) as u32;
            self.queued -= begun;
            self.ledger.begin(begun);
            self.stamps.push(context.now, begun);
            context.outstanding = context.outstanding.wrapping_add(u64::from(begun));
            if context.stats.measures(context.now) {
                context.stats.sent += u64::from(begun);
            }
        }
    }
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

    /// Takes `count` stamps off; returns the last of them, 0 if there is none.
    #[inline]
    pub(super) fn take(&mut self, mut count: u32) -> Nanos {
        let mut last = 0;
        while count > 0 {
            let Some((at, left)) = self.runs.front_mut() else {
                break;
            };
            last = *at;
            if *left > count {
                *left -= count;
                break;
            }
            count -= *left;
            self.runs.pop_front();
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_off_in_order() {
        let mut stamps = Stamps::default();
        stamps.push(10, 2);
        stamps.push(20, 3);
        stamps.push(30, 1);
        assert_eq!(stamps.take(1), 10);
        assert_eq!(stamps.take(2), 20);
        assert_eq!(stamps.take(0), 0);
        assert_eq!(stamps.take(3), 30);
        assert_eq!(stamps.take(1), 0);
    }
}
