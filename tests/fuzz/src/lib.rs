//! What the fuzz targets share: decoding to events that own their bytes, and frames to send.

use arbitrary::Arbitrary;
use sockeye::protocol::{
    CloseCode, Decoder, DecoderSettings, Event, FrameHeader, MessageKind, Opcode, ProtocolError,
    Role, mask_into,
};

/// An event that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseCode>, String),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { kind, payload } => {
                if kind == MessageKind::Text {
                    assert!(std::str::from_utf8(&payload).is_ok(), "text is UTF-8");
                }
                Self::Message(kind, payload.into_owned())
            }
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(close) => {
                assert!(close.code.is_none_or(CloseCode::is_sendable));
                Self::Close(close.code, close.reason.to_owned())
            }
        }
    }
}

/// What a stream of bytes means: its events up to a Close frame, and the fault that ended it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub events: Vec<Seen>,
    pub fault: Option<ProtocolError>,
}

impl Outcome {
    /// Whether nothing that follows has a meaning any more.
    pub fn is_over(&self) -> bool {
        self.fault.is_some() || matches!(self.events.last(), Some(Seen::Close(..)))
    }
}

/// Decodes pieces one after the other, and checks what must hold after each. With `direct`, a
/// piece goes straight into the message's buffer wherever the decoder offers it.
pub fn decode<'p>(
    settings: &DecoderSettings,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    direct: bool,
) -> Outcome {
    let mut decoder = Decoder::default();
    let mut outcome = Outcome::default();
    let mut received = 0;
    for piece in pieces {
        received += piece.len();
        let rest = match direct {
            true => feed_directly(&mut decoder, settings, piece, &mut outcome),
            false => piece,
        };
        if !outcome.is_over() {
            feed(&mut decoder, settings, rest, &mut outcome);
        }
        if outcome.is_over() {
            break;
        }
        check_memory(&decoder, settings, received);
    }
    outcome
}

fn feed(decoder: &mut Decoder, settings: &DecoderSettings, input: &[u8], outcome: &mut Outcome) {
    let mut input = input.to_vec();
    let mut at = 0;
    while !outcome.is_over() {
        match decoder.next(settings, &mut input[at..]) {
            Ok((taken, Some(event))) => {
                at += taken;
                outcome.events.push(event.into());
            }
            Ok((taken, None)) => {
                assert_eq!(at + taken, input.len(), "without an event, all is taken");
                return;
            }
            Err(fault) => outcome.fault = Some(fault),
        }
    }
}

fn feed_directly<'p>(
    decoder: &mut Decoder,
    settings: &DecoderSettings,
    mut piece: &'p [u8],
    outcome: &mut Outcome,
) -> &'p [u8] {
    while !piece.is_empty() && !outcome.is_over() {
        let Some(buffer) = decoder.direct_buffer(|_, _| None) else {
            break;
        };
        assert!(!buffer.is_empty(), "a direct buffer has room");
        let (front, rest) = piece.split_at(piece.len().min(buffer.len()));
        buffer[..front.len()].copy_from_slice(front);
        piece = rest;
        match decoder.received(settings, front.len()) {
            Ok(event) => outcome.events.extend(event.map(Seen::from)),
            Err(fault) => outcome.fault = Some(fault),
        }
    }
    piece
}

/// What a peer makes us hold is bounded by what it sent, never by what it declared.
fn check_memory(decoder: &Decoder, settings: &DecoderSettings, received: usize) {
    let message = decoder.message_bytes();
    assert!(message <= received && message <= settings.max_message);
    let buffer = match message {
        0 => 0,
        // The buffer doubles.
        1..4096 => 2 * message,
        // A buffer to read into, for one who has sent this much.
        _ => (2 * message).max(64 * 1024),
    };
    let held = decoder.buffered_bytes();
    assert!(held <= 320 + buffer, "{held} bytes held for {message}");
    assert_eq!(held == 0, decoder.is_idle());
}

/// `bytes` cut at `cuts`, each a position modulo their number, possibly into empty pieces.
pub fn cut<'b>(bytes: &'b [u8], cuts: &[u16]) -> Vec<&'b [u8]> {
    let mut bounds: Vec<usize> = cuts
        .iter()
        .map(|&cut| usize::from(cut) % (bytes.len() + 1))
        .collect();
    bounds.extend([0, bytes.len()]);
    bounds.sort_unstable();
    let pairs = bounds.windows(2);
    pairs.map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Limits and the side of the reader, in few bytes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Choice {
    pub client: bool,
    pub limit: Limit,
    pub fragments: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Limit {
    Of(u16),
    Large,
}

impl Choice {
    pub fn settings(self) -> DecoderSettings {
        DecoderSettings {
            role: match self.client {
                true => Role::Client,
                false => Role::Server,
            },
            max_message: match self.limit {
                Limit::Of(bytes) => bytes.into(),
                Limit::Large => 1 << 20,
            },
            max_fragments: self.fragments.into(),
        }
    }
}

/// Any frame that has an opcode, whether it may be sent or not.
#[derive(Arbitrary, Clone, Debug)]
pub struct AnyFrame {
    pub fin: bool,
    pub opcode: AnyOpcode,
    /// Sent as the reader's side does not allow.
    pub wrongly_masked: Rarely,
    pub key: [u8; 4],
    pub body: Body,
}

/// True once in 64 times.
#[derive(Clone, Copy, Debug)]
pub struct Rarely(pub bool);

impl<'a> Arbitrary<'a> for Rarely {
    fn arbitrary(input: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(u8::arbitrary(input)? % 64 == 63))
    }

    fn size_hint(depth: usize) -> (usize, Option<usize>) {
        u8::size_hint(depth)
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum AnyOpcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl From<AnyOpcode> for Opcode {
    fn from(opcode: AnyOpcode) -> Self {
        match opcode {
            AnyOpcode::Continuation => Self::Continuation,
            AnyOpcode::Text => Self::Text,
            AnyOpcode::Binary => Self::Binary,
            AnyOpcode::Close => Self::Close,
            AnyOpcode::Ping => Self::Ping,
            AnyOpcode::Pong => Self::Pong,
        }
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Body {
    Empty,
    Bytes(Vec<u8>),
    Text(String),
    /// A character cut in two, or no character at all.
    Piece(Piece),
    /// The same byte again and again: long payloads for few bytes of input.
    Run(u8, u8),
    LongRun(u8, Rarely, u16),
    Closing(u16, String),
    Code(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Piece {
    Lead2,
    Lead3,
    Lead4,
    LeadOfSurrogate,
    LeadOfLargest,
    Continuation,
    TwoContinuations,
    Surrogate,
    Overlong,
    TooLarge,
}

impl Body {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Bytes(bytes) => bytes.clone(),
            Self::Text(text) => text.clone().into_bytes(),
            Self::Piece(piece) => piece.bytes().to_vec(),
            Self::Run(byte, count) => vec![*byte; (*count).into()],
            Self::LongRun(byte, longer, count) => {
                vec![*byte; usize::from(*count) * if longer.0 { 3 } else { 1 }]
            }
            Self::Closing(code, reason) => [&code.to_be_bytes()[..], reason.as_bytes()].concat(),
            Self::Code(code) => (990 + u16::from(*code)).to_be_bytes().to_vec(),
        }
    }
}

impl Piece {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lead2 => b"\xc3",
            Self::Lead3 => b"\xe2\x82",
            Self::Lead4 => b"\xf0\x9f\x90",
            Self::LeadOfSurrogate => b"\xed",
            Self::LeadOfLargest => b"\xf4",
            Self::Continuation => b"\x9f",
            Self::TwoContinuations => b"\x8f\xbf",
            Self::Surrogate => b"\xed\xa0\x80",
            Self::Overlong => b"\xc0\x80",
            Self::TooLarge => b"\xf4\x90\x80\x80",
        }
    }
}

impl AnyFrame {
    pub fn is_masked(&self, reader: Role) -> bool {
        (reader == Role::Server) != self.wrongly_masked.0
    }

    /// Appends the frame as it would be sent to `reader`.
    pub fn encode(&self, reader: Role, out: &mut Vec<u8>) {
        let payload = self.body.bytes();
        let mask = self.is_masked(reader).then_some(self.key);
        let header = FrameHeader {
            fin: self.fin,
            opcode: self.opcode.into(),
            mask,
            payload_len: payload.len() as u64,
        };
        let mut bytes = [0; FrameHeader::MAX_LEN];
        let length = header.encode(&mut bytes);
        out.extend_from_slice(&bytes[..length]);
        mask_into(out, &payload, mask.unwrap_or_default(), 0);
    }
}
