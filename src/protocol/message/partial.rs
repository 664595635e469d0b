//! What a decoder keeps while a frame or a message is unfinished.

use super::{DecoderSettings, MessageKind};
use crate::protocol::error::ProtocolError;
use crate::protocol::frame::{FrameHeader, MAX_SHORT, Opcode};
use crate::protocol::mask::{mask_in_place, mask_into};
use crate::protocol::utf8::Utf8Validator;

/// Frames of at least this length are worth being received straight into the message's buffer.
const DIRECT_FRAME: u64 = 16 * 1024;
/// A peer must have sent this much of a message before it gets a buffer to read into, so that a
/// bare header does not cost us one.
const DIRECT_AFTER: usize = 4 * 1024;
/// The first size of such a buffer; from there on it doubles.
const DIRECT_BUFFER: usize = 64 * 1024;

/// The state between two calls, boxed so that an idle connection has none.
#[derive(Debug, Default)]
pub(super) struct Partial {
    pub(super) stage: Stage,
    pub(super) message: Option<Assembly>,
}

impl Partial {
    /// Whether nothing is unfinished.
    pub(super) fn is_empty(&self) -> bool {
        self.message.is_none() && matches!(self.stage, Stage::Header(HeaderBytes { len: 0, .. }))
    }
}

/// Which part of a frame comes next.
#[derive(Debug)]
pub(super) enum Stage {
    Header(HeaderBytes),
    Data(DataFrame),
    Control(ControlFrame),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Header(HeaderBytes::default())
    }
}

/// The bytes of a header that is not complete.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderBytes {
    pub(super) bytes: [u8; FrameHeader::MAX_LEN],
    pub(super) len: usize,
}

impl HeaderBytes {
    /// Takes as many bytes as a header can have; returns how many.
    pub(super) fn fill(&mut self, input: &[u8]) -> usize {
        let count = input.len().min(FrameHeader::MAX_LEN - self.len);
        self.bytes[self.len..][..count].copy_from_slice(&input[..count]);
        self.len += count;
        count
    }
}

/// A data frame whose payload is not complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataFrame {
    fin: bool,
    key: Option<[u8; 4]>,
    /// The payload's whole length.
    length: u64,
    /// How much of it is still to come.
    remaining: usize,
}

/// What a data frame means for the message after its bytes were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The frame is not complete.
    Frame,
    /// The frame is complete, the message is not.
    Fragment,
    /// The message is complete.
    Message,
}

impl DataFrame {
    /// Position in the payload of the next byte.
    fn position(&self) -> usize {
        (self.length - self.remaining as u64) as usize
    }

    fn advance(&mut self, count: usize) -> Progress {
        self.remaining -= count;
        match (self.remaining, self.fin) {
            (0, true) => Progress::Message,
            (0, false) => Progress::Fragment,
            _ => Progress::Frame,
        }
    }
}

/// A control frame whose payload is not complete, or was just delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct ControlFrame {
    pub(super) opcode: Opcode,
    key: Option<[u8; 4]>,
    payload: [u8; MAX_SHORT],
    len: usize,
    filled: usize,
}

impl ControlFrame {
    pub(super) fn new(header: FrameHeader) -> Self {
        let len = header.payload_len as usize;
        Self {
            opcode: header.opcode,
            key: header.mask,
            payload: [0; MAX_SHORT],
            len,
            filled: 0,
        }
    }

    /// Takes what `input` has of the payload; returns how many bytes.
    pub(super) fn fill(&mut self, input: &[u8]) -> usize {
        let count = input.len().min(self.len - self.filled);
        let target = &mut self.payload[self.filled..][..count];
        target.copy_from_slice(&input[..count]);
        if let Some(key) = self.key {
            mask_in_place(target, key, self.filled);
        }
        self.filled += count;
        count
    }

    pub(super) fn is_complete(&self) -> bool {
        self.filled == self.len
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload[..self.filled]
    }
}

/// The message in progress.
#[derive(Debug)]
pub(super) struct Assembly {
    kind: MessageKind,
    /// Frames begun so far.
    frames: usize,
    utf8: Utf8Validator,
    buffer: Vec<u8>,
    /// How much of the buffer has come, unmasked and checked. The rest is to be received into.
    filled: usize,
}

impl Assembly {
    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// Begins a message.
    pub(super) fn new(kind: MessageKind) -> Self {
        Self {
            kind,
            frames: 0,
            utf8: Utf8Validator::default(),
            buffer: Vec::new(),
            filled: 0,
        }
    }

    /// Begins the message's next frame, if the limits allow what its header declares.
    pub(super) fn begin(
        &mut self,
        settings: &DecoderSettings,
        header: &FrameHeader,
    ) -> Result<DataFrame, ProtocolError> {
        if self.frames > 0 && self.frames >= settings.max_fragments {
            return Err(ProtocolError::TooManyFragments {
                limit: settings.max_fragments,
            });
        }
        self.frames += 1;
        let total = settings.admit(self.filled, header.payload_len)?;
        Ok(DataFrame {
            fin: header.fin,
            key: header.mask,
            length: header.payload_len,
            remaining: total - self.filled,
        })
    }

    /// Takes what `input` has of the frame; returns how many bytes.
    pub(super) fn take(
        &mut self,
        settings: &DecoderSettings,
        frame: &mut DataFrame,
        input: &[u8],
    ) -> Result<(usize, Progress), ProtocolError> {
        let input = &input[..input.len().min(frame.remaining)];
        let most = if frame.fin {
            self.filled + frame.remaining
        } else {
            settings.max_message
        };
        self.buffer.truncate(self.filled);
        self.grow(self.buffer.len() + input.len(), most);
        match frame.key {
            Some(key) => mask_into(&mut self.buffer, input, key, frame.position()),
            None => self.buffer.extend_from_slice(input),
        }
        let progress = self.advance(frame, input.len())?;
        Ok((input.len(), progress))
    }

    /// The room to receive into, see [`Decoder::direct_buffer`](super::Decoder::direct_buffer).
    pub(super) fn direct(
        &mut self,
        frame: &DataFrame,
        spare: impl FnOnce(usize, usize) -> Option<Vec<u8>>,
    ) -> Option<&mut [u8]> {
        if frame.length < DIRECT_FRAME || self.filled < DIRECT_AFTER {
            return None;
        }
        let most = self.filled + frame.remaining;
        let wanted = DIRECT_AFTER.min(frame.remaining);
        if self.buffer.capacity() - self.filled < wanted {
            let target = DIRECT_BUFFER.max(self.filled.saturating_mul(2)).min(most);
            match spare(target, most).filter(|spare| spare.capacity() >= target) {
                Some(spare) => self.move_to(spare),
                None => self.buffer.reserve_exact(target - self.buffer.len()),
            }
        }
        let end = most.min(self.buffer.capacity());
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        Some(&mut self.buffer[self.filled..end])
    }

    fn move_to(&mut self, mut spare: Vec<u8>) {
        let bytes = &self.buffer[..self.filled];
        match spare.get_mut(..bytes.len()) {
            Some(start) => start.copy_from_slice(bytes),
            None => {
                spare.clear();
                spare.extend_from_slice(bytes);
            }
        }
        self.buffer = spare;
    }

    /// Takes `count` bytes that were received into the buffer.
    pub(super) fn received(
        &mut self,
        frame: &mut DataFrame,
        count: usize,
    ) -> Result<Progress, ProtocolError> {
        assert!(
            count <= frame.remaining,
            "more bytes received than the frame has"
        );
        let fresh = &mut self.buffer[self.filled..][..count];
        if let Some(key) = frame.key {
            mask_in_place(fresh, key, frame.position());
        }
        self.advance(frame, count)
    }

    /// The message, when it is complete.
    pub(super) fn into_parts(mut self) -> (MessageKind, Vec<u8>) {
        self.buffer.truncate(self.filled);
        (self.kind, self.buffer)
    }

    /// Heap bytes held.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Makes room for `length` bytes, doubling, but never past `most` for what is yet to come.
    fn grow(&mut self, length: usize, most: usize) {
        let capacity = self.buffer.capacity();
        if length > capacity {
            let target = capacity.saturating_mul(2).min(most).max(length);
            self.buffer.reserve_exact(target - self.buffer.len());
        }
    }

    /// Checks the next `count` bytes, if they are text, which must not end inside a character.
    fn advance(&mut self, frame: &mut DataFrame, count: usize) -> Result<Progress, ProtocolError> {
        let fresh = &self.buffer[self.filled..][..count];
        if self.kind == MessageKind::Text {
            self.utf8.push(fresh)?;
        }
        self.filled += count;
        let progress = frame.advance(count);
        if progress == Progress::Message && !self.utf8.is_complete() {
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(progress)
    }
}
