//! Every attack is what it says, by the word of parsers that are not ours.

use std::io::{self, Cursor, Read, Write};

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::*;

/// The bytes of the first steps, and what comes after the last.
fn bytes(attack: Attack, steps: u64, seed: u64) -> (Vec<u8>, Next) {
    let mut rng = Rng::with_seed(seed);
    let mut out = Vec::new();
    let mut next = Next::Never;
    for n in 0..steps {
        next = attack.step(n, "host:1", "/path", &mut rng, &mut out);
    }
    (out, next)
}

/// A stream that ends in waiting, and takes any answer.
struct Script(Cursor<Vec<u8>>);

impl Read for Script {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a server makes of the frames: whole messages, and the error that ends them.
fn server(attack: Attack, steps: u64) -> (Vec<Message>, Error) {
    let stream = Script(Cursor::new(bytes(attack, steps, 1).0));
    let config = WebSocketConfig::default();
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => messages.push(message),
            Err(error) => return (messages, error),
        }
    }
}

fn waits(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn requests_are_right_as_far_as_they_go_and_never_whole() {
    for (attack, steps) in [
        (Attack::Slowloris, 1000),
        (Attack::Slowloris, 30),
        (Attack::EndlessHeaders, 3),
    ] {
        let (bytes, next) = bytes(attack, steps, 1);
        assert!(matches!(next, Next::Slowly | Next::Soon));
        let mut headers = [httparse::EMPTY_HEADER; 512];
        let mut request = httparse::Request::new(&mut headers);
        assert!(request.parse(&bytes).unwrap().is_partial(), "{attack}");
        if attack == Attack::Slowloris {
            assert_eq!(bytes.len(), steps as usize);
        }
        // With an empty line it would have been one.
        let line = bytes.iter().rposition(|&byte| byte == b'\n');
        let whole = [&bytes[..=line.unwrap()], b"\r\n"].concat();
        let mut request = httparse::Request::new(&mut headers);
        assert!(request.parse(&whole).unwrap().is_complete(), "{attack}");
        assert_eq!(request.path, Some("/path"));
    }
}

#[test]
fn header_fields_add_up() {
    let (bytes, _) = bytes(Attack::EndlessHeaders, 20, 1);
    assert!(bytes.len() > 20 * BURST / 2, "{}", bytes.len());
}

#[test]
fn frames_that_never_end() {
    for (attack, steps) in [
        (Attack::StalledFrame, 1),
        (Attack::TrickledFrame, ANNOUNCED as u64 + 9),
        (Attack::FragmentFlood, 5),
        (Attack::ResetFrame, 1),
    ] {
        let (messages, error) = server(attack, steps);
        assert!(messages.is_empty() && waits(&error), "{attack}: {error}");
    }
    let (whole, next) = bytes(Attack::TrickledFrame, ANNOUNCED as u64 + 9, 1);
    assert_eq!(next, Next::Never);
    assert_eq!(whole.len(), wire::header_len(ANNOUNCED) + ANNOUNCED - 1);
}

#[test]
fn fragments_are_one_message_of_tiny_frames() {
    // With a last frame it is a message of one byte for each step.
    let mut all = bytes(Attack::FragmentFlood, 3, 1).0;
    wire::header(&mut all, Opcode::Continuation, 0, [0; 4]);
    let stream = Script(Cursor::new(all.clone()));
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    assert_eq!(socket.read().unwrap(), Message::text("aaa"));
    assert!(all.len() / 3 > BURST / 2);
}

#[test]
fn floods_are_valid() {
    let (pings, error) = server(Attack::PingFlood, 2);
    assert!(waits(&error), "{error}");
    assert_eq!(pings.len(), 2 * (BURST / 131));
    assert!(pings.iter().all(|ping| ping.is_ping() && ping.len() == 125));
    let (messages, error) = server(Attack::NeverRead, 3);
    assert!(waits(&error) && messages.len() == 3, "{error}");
    assert!(messages.iter().all(|message| message.len() == UNREAD));
}

#[test]
fn violations_violate() {
    let (_, error) = server(Attack::OversizedLength, 1);
    assert!(
        matches!(
            error,
            Error::Capacity(CapacityError::MessageTooLong { size, .. }) if size == usize::MAX >> 1
        ),
        "{error:?}"
    );
    let (_, error) = server(Attack::OversizedControl, 1);
    let protocol = |error: &Error| match error {
        Error::Protocol(error) => error.clone(),
        error => panic!("{error:?}"),
    };
    assert_eq!(protocol(&error), ProtocolError::ControlFrameTooBig);
    let (_, error) = server(Attack::Unmasked, 1);
    assert_eq!(protocol(&error), ProtocolError::UnmaskedFrameFromClient);
}

#[test]
fn garbage_is_random_and_seeded() {
    for attack in [Attack::GarbageRequest, Attack::GarbageFrames] {
        let once = bytes(attack, 4, 9).0;
        assert_eq!(once, bytes(attack, 4, 9).0);
        assert_ne!(once, bytes(attack, 4, 10).0);
        assert_eq!(once.len(), 4 * GARBAGE);
        let mut seen = [false; 256];
        once.iter().for_each(|&byte| seen[usize::from(byte)] = true);
        assert!(seen.iter().filter(|&&seen| seen).count() > 200);
    }
}

#[test]
fn resets_and_silence() {
    assert_eq!(bytes(Attack::Silent, 1, 1), (Vec::new(), Next::Never));
    assert_eq!(bytes(Attack::ResetConnect, 1, 1), (Vec::new(), Next::Reset));
    let (half, next) = bytes(Attack::ResetFrame, 2, 1);
    assert_eq!(next, Next::Reset);
    assert!(half.len() < ANNOUNCED);
}

#[test]
fn steps_are_bounded_and_names_are_names() {
    for attack in Attack::ALL {
        for n in [0, 1, 2, u64::from(u32::MAX)] {
            let mut out = Vec::new();
            attack.step(n, "h", "/", &mut Rng::with_seed(1), &mut out);
            assert!(out.len() <= UNREAD + 64, "{attack}: {}", out.len());
        }
        assert_eq!(attack.name().parse(), Ok(attack));
    }
    assert!("none".parse::<Attack>().unwrap_err().contains("slowloris"));
}
