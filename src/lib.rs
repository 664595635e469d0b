//! A WebSocket server (RFC 6455) on per-core mio event loops.
//!
//! [`Server`] binds and runs, a [`Handler`] is the behaviour of one connection, [`Peer`] is the
//! other side as the handler sees it, and [`testing::pair`] runs a handler in memory and in
//! virtual time. [`protocol`] is RFC 6455 without any I/O, for both roles.
//!
//! # Code map
//!
//! Each module uses only those before it in this list, except where it says so.
//!
//! | module | what it is |
//! |---|---|
//! | [`protocol`] | bytes in, events and bytes out: frames, masking, UTF-8, messages, the opening handshake |
//! | `transport` | non-blocking sockets; every system call of a reactor goes through its trait `Sys` |
//! | `topics` | what is published by name: its order, its history, and which reactors have news to take |
//! | `connection` | one peer: its state, its input and output, its deadlines |
//! | `reactor` | one event loop: accepts, gives connections their turns, fires timers, takes its inbox, fills the workers' batches |
//! | `worker` | runs handlers: events in, encoded replies out; it reaches reactors through their inbox |
//! | `http` | plain HTTP on the same port: [`Page`]s, conditional requests, a [`PageSource`] and its errands |
//! | `server` | the public API: [`Server`], [`Config`], [`Handler`], [`Peer`], [`Message`], routes |
//! | [`services`] | the built-in endpoints and pages, written against the public API only |
//! | [`testing`] | a reactor with virtual sockets and virtual time |
//!
//! `sync` is what queues between threads are made of, and `mapped_vec` what batches and replies are made
//! of. `main.rs` and `cli` are the binary: flags, signals, the descriptor limit.
//!
//! # The path of a message
//!
//! 1. `reactor/shell.rs`: `Shell::run` polls and hands the events to a turn.
//! 2. `reactor/mod.rs`: `Reactor::turn` finds the connection of each event; `Reactor::read` gives
//!    it its turn.
//! 3. `connection/read.rs`: `Connection::read` reads once into the buffer that all connections of
//!    the reactor share; `received_open` takes the messages from it.
//! 4. `protocol/message/decoder.rs`: `Decoder::whole_message` finds a frame that is a whole
//!    message, unmasks it where it lies (`protocol/mask.rs`) and checks text
//!    (`protocol/utf8.rs`). `Decoder::next` is the way of everything else: fragments, control
//!    frames, frames that are not complete yet, faults.
//! 5. `connection/delivery.rs`: `Delivery::messages` is the way up. With workers,
//!    `reactor/dispatch.rs` collects the messages in the batch of the connection's worker
//!    (`reactor/batch.rs`), which leaves when it is full or the turn ends; `worker/thread.rs`
//!    takes it from there. Without workers, `worker/inline.rs` runs handlers at once.
//! 6. `worker/executor.rs`, the same for both: `Executor::messages` finds the handler and guards
//!    against its panics; `server/app.rs` calls [`Handler::on_message`].
//! 7. `server/peer.rs`: [`Peer::send`], and `worker/output.rs`: `Output::send` with the limit.
//! 8. `connection/reply.rs`: `Replies::message` encodes the frame (`protocol/frame.rs`) behind
//!    those before it.
//! 9. The batch comes back with its replies through the reactor's inbox (`reactor/inbox.rs`), and
//!    `Reactor::take_back` carries them out; without workers `Reactor::read` does.
//! 10. `connection/write.rs`: `Connection::apply` writes them in one call; what the kernel
//!     refuses goes to `connection/outbox.rs`, and `settle` goes on with it later.
//!
//! # The path of a publication
//!
//! 1. [`Peer::publish`] or [`ServerHandle::publish`], on any thread: `topics/publication.rs` encodes
//!    the frame once, and `topics/memory.rs`, the only `Hub` there is, finds the topic.
//! 2. `topics/topic.rs`: `Topic::publish` takes the topic's lock, numbers the publication, appends it
//!    to the log (`topics/log.rs`) and tells each reactor with subscribers, unless it has been
//!    told: the topic is put on the list of news in its inbox (`reactor/inbox.rs`).
//! 3. `reactor/fanout.rs`: in its turn a reactor takes what is new from the log in a batch and writes it to
//!    each subscriber (`reactor/members.rs`) at once; `connection/news.rs` is the subscriber's
//!    part. What is published meanwhile is the next batch.
//!
//! A subscription ([`Peer::subscribe`]) is an entry in the same log: `Topic::join` takes the replay
//! and the number of the next publication under one lock. The reactor that comes to it delivers
//! [`Handler::on_subscribed`] and holds back what is newer until that has been answered
//! (`Op::Admit`).
//!
//! # The path of a page
//!
//! `Front::decide` (`server/app.rs`) answers a plain request from memory, or with an *errand*:
//! `http/source.rs` looks for the page on the thread `pages` and reads its beginning there, and the
//! part comes back through the inbox (`reactor/errands.rs`). `connection/fetch.rs` writes it, and
//! sends for the next part when it has left. So a reader that is slow holds one part, and a disk that
//! is slow holds up nobody but those who wait for it. Of a reactor's errands only so many are out
//! that the inbox has room for what they bring; the others wait for their turn.
//!
//! # What always holds
//!
//! - A reactor's turn looks at no clock and never blocks; time and readiness are passed in.
//! - Everything read at once from a connection is answered with one write.
//! - Events reach a handler in the order of the stream. The Close frame leaves after the answers
//!   to everything that came before it. A valid message before a fault is answered.
//! - `on_close` comes exactly once for every `on_open`, unless the handler panicked.
//! - Nothing blocks a reactor or a worker that sends: batches are credits, and an inbox has room for
//!   all of them. A worker that is behind by all of them is not read for until one comes
//!   back; up to there the reactor answers pings whatever the worker does.
//! - A panic in a handler ends its connection and nothing else.
//! - A connection that waits for nothing holds no buffer: its cold state is boxed, made when needed
//!   and freed when empty. Bytes held are charged to the reactor's memory account.
//! - Memory follows what was received, never what was declared; everything a peer can make us hold
//!   has a limit. The buffer of a large message is kept for the next (`connection/spares.rs`),
//!   which may have all of it at once while little is held; that too is bounded and charged, and
//!   ends when no large message comes for a second.
//! - A token is a slot and its generation: what comes too late misses and never meets a stranger.
//! - A deadline that moves later costs nothing; one that comes nearer marks its connection.
//! - A topic has one order, the same for all its subscribers. A subscriber gets every publication
//!   between its subscription and its end once, but none that was published to the others than
//!   itself, and none before its handler has been told.
//! - A subscriber that is behind costs pointers up to its outbox limit, then its connection.
//! - No file is read on a reactor or a worker. The errands that are out are counted until what they
//!   brought has been taken, and their queues have room for all of them. A page that its client
//!   takes slowly is none of them.
//! - No thread ever blocks to send to a reactor: its inbox is bounded and says when it is full.

mod connection;
mod http;
mod mapped_vec;
pub mod protocol;
mod reactor;
mod server;
pub mod services;
mod sync;
pub mod testing;
mod topics;
mod transport;
mod worker;

pub use connection::{Cause, CloseReason};
#[cfg(feature = "pages")]
pub use http::Folder;
pub use http::{Found, Page, PageSource};
pub use protocol::{CloseCode, MessageKind};
pub use server::{
    Config, Error, Handler, IntoUpgrade, Limits, Message, Peer, PeerHandle, PeerId, Refusal,
    Request, Result, Running, SendError, Sent, Server, ServerHandle, ServerStats, Timeouts,
    Upgrade, WorkerStats,
};
pub use topics::{
    Offset, ParseOffsetError, Publication, PublishError, Since, SubscribeError, Subscription,
};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
