//! The decoder's behaviour, and properties that must hold for any bytes, however they are cut.

mod decoder;
mod properties;

use super::{
    CloseCode, Decoder, DecoderSettings, Event, FrameHeader, MessageKind, Opcode, ProtocolError,
    Role, mask_into,
};

/// An event that owns its bytes, to be compared later.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseCode>, String),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message {
                kind: MessageKind::Text,
                payload,
            } => Self::Text(String::from_utf8(payload.into_owned()).expect("text is UTF-8")),
            Event::Message {
                kind: MessageKind::Binary,
                payload,
            } => Self::Binary(payload.into_owned()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(close) => Self::Close(close.code, close.reason.to_owned()),
        }
    }
}

/// What a stream of bytes means: the events, and the fault that ended it.
type Outcome = (Vec<Seen>, Option<ProtocolError>);

const SERVER: DecoderSettings = DecoderSettings {
    role: Role::Server,
    max_message: 1 << 20,
    max_fragments: 16,
};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Feeds one piece of input; false after a fault.
fn feed(
    decoder: &mut Decoder,
    settings: &DecoderSettings,
    input: &[u8],
    outcome: &mut Outcome,
) -> bool {
    let mut input = input.to_vec();
    let mut at = 0;
    loop {
        match decoder.next(settings, &mut input[at..]) {
            Ok((taken, Some(event))) => {
                at += taken;
                outcome.0.push(event.into());
            }
            Ok((taken, None)) => {
                assert_eq!(
                    at + taken,
                    input.len(),
                    "without an event, all input is taken"
                );
                return true;
            }
            Err(error) => {
                outcome.1 = Some(error);
                return false;
            }
        }
    }
}

/// Sometimes a buffer that has been used before, of one size or another.
fn used(piece: &[u8], least: usize, most: usize) -> Option<Vec<u8>> {
    let capacity = match piece.len() % 5 {
        0 => return None,
        1 => least - 1,
        2 => least,
        3 => most,
        _ => 2 * most,
    };
    let mut buffer = vec![0xee; capacity];
    buffer.truncate(piece.len() % 3 * most);
    Some(buffer)
}

/// Decodes pieces one after the other. With `direct`, a piece goes straight into the message's
/// buffer wherever the decoder offers it.
fn decode<'p>(
    settings: &DecoderSettings,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    direct: bool,
) -> Outcome {
    let mut decoder = Decoder::default();
    let mut outcome = Outcome::default();
    for mut piece in pieces {
        while direct && !piece.is_empty() {
            let Some(buffer) = decoder.direct_buffer(|least, most| used(piece, least, most)) else {
                break;
            };
            assert!(!buffer.is_empty(), "a direct buffer has room");
            let (front, rest) = piece.split_at(piece.len().min(buffer.len()));
            buffer[..front.len()].copy_from_slice(front);
            piece = rest;
            match decoder.received(settings, front.len()) {
                Ok(event) => outcome.0.extend(event.map(Seen::from)),
                Err(error) => {
                    outcome.1 = Some(error);
                    return outcome;
                }
            }
        }
        if !feed(&mut decoder, settings, piece, &mut outcome) {
            return outcome;
        }
    }
    outcome
}

/// One frame as a client sends it.
fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    masked_frame(fin, opcode, Some(KEY), payload)
}

fn masked_frame(fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        fin,
        opcode,
        mask,
        payload_len: payload.len() as u64,
    };
    let mut bytes = [0; FrameHeader::MAX_LEN];
    let length = header.encode(&mut bytes);
    let mut out = bytes[..length].to_vec();
    mask_into(&mut out, payload, mask.unwrap_or_default(), 0);
    out
}
