//! `/relay/NAME`: whatever a client sends goes to everybody else on that name, and is forgotten.

use crate::protocol::CloseCode;
use crate::{Handler, Message, Peer, Refusal, Request, Since};

/// Longest name, in bytes.
const MAX_NAME: usize = 64;
/// What the names of topics begin with.
pub(super) const TOPICS: &str = "/relay/";

pub(super) struct Relay {
    topic: String,
}

impl Relay {
    /// Names are what needs no escaping in a path (RFC 3986 section 2.3), so that one name has one
    /// spelling.
    pub(super) fn new(request: &Request<'_>) -> Result<Self, Refusal> {
        let name = request.tail();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_plain) {
            let text = format!("a relay's name has 1 to {MAX_NAME} letters, digits or -._~");
            return Err(Refusal::new(400).body(text));
        }
        let topic = format!("{TOPICS}{name}");
        Ok(Self { topic })
    }
}

impl Handler for Relay {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        if let Err(error) = peer.subscribe(&self.topic, Since::New) {
            peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
        }
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        if let Err(error) = peer.publish_to_others(&self.topic, message) {
            peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Pair, Received, TestPeer};

    fn relay(name: &str) -> Pair {
        let target = format!("{TOPICS}{name}");
        Pair::route("/relay/*", Relay::new).target(target)
    }

    fn next(peer: &mut TestPeer) -> Option<Message<'static>> {
        match peer.receive()? {
            Received::Message(message) => Some(message),
            other => panic!("{other:?} instead of a message"),
        }
    }

    #[test]
    fn everybody_else_on_the_name_gets_what_one_sends() {
        let mut ann = relay("game.1").connect().unwrap();
        let mut ben = relay("game.1").topics_of(&ann).connect().unwrap();
        let mut eve = relay("game.2").topics_of(&ann).connect().unwrap();
        ann.send("left");
        ben.send(b"\x00\xff".as_slice());
        ann.send("");
        eve.send("alone");
        assert_eq!(next(&mut ben), Some("left".into()));
        assert_eq!(next(&mut ben), Some("".into()));
        assert_eq!(next(&mut ben), None);
        assert_eq!(
            next(&mut ann),
            Some(Message::binary(b"\x00\xff".as_slice()))
        );
        assert_eq!(next(&mut ann), None);
        assert_eq!(next(&mut eve), None);
    }

    #[test]
    fn names_are_bounded_and_plain() {
        let longest = "x".repeat(MAX_NAME);
        for name in ["a", "A-z_0.9~", &longest] {
            assert!(relay(name).connect().is_ok(), "{name:?}");
        }
        let too_long = "x".repeat(MAX_NAME + 1);
        for name in ["a/b", "a%20b", "a+b", "*", &too_long] {
            let refusal = relay(name).connect().err().expect("a refusal");
            assert!(refusal.starts_with("HTTP/1.1 400 "), "{name:?}: {refusal}");
        }
        // There is no such endpoint.
        let refusal = relay("").connect().err().expect("a refusal");
        assert!(refusal.starts_with("HTTP/1.1 404 "), "{refusal}");
    }
}
