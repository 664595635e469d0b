//! Frames from the server (RFC 6455 sections 5 and 7).

use std::fmt;

use super::Opcode;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of a message.
    Data(Data<'a>),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping.
    Pong(&'a [u8]),
    /// The closing handshake: code and reason, if it has them.
    Close(Option<(u16, &'a str)>),
}

/// A piece of a message: what of it one read brought. Its frames do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// [`Opcode::Text`] or [`Opcode::Binary`].
    pub opcode: Opcode,
    /// How many bytes of the message came before it.
    pub offset: u64,
    /// The bytes; may be none.
    pub piece: &'a [u8],
    /// Whether the message ends with it.
    pub last: bool,
}

/// How the server broke RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit without an extension.
    ReservedBit,
    /// A reserved opcode.
    Opcode(u8),
    /// A masked frame from a server.
    Masked,
    /// A length not in its shortest form, or over 63 bits.
    Length,
    /// A control frame in fragments.
    FragmentedControl,
    /// A control frame over 125 bytes.
    LongControl,
    /// A continuation of no message.
    NothingToContinue,
    /// A new message inside another one.
    Interrupted,
    /// A Close frame with one byte, a code that may not be sent or a reason that is not UTF-8.
    Close,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::ReservedBit => "a reserved bit is set",
            Self::Opcode(bits) => return write!(f, "the opcode {bits} is reserved"),
            Self::Masked => "a frame from the server is masked",
            Self::Length => "a length is not in its shortest form",
            Self::FragmentedControl => "a control frame is fragmented",
            Self::LongControl => "a control frame is longer than 125 bytes",
            Self::NothingToContinue => "a frame continues no message",
            Self::Interrupted => "a message begins inside another one",
            Self::Close => "a Close frame has a bad code or reason",
        };
        f.write_str(why)
    }
}

/// The state between two reads. It keeps no payload but that of a split control frame.
#[derive(Debug, Default)]
pub struct Parser {
    /// The frame being read, its header complete.
    frame: Option<Frame>,
    /// Opcode of the unfinished message, and its bytes so far.
    message: Option<(Opcode, u64)>,
    /// A header cut by the end of a read.
    head: [u8; 10],
    head_len: u8,
    /// A control frame's payload cut by the end of a read.
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    last: bool,
    /// Bytes of payload still to come.
    remaining: u64,
}

impl Parser {
    /// The next event of `input`, which moves on; `None` when all of it is used up.
    ///
    /// # Errors
    ///
    /// The first violation; the parser is of no use after it.
    #[inline]
    pub fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Event<'e>>, Violation> {
        if self.is_between_messages()
            && let Some((data, rest)) = whole(input)
        {
            *input = rest;
            return Ok(Some(Event::Data(data)));
        }
        self.next_piece(input)
    }

    /// What [`next`](Self::next) does if it is not a whole message in one frame.
    fn next_piece<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Event<'e>>, Violation> {
        let mut frame = match self.frame {
            Some(frame) => frame,
            None => match self.begin(input)? {
                Some(frame) => frame,
                None => return Ok(None),
            },
        };
        if frame.opcode.is_control() {
            return self.control(frame, input);
        }
        let take = frame.remaining.min(input.len() as u64);
        if take == 0 && frame.remaining > 0 {
            self.frame = Some(frame);
            return Ok(None);
        }
        let (piece, rest) = input.split_at(take as usize);
        *input = rest;
        frame.remaining -= take;
        let complete = frame.remaining == 0;
        self.frame = (!complete).then_some(frame);
        let last = complete && frame.last;
        let (opcode, offset) = match self.message {
            Some(message) => message,
            None => (frame.opcode, 0),
        };
        self.message = (!last).then_some((opcode, offset + take));
        Ok(Some(Event::Data(Data {
            opcode,
            offset,
            piece,
            last,
        })))
    }

    /// Whether nothing is unfinished.
    #[inline]
    pub fn is_between_messages(&self) -> bool {
        self.frame.is_none() && self.message.is_none() && self.head_len == 0
    }

    /// Reads a frame's header.
    #[inline]
    fn begin(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
        let frame = if self.head_len == 0 {
            match frame(input)? {
                Some((frame, len)) => {
                    *input = &input[len..];
                    frame
                }
                None => {
                    self.head[..input.len()].copy_from_slice(input);
                    self.head_len = input.len() as u8;
                    *input = &[];
                    return Ok(None);
                }
            }
        } else {
            match self.continue_head(input)? {
                Some(frame) => frame,
                None => return Ok(None),
            }
        };
        match (frame.opcode, self.message) {
            (Opcode::Continuation, None) => Err(Violation::NothingToContinue),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(Violation::Interrupted),
            _ => Ok(Some(frame)),
        }
    }

    #[cold]
    fn continue_head(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.head[usize::from(self.head_len)] = byte;
            self.head_len += 1;
            if let Some((frame, _)) = frame(&self.head[..usize::from(self.head_len)])? {
                self.head_len = 0;
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    #[cold]
    fn control<'e, 'i: 'e>(
        &'e mut self,
        mut frame: Frame,
        input: &mut &'i [u8],
    ) -> Result<Option<Event<'e>>, Violation> {
        // A frame already begun in an earlier read left its payload here, perhaps none yet.
        if self.frame.is_none() {
            self.control.clear();
        }
        let take = frame.remaining.min(input.len() as u64);
        let (piece, rest) = input.split_at(take as usize);
        *input = rest;
        frame.remaining -= take;
        if frame.remaining > 0 {
            self.control.extend_from_slice(piece);
            self.frame = Some(frame);
            return Ok(None);
        }
        self.frame = None;
        let payload = if self.control.is_empty() {
            piece
        } else {
            self.control.extend_from_slice(piece);
            &self.control[..]
        };
        Ok(Some(match frame.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            _ => Event::Close(close(payload)?),
        }))
    }
}

/// The message at the start of `input` if it is whole, in one frame and not very long; and what
/// follows. What it refuses may be right all the same.
#[inline]
fn whole(input: &[u8]) -> Option<(Data<'_>, &[u8])> {
    let (first, len, rest) = match *input {
        [first, len @ 0..=125, ref rest @ ..] => (first, usize::from(len), rest),
        [first, 126, high, low, ref rest @ ..] => {
            let len = usize::from(u16::from_be_bytes([high, low]));
            (first, len, rest)
        }
        _ => return None,
    };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        _ => return None,
    };
    let is_shortest = len > 125 || rest.len() + 2 == input.len();
    if rest.len() < len || !is_shortest {
        return None;
    }
    let (piece, rest) = rest.split_at(len);
    let data = Data {
        opcode,
        offset: 0,
        piece,
        last: true,
    };
    Some((data, rest))
}

/// The header at the start of `input`, and its length; `None` if it is not whole. What is wrong
/// already shows in the first bytes.
#[inline]
fn frame(input: &[u8]) -> Result<Option<(Frame, usize)>, Violation> {
    let &[first, second, ref rest @ ..] = input else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBit);
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(Violation::Opcode(first & 0x0f))?;
    if second & 0x80 != 0 {
        return Err(Violation::Masked);
    }
    let last = first & 0x80 != 0;
    if opcode.is_control() && !last {
        return Err(Violation::FragmentedControl);
    }
    if opcode.is_control() && second > 125 {
        return Err(Violation::LongControl);
    }
    let (remaining, len) = match (second, rest) {
        (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 4),
        (127, &[a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10),
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 2),
    };
    if (len == 4 && remaining < 126) || (len == 10 && (remaining < 1 << 16 || remaining >> 63 != 0))
    {
        return Err(Violation::Length);
    }
    let frame = Frame {
        opcode,
        last,
        remaining,
    };
    Ok(Some((frame, len)))
}

/// The body of a Close frame (sections 5.5.1 and 7.4).
fn close(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::Close),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::Close)?;
            match code {
                1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Some((code, reason))),
                _ => Err(Violation::Close),
            }
        }
    }
}

#[cfg(test)]
mod tests;
