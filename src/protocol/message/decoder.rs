//! The decoder of one direction of a connection.

use std::ops::Range;

use super::partial::{Assembly, ControlFrame, HeaderBytes, Partial, Progress, Stage};
use super::{DecoderSettings, Event, MessageKind, Payload};
use crate::protocol::close::CloseFrame;
use crate::protocol::error::ProtocolError;
use crate::protocol::frame::{FrameHeader, MAX_SHORT, Opcode, Role};
use crate::protocol::mask::unmask;
use crate::protocol::utf8;

/// Turns received bytes into [`Event`]s, the same ones however the bytes are cut.
///
/// Between messages it is a null pointer: a message that is whole in the input is unmasked and
/// checked where it lies. Only what is unfinished at the end of the input is kept, in a box.
///
/// After an error, a decoder must not be used any more; what it then returns has no meaning.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// A finished event, before it is decided from where its bytes are borrowed.
enum Done {
    /// A message that is whole, unmasked and checked in the input.
    Message(MessageKind, Range<usize>),
    Assembled(MessageKind, Vec<u8>),
    /// A control frame that is whole and unmasked in the input.
    Control(Opcode, Range<usize>),
    /// A control frame that came in pieces and is whole in the box.
    Gathered,
}

impl Decoder {
    /// Decodes at most one event from the front of `input`, which is unmasked in place: how many
    /// bytes it took, and the event.
    ///
    /// `(n, None)` means that all of the input was taken and more is needed. So call it with what
    /// is left of the input until there is no event; that last call, even with an empty input,
    /// also frees what a control frame received in pieces was gathered in.
    ///
    /// # Errors
    ///
    /// Every rule of RFC 6455 section 5 that the peer breaks and every limit of `settings` it
    /// passes, as soon as a header declares it; bad text with the piece that has the fault. The
    /// events before the fault were returned before.
    #[inline]
    pub fn next<'b>(
        &'b mut self,
        settings: &DecoderSettings,
        input: &'b mut [u8],
    ) -> Result<(usize, Option<Event<'b>>), ProtocolError> {
        if self.partial.is_none()
            && let Some((kind, range, key)) = find_message(settings, input)
        {
            let end = range.end;
            let payload = &mut input[range];
            unmask_and_check(kind, payload, key)?;
            let payload = Payload::Borrowed(payload);
            return Ok((end, Some(Event::Message { kind, payload })));
        }
        self.next_general(settings, input)
    }

    /// Takes a message of one frame and less than 64 KiB that is whole at the front of `input`,
    /// which is what nearly all input is: its kind and its payload, unmasked in place. `None` says
    /// nothing but that it is for [`next`](Self::next) to look at.
    ///
    /// Only a decoder that [is idle](Self::is_idle) would have to be asked, so none is.
    ///
    /// # Errors
    ///
    /// If the text is not UTF-8.
    #[inline(always)]
    pub fn whole_message<'b>(
        settings: &DecoderSettings,
        input: &mut &'b mut [u8],
    ) -> Result<Option<(MessageKind, &'b [u8])>, ProtocolError> {
        let Some((kind, range, key)) = find_message(settings, input) else {
            return Ok(None);
        };
        let (frame, rest) = std::mem::take(input).split_at_mut(range.end);
        *input = rest;
        let payload = &mut frame[range.start..];
        unmask_and_check(kind, payload, key)?;
        Ok(Some((kind, payload)))
    }

    /// Room for bytes of a large message whose frame is unfinished, to receive into directly. What
    /// it holds before means nothing.
    ///
    /// It is never empty and never more than the bytes that remain of the frame. The caller fills
    /// it from its front and calls [`received`](Self::received), before any other call. `None` if
    /// the next bytes belong into [`next`](Self::next) instead.
    ///
    /// The message's buffer grows with what was received, not with what was declared. Before it
    /// does, `spare` is asked for one that is there already, with a capacity of at least its first
    /// argument; up to its second, the end of the frame, more spares growing again. Its contents
    /// are overwritten.
    pub fn direct_buffer(
        &mut self,
        spare: impl FnOnce(usize, usize) -> Option<Vec<u8>>,
    ) -> Option<&mut [u8]> {
        match self.partial.as_deref_mut()? {
            Partial {
                stage: Stage::Data(frame),
                message: Some(message),
            } => message.direct(frame, spare),
            _ => None,
        }
    }

    /// Unmasks and checks the first `count` bytes of the [`direct_buffer`](Self::direct_buffer),
    /// and returns the message if that was the rest of it.
    ///
    /// # Errors
    ///
    /// If the text is not UTF-8.
    ///
    /// # Panics
    ///
    /// If that is more than the buffer had.
    pub fn received(
        &mut self,
        _settings: &DecoderSettings,
        count: usize,
    ) -> Result<Option<Event<'_>>, ProtocolError> {
        let Some(Partial {
            stage: Stage::Data(frame),
            message: Some(message),
        }) = self.partial.as_deref_mut()
        else {
            return Ok(None);
        };
        let progress = message.received(frame, count)?;
        Ok(self
            .finish_frame(progress)
            .map(|(kind, bytes)| Event::Message {
                kind,
                payload: Payload::Owned(bytes),
            }))
    }

    /// Whether no frame and no message is unfinished and no memory is held.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Payload bytes of the unfinished message that have come so far.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        let message = self
            .partial
            .as_deref()
            .and_then(|partial| partial.message.as_ref());
        message.map_or(0, Assembly::len)
    }

    /// Heap bytes held.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.partial.as_deref().map_or(0, |partial| {
            size_of::<Partial>() + partial.message.as_ref().map_or(0, Assembly::capacity)
        })
    }

    /// [`next`](Self::next) for everything but an unfragmented message whole in the input.
    #[inline(never)]
    fn next_general<'b>(
        &'b mut self,
        settings: &DecoderSettings,
        input: &'b mut [u8],
    ) -> Result<(usize, Option<Event<'b>>), ProtocolError> {
        self.settle();
        let mut at = 0;
        let done = loop {
            if at == input.len() {
                return Ok((at, None));
            }
            if let Some(done) = self.step(settings, input, &mut at)? {
                break done;
            }
        };
        let event = match done {
            Done::Message(kind, range) => Event::Message {
                kind,
                payload: Payload::Borrowed(&input[range]),
            },
            Done::Assembled(kind, bytes) => Event::Message {
                kind,
                payload: Payload::Owned(bytes),
            },
            Done::Control(opcode, range) => control_event(opcode, &input[range])?,
            Done::Gathered => match self.partial.as_deref() {
                Some(Partial {
                    stage: Stage::Control(frame),
                    ..
                }) => control_event(frame.opcode, frame.payload())?,
                _ => {
                    unreachable!("a gathered control frame stays in its stage until the next call")
                }
            },
        };
        Ok((at, Some(event)))
    }

    /// Advances by one part of a frame. Without a result it has taken all of the input or there
    /// is another part to try.
    fn step(
        &mut self,
        settings: &DecoderSettings,
        input: &mut [u8],
        at: &mut usize,
    ) -> Result<Option<Done>, ProtocolError> {
        let rest = &input[*at..];
        match self.partial.as_deref_mut() {
            None
            | Some(Partial {
                stage: Stage::Header(HeaderBytes { len: 0, .. }),
                ..
            }) => match FrameHeader::parse(rest, settings.role)? {
                Some((header, length)) => {
                    *at += length;
                    self.begin_frame(settings, header, input, at)
                }
                None => {
                    let mut kept = HeaderBytes::default();
                    *at += kept.fill(rest);
                    self.keep().stage = Stage::Header(kept);
                    Ok(None)
                }
            },
            Some(Partial {
                stage: Stage::Header(kept),
                ..
            }) => {
                let before = kept.len;
                let taken = kept.fill(rest);
                match FrameHeader::parse(&kept.bytes[..kept.len], settings.role)? {
                    Some((header, length)) => {
                        *at += length - before;
                        *kept = HeaderBytes::default();
                        self.begin_frame(settings, header, input, at)
                    }
                    None => {
                        *at += taken;
                        Ok(None)
                    }
                }
            }
            Some(Partial {
                stage: Stage::Data(frame),
                message,
            }) => {
                let message = message.as_mut().expect("a data frame belongs to a message");
                let (taken, progress) = message.take(settings, frame, rest)?;
                *at += taken;
                Ok(self
                    .finish_frame(progress)
                    .map(|(kind, bytes)| Done::Assembled(kind, bytes)))
            }
            Some(Partial {
                stage: Stage::Control(frame),
                ..
            }) => {
                *at += frame.fill(rest);
                Ok(frame.is_complete().then_some(Done::Gathered))
            }
        }
    }

    /// Begins the frame whose header ends at `at`. If it is whole in the input and stands alone,
    /// this is all there is to do.
    fn begin_frame(
        &mut self,
        settings: &DecoderSettings,
        header: FrameHeader,
        input: &mut [u8],
        at: &mut usize,
    ) -> Result<Option<Done>, ProtocolError> {
        let available = input.len() - *at;
        let whole = usize::try_from(header.payload_len)
            .ok()
            .filter(|&length| length <= available)
            .map(|length| *at..*at + length);

        if header.opcode.is_control() {
            let Some(range) = whole else {
                self.keep().stage = Stage::Control(ControlFrame::new(header));
                return Ok(None);
            };
            if let Some(key) = header.mask {
                unmask(&mut input[range.clone()], key);
            }
            *at = range.end;
            self.settle();
            return Ok(Some(Done::Control(header.opcode, range)));
        }

        let unfinished = self
            .partial
            .as_ref()
            .is_some_and(|partial| partial.message.is_some());
        let kind = match (header.opcode, unfinished) {
            (Opcode::Continuation, false) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, true) => {
                return Err(ProtocolError::ExpectedContinuation);
            }
            (Opcode::Text, _) => MessageKind::Text,
            _ => MessageKind::Binary,
        };
        if let (Some(range), true, false) = (whole, header.fin, unfinished) {
            settings.admit(0, header.payload_len)?;
            let payload = &mut input[range.clone()];
            unmask_and_check(kind, payload, header.mask)?;
            *at = range.end;
            self.settle();
            return Ok(Some(Done::Message(kind, range)));
        }

        let partial = self.keep();
        let message = partial.message.get_or_insert_with(|| Assembly::new(kind));
        partial.stage = Stage::Data(message.begin(settings, &header)?);
        // An empty frame is complete although no byte of input may be left for another step.
        if header.payload_len == 0 {
            return self.step(settings, input, at);
        }
        Ok(None)
    }

    /// Leaves a data frame that is complete, and the message with it if that is complete too.
    fn finish_frame(&mut self, progress: Progress) -> Option<(MessageKind, Vec<u8>)> {
        if progress == Progress::Frame {
            return None;
        }
        let partial = self.keep();
        partial.stage = Stage::default();
        if progress == Progress::Fragment {
            return None;
        }
        let message = partial.message.take();
        self.settle();
        message.map(Assembly::into_parts)
    }

    fn keep(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    /// Leaves a control frame that was delivered, and frees the box if it is empty.
    fn settle(&mut self) {
        let Some(partial) = self.partial.as_deref_mut() else {
            return;
        };
        if matches!(&partial.stage, Stage::Control(frame) if frame.is_complete()) {
            partial.stage = Stage::default();
        }
        if partial.is_empty() {
            self.partial = None;
        }
    }
}

/// Recognises an unfragmented message of less than 64 KiB that is whole at the front of `input` and
/// breaks no rule: what nearly every message is. All else is left to the general way.
#[inline]
fn find_message(
    settings: &DecoderSettings,
    input: &[u8],
) -> Option<(MessageKind, Range<usize>, Option<[u8; 4]>)> {
    let &[first, second] = input.first_chunk::<2>()?;
    let kind = match first {
        0x81 => MessageKind::Text,
        0x82 => MessageKind::Binary,
        _ => return None,
    };
    // A MASK bit that does not fit our role leaves more than a length can be.
    let short = match settings.role {
        Role::Server => usize::from(second ^ 0x80),
        Role::Client => usize::from(second),
    };
    let (length, at) = match short {
        0..=MAX_SHORT => (short, 2),
        126 => match usize::from(u16::from_be_bytes(*input[2..].first_chunk::<2>()?)) {
            0..=MAX_SHORT => return None,
            length => (length, 4),
        },
        _ => return None,
    };
    let start = match settings.role {
        Role::Server => at + 4,
        Role::Client => at,
    };
    let end = start + length;
    if length > settings.max_message || end > input.len() {
        return None;
    }
    let key = match settings.role {
        Role::Server => Some(*input[at..start].first_chunk::<4>()?),
        Role::Client => None,
    };
    Some((kind, start..end, key))
}

/// Unmasks the payload of a whole message, which must be UTF-8 if it is text.
#[inline]
fn unmask_and_check(
    kind: MessageKind,
    payload: &mut [u8],
    key: Option<[u8; 4]>,
) -> Result<(), ProtocolError> {
    let is_ascii = key.is_some_and(|key| unmask(payload, key));
    if kind == MessageKind::Text && !is_ascii {
        utf8::validate(payload)?;
    }
    Ok(())
}

fn control_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    Ok(match opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => Event::Close(CloseFrame::parse(payload)?),
    })
}
