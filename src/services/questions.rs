//! `/questions`: a server that answers three questions, as the jWebSocket tutorials show one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::protocol::CloseCode;
use crate::{Handler, Message, Peer, Request, Upgrade};

/// The subprotocols it speaks, which are two names of one.
const SUBPROTOCOLS: [&str; 2] = ["json", "org.jwebsocket.json"];
/// The namespace and the version of the protocol whose welcome this is.
const NAMESPACE: &str = "org.jwebsocket.plugins.system";
const PROTOCOL_VERSION: u32 = 1;

const HELP: &str = "Unknown question. Ask 1 for the server's name, 2 for its operating system, \
                    3 for its time.";

/// What all connections answer alike; asked for once.
#[derive(Clone)]
pub(super) struct Answers {
    system: Arc<str>,
    /// How long a client may be silent; zero is for ever.
    timeout: Duration,
}

impl Answers {
    pub(super) fn new(idle_timeout: Option<Duration>) -> Self {
        Self {
            system: operating_system().into(),
            timeout: idle_timeout.unwrap_or_default(),
        }
    }
}

/// The first subprotocol offered that this service speaks.
pub(super) fn offered<'a>(request: &Request<'a>) -> Option<&'a str> {
    request
        .subprotocols()
        .find(|name| SUBPROTOCOLS.contains(name))
}

/// Accepts with the subprotocol that was agreed on, if one was.
pub(super) fn accept(subprotocol: Option<&str>, answers: &Answers) -> Upgrade {
    let upgrade = Upgrade::new(Questions {
        subprotocol: subprotocol.unwrap_or(SUBPROTOCOLS[0]).to_owned(),
        answers: answers.clone(),
    });
    match subprotocol {
        Some(name) => upgrade.subprotocol(name),
        None => upgrade,
    }
}

struct Questions {
    subprotocol: String,
    answers: Answers,
}

impl Handler for Questions {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        let welcome = json!({
            "ns": NAMESPACE,
            "type": "welcome",
            "vendor": "sockeye",
            "version": env!("CARGO_PKG_VERSION"),
            "sourceId": peer.id().to_string(),
            "timeout": u64::try_from(self.answers.timeout.as_millis()).unwrap_or(u64::MAX),
            "protocolVersion": PROTOCOL_VERSION,
            "subProtocol": self.subprotocol,
        });
        peer.send(welcome.to_string());
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        let Some(question) = message.as_text() else {
            return peer.close(CloseCode::UNSUPPORTED_DATA, "questions are text");
        };
        match question {
            "1" => peer.send("sockeye"),
            "2" => peer.send(&*self.answers.system),
            "3" => peer.send(time()),
            _ => peer.send(HELP),
        };
    }
}

/// The local time as `hh:mm:ss` on a clock face of twelve hours.
fn time() -> String {
    jiff::Zoned::now().strftime("%I:%M:%S").to_string()
}

/// The kernel's name and release, and the distribution's name if it says one.
fn operating_system() -> String {
    let uname = rustix::system::uname();
    let kernel = format!(
        "{} {}",
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy()
    );
    let files = ["/etc/os-release", "/usr/lib/os-release"];
    let release = files
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok());
    match release.as_deref().and_then(pretty_name) {
        Some(name) => format!("{name}, {kernel}"),
        None => kernel,
    }
}

/// `PRETTY_NAME` of an os-release file (os-release(5)): shell syntax, of which names use quotes.
fn pretty_name(release: &str) -> Option<&str> {
    let value = release
        .lines()
        .find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    let unquoted = ['"', '\''].iter().find_map(|&quote| {
        let inner = value.strip_prefix(quote)?;
        inner.strip_suffix(quote)
    });
    Some(unquoted.unwrap_or(value)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Pair, Received, TestPeer};

    fn connect(offered: &[&str]) -> TestPeer {
        let answers = Answers::new(Some(Duration::from_secs(90)));
        let mut pair =
            Pair::new(move |request: &Request<'_>| accept(super::offered(request), &answers));
        for name in offered {
            pair = pair.subprotocol(*name);
        }
        pair.connect().unwrap()
    }

    #[track_caller]
    fn text(peer: &mut TestPeer) -> String {
        match peer.receive() {
            Some(Received::Message(message)) => message.as_text().unwrap().to_owned(),
            other => panic!("a text message, not {other:?}"),
        }
    }

    #[test]
    fn the_first_offer_that_it_speaks_is_chosen() {
        for (offered, chosen) in [
            (&["json"][..], Some("json")),
            (&["soap", "json"], Some("json")),
            (
                &["org.jwebsocket.json", "json"],
                Some("org.jwebsocket.json"),
            ),
            (&["json", "org.jwebsocket.json"], Some("json")),
            (&[], None),
        ] {
            let mut peer = connect(offered);
            assert_eq!(peer.subprotocol(), chosen, "{offered:?}");
            let welcome: serde_json::Value = serde_json::from_str(&text(&mut peer)).unwrap();
            assert_eq!(welcome["subProtocol"], chosen.unwrap_or("json"));
        }
    }

    #[test]
    fn a_welcome_has_every_field() {
        let welcome = text(&mut connect(&["json"]));
        let welcome: serde_json::Value = serde_json::from_str(&welcome).unwrap();
        assert_eq!(welcome["type"], "welcome");
        assert_eq!(welcome["ns"], NAMESPACE);
        assert_eq!(welcome["vendor"], "sockeye");
        assert_eq!(welcome["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(welcome["timeout"], 90_000);
        assert_eq!(welcome["protocolVersion"], 1);
        assert!(!welcome["sourceId"].as_str().unwrap().is_empty());
    }

    #[test]
    fn each_question_has_its_answer() {
        let mut peer = connect(&["json"]);
        text(&mut peer);
        peer.send("1");
        assert_eq!(text(&mut peer), "sockeye");
        peer.send("2");
        let system = text(&mut peer);
        assert!(system.contains(&*rustix::system::uname().sysname().to_string_lossy()));
        for other in ["4", "", "11", " 1", "1\n", "hello"] {
            peer.send(other);
            assert_eq!(text(&mut peer), HELP, "{other:?}");
        }
        assert_eq!(peer.receive(), None);
    }

    #[test]
    fn the_time_has_two_digits_each_and_twelve_hours() {
        let mut peer = connect(&[]);
        text(&mut peer);
        peer.send("3");
        let time = text(&mut peer);
        let parts: Vec<&str> = time.split(':').collect();
        assert!(parts.iter().all(|part| part.len() == 2), "{time}");
        let numbers: Vec<u32> = parts.iter().map(|part| part.parse().unwrap()).collect();
        let [hours, minutes, seconds] = numbers[..] else {
            panic!("{time}")
        };
        assert!(
            (1..=12).contains(&hours) && minutes < 60 && seconds < 60,
            "{time}"
        );
    }

    #[test]
    fn binary_is_not_a_question() {
        let mut peer = connect(&[]);
        text(&mut peer);
        peer.send(b"1".as_slice());
        let close = peer.receive();
        assert!(
            matches!(
                close,
                Some(Received::Close(Some(CloseCode::UNSUPPORTED_DATA), _))
            ),
            "{close:?}"
        );
    }

    #[test]
    fn names_in_release_files() {
        for (release, name) in [
            (
                "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n",
                Some("Debian GNU/Linux 12"),
            ),
            ("PRETTY_NAME='a b'", Some("a b")),
            ("PRETTY_NAME=Alpine", Some("Alpine")),
            ("PRETTY_NAME=\"\"", None),
            ("NAME=x", None),
            ("", None),
        ] {
            assert_eq!(pretty_name(release), name, "{release:?}");
        }
    }
}
