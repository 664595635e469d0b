//! `/chat`: a room. What one says, everybody hears, in one order.
//!
//! The client sends text. The server sends `{"messages":["..."],"epoch":"...","offset":N}`: what was said,
//! and how far into the room's life that reaches. Who comes with `?since=EPOCH-OFFSET` is sent first
//! what was said after that, with `"recovered":true`, or else everything that the room remembers,
//! with `"recovered":false`.

use crate::protocol::CloseCode;
use crate::{Handler, Message, Offset, Peer, Request, Since, Subscription};

/// The topic of the room.
pub(super) const TOPIC: &str = "/chat";
/// What may be said at once, in bytes. As JSON it may take six times as much.
const MAX_SAID: usize = 16 * 1024;

/// What a publication of the room is made of, besides what was said and its offset.
const BEFORE: &str = r#"{"messages":["#;
const AFTER: &str = r#"],"epoch":""#;

pub(super) struct Chat {
    since: Since,
    resumes: bool,
}

impl Chat {
    pub(super) fn new(request: &Request<'_>) -> Self {
        let mut fields = request.query().unwrap_or_default().split('&');
        let since = fields.find_map(|field| field.strip_prefix("since="));
        let offset = since.and_then(|since| since.parse().ok());
        Self {
            since: offset.map_or(Since::History, Since::AfterOrHistory),
            resumes: since.is_some(),
        }
    }

    /// Whether this subscriber has all that it missed; `None` if it has missed nothing yet.
    fn recovered(&self, subscription: &Subscription) -> Option<bool> {
        let knows_where = matches!(self.since, Since::AfterOrHistory(_));
        self.resumes
            .then(|| knows_where && subscription.recovered())
    }
}

impl Handler for Chat {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        if let Err(error) = peer.subscribe(TOPIC, self.since) {
            peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
        }
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        let Some(said) = message.as_text() else {
            return peer.close(CloseCode::UNSUPPORTED_DATA, "this room is for text");
        };
        if said.is_empty() {
            return;
        }
        if said.len() > MAX_SAID {
            let reason = format!("at most {MAX_SAID} bytes are said at once");
            return peer.close(CloseCode::MESSAGE_TOO_BIG, &reason);
        }
        let said = serde_json::to_string(said).expect("text is JSON");
        if let Err(error) = peer.publish_with(TOPIC, |offset| encode(&[&said], offset, None)) {
            peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
        }
    }

    fn on_subscribed(&mut self, peer: &mut Peer<'_>, subscription: &Subscription) {
        let replay = subscription.replay().iter();
        let said: Vec<&str> = replay.filter_map(|it| said(it.as_bytes())).collect();
        let recovered = self.recovered(subscription);
        peer.send(encode(&said, subscription.offset(), recovered));
    }
}

/// What the peer is sent: `said` is JSON already.
fn encode(said: &[&str], offset: Offset, recovered: Option<bool>) -> String {
    let Offset { epoch, number } = offset;
    let said = said.join(",");
    let recovered = match recovered {
        Some(true) => r#","recovered":true"#,
        Some(false) => r#","recovered":false"#,
        None => "",
    };
    format!(r#"{BEFORE}{said}{AFTER}{epoch:x}","offset":{number}{recovered}}}"#)
}

/// What was said in a publication, as JSON. Nothing in it can be taken for what comes after: in
/// JSON a quotation mark inside a string has a backslash before it.
fn said(publication: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(publication).ok()?;
    let (said, _) = text.strip_prefix(BEFORE)?.rsplit_once(AFTER)?;
    Some(said)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::testing::{Pair, Received, TestPeer};

    fn room() -> Pair {
        Pair::new(Chat::new)
    }

    fn join(other: &TestPeer) -> TestPeer {
        room().topics_of(other).connect().unwrap()
    }

    fn resume(other: &TestPeer, since: &str) -> TestPeer {
        let target = format!("/?since={since}");
        room().target(target).topics_of(other).connect().unwrap()
    }

    fn next(peer: &mut TestPeer) -> Option<Value> {
        match peer.receive()? {
            Received::Message(message) => {
                let text = message.as_text().expect("text");
                Some(serde_json::from_str(text).expect("JSON"))
            }
            other => panic!("{other:?} instead of a message"),
        }
    }

    #[track_caller]
    fn expect(peer: &mut TestPeer, messages: &[&str]) -> Value {
        let value = next(peer).expect("a message");
        assert_eq!(value["messages"], serde_json::json!(messages));
        value
    }

    fn position(value: &Value) -> String {
        format!("{}-{}", value["epoch"].as_str().unwrap(), value["offset"])
    }

    #[test]
    fn the_first_message_has_the_history_and_the_rest_is_live() {
        let mut ann = room().connect().unwrap();
        let first = expect(&mut ann, &[]);
        assert_eq!(first["offset"], 0);
        assert_eq!(first.get("recovered"), None);
        ann.send("one");
        ann.send("two");
        assert_eq!(expect(&mut ann, &["one"])["offset"], 1);
        assert_eq!(expect(&mut ann, &["two"])["offset"], 2);
        let mut ben = join(&ann);
        let history = expect(&mut ben, &["one", "two"]);
        assert_eq!(history["offset"], 2);
        assert_eq!(history["epoch"], first["epoch"]);
        ben.send("three");
        for peer in [&mut ann, &mut ben] {
            let live = expect(peer, &["three"]);
            assert_eq!(live["offset"], 3);
            assert_eq!(live["epoch"], first["epoch"]);
            assert_eq!(next(peer), None);
        }
    }

    #[test]
    fn who_comes_back_is_sent_what_it_missed() {
        let mut ann = room().connect().unwrap();
        let start = position(&expect(&mut ann, &[]));
        for text in ["1", "2", "3"] {
            ann.send(text);
        }
        let one = position(&expect(&mut ann, &["1"]));
        for (since, missed) in [(&start, &["1", "2", "3"][..]), (&one, &["2", "3"])] {
            let mut ben = resume(&ann, since);
            let first = expect(&mut ben, missed);
            assert_eq!(first["recovered"], true);
            assert_eq!(first["offset"], 3);
        }
    }

    #[test]
    fn who_cannot_resume_is_sent_everything() {
        let mut ann = room().connect().unwrap();
        let start = position(&expect(&mut ann, &[]));
        ann.send("1");
        let epoch = start.split_once('-').unwrap().0.to_owned();
        let other = format!("{:x}-1", u64::from_str_radix(&epoch, 16).unwrap() ^ 1);
        for since in [
            &other,
            &format!("{epoch}-2"),
            "",
            "-",
            "x-1",
            &epoch,
            "1-1-1",
        ] {
            let mut ben = resume(&ann, since);
            let first = expect(&mut ben, &["1"]);
            assert_eq!(first["recovered"], false, "{since:?}");
            assert_eq!(first["offset"], 1);
        }
    }

    #[test]
    fn every_text_comes_back_as_it_was() {
        let mut ann = room().connect().unwrap();
        expect(&mut ann, &[]);
        let texts = [
            "</script><b>&amp;",
            "\0\u{1}\t\r\n\u{1f}\u{7f}\u{2028}\u{2029}",
            "\u{1f41f} \u{10ffff} e\u{301}",
            r#"quote " backslash \ and \u0041"#,
            r#"],"epoch":"x","offset":7}"#,
            r#"{"messages":["nested"]}"#,
            " ",
        ];
        for text in texts {
            ann.send(text);
            expect(&mut ann, &[text]);
        }
        expect(&mut join(&ann), &texts);
    }

    #[test]
    fn what_is_empty_is_ignored_and_binary_closes() {
        let mut ann = room().connect().unwrap();
        expect(&mut ann, &[]);
        ann.send("");
        ann.send("after nothing");
        assert_eq!(expect(&mut ann, &["after nothing"])["offset"], 1);
        ann.send(b"bytes".as_slice());
        let close = ann.receive();
        let code = CloseCode::UNSUPPORTED_DATA;
        assert!(
            matches!(&close, Some(Received::Close(Some(it), _)) if *it == code),
            "{close:?}"
        );
    }

    #[test]
    fn what_is_too_long_closes_and_costs_nobody_the_history() {
        let mut ann = room().connect().unwrap();
        expect(&mut ann, &[]);
        ann.send("hello");
        expect(&mut ann, &["hello"]);
        // As long in JSON as it gets.
        let longest = "\u{1}".repeat(MAX_SAID);
        ann.send(&*longest);
        expect(&mut ann, &[&longest]);
        ann.send("x".repeat(MAX_SAID + 1));
        match ann.receive() {
            Some(Received::Close(Some(CloseCode::MESSAGE_TOO_BIG), reason)) => {
                assert_eq!(reason, "at most 16384 bytes are said at once");
            }
            other => panic!("{other:?}"),
        }
        expect(&mut join(&ann), &["hello", &longest]);
    }

    #[test]
    fn the_history_is_bounded() {
        let mut ann = room().connect().unwrap();
        for at in 0..150 {
            ann.send(format!("{at}"));
        }
        let texts: Vec<String> = (50..150).map(|at| at.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let history = expect(&mut join(&ann), &texts);
        // The oldest of them is number 51.
        let epoch = history["epoch"].as_str().unwrap();
        for (number, recovered) in [(49, false), (50, true)] {
            let mut ben = resume(&ann, &format!("{epoch}-{number}"));
            assert_eq!(expect(&mut ben, &texts)["recovered"], recovered);
        }
    }

    #[test]
    fn other_publications_of_its_topic_are_not_repeated() {
        for payload in ["", "{}", r#"{"messages":["x"]}"#, "\u{1f41f}"] {
            assert_eq!(said(payload.as_bytes()), None, "{payload:?}");
        }
        assert_eq!(said(b"\xff"), None);
    }
}
