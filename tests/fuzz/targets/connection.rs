//! A whole connection in memory: whatever a client sends, and however it reads, the server
//! answers in order with valid frames, ends, and holds nothing afterwards.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sockeye::protocol::{DecoderSettings, Opcode, Role, encode_frame};
use sockeye::testing::{Pair, Received, TestPeer};
use sockeye::{Config, Handler, Message, Peer};
use sockeye_fuzz::{AnyFrame, Seen, decode};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    worker: bool,
    small_window: Option<u8>,
    small_message: Option<u16>,
    small_outbox: Option<u8>,
    fragments: u8,
    idle: bool,
    answer_pings: bool,
    steps: Vec<Step<'a>>,
    end: End,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Raw(&'a [u8]),
    Frame(AnyFrame),
    /// A frame in two pieces, with time between them.
    Cut(AnyFrame, u16, u8),
    /// Several frames that arrive together.
    Burst(AnyFrame, u8),
    /// Hundredths of a second.
    Advance(u16),
    StopReading,
    ResumeReading,
    Receive,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum End {
    Stream,
    Reset,
    Stop,
    /// Only deadlines are left.
    Silence,
}

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        peer.send(message);
    }
}

struct Client {
    peer: TestPeer,
    /// Bytes it may still send: a server that writes a byte in a turn has many to go.
    budget: usize,
    answers_pings: bool,
    sent: Vec<u8>,
    received: Vec<Received>,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.budget)];
        self.budget -= bytes.len();
        self.sent.extend_from_slice(bytes);
        self.peer.send_raw(bytes);
    }

    fn receive(&mut self) {
        while let Some(received) = self.peer.receive() {
            if let Received::Ping(payload) = &received
                && self.answers_pings
            {
                let mut pong = Vec::new();
                encode_frame(&mut pong, Opcode::Pong, Some([1, 2, 3, 4]), payload);
                self.send(&pong);
            }
            self.received.push(received);
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let mut config = Config::default();
    config.workers = Some(input.worker.into());
    if let Some(bytes) = input.small_message {
        config.limits.max_message = usize::from(bytes) + 1;
    }
    if let Some(bytes) = input.small_outbox {
        config.limits.outbox = usize::from(bytes) + 1;
    }
    config.limits.max_fragments = usize::from(input.fragments) + 1;
    if input.idle {
        config.timeouts.idle = Some(Duration::from_secs(40));
    }
    let settings = DecoderSettings {
        role: Role::Server,
        max_message: config.limits.max_message,
        max_fragments: config.limits.max_fragments,
    };
    // A pong that is sent by itself could get into an unfinished frame.
    let mut pair = Pair::new(|_request| Echo)
        .config(config)
        .answer_pings(false);
    if let Some(bytes) = input.small_window {
        pair = pair.window(usize::from(bytes) + 1);
    }
    let mut client = Client {
        peer: pair.connect().expect("a good request"),
        answers_pings: input.answer_pings,
        budget: match input.small_window {
            Some(_) => 8 * 1024,
            None => 256 * 1024,
        },
        sent: Vec::new(),
        received: Vec::new(),
    };
    let mut waited = false;
    for step in &input.steps {
        match step {
            Step::Raw(bytes) => client.send(bytes),
            Step::Frame(frame) => client.send(&encode(frame)),
            Step::Cut(frame, at, pause) => {
                let bytes = encode(frame);
                let (front, rest) = bytes.split_at(usize::from(*at) % (bytes.len() + 1));
                client.send(front);
                waited = true;
                client.peer.advance(Duration::from_millis((*pause).into()));
                client.send(rest);
            }
            Step::Burst(frame, count) => client.send(&encode(frame).repeat((*count).into())),
            Step::Advance(hundredths) => {
                waited = true;
                let time = Duration::from_millis(10 * u64::from(*hundredths));
                client.peer.advance(time);
            }
            Step::StopReading => client.peer.stop_reading(),
            Step::ResumeReading => client.peer.resume_reading(),
            Step::Receive => client.receive(),
        }
    }
    if !waited {
        client.peer.resume_reading();
    }
    client.receive();
    if !waited {
        check(&client, &settings, true);
    }
    match input.end {
        End::Stream => client.peer.end_stream(),
        End::Reset => client.peer.reset(),
        End::Stop => client.peer.server().stop(),
        End::Silence => client.peer.stop_reading(),
    }
    client.peer.advance(Duration::from_secs(60));
    client.peer.resume_reading();
    client.receive();
    if input.end == End::Silence {
        // A live and silent client that answers pings is kept for ever.
        client.peer.end_stream();
    }
    client.peer.advance(Duration::from_secs(600));
    client.receive();
    assert!(client.peer.is_closed());
    let stats = client.peer.stats();
    assert_eq!((stats.memory, stats.connections), (0, 0));
    check(&client, &settings, false);
});

fn encode(frame: &AnyFrame) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(Role::Server, &mut out);
    out
}

/// Messages are echoed and pings answered in order, all of them if nothing came between.
fn check(client: &Client, settings: &DecoderSettings, complete: bool) {
    let sent = decode(settings, [&client.sent[..]], false);
    let mut messages = sent.events.iter().filter_map(|event| match event {
        Seen::Message(kind, bytes) => Some((*kind, &bytes[..])),
        _ => None,
    });
    let mut pings = sent.events.iter().filter_map(|event| match event {
        Seen::Ping(payload) => Some(&payload[..]),
        _ => None,
    });
    let mut over = None;
    for received in &client.received {
        match received {
            Received::Message(message) => {
                assert_eq!(over, None, "nothing follows a Close frame");
                let echoed = (message.kind(), message.as_bytes());
                assert_eq!(messages.next(), Some(echoed));
            }
            Received::Pong(payload) => {
                assert_eq!(over, None, "nothing follows a Close frame");
                assert_eq!(pings.next(), Some(&payload[..]));
            }
            Received::Ping(payload) => assert!(payload.is_empty() && over.is_none()),
            Received::Close(code, _) => {
                assert_eq!(over.replace(*code), None, "one Close frame");
            }
            Received::End => {}
        }
    }
    if !complete {
        return;
    }
    assert_eq!(messages.next(), None, "every message is echoed");
    assert_eq!(pings.next(), None, "every ping is answered");
    if let Some(fault) = sent.fault {
        assert_eq!(over, Some(Some(fault.close_code())));
    } else if let Some(Seen::Close(code, _)) = sent.events.last() {
        assert_eq!(over, Some(*code), "a Close frame is answered with its code");
    }
}
