//! One connection: reading, answering, writing.

use std::mem;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::frames::{self, Answer};
use crate::handshake;

/// Read at once into the buffer that all connections share.
const SCRATCH: usize = 64 << 10;
/// Room after a large message: a read that does not fill it tells that nothing is left.
const SLACK: usize = 4 << 10;
/// Buffers for large messages kept for the next one, and how large they may be.
const SPARES: usize = 64;
const SPARE: usize = 4 << 20;
/// Everything that comes with more, be it request or frame, is no load of ours.
const LIMIT: usize = peers_common::MAX_MESSAGE + SLACK;

/// What the connections of a thread share.
pub(crate) struct Buffers {
    scratch: Box<[u8]>,
    spares: Vec<Vec<u8>>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self {
            scratch: vec![0; SCRATCH].into(),
            spares: Vec::new(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }

    fn give_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= SPARE && self.spares.len() < SPARES {
            buffer.clear();
            self.spares.push(buffer);
        }
    }
}

/// How a connection goes on.
pub(crate) enum Progress {
    /// With the next event.
    Idle,
    /// For the first time, when the peer has read; it has to be told of this from now on.
    Blocked,
    /// Not at all.
    Ended,
}

/// One connection. An idle one is no more than this.
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    stage: Stage,
    told_when_writable: bool,
    /// What came in part or could not be written.
    held: Option<Box<Held>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The opening handshake's request is awaited.
    Request,
    Frames,
    Raw,
    /// The close frame is answered: all that is left is to write.
    Closing,
}

#[derive(Default)]
struct Held {
    /// The start of a request or frame.
    input: Vec<u8>,
    /// What could not be written: the bytes from `sent` to `until`.
    output: Vec<u8>,
    sent: usize,
    until: usize,
}

impl Held {
    fn is_blocked(&self) -> bool {
        self.sent < self.until
    }
}

/// The connection is over, orderly or not.
struct End;

impl From<Errno> for End {
    fn from(_: Errno) -> Self {
        End
    }
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd, raw: bool) -> Self {
        let stage = if raw { Stage::Raw } else { Stage::Request };
        Self {
            socket,
            stage,
            told_when_writable: false,
            held: None,
        }
    }

    /// Does all that `flags` say can be done.
    #[inline]
    pub(crate) fn progress(&mut self, flags: EventFlags, buffers: &mut Buffers) -> Progress {
        if self.turn(flags, buffers).is_err() {
            return Progress::Ended;
        }
        let blocked = self.held.as_ref().is_some_and(|held| held.is_blocked());
        if blocked && !self.told_when_writable {
            self.told_when_writable = true;
            return Progress::Blocked;
        }
        Progress::Idle
    }

    #[inline]
    fn turn(&mut self, flags: EventFlags, buffers: &mut Buffers) -> Result<(), End> {
        // A read that left room has read everything, unless the end of the stream is behind it.
        let to_the_end = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        loop {
            let drained = match self.held {
                None => self.read_into_scratch(buffers)?,
                Some(_) => self.go_on(buffers)?,
            };
            if self.held.as_ref().is_some_and(|held| held.is_blocked()) {
                return Ok(());
            }
            if self.stage == Stage::Closing {
                return Err(End);
            }
            match drained {
                Drained::Surely => return Ok(()),
                Drained::Probably if !to_the_end => return Ok(()),
                Drained::Probably | Drained::No => {}
            }
        }
    }

    #[inline]
    fn read_into_scratch(&mut self, buffers: &mut Buffers) -> Result<Drained, End> {
        let count = match recv(&self.socket, &mut buffers.scratch[..], RecvFlags::empty()) {
            Ok((_, 0)) => return Err(End),
            Ok((_, count)) => count,
            Err(Errno::AGAIN) => return Ok(Drained::Surely),
            Err(error) => return Err(error.into()),
        };
        let mut scratch = mem::take(&mut buffers.scratch);
        let kept = self.answer(&mut scratch[..count]);
        buffers.scratch = scratch;
        let Kept {
            answer,
            written,
            rest,
            needed,
        } = kept?;
        let bytes = &buffers.scratch;
        if written < answer.len() || !rest.is_empty() {
            let mut held = Box::<Held>::default();
            if written < answer.len() {
                held.output
                    .extend_from_slice(&bytes[answer.start + written..answer.end]);
                held.until = held.output.len();
            }
            if !rest.is_empty() {
                held.input = buffers.spares.pop().unwrap_or_default();
                held.input.reserve(needed.max(rest.len()) + SLACK);
                held.input.extend_from_slice(&bytes[rest]);
            }
            self.held = Some(held);
        }
        Ok(if count < bytes.len() {
            Drained::Probably
        } else {
            Drained::No
        })
    }

    /// Writes what is held, then reads on where the last read ended.
    #[cold]
    fn go_on(&mut self, buffers: &mut Buffers) -> Result<Drained, End> {
        let mut held = self.held.take().unwrap_or_default();
        if held.is_blocked() {
            held.sent += write_some(&self.socket, &held.output[held.sent..held.until])?;
            if held.is_blocked() {
                self.held = Some(held);
                return Ok(Drained::Surely);
            }
            buffers.give_back(mem::take(&mut held.output));
        }
        if held.input.is_empty() {
            buffers.give_back(held.input);
            return Ok(Drained::No);
        }
        let spare = spare_capacity(&mut held.input);
        let count = match recv(&self.socket, spare, RecvFlags::empty()) {
            Ok((_, 0)) => return Err(End),
            Ok((_, count)) => count,
            Err(Errno::AGAIN) => {
                self.held = Some(held);
                return Ok(Drained::Surely);
            }
            Err(error) => return Err(error.into()),
        };
        let left_room = held.input.len() < held.input.capacity();
        debug_assert!(count > 0);
        self.answer_held(held, buffers)?;
        Ok(if left_room {
            Drained::Probably
        } else {
            Drained::No
        })
    }

    fn answer_held(&mut self, mut held: Box<Held>, buffers: &mut Buffers) -> Result<(), End> {
        let Kept {
            answer,
            written,
            rest,
            needed,
        } = self.answer(&mut held.input)?;
        if written < answer.len() {
            // What is left of the answer stays where it is.
            let mut input = buffers.take();
            input.extend_from_slice(&held.input[rest]);
            held.output = mem::replace(&mut held.input, input);
            held.sent = answer.start + written;
            held.until = answer.end;
        } else {
            held.input.copy_within(rest.clone(), 0);
            held.input.truncate(rest.len());
        }
        if held.input.is_empty() && !held.is_blocked() {
            buffers.give_back(held.input);
            return Ok(());
        }
        let wanted = needed.max(held.input.len()) + SLACK;
        held.input.reserve(wanted - held.input.len());
        self.held = Some(held);
        Ok(())
    }

    /// Answers all of `bytes` that is complete with one write.
    #[inline]
    fn answer(&mut self, bytes: &mut [u8]) -> Result<Kept, End> {
        let answer = match self.stage {
            Stage::Frames => frames::answer(bytes),
            Stage::Raw => Answer {
                range: 0..bytes.len(),
                consumed: bytes.len(),
                ..Answer::default()
            },
            Stage::Request => return self.accept(bytes),
            Stage::Closing => return Err(End),
        };
        self.write_answer(answer, bytes)
    }

    #[inline]
    fn write_answer(&mut self, answer: Answer, bytes: &[u8]) -> Result<Kept, End> {
        let Answer {
            range,
            consumed,
            needed,
            closing,
        } = answer;
        let written = match range.is_empty() {
            true => 0,
            false => write_some(&self.socket, &bytes[range.clone()])?,
        };
        if closing {
            self.stage = Stage::Closing;
        }
        if needed > LIMIT {
            return Err(End);
        }
        Ok(Kept {
            answer: range,
            written,
            rest: consumed..bytes.len(),
            needed,
        })
    }

    /// Answers the opening handshake, and the frames behind it if a client did not wait.
    #[cold]
    fn accept(&mut self, bytes: &mut [u8]) -> Result<Kept, End> {
        let Some(length) = handshake::length(bytes) else {
            if bytes.len() > handshake::LIMIT {
                return Err(End);
            }
            return Ok(Kept {
                answer: 0..0,
                written: 0,
                rest: 0..bytes.len(),
                needed: 0,
            });
        };
        let response = handshake::response(&bytes[..length]).ok_or(End)?;
        // A new connection has room for so little, or it never will.
        if write_some(&self.socket, &response)? < response.len() {
            return Err(End);
        }
        self.stage = Stage::Frames;
        let Answer {
            range,
            consumed,
            needed,
            closing,
        } = frames::answer(&mut bytes[length..]);
        let range = range.start + length..range.end + length;
        let answer = Answer {
            range,
            consumed: consumed + length,
            needed,
            closing,
        };
        self.write_answer(answer, bytes)
    }
}

/// Whether there is more to read.
enum Drained {
    Surely,
    Probably,
    No,
}

/// Where in the bytes read the answer is, how much of it was written, and what is incomplete.
struct Kept {
    answer: Range<usize>,
    written: usize,
    rest: Range<usize>,
    /// The whole length of what is incomplete, as far as it is known.
    needed: usize,
}

#[inline]
fn write_some(socket: &OwnedFd, bytes: &[u8]) -> Result<usize, End> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(count) => Ok(count),
        Err(Errno::AGAIN) => Ok(0),
        Err(_) => Err(End),
    }
}
