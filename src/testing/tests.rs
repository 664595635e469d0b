//! The connection and reactor core, in memory and in virtual time.

mod backpressure;
mod deadlines;
mod endings;
mod failures;
mod handles;
mod memory;
mod pages;
mod panics;
mod slow_workers;
mod timers;
mod topics;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::network::{Call, Fate, Wire};
use super::{Next, PATH, Pair, Received, TestPeer};
use crate::protocol::handshake::encode_key;
use crate::protocol::{ClientHandshake, CloseCode, FrameHeader, Opcode, encode_frame};
use crate::{CloseReason, Config, Handler, Message, Peer};

/// What a handler was told, in order, as one line each.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn count(&self, line: &str) -> usize {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|&it| it == line).count()
    }

    fn has(&self, line: &str) -> bool {
        self.count(line) > 0
    }
}

/// An event of a handler.
enum On<'a> {
    Open,
    Message(Message<'a>),
    Timer,
    Drain,
    Close,
}

/// A handler that keeps a log and does what `react` says.
struct Probe<F> {
    log: Log,
    react: Arc<F>,
}

impl<F: Fn(&mut Peer<'_>, On<'_>) + 'static> Handler for Probe<F> {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        self.log.add("open");
        (self.react)(peer, On::Open);
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        self.log.add(match message.as_text() {
            Some(text) => format!("message {text}"),
            None => format!("message of {}", message.as_bytes().len()),
        });
        (self.react)(peer, On::Message(message));
    }

    fn on_timer(&mut self, peer: &mut Peer<'_>) {
        self.log.add("timer");
        (self.react)(peer, On::Timer);
    }

    fn on_drain(&mut self, peer: &mut Peer<'_>) {
        self.log.add("drain");
        (self.react)(peer, On::Drain);
    }

    fn on_close(&mut self, peer: &mut Peer<'_>, reason: &CloseReason) {
        let how = if reason.was_clean() {
            "clean"
        } else {
            "unclean"
        };
        let code = u16::from(reason.code());
        let line = format!(
            "close {:?} {code} {how} {}",
            reason.cause(),
            reason.reason()
        );
        self.log.add(line.trim_end());
        (self.react)(peer, On::Close);
    }
}

impl<F> Drop for Probe<F> {
    fn drop(&mut self) {
        self.log.add("drop");
    }
}

/// A pair whose handler keeps a log and does what `react` says.
fn probe<F>(log: &Log, react: F) -> Pair
where
    F: Fn(&mut Peer<'_>, On<'_>) + Send + Sync + 'static,
{
    let log = log.clone();
    let react = Arc::new(react);
    Pair::new(move |_| Probe {
        log: log.clone(),
        react: Arc::clone(&react),
    })
}

/// Does what a text message says: `close CODE REASON`, `timer MILLISECONDS`, `clear`,
/// `fill BYTES`. Everything else comes back.
fn obey(peer: &mut Peer<'_>, on: On<'_>) {
    let On::Message(message) = on else { return };
    let words: Vec<&str> = message.as_text().unwrap_or("").splitn(3, ' ').collect();
    match words[..] {
        ["close", code, reason] => peer.close(code.parse::<u16>().unwrap().into(), reason),
        ["timer", millis] => peer.set_timer(Duration::from_millis(millis.parse().unwrap())),
        ["clear"] => peer.clear_timer(),
        ["fill", bytes] => {
            peer.send(vec![b'x'; bytes.parse().unwrap()]);
        }
        _ => {
            peer.send(message);
        }
    }
}

/// The default configuration after `change`.
fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn text(text: &str) -> Received {
    Received::Message(Message::from(text.to_owned()))
}

fn binary(bytes: Vec<u8>) -> Received {
    Received::Message(Message::from(bytes))
}

fn close(code: u16, reason: &str) -> Received {
    Received::Close(Some(code.into()), reason.to_owned())
}

/// Everything the server has sent and was not looked at.
fn receive_all(peer: &mut TestPeer) -> Vec<Received> {
    std::iter::from_fn(|| peer.receive()).collect()
}

/// Lets a millisecond less than `after` pass, then the last one: `happened` only then.
fn happens_after(peer: &mut TestPeer, after: u64, mut happened: impl FnMut(&mut TestPeer) -> bool) {
    peer.advance(millis(after - 1));
    assert!(!happened(peer), "too early");
    peer.advance(millis(1));
    assert!(happened(peer), "too late");
}

impl TestPeer {
    /// Takes what has reached the client, once.
    fn resume_one_window(&mut self) {
        let bytes = self.wire.read();
        self.input.extend(bytes);
        self.run();
    }
}

/// The server has let go of everything.
fn is_empty(peer: &mut TestPeer) -> bool {
    let stats = peer.stats();
    stats.connections == 0 && stats.memory == 0
}

/// A frame from a client.
fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, opcode, Some(TestPeer::KEY), payload);
    if !fin {
        bytes[0] &= 0x7f;
    }
    bytes
}

/// The head of a frame from a client that declares `length` bytes, with a key of zeros.
fn frame_head(opcode: Opcode, length: u64) -> Vec<u8> {
    let mut bytes = [0; FrameHeader::MAX_LEN];
    let header = FrameHeader {
        fin: true,
        opcode,
        mask: Some([0; 4]),
        payload_len: length,
    };
    let count = header.encode(&mut bytes);
    bytes[..count].to_vec()
}

/// A request that is accepted.
fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    ClientHandshake {
        host: "localhost",
        target: PATH,
        key: encode_key([7; 16]),
        subprotocols: &[],
        origin: None,
        extra_headers: &[],
    }
    .encode(&mut bytes);
    bytes
}

/// Another client of the same server, which sends `bytes` at once.
fn another(peer: &mut TestPeer, bytes: &[u8]) -> Wire {
    let remote = ([127, 0, 0, 1], 50_001).into();
    let wire = peer.engine.network(0).connect(remote, super::WINDOW);
    wire.write(bytes);
    peer.run();
    wire
}

/// What the server has written to a client, up to the end of the response's head and after it.
fn split_response(wire: &Wire) -> (String, Vec<u8>) {
    let bytes = wire.read();
    let end = crate::protocol::find_head_end(&bytes, 0).unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    (head, bytes[end..].to_vec())
}
