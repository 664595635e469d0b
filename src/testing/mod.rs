//! A handler under test: in memory, in virtual time, without a socket or a thread.
//!
//! ```
//! use std::time::Duration;
//! use sockeye::testing::{self, Received};
//! use sockeye::{Handler, Message, Peer};
//!
//! struct Reminder;
//!
//! impl Handler for Reminder {
//!     fn on_message(&mut self, peer: &mut Peer<'_>, _: Message<'_>) {
//!         peer.set_timer(Duration::from_secs(3600));
//!     }
//!
//!     fn on_timer(&mut self, peer: &mut Peer<'_>) {
//!         peer.send("it is time");
//!     }
//! }
//!
//! let mut peer = testing::pair(|_request| Reminder);
//! peer.send("remind me");
//! peer.advance(Duration::from_secs(3599));
//! assert_eq!(peer.receive(), None);
//! peer.advance(Duration::from_secs(1));
//! assert_eq!(peer.receive(), Some(Received::Message("it is time".into())));
//! ```

mod engine;
#[cfg(all(test, loom))]
mod loom_models;
mod network;

#[cfg(all(test, not(loom)))]
mod simulation;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::{Tick, ticks};
use crate::protocol::handshake::encode_key;
use crate::protocol::{
    ClientHandshake, CloseCode, CloseFrame, Decoder, DecoderSettings, Event, FrameHeader, Opcode,
    Role, encode_frame, find_head_end, verify_response,
};
use crate::reactor::Next;
use crate::server::{App, hub};
use crate::topics::Memory;
use crate::{Config, IntoUpgrade, Message, Request, Result, ServerHandle, ServerStats};

use engine::Engine;
use network::Wire;

/// Where the virtual client connects, by default.
const PATH: &str = "/";
/// Turns without an end in sight that a test is stopped after: the reactor would spin.
const MAX_TURNS: usize = 100_000;
/// Bytes a peer may have sent before it blocks, by default.
const WINDOW: usize = 256 * 1024;

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole message.
    Message(Message<'static>),
    /// A ping that was not answered by itself; see [`Pair::answer_pings`].
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A Close frame: code (`None` if it had none) and reason.
    Close(Option<CloseCode>, String),
    /// The end of the server's stream.
    End,
}

/// Connects a client to a handler in memory.
pub fn pair<F, R>(factory: F) -> TestPeer
where
    F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
    R: IntoUpgrade,
{
    Pair::new(factory)
        .connect()
        .expect("the factory accepts the request")
}

/// A connection to be made, with everything about it that can be chosen.
pub struct Pair {
    config: Config,
    install: Box<dyn FnOnce(&mut App)>,
    target: Option<String>,
    subprotocols: Vec<String>,
    headers: Vec<(String, String)>,
    answer_pings: bool,
    window: usize,
    remote: SocketAddr,
    hub: Option<Arc<Memory>>,
    histories: Vec<(String, usize)>,
}

impl Pair {
    /// A connection to what `factory` makes of its request.
    pub fn new<F, R>(factory: F) -> Self
    where
        F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
        R: IntoUpgrade,
    {
        Self::route(PATH, factory)
    }

    /// The same where the factory serves `path`, as with
    /// [`Server::route`](crate::Server::route). The client connects to it unless there is a
    /// [`target`](Self::target), which a path with a star needs.
    pub fn route<F, R>(path: impl Into<String>, factory: F) -> Self
    where
        F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
        R: IntoUpgrade,
    {
        let path = path.into();
        Self {
            config: Config::default(),
            target: (!path.ends_with("/*")).then(|| path.clone()),
            install: Box::new(move |app: &mut App| app.route(path, factory)),
            subprotocols: Vec::new(),
            headers: Vec::new(),
            answer_pings: true,
            window: WINDOW,
            remote: SocketAddr::from(([127, 0, 0, 1], 50_000)),
            hub: None,
            histories: Vec::new(),
        }
    }

    /// The server's settings. Its handlers run on the event loop unless
    /// [`Config::workers`] says otherwise; either way everything runs on the calling thread.
    /// Addresses are ignored.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Where the client connects: a path, perhaps with a query.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Offers a subprotocol.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Adds a header field to the request.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Whether the client answers pings by itself (it does by default) or hands them out as
    /// [`Received::Ping`].
    #[must_use]
    pub fn answer_pings(mut self, answer: bool) -> Self {
        self.answer_pings = answer;
        self
    }

    /// Bytes that fit between server and client, as in their socket buffers. Default: 256 KiB.
    #[must_use]
    pub fn window(mut self, bytes: usize) -> Self {
        self.window = bytes;
        self
    }

    /// The client's address. Default: 127.0.0.1:50000.
    #[must_use]
    pub fn remote_addr(mut self, remote: SocketAddr) -> Self {
        self.remote = remote;
        self
    }

    /// Shares the topics of another connection, as if both were to the same server: what is
    /// published on either side reaches both. Limits of topics are those of the other's server.
    #[must_use]
    pub fn topics_of(mut self, other: &TestPeer) -> Self {
        self.hub = Some(Arc::clone(other.engine.hub()));
        self
    }

    /// See [`Server::history`](crate::Server::history).
    #[must_use]
    pub fn history(mut self, prefix: impl Into<String>, publications: usize) -> Self {
        self.histories.push((prefix.into(), publications));
        self
    }

    /// Makes the connection.
    ///
    /// # Errors
    /// The server's HTTP response, if it refused.
    ///
    /// # Panics
    /// If the configuration cannot hold, or there is no target for a path with a star.
    pub fn connect(mut self) -> std::result::Result<TestPeer, String> {
        let subprotocols = std::mem::take(&mut self.subprotocols);
        let headers = std::mem::take(&mut self.headers);
        let target = self.target.take().expect("a target for the star");
        let mut peer = self.start().expect("a configuration that can hold");
        let nonce = encode_key([7; 16]);
        let offered: Vec<&str> = subprotocols.iter().map(String::as_str).collect();
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut request = Vec::new();
        ClientHandshake {
            host: "localhost",
            target: &target,
            key: nonce,
            subprotocols: &offered,
            origin: None,
            extra_headers: &headers,
        }
        .encode(&mut request);
        peer.wire.write(&request);
        peer.run();
        let end = find_head_end(&peer.input, 0).unwrap_or(peer.input.len());
        let accepted = verify_response(&peer.input[..end], &nonce, &offered);
        match accepted {
            Ok(accepted) => {
                peer.input.drain(..end);
                peer.subprotocol = accepted.subprotocol;
                peer.is_open = true;
                peer.decode();
                Ok(peer)
            }
            Err(_) => Err(String::from_utf8_lossy(&peer.input).into_owned()),
        }
    }

    /// A server with one client that has sent nothing yet.
    fn start(self) -> Result<TestPeer> {
        let mut app = App::new(&self.config)?;
        (self.install)(&mut app);
        let app = Arc::new(app);
        let limits = DecoderSettings {
            role: Role::Client,
            max_message: usize::MAX,
            max_fragments: usize::MAX,
        };
        let now = Tick(0);
        let hub = self.hub.unwrap_or_else(|| hub(&self.config));
        for (prefix, publications) in self.histories {
            hub.set_history(prefix, publications);
        }
        let engine = Engine::new(&self.config, app, hub, now)?;
        Ok(TestPeer {
            wire: engine.network(0).connect(self.remote, self.window),
            engine,
            now,
            next: Next::Now,
            limits,
            decoder: Decoder::default(),
            input: Vec::new(),
            received: VecDeque::new(),
            reading: true,
            is_open: false,
            ended: false,
            answer_pings: self.answer_pings,
            subprotocol: None,
        })
    }
}

/// The client's side of a connection in memory, together with the server it is connected to.
/// Every call first lets the server do what it can; only [`advance`](Self::advance) moves time.
pub struct TestPeer {
    wire: Wire,
    engine: Engine,
    now: Tick,
    next: Next,
    limits: DecoderSettings,
    decoder: Decoder,
    /// What the server sent, not decoded yet.
    input: Vec<u8>,
    received: VecDeque<Received>,
    reading: bool,
    is_open: bool,
    ended: bool,
    answer_pings: bool,
    subprotocol: Option<String>,
}

impl TestPeer {
    /// The masking key of all frames: tests need no secret.
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// The subprotocol the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sends a message in one frame.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) {
        let message = message.into();
        self.send_frame(message.kind().opcode(), message.as_bytes());
    }

    /// Sends a ping.
    pub fn ping(&mut self, payload: &[u8]) {
        self.send_frame(Opcode::Ping, payload);
    }

    /// Sends a Close frame.
    pub fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        let mut bytes = Vec::new();
        CloseFrame::encode(&mut bytes, Some(Self::KEY), code, reason);
        self.send_raw(&bytes);
    }

    fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(FrameHeader::MAX_LEN + payload.len());
        encode_frame(&mut bytes, opcode, Some(Self::KEY), payload);
        self.send_raw(&bytes);
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.wire.write(bytes);
        self.run();
    }

    /// Takes what the server sent next; `None` if it has sent nothing else so far.
    pub fn receive(&mut self) -> Option<Received> {
        self.run();
        self.received.pop_front()
    }

    /// Lets virtual time pass, through every deadline on the way.
    pub fn advance(&mut self, time: Duration) {
        let target = self.now.after(ticks(time));
        self.run();
        while let Next::At(at) = self.next {
            if target.is_before(at) {
                break;
            }
            if self.now.is_before(at) {
                self.now = at;
            }
            self.turn();
            self.run();
        }
        self.now = target;
        self.turn();
        self.run();
    }

    /// Ends the client's side of the stream without a Close frame.
    pub fn end_stream(&mut self) {
        self.wire.shutdown();
        self.run();
    }

    /// Resets the connection.
    pub fn reset(&mut self) {
        self.wire.reset();
        self.run();
    }

    /// Stops taking bytes from the server, as a client does that is busy or dead.
    pub fn stop_reading(&mut self) {
        self.reading = false;
    }

    /// Takes bytes again.
    pub fn resume_reading(&mut self) {
        self.reading = true;
        self.run();
    }

    /// Whether the server has closed its socket.
    pub fn is_closed(&self) -> bool {
        self.wire.is_closed()
    }

    /// Steers the server.
    pub fn server(&self) -> ServerHandle {
        self.engine.handle().clone()
    }

    /// The server's figures.
    pub fn stats(&self) -> ServerStats {
        self.engine.handle().stats()
    }

    fn turn(&mut self) {
        self.next = self.engine.turn(0, self.now);
    }

    /// Runs the server until it waits for time or for us.
    fn run(&mut self) {
        for _ in 0..MAX_TURNS {
            self.turn();
            let before = self.input.len();
            if self.reading {
                let bytes = self.wire.read();
                self.input.extend(bytes);
            }
            let idle = !self.engine.work_all() && self.input.len() == before;
            self.decode();
            let due = matches!(self.next, Next::At(at) if !self.now.is_before(at));
            let roused = self.engine.is_woken(0) || self.engine.network(0).has_events();
            if idle && self.next != Next::Now && !due && !roused {
                return;
            }
        }
        panic!("the reactor does not come to rest");
    }

    fn decode(&mut self) {
        if !self.is_open {
            return;
        }
        let mut input = std::mem::take(&mut self.input);
        let mut at = 0;
        while at < input.len() {
            let decoded = self.decoder.next(&self.limits, &mut input[at..]);
            let (used, event) = decoded.expect("the server keeps to the protocol");
            at += used;
            let received = match event {
                None => break,
                Some(Event::Message { kind, payload }) => {
                    Received::Message(Message::owned(kind, payload.into_owned()))
                }
                Some(Event::Ping(payload)) if self.answer_pings => {
                    let mut pong = Vec::new();
                    encode_frame(&mut pong, Opcode::Pong, Some(Self::KEY), payload);
                    self.wire.write(&pong);
                    continue;
                }
                Some(Event::Ping(payload)) => Received::Ping(payload.to_vec()),
                Some(Event::Pong(payload)) => Received::Pong(payload.to_vec()),
                Some(Event::Close(frame)) => Received::Close(frame.code, frame.reason.to_owned()),
            };
            self.received.push_back(received);
        }
        if self.reading && self.wire.is_ended() && !self.ended {
            self.ended = true;
            self.received.push_back(Received::End);
        }
    }
}
