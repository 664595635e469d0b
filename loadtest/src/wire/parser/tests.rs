use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data as Kind, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame as Theirs, FrameHeader};

use super::*;

/// Events with the pieces of each message joined.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whole {
    Message(Opcode, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(Violation),
}

/// What the parser makes of these reads.
fn parse<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<Whole> {
    let mut parser = Parser::default();
    let mut whole = Vec::new();
    let mut message = Vec::new();
    for mut input in reads {
        loop {
            match parser.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Data(data))) => {
                    assert_eq!(data.offset, message.len() as u64);
                    message.extend_from_slice(data.piece);
                    if data.last {
                        whole.push(Whole::Message(data.opcode, std::mem::take(&mut message)));
                    }
                }
                Ok(Some(Event::Ping(payload))) => whole.push(Whole::Ping(payload.into())),
                Ok(Some(Event::Pong(payload))) => whole.push(Whole::Pong(payload.into())),
                Ok(Some(Event::Close(close))) => {
                    whole.push(Whole::Close(close.map(|(code, why)| (code, why.into()))));
                }
                Err(violation) => {
                    whole.push(Whole::Violation(violation));
                    return whole;
                }
            }
        }
        assert!(input.is_empty());
    }
    whole
}

/// A frame as tungstenite writes it for a server.
fn theirs(opcode: OpCode, last: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        is_final: last,
        opcode,
        ..FrameHeader::default()
    };
    let mut bytes = Vec::new();
    Theirs::from_payload(header, payload.to_vec().into())
        .format(&mut bytes)
        .unwrap();
    bytes
}

/// A bit of everything, and what it says.
fn conversation() -> (Vec<u8>, Vec<Whole>) {
    let long = vec![7; 70_000];
    let mut bytes = theirs(OpCode::Data(Kind::Text), true, b"one");
    bytes.extend(theirs(
        OpCode::Control(Control::Ping),
        true,
        b"are you there",
    ));
    bytes.extend(theirs(OpCode::Data(Kind::Binary), false, &[1; 126]));
    bytes.extend(theirs(OpCode::Control(Control::Pong), true, b""));
    bytes.extend(theirs(OpCode::Data(Kind::Continue), false, b""));
    bytes.extend(theirs(OpCode::Data(Kind::Continue), true, &[2; 3]));
    bytes.extend(theirs(OpCode::Data(Kind::Text), true, b""));
    bytes.extend(theirs(OpCode::Data(Kind::Binary), true, &long));
    let mut close = Vec::new();
    Theirs::close(Some(CloseFrame {
        code: CloseCode::Away,
        reason: "later".into(),
    }))
    .format(&mut close)
    .unwrap();
    bytes.extend(close);
    let mut joined = vec![1; 126];
    joined.extend([2; 3]);
    let whole = vec![
        Whole::Message(Opcode::Text, b"one".to_vec()),
        Whole::Ping(b"are you there".to_vec()),
        Whole::Pong(vec![]),
        Whole::Message(Opcode::Binary, joined),
        Whole::Message(Opcode::Text, vec![]),
        Whole::Message(Opcode::Binary, long),
        Whole::Close(Some((1001, "later".into()))),
    ];
    (bytes, whole)
}

#[test]
fn what_tungstenite_writes_is_read() {
    let (bytes, whole) = conversation();
    assert_eq!(parse([&bytes[..]]), whole);
}

#[test]
fn a_cut_anywhere_changes_nothing() {
    let (bytes, whole) = conversation();
    let edges = (0..400).chain(bytes.len() - 40..bytes.len());
    for cut in edges {
        let (a, b) = bytes.split_at(cut);
        assert_eq!(parse([a, b]), whole, "{cut}");
    }
    assert_eq!(parse(bytes.chunks(1)), whole);
}

proptest! {
    #[test]
    fn cuts_anywhere_change_nothing(mut cuts in prop::collection::vec(0usize..70_400, 0..20)) {
        let (bytes, whole) = conversation();
        cuts.retain(|&cut| cut < bytes.len());
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let reads = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        prop_assert_eq!(parse(reads), whole);
    }

    #[test]
    fn no_bytes_make_it_panic_and_cuts_change_no_verdict(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let whole = parse([&bytes[..]]);
        prop_assert_eq!(parse(bytes.chunks(1)), whole);
    }
}

#[test]
fn violations_are_found() {
    let long = [0x82, 127, 0x80, 0, 0, 0, 0, 1, 0, 0];
    for (bytes, violation) in [
        (&[0xc1, 0][..], Violation::ReservedBit),
        (&[0x83, 0], Violation::Opcode(3)),
        (&[0x8b, 0], Violation::Opcode(11)),
        (&[0x81, 0x80], Violation::Masked),
        (&[0x82, 126, 0, 125], Violation::Length),
        (
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            Violation::Length,
        ),
        (&long, Violation::Length),
        (&[0x09, 0], Violation::FragmentedControl),
        (&[0x8a, 126], Violation::LongControl),
        (&[0x80, 0], Violation::NothingToContinue),
        (&[0x01, 1, b'a', 0x81, 0], Violation::Interrupted),
        (&[0x88, 1, 3], Violation::Close),
        (&[0x88, 2, 3, 0xed], Violation::Close),
        (&[0x88, 3, 3, 0xe8, 0xff], Violation::Close),
    ] {
        assert_eq!(parse([bytes]), [Whole::Violation(violation)], "{bytes:x?}");
        assert_eq!(parse(bytes.chunks(1)), [Whole::Violation(violation)]);
    }
}

#[test]
fn tungstenite_reads_what_we_write() {
    for len in [0, 1, 125, 126, 0xffff, 0x1_0000] {
        let key = [9, 200, 3, 77];
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut bytes = Vec::new();
        super::super::header(&mut bytes, Opcode::Binary, len, key);
        let start = bytes.len();
        bytes.extend_from_slice(&payload);
        super::super::mask(&mut bytes[start..], key);
        super::super::control(&mut bytes, Opcode::Ping, b"ping", key);
        let mut server = tungstenite::WebSocket::from_raw_socket(
            std::io::Cursor::new(bytes),
            tungstenite::protocol::Role::Server,
            None,
        );
        assert_eq!(server.read().unwrap().into_data(), payload);
        assert_eq!(
            server.read().unwrap(),
            tungstenite::Message::Ping(b"ping".as_slice().into())
        );
    }
}
