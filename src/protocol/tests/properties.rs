//! Properties over random input.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::protocol::{CloseFrame, Payload, Utf8Validator, encode_frame, mask_in_place};

/// Limits low enough that random messages pass them.
const SMALL: DecoderSettings = DecoderSettings {
    role: Role::Server,
    max_message: 60_000,
    max_fragments: 4,
};

fn opcode() -> impl Strategy<Value = Opcode> {
    use Opcode::*;
    select(vec![Continuation, Text, Binary, Close, Ping, Pong])
}

/// Text with characters of every length, sometimes with a byte that spoils it.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let characters = select(vec!["a", "bc", "ä", "日", "🐟", "\u{10ffff}", "\u{d7ff}"]);
    let spoiler = select(vec![
        &b"\xff"[..],
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90",
        b"\x80",
    ]);
    (
        vec(characters, 0..60),
        prop::option::weighted(0.1, (any::<Index>(), spoiler)),
    )
        .prop_map(|(characters, spoiler)| {
            let mut bytes = characters.concat().into_bytes();
            if let Some((index, spoiler)) = spoiler {
                let at = index.index(bytes.len() + 1);
                bytes.splice(at..at, spoiler.iter().copied());
            }
            bytes
        })
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => text(),
        2 => vec(any::<u8>(), 0..130),
        1 => (any::<u8>(), 100..70_000usize).prop_map(|(byte, length)| vec![byte & 0x7f; length]),
        1 => (1000..5000u16, text()).prop_map(|(code, reason)| [&code.to_be_bytes()[..], &reason].concat()),
    ]
}

/// A frame that may break a rule alone or by where it stands.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    (
        any::<bool>(),
        opcode(),
        prop::option::weighted(0.98, any::<[u8; 4]>()),
        payload(),
    )
        .prop_map(|(fin, opcode, mask, payload)| masked_frame(fin, opcode, mask, &payload))
}

/// A message in fragments with pings between them, valid but for its text and its size.
fn fragmented() -> impl Strategy<Value = Vec<u8>> {
    let kind = select(vec![Opcode::Text, Opcode::Binary]);
    (kind, vec((payload(), any::<bool>()), 1..5)).prop_map(|(kind, parts)| {
        let mut bytes = Vec::new();
        let last = parts.len() - 1;
        for (index, (payload, ping)) in parts.iter().enumerate() {
            let opcode = if index == 0 {
                kind
            } else {
                Opcode::Continuation
            };
            bytes.extend(frame(index == last, opcode, payload));
            if *ping {
                bytes.extend(frame(true, Opcode::Ping, b"between"));
            }
        }
        bytes
    })
}

/// Bytes from a peer: mostly sensible, sometimes cut short or garbage.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        5 => fragmented(),
        5 => (opcode(), text()).prop_map(|(opcode, text)| frame(true, opcode, &text)),
        1 => any_frame(),
        1 => vec(any::<u8>(), 0..20),
    ];
    (vec(part, 0..6), any::<Index>(), any::<bool>()).prop_map(|(parts, cut, whole)| {
        let mut bytes = parts.concat();
        if !whole {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes
    })
}

/// `bytes` cut at some of its boundaries, possibly into empty pieces.
fn cut<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    bounds.extend([0, bytes.len()]);
    bounds.sort_unstable();
    bounds
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_do_not_depend_on_cuts(bytes in stream(), cuts in vec(any::<Index>(), 0..12), size in 1..5000usize) {
        for settings in [SERVER, SMALL] {
            let whole = decode(&settings, [&bytes[..]], false);
            for direct in [false, true] {
                prop_assert_eq!(&decode(&settings, cut(&bytes, &cuts), direct), &whole);
                prop_assert_eq!(&decode(&settings, bytes.chunks(size), direct), &whole);
            }
            if bytes.len() < 3000 {
                prop_assert_eq!(&decode(&settings, bytes.chunks(1), false), &whole);
            }
        }
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..300), client in any::<bool>(), cuts in vec(any::<Index>(), 0..4)) {
        let role = if client { Role::Client } else { Role::Server };
        let settings = DecoderSettings { role, ..SMALL };
        let whole = decode(&settings, [&bytes[..]], false);
        prop_assert_eq!(decode(&settings, cut(&bytes, &cuts), true), whole);
    }

    #[test]
    fn a_whole_message_is_what_next_would_return(bytes in stream(), client in any::<bool>()) {
        let role = if client { Role::Client } else { Role::Server };
        let settings = DecoderSettings { role, ..SMALL };
        let mut bytes = bytes;
        let mut twin = bytes.clone();
        let length = twin.len();
        let mut rest = &mut bytes[..];
        let mut decoder = Decoder::default();
        let next = decoder.next(&settings, &mut twin);
        match Decoder::whole_message(&settings, &mut rest) {
            Ok(Some((kind, payload))) => {
                let event = Event::Message { kind, payload: Payload::Borrowed(payload) };
                prop_assert_eq!(next, Ok((length - rest.len(), Some(event))));
            }
            Ok(None) => prop_assert_eq!(rest.len(), length),
            Err(error) => prop_assert_eq!(next, Err(error)),
        }
    }

    #[test]
    fn what_one_side_encodes_the_other_decodes(
        messages in vec((text().prop_filter_map("text", |bytes| String::from_utf8(bytes).ok()), any::<bool>()), 0..8),
        mask in prop::option::of(any::<[u8; 4]>()),
        reason in ".{0,40}",
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (message, binary) in messages {
            let opcode = if binary { Opcode::Binary } else { Opcode::Text };
            encode_frame(&mut bytes, opcode, mask, message.as_bytes());
            expected.push(if binary { Seen::Binary(message.into_bytes()) } else { Seen::Text(message) });
        }
        CloseFrame::encode(&mut bytes, mask, Some(CloseCode::NORMAL), &reason);
        let kept = reason.floor_char_boundary(CloseFrame::MAX_REASON);
        expected.push(Seen::Close(Some(CloseCode::NORMAL), reason[..kept].to_owned()));
        let role = if mask.is_some() { Role::Server } else { Role::Client };
        let settings = DecoderSettings { role, ..SERVER };
        prop_assert_eq!(decode(&settings, [&bytes[..]], false), (expected, None));
    }

    #[test]
    fn headers_round_trip(
        fin in any::<bool>(),
        opcode in opcode(),
        mask in prop::option::of(any::<[u8; 4]>()),
        length in any::<u64>(),
        shift in 1..64u32,
    ) {
        let control = opcode.is_control();
        let payload_len = if control { length % 126 } else { length >> shift };
        let header = FrameHeader { fin: fin || control, opcode, mask, payload_len };
        let mut bytes = [0; FrameHeader::MAX_LEN];
        let size = header.encode(&mut bytes);
        let role = if mask.is_some() { Role::Server } else { Role::Client };
        prop_assert_eq!(FrameHeader::parse(&bytes, role), Ok(Some((header, size))));
        for cut in 0..size {
            prop_assert_eq!(FrameHeader::parse(&bytes[..cut], role), Ok(None));
        }
    }

    #[test]
    fn masking_agrees_with_the_formula(data in vec(any::<u8>(), 0..300), key in any::<[u8; 4]>(), offset in 0..1000usize) {
        let expected: Vec<u8> =
            data.iter().enumerate().map(|(i, byte)| byte ^ key[(i + offset) % 4]).collect();
        let mut in_place = data.clone();
        mask_in_place(&mut in_place, key, offset);
        prop_assert_eq!(&in_place, &expected);
        let mut copy = Vec::new();
        mask_into(&mut copy, &data, key, offset);
        prop_assert_eq!(copy, expected);
    }

    #[test]
    fn utf8_agrees_with_std(bytes in prop_oneof![text(), vec(any::<u8>(), 0..12)], cuts in vec(any::<Index>(), 0..6)) {
        let expected = std::str::from_utf8(&bytes);
        // Where the text is bad for sure, as opposed to merely unfinished.
        let bad = expected.is_err_and(|error| error.error_len().is_some());
        let mut validator = Utf8Validator::default();
        let pushed = cut(&bytes, &cuts).into_iter().try_for_each(|piece| validator.push(piece));
        prop_assert_eq!(pushed.is_err(), bad);
        if !bad {
            prop_assert_eq!(validator.is_complete(), expected.is_ok());
        }
    }
}
