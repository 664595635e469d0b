//! Message assembly: any sequence of frames decodes to what a plain model of RFC 6455 section 5
//! says, however it is cut.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sockeye::protocol::{
    CloseCode, DecoderSettings, MessageKind, Opcode, ProtocolError, encode_frame,
};
use sockeye_fuzz::{AnyFrame, Choice, Outcome, Seen, cut, decode};

#[derive(Arbitrary, Debug)]
struct Input {
    choice: Choice,
    cuts: [u16; 4],
    frames: Vec<AnyFrame>,
}

/// What has come of the message in progress.
struct Open {
    kind: MessageKind,
    frames: usize,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Model {
    open: Option<Open>,
}

impl Model {
    /// What one whole frame means.
    fn take(
        &mut self,
        settings: &DecoderSettings,
        frame: &AnyFrame,
    ) -> Result<Option<Seen>, ProtocolError> {
        use ProtocolError::*;
        let opcode = Opcode::from(frame.opcode);
        let payload = frame.body.bytes();
        if opcode.is_control() && !frame.fin {
            return Err(FragmentedControl);
        }
        if frame.wrongly_masked.0 {
            return Err(if frame.is_masked(settings.role) {
                Masked
            } else {
                Unmasked
            });
        }
        if opcode.is_control() && payload.len() > 125 {
            return Err(ControlTooLong);
        }
        match opcode {
            Opcode::Ping => return Ok(Some(Seen::Ping(payload))),
            Opcode::Pong => return Ok(Some(Seen::Pong(payload))),
            Opcode::Close => return close(&payload).map(Some),
            Opcode::Continuation if self.open.is_none() => return Err(UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if self.open.is_some() => {
                return Err(ExpectedContinuation);
            }
            _ => {}
        }
        let open = self.open.get_or_insert_with(|| Open {
            kind: match opcode {
                Opcode::Text => MessageKind::Text,
                _ => MessageKind::Binary,
            },
            frames: 0,
            bytes: Vec::new(),
        });
        if open.frames > 0 && open.frames == settings.max_fragments.max(1) {
            let limit = settings.max_fragments;
            return Err(TooManyFragments { limit });
        }
        open.frames += 1;
        open.bytes.extend(payload);
        if open.bytes.len() > settings.max_message {
            let limit = settings.max_message;
            return Err(MessageTooBig { limit });
        }
        if open.kind == MessageKind::Text
            && let Err(error) = std::str::from_utf8(&open.bytes)
            && (frame.fin || error.error_len().is_some())
        {
            return Err(InvalidUtf8);
        }
        if !frame.fin {
            return Ok(None);
        }
        let whole = self.open.take();
        Ok(whole.map(|open| Seen::Message(open.kind, open.bytes)))
    }
}

fn close(payload: &[u8]) -> Result<Seen, ProtocolError> {
    match payload {
        [] => Ok(Seen::Close(None, String::new())),
        [_] => Err(ProtocolError::InvalidCloseLength),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(ProtocolError::InvalidCloseCode(code));
            }
            match std::str::from_utf8(reason) {
                Ok(reason) => Ok(Seen::Close(Some(CloseCode::from(code)), reason.to_owned())),
                Err(_) => Err(ProtocolError::InvalidUtf8),
            }
        }
    }
}

fuzz_target!(|input: Input| {
    let settings = input.choice.settings();
    let mut bytes = Vec::new();
    let mut model = Model::default();
    let mut expected = Outcome::default();
    for frame in &input.frames {
        let start = bytes.len();
        frame.encode(settings.role, &mut bytes);
        check_encoder(frame, &settings, &bytes[start..]);
        if !expected.is_over() {
            match model.take(&settings, frame) {
                Ok(event) => expected.events.extend(event),
                Err(fault) => expected.fault = Some(fault),
            }
        }
    }
    assert_eq!(decode(&settings, [&bytes[..]], false), expected);
    let pieces = cut(&bytes, &input.cuts);
    assert_eq!(decode(&settings, pieces.iter().copied(), false), expected);
    assert_eq!(decode(&settings, pieces, true), expected);
});

/// The encoder of whole frames writes the same bytes as header and mask do.
fn check_encoder(frame: &AnyFrame, settings: &DecoderSettings, encoded: &[u8]) {
    let payload = frame.body.bytes();
    let opcode = Opcode::from(frame.opcode);
    if frame.fin && !(opcode.is_control() && payload.len() > 125) {
        let mut out = Vec::new();
        let mask = frame.is_masked(settings.role).then_some(frame.key);
        encode_frame(&mut out, opcode, mask, &payload);
        assert_eq!(out, encoded);
    }
}
