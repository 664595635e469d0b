//! One test per rule of the decoder.

use super::*;
use Opcode::*;

/// The outcome in one piece, after checking that it is the same at every cut.
fn outcome(settings: &DecoderSettings, bytes: &[u8]) -> Outcome {
    let whole = decode(settings, [bytes], false);
    for cut in 0..=bytes.len().min(300) {
        let (front, back) = bytes.split_at(cut);
        assert_eq!(
            decode(settings, [front, back], false),
            whole,
            "cut at {cut}"
        );
        assert_eq!(
            decode(settings, [front, back], true),
            whole,
            "direct, cut at {cut}"
        );
    }
    if bytes.len() < 2000 {
        assert_eq!(
            decode(settings, bytes.chunks(1), true),
            whole,
            "byte by byte"
        );
    }
    whole
}

fn events(bytes: &[u8]) -> Vec<Seen> {
    let (events, error) = outcome(&SERVER, bytes);
    assert_eq!(error, None);
    events
}

fn fault(bytes: &[u8]) -> ProtocolError {
    outcome(&SERVER, bytes).1.expect("a fault")
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

#[test]
fn the_examples_of_section_5_7() {
    let client = DecoderSettings {
        role: Role::Client,
        ..SERVER
    };
    let hello = || (vec![text("Hello")], None);
    assert_eq!(outcome(&client, b"\x81\x05Hello"), hello());
    assert_eq!(outcome(&client, b"\x01\x03Hel\x80\x02lo"), hello());
    assert_eq!(
        outcome(&client, b"\x89\x05Hello"),
        (vec![Seen::Ping(b"Hello".to_vec())], None)
    );
    assert_eq!(
        outcome(&SERVER, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        hello()
    );
    assert_eq!(
        outcome(&SERVER, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        (vec![Seen::Pong(b"Hello".to_vec())], None)
    );
}

#[test]
fn lengths_around_each_form() {
    for length in [0, 1, 124, 125, 126, 127, 128, 65535, 65536, 70000] {
        let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
        for (role, mask) in [(Role::Server, Some(KEY)), (Role::Client, None)] {
            let settings = DecoderSettings { role, ..SERVER };
            let bytes = masked_frame(true, Binary, mask, &payload);
            let expected = vec![Seen::Binary(payload.clone())];
            assert_eq!(
                decode(&settings, [&bytes[..]], false),
                (expected.clone(), None)
            );
            assert_eq!(
                decode(&settings, bytes.chunks(5000), true),
                (expected, None)
            );
        }
    }
}

#[test]
fn control_frames_between_fragments() {
    let bytes = [
        frame(false, Text, b"frag"),
        frame(true, Ping, b"one"),
        frame(false, Continuation, b""),
        frame(true, Pong, b""),
        frame(true, Ping, b"two"),
        frame(true, Continuation, b"ments"),
        frame(true, Binary, b""),
        frame(true, Close, b""),
    ];
    assert_eq!(
        events(&bytes.concat()),
        [
            Seen::Ping(b"one".to_vec()),
            Seen::Pong(Vec::new()),
            Seen::Ping(b"two".to_vec()),
            text("fragments"),
            Seen::Binary(Vec::new()),
            Seen::Close(None, String::new()),
        ]
    );
}

#[test]
fn close_frames() {
    let close = |payload: &[u8]| frame(true, Close, payload);
    let going = Seen::Close(Some(CloseCode::GOING_AWAY), "bye".to_owned());
    assert_eq!(events(&close(b"\x03\xe9bye")), [going]);
    assert_eq!(fault(&close(b"\x03")), ProtocolError::InvalidCloseLength);
    assert_eq!(
        fault(&close(b"\x03\xed")),
        ProtocolError::InvalidCloseCode(1005)
    );
    assert_eq!(fault(&close(b"\x03\xe8\xff")), ProtocolError::InvalidUtf8);
}

#[test]
fn what_came_before_a_fault_is_delivered() {
    let bytes = [frame(true, Text, b"valid"), frame(true, Continuation, b"x")].concat();
    let expected = (
        vec![text("valid")],
        Some(ProtocolError::UnexpectedContinuation),
    );
    assert_eq!(outcome(&SERVER, &bytes), expected);
}

#[test]
fn faults_of_sequence() {
    for opcode in [Text, Binary] {
        let bytes = [frame(false, Text, b"a"), frame(true, opcode, b"b")].concat();
        assert_eq!(fault(&bytes), ProtocolError::ExpectedContinuation);
    }
    assert_eq!(
        fault(&frame(false, Continuation, b"")),
        ProtocolError::UnexpectedContinuation
    );
    assert_eq!(fault(b"\x81\x05Hello"), ProtocolError::Unmasked);
    assert_eq!(
        fault(b"\x82\xfe\x00\x7d\0\0\0\0"),
        ProtocolError::NonMinimalLength
    );
    let client = DecoderSettings {
        role: Role::Client,
        ..SERVER
    };
    assert_eq!(
        outcome(&client, &frame(true, Text, b"a")).1,
        Some(ProtocolError::Masked)
    );
}

#[test]
fn text_cut_inside_characters() {
    let fish = "🐟 κόσμε 日本";
    assert_eq!(events(&frame(true, Text, fish.as_bytes())), [text(fish)]);
    for cut in 0..=fish.len() {
        let (front, back) = fish.as_bytes().split_at(cut);
        let bytes = [frame(false, Text, front), frame(true, Continuation, back)].concat();
        assert_eq!(events(&bytes), [text(fish)]);
    }
}

#[test]
fn bad_text_fails_as_it_arrives() {
    assert_eq!(
        fault(&frame(true, Text, b"\xce\xba\xe1\xbd")),
        ProtocolError::InvalidUtf8
    );
    let unfinished = [frame(false, Text, b"\xce"), frame(true, Continuation, b"")].concat();
    assert_eq!(fault(&unfinished), ProtocolError::InvalidUtf8);

    // The frame declares 100 bytes; four are enough to tell.
    let bytes = frame(
        true,
        Text,
        &[b"abc\xf4\x90".as_slice(), &[b'x'; 95]].concat(),
    );
    let mut decoder = Decoder::default();
    let mut seen = Outcome::default();
    assert!(feed(&mut decoder, &SERVER, &bytes[..10], &mut seen));
    assert!(!feed(&mut decoder, &SERVER, &bytes[10..11], &mut seen));
    assert_eq!(seen, (vec![], Some(ProtocolError::InvalidUtf8)));
}

#[test]
fn a_message_may_have_the_limit_but_no_more() {
    let settings = DecoderSettings {
        max_message: 100,
        ..SERVER
    };
    let too_big = Some(ProtocolError::MessageTooBig { limit: 100 });
    let bytes = frame(true, Binary, &[7; 100]);
    assert_eq!(
        outcome(&settings, &bytes),
        (vec![Seen::Binary(vec![7; 100])], None)
    );
    assert_eq!(
        outcome(&settings, &frame(true, Binary, &[7; 101])).1,
        too_big
    );

    let split = |last| {
        [
            frame(false, Binary, &[7; 60]),
            frame(true, Continuation, &vec![7; last]),
        ]
        .concat()
    };
    assert_eq!(
        outcome(&settings, &split(40)),
        (vec![Seen::Binary(vec![7; 100])], None)
    );
    assert_eq!(outcome(&settings, &split(41)).1, too_big);

    // The header alone is enough, and no declared length overflows.
    for header in [
        &b"\x82\xe5KEY_"[..],
        b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffKEY_",
    ] {
        assert_eq!(outcome(&settings, header).1, too_big);
        let fragment = [frame(false, Binary, b"a"), [b"\x80", &header[1..]].concat()].concat();
        assert_eq!(outcome(&settings, &fragment).1, too_big);
    }
}

#[test]
fn fragments_are_limited_even_when_empty() {
    let settings = DecoderSettings {
        max_fragments: 3,
        ..SERVER
    };
    let message = |count: usize| {
        let mut bytes = frame(false, Text, b"");
        (2..count).for_each(|_| bytes.extend(frame(false, Continuation, b"")));
        bytes.extend(frame(true, Continuation, b"end"));
        bytes
    };
    assert_eq!(outcome(&settings, &message(3)), (vec![text("end")], None));
    let error = ProtocolError::TooManyFragments { limit: 3 };
    assert_eq!(outcome(&settings, &message(4)), (vec![], Some(error)));
    let none = DecoderSettings {
        max_fragments: 0,
        ..SERVER
    };
    assert_eq!(
        outcome(&none, &frame(true, Text, b"a")),
        (vec![text("a")], None)
    );
}

#[test]
fn an_idle_decoder_is_one_pointer_and_holds_nothing() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    let mut decoder = Decoder::default();
    let mut seen = Outcome::default();
    for bytes in [
        frame(true, Text, b"message"),
        frame(true, Ping, b"ping"),
        [frame(false, Text, b"a"), frame(true, Continuation, b"b")].concat(),
        frame(true, Binary, &[7; 5000]),
    ] {
        for cut in 1..bytes.len() {
            assert!(feed(&mut decoder, &SERVER, &bytes[..cut], &mut seen));
            assert!(!decoder.is_idle() || cut == bytes.len());
            assert!(decoder.buffered_bytes() > 0);
            assert!(feed(&mut decoder, &SERVER, &bytes[cut..], &mut seen));
            assert!(decoder.is_idle(), "cut at {cut}");
            assert_eq!(decoder.buffered_bytes(), 0);
        }
    }
}

#[test]
fn memory_follows_what_was_received() {
    let settings = DecoderSettings {
        max_message: 1 << 30,
        ..SERVER
    };
    let header = FrameHeader {
        fin: true,
        opcode: Binary,
        mask: Some(KEY),
        payload_len: 1 << 30,
    };
    let mut bytes = [0; FrameHeader::MAX_LEN];
    let length = header.encode(&mut bytes);
    let mut decoder = Decoder::default();
    let mut seen = Outcome::default();
    feed(&mut decoder, &settings, &bytes[..length], &mut seen);
    assert!(
        decoder.buffered_bytes() < 512,
        "{}",
        decoder.buffered_bytes()
    );
    assert!(
        decoder.direct_buffer(|_, _| None).is_none(),
        "a header alone earns no buffer"
    );

    let mut received = 0;
    while received < 4 << 20 {
        match decoder.direct_buffer(|_, _| None) {
            Some(buffer) => {
                let count = buffer.len().min(10_000);
                buffer[..count].fill(0);
                received += count;
                assert_eq!(decoder.received(&settings, count), Ok(None));
            }
            None => {
                feed(&mut decoder, &settings, &[0; 1000], &mut seen);
                received += 1000;
            }
        }
        let held = decoder.buffered_bytes();
        assert!(
            held <= (2 * received).max(64 << 10) + 16384,
            "{held} for {received}"
        );
    }
}

#[test]
fn a_direct_buffer_never_takes_more_than_its_frame() {
    // Small fragments first, whose doubling leaves room of its own.
    let mut stream = frame(false, Binary, &[1; 3000]);
    stream.extend(frame(false, Continuation, &[2; 3000]));
    stream.extend(frame(false, Continuation, &[3; 20_000]));
    stream.extend(frame(true, Ping, b"between"));
    stream.extend(frame(true, Continuation, &[4; 200_000]));
    stream.extend(frame(true, Text, b"next"));
    let message = [
        vec![1; 3000],
        vec![2; 3000],
        vec![3; 20_000],
        vec![4; 200_000],
    ]
    .concat();
    let expected = vec![
        Seen::Ping(b"between".to_vec()),
        Seen::Binary(message),
        text("next"),
    ];
    for size in [100, 1000, 4096, 30_000, 65_536, 1 << 20] {
        let seen = decode(&SERVER, stream.chunks(size), true);
        assert_eq!(seen, (expected.clone(), None), "pieces of {size}");
    }
}

#[test]
fn received_without_a_direct_buffer_is_nothing() {
    assert_eq!(Decoder::default().received(&SERVER, 0), Ok(None));
}
