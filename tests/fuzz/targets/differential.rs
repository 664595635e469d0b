//! Against tungstenite as the reader of the same bytes: both accept the same streams, refuse the
//! same frames and decode the same messages.
//!
//! Where they differ on purpose, each difference is named below and let pass as narrowly as it
//! can be told:
//!
//! 1. A payload length that is not in its shortest form is a fault here (RFC 6455 section 5.2:
//!    "the minimal number of bytes MUST be used"); tungstenite takes it. The header is put right
//!    and the comparison begun again.
//! 2. A fault is reported here with the first byte that shows it; tungstenite reads the whole
//!    frame first. So the frame at fault is completed before tungstenite must refuse it.
//! 3. A close code that must not be sent is a fault here; tungstenite reports a Close frame with
//!    code 1002 and the reason "Protocol violation" instead. Both answer 1002. With a reason that
//!    is not UTF-8 besides, tungstenite sees only that, and refuses the frame.
//! 4. Close code 1014 is accepted here, since it has been registered after the RFC (section
//!    7.4.2 leaves that to the registry); to tungstenite it is one of the codes of point 3.
//! 5. tungstenite has no limit on fragments: none is set here.
//! 6. tungstenite holds control frames to the limit of messages too: it is never below 125.

#![no_main]

use std::io::{self, Read, Write};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sockeye::protocol::{
    CloseCode, DecoderSettings, MessageKind, ProtocolError, Role, mask_in_place,
};
use sockeye_fuzz::{AnyFrame, Outcome, Seen, decode};
use tungstenite::protocol::{WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    client: bool,
    limit: u16,
    /// The most bytes tungstenite gets at once.
    piece: u8,
    stream: Stream<'a>,
}

#[derive(Arbitrary, Debug)]
enum Stream<'a> {
    Bytes(&'a [u8]),
    Frames(Vec<AnyFrame>, &'a [u8]),
    /// Frames of which a byte was changed.
    Spoilt(Vec<AnyFrame>, u16, u8),
    /// Frames that end early.
    Cut(Vec<AnyFrame>, u16),
}

impl Stream<'_> {
    fn bytes(&self, role: Role) -> Vec<u8> {
        let mut out = Vec::new();
        let (Self::Frames(frames, _) | Self::Spoilt(frames, ..) | Self::Cut(frames, _)) = self
        else {
            let Self::Bytes(bytes) = self else { return out };
            return bytes.to_vec();
        };
        for frame in frames {
            frame.encode(role, &mut out);
        }
        match self {
            Self::Frames(_, rest) => out.extend_from_slice(rest),
            Self::Spoilt(_, at, by) if !out.is_empty() => {
                let at = usize::from(*at) % out.len();
                out[at] ^= by;
            }
            Self::Cut(_, at) => out.truncate(usize::from(*at) % (out.len() + 1)),
            _ => {}
        }
        out
    }
}

/// What arrives comes from `input`, what is answered is dropped.
struct Wire<'b> {
    input: &'b [u8],
    piece: usize,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.piece.min(self.input.len()).min(buffer.len());
        let (front, rest) = self.input.split_at(count);
        buffer[..count].copy_from_slice(front);
        self.input = rest;
        Ok(count)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How tungstenite's reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Refused,
    WantsMore,
    Closed,
}

fn tungstenite(settings: &DecoderSettings, piece: usize, input: &[u8]) -> (Vec<Seen>, End) {
    let limit = Some(settings.max_message);
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(0)
        .max_message_size(limit)
        .max_frame_size(limit);
    let role = match settings.role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    };
    let mut socket = WebSocket::from_raw_socket(Wire { input, piece }, role, Some(config));
    let mut events = Vec::new();
    loop {
        events.push(match socket.read() {
            Ok(Message::Text(text)) => Seen::Message(MessageKind::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => Seen::Message(MessageKind::Binary, bytes.to_vec()),
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Seen::Pong(payload.to_vec()),
            Ok(Message::Close(frame)) => {
                events.push(match frame {
                    None => Seen::Close(None, String::new()),
                    Some(frame) => {
                        let code = CloseCode::from(u16::from(frame.code));
                        Seen::Close(Some(code), frame.reason.as_str().to_owned())
                    }
                });
                return (events, End::Closed);
            }
            Ok(Message::Frame(_)) => unreachable!("reading gives whole messages"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (events, End::WantsMore);
            }
            Err(Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_)) => {
                return (events, End::Refused);
            }
            Err(error) => panic!("an end that was not foreseen: {error}"),
        });
    }
}

/// Finds where the frames of a stream begin, by their lengths alone.
fn starts(stream: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut start = 0;
    while start < stream.len() {
        starts.push(start);
        let end = header(&stream[start..]).and_then(|(length, size)| {
            let length = usize::try_from(length).ok()?;
            (start + size).checked_add(length)
        });
        start = end.unwrap_or(stream.len());
    }
    starts
}

/// Payload length and size of a header that is whole.
fn header(bytes: &[u8]) -> Option<(u64, usize)> {
    let second = *bytes.get(1)?;
    let (length, size) = match second & 0x7f {
        126 => (u16::from_be_bytes(*bytes[2..].first_chunk()?).into(), 4),
        127 => (u64::from_be_bytes(*bytes[2..].first_chunk()?), 10),
        short => (short.into(), 2),
    };
    let size = size + if second & 0x80 != 0 { 4 } else { 0 };
    (bytes.len() >= size).then_some((length, size))
}

/// The stream with the frame at `start` completed if it is cut short. A length beyond `limit` is
/// refused by itself.
fn completed(stream: &[u8], start: usize, role: Role, limit: usize) -> Vec<u8> {
    let mut out = stream.to_vec();
    if out.len() == start + 1 {
        out.push(if role == Role::Server { 0x80 } else { 0 });
    }
    // A control frame is at fault by the form of its length already: the length must be so too.
    let fill = if out[start] & 8 != 0 { 0xff } else { 0 };
    let (at, length) = loop {
        match header(&out[start..]) {
            Some((length, size)) => break (start + size, length),
            None => out.push(fill),
        }
    };
    if let Ok(length) = usize::try_from(length)
        && length <= limit
    {
        out.resize(at + length, 0);
    }
    out
}

/// Puts the length of the frame at `start` into its shortest form.
fn shorten(stream: &mut Vec<u8>, start: usize) {
    let second = stream[start + 1];
    let at = start + 2;
    let (old, length) = match second & 0x7f {
        126 => (
            2,
            u64::from(u16::from_be_bytes([stream[at], stream[at + 1]])),
        ),
        _ => {
            let bytes = stream[at..].first_chunk().expect("the fault is in these");
            (8, u64::from_be_bytes(*bytes))
        }
    };
    let (short, bytes) = match u16::try_from(length) {
        Ok(length) if length <= 125 => (length as u8, Vec::new()),
        Ok(length) => (126, length.to_be_bytes().to_vec()),
        Err(_) => unreachable!("a longer length is in its shortest form"),
    };
    stream[start + 1] = second & 0x80 | short;
    stream.splice(at..at + old, bytes);
}

fuzz_target!(|input: Input<'_>| {
    let role = match input.client {
        true => Role::Client,
        false => Role::Server,
    };
    let settings = DecoderSettings {
        role,
        max_message: usize::from(input.limit).max(125),
        max_fragments: usize::MAX,
    };
    let mut stream = input.stream.bytes(role);
    let piece = usize::from(input.piece) + 1;
    while !compare(&settings, piece, &mut stream) {}
});

/// Whether the comparison is done; else the stream was put right and it must be begun again.
fn compare(settings: &DecoderSettings, piece: usize, stream: &mut Vec<u8>) -> bool {
    let ours = decode(settings, [&stream[..]], false);
    let Some(fault) = ours.fault else {
        let (mut theirs, end) = tungstenite(settings, piece, stream);
        let wanted = match ours.events.last() {
            Some(Seen::Close(..)) => End::Closed,
            _ => End::WantsMore,
        };
        assert_eq!(end, wanted, "{ours:?}");
        if let Some(Seen::Close(Some(code), _)) = ours.events.last()
            && *code == CloseCode::BAD_GATEWAY
        {
            assert_eq!(theirs.pop(), Some(violation()));
            theirs.extend(ours.events.last().cloned());
        }
        assert_eq!(theirs, ours.events);
        return true;
    };
    let start = at_fault(settings, stream, &ours);
    let completed = completed(stream, start, settings.role, settings.max_message);
    let lengthened = match (fault, header(&completed[start..])) {
        (ProtocolError::NonMinimalLength, _) => true,
        // Said to be longer than it is, and refused for that already.
        (ProtocolError::ControlTooLong, Some((length, _))) => length <= 125,
        _ => false,
    };
    if lengthened {
        shorten(stream, start);
        return false;
    }
    // Up to the frame at fault both agree.
    let (before, end) = tungstenite(settings, piece, &stream[..start]);
    assert_eq!((&before, end), (&ours.events, End::WantsMore));
    let (mut theirs, end) = tungstenite(settings, piece, &completed);
    if let ProtocolError::InvalidCloseCode(_) = fault
        && has_text(&completed[start..])
    {
        assert_eq!((theirs.pop(), end), (Some(violation()), End::Closed));
    } else {
        assert_eq!(end, End::Refused, "{fault}");
    }
    assert_eq!(theirs, ours.events);
    true
}

/// Whether the reason of a whole Close frame is UTF-8.
fn has_text(frame: &[u8]) -> bool {
    let (_, at) = header(frame).expect("the frame is whole");
    let mut payload = frame[at..].to_vec();
    if frame[1] & 0x80 != 0 {
        let key = frame[2..].first_chunk().expect("the key is there");
        mask_in_place(&mut payload, *key, 0);
    }
    std::str::from_utf8(&payload[2..]).is_ok()
}

fn violation() -> Seen {
    Seen::Close(
        Some(CloseCode::PROTOCOL_ERROR),
        "Protocol violation".to_owned(),
    )
}

/// Where the frame at fault begins: the first that brings the fault.
fn at_fault(settings: &DecoderSettings, stream: &[u8], ours: &Outcome) -> usize {
    let starts = starts(stream);
    let before = |start: usize| decode(settings, [&stream[..start]], false);
    let good = starts.partition_point(|&start| before(start).fault.is_none());
    let start = starts[good - 1];
    let events = before(start).events;
    assert_eq!(events, ours.events, "nothing comes of a frame at fault");
    start
}
