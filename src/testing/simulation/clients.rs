//! Clients of every temper, each with its own idea of how a connection ends.

use super::ledger::{Author, Item, Ledgers, Spoken};
use super::rng::Rng;
use crate::connection::Tick;
use crate::protocol::handshake::encode_key;
use crate::protocol::{
    ClientHandshake, CloseFrame, Decoder, DecoderSettings, Event, FrameHeader, Opcode, Role,
    encode_frame, find_head_end, verify_response,
};
use crate::testing::network::Wire;
use crate::{CloseCode, MessageKind};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const NONCE: [u8; 16] = [7; 16];

/// How a client's side of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A Close frame once every answer has come.
    Close,
    /// A Close frame right behind the last message.
    CloseEarly,
    /// The end of the stream, while it goes on reading.
    HalfClose,
    /// Bytes that break the protocol, and the code they are to be answered with.
    Fault(Fault),
    /// A reset behind the last message, whatever has arrived.
    Reset,
    /// Does nothing until the server does.
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unmasked,
    ReservedBits,
    ReservedOpcode,
    FragmentedControl,
    ControlTooLong,
    Continuation,
    BadText,
    TooBig,
    CloseOfOneByte,
}

const FAULTS: [Fault; 9] = [
    Fault::Unmasked,
    Fault::ReservedBits,
    Fault::ReservedOpcode,
    Fault::FragmentedControl,
    Fault::ControlTooLong,
    Fault::Continuation,
    Fault::BadText,
    Fault::TooBig,
    Fault::CloseOfOneByte,
];

impl Fault {
    pub(super) fn code(self) -> u16 {
        match self {
            Fault::BadText => 1007,
            Fault::TooBig => 1009,
            _ => 1002,
        }
    }

    fn bytes(self, max_message: usize) -> Vec<u8> {
        match self {
            Fault::Unmasked => vec![0x81, 0x01, b'x'],
            Fault::ReservedBits => vec![0xc1, 0x80, 0, 0, 0, 0],
            Fault::ReservedOpcode => vec![0x83, 0x80, 0, 0, 0, 0],
            Fault::FragmentedControl => vec![0x09, 0x80, 0, 0, 0, 0],
            Fault::ControlTooLong => vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0],
            Fault::Continuation => vec![0x80, 0x80, 0, 0, 0, 0],
            Fault::BadText => vec![0x81, 0x81, 0, 0, 0, 0, 0xff],
            Fault::TooBig => {
                let mut bytes = [0; FrameHeader::MAX_LEN];
                let header = FrameHeader {
                    fin: true,
                    opcode: Opcode::Binary,
                    mask: Some(KEY),
                    payload_len: max_message as u64 + 1,
                };
                let count = header.encode(&mut bytes);
                bytes[..count].to_vec()
            }
            Fault::CloseOfOneByte => vec![0x88, 0x81, 0, 0, 0, 0, 3],
        }
    }
}

/// What a client asks for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Upgrade,
    /// A request that is answered with this status.
    Other(u16),
    /// Half a request, and nothing more.
    Half,
    Nothing,
}

/// What a client will do.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    pub(super) asks: Asks,
    pub(super) ending: Ending,
    pub(super) messages: usize,
    pub(super) size: usize,
    /// Sends without waiting for answers.
    pub(super) pipelines: bool,
    /// Sends before its request is answered.
    pub(super) is_early: bool,
    pub(super) reads: bool,
    pub(super) pongs: bool,
    pub(super) pings: bool,
    pub(super) answers_close: bool,
    /// Ends its stream when the server has ended its own.
    pub(super) hangs_up: bool,
    /// Is gone after so many steps.
    pub(super) vanishes: Option<(usize, Vanish)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vanish {
    Reset,
    EndOfStream,
    Stall,
}

impl Habits {
    pub(super) fn random(rng: &mut Rng, heavy: bool) -> Self {
        let ending = match rng.below(10) {
            0..3 => Ending::Close,
            3..5 => Ending::CloseEarly,
            5 => Ending::HalfClose,
            6..8 => Ending::Fault(rng.pick(&FAULTS)),
            8 => Ending::Reset,
            _ => Ending::Wait,
        };
        let asks = match rng.below(30) {
            0 => Asks::Other(rng.pick(&[200, 400, 404, 414, 431, 426])),
            1 => Asks::Half,
            2 => Asks::Nothing,
            _ => Asks::Upgrade,
        };
        let vanish = [Vanish::Reset, Vanish::EndOfStream, Vanish::Stall];
        let vanishes = rng.one_in(6).then(|| (rng.below(60), rng.pick(&vanish)));
        Self {
            asks,
            ending,
            messages: match heavy {
                true => 1 + rng.below(8),
                false => rng.pick(&[0, 1, 3, 10, 30]),
            },
            size: match heavy {
                true => 200 * 1024,
                false => rng.pick(&[0, 100, 300, 3_000, 20_000]),
            },
            pipelines: heavy || rng.one_in(2),
            is_early: rng.one_in(4),
            reads: !rng.one_in(10),
            pongs: !rng.one_in(8),
            pings: rng.one_in(4),
            answers_close: !rng.one_in(10),
            hangs_up: !rng.one_in(10),
            vanishes,
        }
    }
}

/// How the server's side of the stream ended, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everything was read, then the end of the stream.
    Stream,
    /// The server closed its socket with input unread: what was under way may be lost.
    Reset,
}

pub(super) struct Client {
    pub(super) number: usize,
    pub(super) wire: Wire,
    pub(super) habits: Habits,
    pub(super) reactor: usize,
    ledgers: Ledgers,
    rng: Rng,
    max_message: usize,
    /// Bytes that fit between it and the server.
    transit: usize,
    /// What has not been written yet, and where in the stream the next byte is.
    outgoing: Vec<u8>,
    pub(super) written: usize,
    made: usize,
    steps: usize,
    /// The Close frame, the fault or the end of the stream is on its way.
    pub(super) has_ended: bool,
    /// Does nothing any more.
    pub(super) is_gone: bool,
    /// The client broke its stream or stopped in the middle of something.
    pub(super) is_cut: bool,
    /// Where the stream of messages ended in order: by Close frame, fault or end of stream.
    pub(super) said_all: bool,
    input: Vec<u8>,
    decoder: Decoder,
    pub(super) status: Option<u16>,
    /// How many messages of the handler and of handles have come.
    pub(super) got: usize,
    pub(super) got_outside: usize,
    pub(super) close: Option<Option<CloseCode>>,
    /// That was because of what was published.
    pub(super) fell_behind: bool,
    pub(super) end: Option<End>,
    /// When it saw that.
    pub(super) ended_at: Option<Tick>,
    /// The stream ended within a frame.
    pub(super) is_torn: bool,
    pings_out: Vec<Vec<u8>>,
}

impl Client {
    pub(super) fn new(
        number: usize,
        reactor: usize,
        wire: Wire,
        habits: Habits,
        ledgers: Ledgers,
        mut rng: Rng,
        max_message: usize,
    ) -> Self {
        let transit = rng.pick(&[2_000, 128 * 1024, 128 * 1024, 600 * 1024]);
        let mut client = Self {
            number,
            reactor,
            wire,
            habits,
            ledgers,
            rng,
            max_message,
            transit,
            outgoing: Vec::new(),
            written: 0,
            made: 0,
            steps: 0,
            has_ended: false,
            is_gone: false,
            is_cut: false,
            said_all: false,
            input: Vec::new(),
            decoder: Decoder::default(),
            status: None,
            got: 0,
            got_outside: 0,
            close: None,
            fell_behind: false,
            end: None,
            ended_at: None,
            is_torn: false,
            pings_out: Vec::new(),
        };
        client.ask();
        client
    }

    fn ask(&mut self) {
        let long = "x".repeat(20_000);
        self.outgoing = match self.habits.asks {
            Asks::Upgrade => self.request("/"),
            Asks::Half => b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgr".to_vec(),
            Asks::Nothing => Vec::new(),
            Asks::Other(200) => b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            Asks::Other(404) => self.request("/nowhere"),
            Asks::Other(414) => format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
            Asks::Other(431) => format!("GET / HTTP/1.1\r\nA: {long}\r\n\r\n").into_bytes(),
            Asks::Other(426) => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            Asks::Other(_) => b"what\r\n\r\n".to_vec(),
        };
    }

    fn request(&self, path: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        ClientHandshake {
            host: "localhost",
            target: &format!("{path}?{}", self.number),
            key: encode_key(NONCE),
            subprotocols: &[],
            origin: None,
            extra_headers: &[],
        }
        .encode(&mut bytes);
        bytes
    }

    /// One thing the client feels like doing. Says whether anything came of it.
    pub(super) fn step(&mut self) -> bool {
        if self.is_gone {
            return false;
        }
        self.steps += 1;
        if let Some((at, how)) = self.habits.vanishes
            && self.steps >= at
        {
            self.vanish(how);
            return true;
        }
        match self.rng.below(8) {
            0..3 => {
                let most = self.rng.pick(&[1, 30, 1_000, usize::MAX]);
                self.read(most)
            }
            3..6 => {
                let most = self.rng.pick(&[1, 10, 100, 5_000, usize::MAX]);
                self.write(most)
            }
            6 => self.speak(),
            _ => {
                let window = self.rng.pick(&[0, 10, 300, 5_000, 100_000, 1_000_000]);
                self.wire.set_window(window);
                self.note(|| format!("sets its window to {window}"));
                false
            }
        }
    }

    /// Does all it can. Says whether that was anything.
    pub(super) fn pump(&mut self) -> bool {
        if self.is_gone {
            return false;
        }
        let widens = self.habits.reads && self.wire.room() + self.wire.waiting() < 20_000;
        if widens {
            self.wire.set_window(100_000);
        }
        let spoke = self.speak();
        let wrote = self.write(usize::MAX);
        let read = self.read(usize::MAX);
        widens || spoke || wrote || read
    }

    fn vanish(&mut self, how: Vanish) {
        self.note(|| format!("vanishes: {how:?}"));
        self.habits.vanishes = None;
        self.is_cut = true;
        self.has_ended = true;
        self.outgoing.clear();
        match how {
            Vanish::Reset => {
                self.wire.reset();
                self.is_gone = true;
                self.cover("resets");
            }
            Vanish::EndOfStream => self.wire.shutdown(),
            Vanish::Stall => self.is_gone = true,
        }
    }

    /// The connection breaks, whatever the client is doing.
    pub(super) fn reset(&mut self) {
        self.vanish(Vanish::Reset);
    }

    /// Prepares the next thing to be sent.
    fn speak(&mut self) -> bool {
        if self.has_ended || self.habits.asks != Asks::Upgrade || self.end.is_some() {
            return false;
        }
        if (self.status != Some(101) && !self.habits.is_early) || self.outgoing.len() > self.transit
        {
            return false;
        }
        if self.made < self.habits.messages && self.close.is_none() {
            if !self.habits.pipelines && self.got < self.made && self.answers_come() {
                return false;
            }
            self.message();
            return true;
        }
        self.finish()
    }

    /// Whether each message is answered.
    fn answers_come(&self) -> bool {
        let ledger = self.ledgers.lock();
        let record = &ledger.records[self.number];
        record.heard < record.spoken.len() || self.got < record.queued.len()
    }

    fn message(&mut self) {
        let len = self.rng.size(self.habits.size).min(self.max_message);
        let len = match self.habits.size > 100_000 {
            true => self.rng.below(self.habits.size).min(self.max_message),
            false => len,
        };
        let kind = self.rng.pick(&[MessageKind::Text, MessageKind::Binary]);
        let item = Item {
            author: Author::Client,
            number: self.made as u32,
            len,
            kind,
        };
        self.made += 1;
        let payload = item.payload(self.number);
        let pieces = self.rng.pick(&[1, 1, 1, 2, 5]);
        let mut rest = &payload[..];
        let mut opcode = kind.opcode();
        let mut end = 0;
        for piece in 0..pieces {
            let is_last = piece + 1 == pieces;
            let cut = match is_last {
                true => rest.len(),
                false => self.rng.below(rest.len() + 1),
            };
            let start = self.outgoing.len();
            encode_frame(&mut self.outgoing, opcode, Some(KEY), &rest[..cut]);
            if !is_last {
                self.outgoing[start] &= 0x7f;
            }
            rest = &rest[cut..];
            opcode = Opcode::Continuation;
            end = self.written + self.outgoing.len();
            if self.habits.pings && self.rng.one_in(3) {
                self.ping();
            }
        }
        self.note(|| format!("says {item:?} in {pieces}, up to {end}"));
        let mut ledger = self.ledgers.lock();
        ledger.records[self.number]
            .spoken
            .push(Spoken { item, end });
        if pieces > 1 {
            ledger.cover("fragmented messages");
        }
        if self.status.is_none() {
            ledger.cover("early messages");
        }
    }

    fn ping(&mut self) {
        let payload = vec![self.rng.next() as u8; self.rng.below(126)];
        encode_frame(&mut self.outgoing, Opcode::Ping, Some(KEY), &payload);
        self.pings_out.push(payload);
    }

    /// Everything is said: the end, or waiting for it.
    fn finish(&mut self) -> bool {
        if self.close.is_some() {
            // Answered where it was read.
            return false;
        }
        match self.habits.ending {
            Ending::Close if self.answers_come() => false,
            Ending::Close | Ending::CloseEarly => {
                CloseFrame::encode(&mut self.outgoing, Some(KEY), Some(CloseCode::NORMAL), "");
                self.said_all = true;
                self.has_ended = true;
                true
            }
            Ending::Fault(fault) => {
                self.outgoing.extend(fault.bytes(self.max_message));
                if self.rng.one_in(2) {
                    let garbage = self.rng.size(2_000);
                    self.outgoing.resize(self.outgoing.len() + garbage, 0x55);
                }
                self.said_all = true;
                self.has_ended = true;
                true
            }
            Ending::HalfClose | Ending::Reset if !self.outgoing.is_empty() => false,
            Ending::HalfClose => {
                self.wire.shutdown();
                self.said_all = true;
                self.has_ended = true;
                true
            }
            Ending::Reset => {
                self.vanish(Vanish::Reset);
                true
            }
            Ending::Wait => false,
        }
    }

    fn write(&mut self, most: usize) -> bool {
        if self.wire.is_closed() {
            self.outgoing.clear();
            return false;
        }
        let room = self.transit.saturating_sub(self.wire.unread());
        let count = most.min(room).min(self.outgoing.len());
        if count == 0 {
            return false;
        }
        self.wire.write(&self.outgoing[..count]);
        self.outgoing.drain(..count);
        self.written += count;
        true
    }

    /// Whether everything it had to say so far was written.
    pub(super) fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && !self.is_cut
    }

    /// Messages that have been written to their last byte.
    pub(super) fn delivered(&self) -> usize {
        let ledger = self.ledgers.lock();
        let spoken = &ledger.records[self.number].spoken;
        spoken.partition_point(|it| it.end <= self.written)
    }

    fn read(&mut self, most: usize) -> bool {
        if self.end.is_some() || !self.habits.reads {
            return false;
        }
        if self.wire.is_aborted() {
            self.wire.read();
            self.note(|| "is reset by the server".into());
            self.ends(End::Reset);
            self.outgoing.clear();
            return true;
        }
        let bytes = self.wire.read_most(most);
        self.input.extend_from_slice(&bytes);
        self.decode();
        let ended = self.wire.is_ended() && self.wire.waiting() == 0;
        if ended {
            self.note(|| "reads the end of the stream".into());
            self.ends(End::Stream);
            self.is_torn = !self.decoder.is_idle();
            if self.habits.hangs_up {
                self.wire.shutdown();
                self.outgoing.clear();
                self.has_ended = true;
            }
        }
        !bytes.is_empty() || ended
    }

    fn ends(&mut self, end: End) {
        self.end = Some(end);
        self.ended_at = Some(self.ledgers.lock().now);
    }

    fn decode(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        if self.status.is_none() {
            let Some(end) = find_head_end(&input, 0) else {
                self.input = input;
                return;
            };
            let status = std::str::from_utf8(&input[9..12]).expect("a status");
            self.status = status.parse().ok();
            self.note(|| format!("is answered {status}"));
            if status == "101" && verify_response(&input[..end], &encode_key(NONCE), &[]).is_err() {
                self.fault("the response is not one to the request");
            }
            at = end;
        }
        if self.status != Some(101) {
            return;
        }
        let settings = DecoderSettings {
            role: Role::Client,
            max_message: usize::MAX,
            max_fragments: 1,
        };
        let mut decoder = std::mem::take(&mut self.decoder);
        while at < input.len() {
            let (used, event) = match decoder.next(&settings, &mut input[at..]) {
                Ok(decoded) => decoded,
                Err(error) => {
                    self.fault(format_args!("the server breaks the protocol: {error}"));
                    return;
                }
            };
            at += used;
            let Some(event) = event else { break };
            if self.close.is_some() {
                self.fault("something came after the Close frame");
                break;
            }
            self.event(event);
        }
        let _ = decoder.next(&settings, &mut []);
        // The decoder keeps what is unfinished.
        self.decoder = decoder;
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Message { kind, payload } => self.answer(kind, &payload),
            Event::Ping(payload) => {
                if self.habits.pongs && !self.has_ended {
                    encode_frame(&mut self.outgoing, Opcode::Pong, Some(KEY), payload);
                }
                self.cover("pings of the server");
            }
            Event::Pong(payload) => {
                let is_answer = self.pings_out.first().is_some_and(|it| it == payload);
                if !is_answer {
                    self.fault("a pong that is not the next answer");
                } else {
                    self.pings_out.remove(0);
                    self.cover("pongs");
                }
            }
            Event::Close(frame) => self.closed(&frame),
        }
    }

    fn answer(&mut self, kind: MessageKind, payload: &[u8]) {
        let number = self.number;
        // Everything else begins with the number of a connection.
        if payload.first() == Some(&b'P') {
            let head = String::from_utf8_lossy(&payload[..payload.len().min(10)]);
            self.note(|| format!("hears {head}"));
            let fault = self.ledgers.lock().hears(number, self.got, payload);
            if let Some(fault) = fault {
                self.fault(fault);
            }
            return;
        }
        let (next, outside) = {
            let ledger = self.ledgers.lock();
            let record = &ledger.records[number];
            let next = record.queued.get(self.got).copied();
            (next, record.outside.get(self.got_outside).copied())
        };
        let is = |item: Option<Item>| {
            item.is_some_and(|item| {
                item.kind == kind && item.len == payload.len() && item.payload(number) == payload
            })
        };
        if is(next) {
            self.note(|| format!("hears {next:?}"));
            self.got += 1;
        } else if is(outside) {
            self.note(|| format!("hears {outside:?}"));
            self.got_outside += 1;
            self.cover("messages of handles");
        } else {
            let head = String::from_utf8_lossy(&payload[..payload.len().min(Item::NAMED)]);
            let len = payload.len();
            self.fault(format_args!(
                "hears {head:?} of {len}, expected {next:?} or {outside:?}"
            ));
        }
    }

    fn closed(&mut self, frame: &CloseFrame<'_>) {
        let code = frame.code;
        self.note(|| format!("hears Close {code:?}"));
        self.close = Some(frame.code);
        let left = {
            let ledger = self.ledgers.lock();
            ledger.records[self.number].queued.len() - self.got
        };
        // What waits for a slow consumer is dropped.
        self.fell_behind = frame.reason == "slow consumer";
        if left > 0 && !self.fell_behind {
            self.fault(format_args!("{left} messages were not sent before Close"));
        }
        self.cover("Close frames");
        if self.habits.answers_close && !self.has_ended {
            // Half a message may be on its way: then it is finished first.
            CloseFrame::encode(&mut self.outgoing, Some(KEY), frame.code, "");
            self.has_ended = true;
        }
    }

    fn fault(&self, what: impl std::fmt::Display) {
        self.ledgers.lock().fault(self.number, what);
    }

    fn note(&self, line: impl FnOnce() -> String) {
        let number = self.number;
        let mut ledger = self.ledgers.lock();
        ledger.note(|| format!("{number} client {}", line()));
    }

    fn cover(&self, what: &'static str) {
        self.ledgers.lock().cover(what);
    }
}
