//! What a server is told before it starts.

use std::time::Duration;

/// Settings of a [`Server`](crate::Server). [`Config::default`] is safe for production;
/// change the fields you need:
///
/// ```
/// let mut config = sockeye::Config::default();
/// config.listen = vec!["127.0.0.1:0".into()];
/// config.limits.max_message = 64 * 1024;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Addresses to listen on, each `HOST:PORT`. A name binds every address it resolves to
    /// (`localhost`: 127.0.0.1 and `[::1]`); port 0 picks a free port, the same for all
    /// addresses of that name. Default: `localhost:9998`.
    pub listen: Vec<String>,
    /// Event loop threads; 0 (the default) means one per available core, but for one that is left to
    /// the handler threads if there are any; at least one.
    pub reactors: usize,
    /// Handler threads; `Some(0)` runs handlers on the reactors, `None` (the default) means one
    /// thread per available core.
    pub workers: Option<usize>,
    /// Upper bounds on what peers can make the server hold.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Allowed `Origin` values, each `scheme://host[:port]`; a request with another origin, or
    /// with none, is refused with 403. Empty (the default): any.
    pub origins: Vec<String>,
    /// Allowed `Host` names, each `name` (any port) or `name:port`; others are refused with 421.
    /// Empty (the default): any.
    pub hosts: Vec<String>,
    /// Share the port with a server that already listens on it (`SO_REUSEPORT`) instead of
    /// failing with "address in use". When that one stops, clients that have connected to it and
    /// sent nothing yet are reset. Default: false.
    pub takeover: bool,
    /// Pin reactor i to core i (modulo the cores this process may use). Default: false.
    pub pin: bool,
}

/// Upper bounds on what peers can make the server hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Largest message payload in bytes; a larger one closes with 1009. Default: 16 MiB.
    pub max_message: usize,
    /// Most fragments in one message; more close with 1009, so that floods of empty fragments
    /// cannot keep a message open for ever. Default: 131,072.
    pub max_fragments: usize,
    /// Most connections at once over all reactors; further ones wait in the kernel's accept
    /// queue. `None` (the default): what the descriptor limit allows.
    pub max_connections: Option<usize>,
    /// Most bytes of a request's head; more are answered 431 (414 while still in the request
    /// line). Default: 16 KiB.
    pub max_headers: usize,
    /// High-water mark of a connection's outbox in bytes: above it the server stops reading
    /// from that peer until it has taken most of what is queued. An empty outbox always accepts
    /// one message, whatever its size. A peer for whom publications would go above it is closed
    /// with 1008. Default: 1 MiB.
    pub outbox: usize,
    /// Most topics that one connection may be subscribed to. Default: 128.
    pub subscriptions: usize,
    /// Most topics at once, besides those of [`Server::topic`](crate::Server::topic). Over it those
    /// without subscribers are forgotten, first the one that was not used for longest; if all have
    /// subscribers, there can be no further one. Default: 10,000.
    pub topics: usize,
    /// Most publications a topic remembers for subscribers to come; see also
    /// [`Server::history`](crate::Server::history). Default: 100.
    pub history: usize,
    /// Most bytes of them, frame headers included. Default: 256 KiB.
    pub history_bytes: usize,
    /// Most bytes that all topics together remember, frame headers included. Over it, topics
    /// without subscribers are forgotten, first the one that was not used for longest; if all have
    /// subscribers, whichever is published to forgets its oldest publications. What it takes to keep track of
    /// them, some 100 bytes for each, comes on top. Default: 64 MiB.
    pub history_total: usize,
    /// Most bytes of one topic that an event loop may have yet to take; over it, publishing fails
    /// with [`PublishError::Full`](crate::PublishError::Full). One message is always accepted.
    /// Default: 16 MiB.
    pub topic_log: usize,
}

/// Deadlines; `None` switches one off.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// From accept to the end of the request's head, and again from there to the decision of its
    /// route, if that is made on a worker. A connection on which nothing comes is accepted after a
    /// second (tcp(7), `TCP_DEFER_ACCEPT`). Default: 10 s.
    pub handshake: Option<Duration>,
    /// Without a data frame from the peer before it is closed with 1001. Default: off.
    pub idle: Option<Duration>,
    /// Without any byte from the peer before a ping is sent. Default: 25 s.
    pub ping_interval: Option<Duration>,
    /// From our ping to the next byte from the peer, or taken by it of what is queued, else the
    /// connection ends. Default: 10 s.
    pub pong: Option<Duration>,
    /// From our Close frame to the peer's, and again to the end of its stream. Default: 5 s.
    pub close: Option<Duration>,
    /// Without the peer taking a byte of what is queued for it; then the connection is dropped,
    /// with 1008 as the code that `on_close` sees: the peer would not read a Close frame either.
    /// Default: 30 s.
    pub write: Option<Duration>,
    /// From the start of a shutdown to the end of the last connection. Default: 10 s.
    pub drain: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec!["localhost:9998".into()],
            reactors: 0,
            workers: None,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            origins: Vec::new(),
            hosts: Vec::new(),
            takeover: false,
            pin: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 16 << 20,
            max_fragments: 128 << 10,
            max_connections: None,
            max_headers: 16 << 10,
            outbox: 1 << 20,
            subscriptions: 128,
            topics: 10_000,
            history: 100,
            history_bytes: 256 << 10,
            history_total: 64 << 20,
            topic_log: 16 << 20,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = |n| Some(Duration::from_secs(n));
        Self {
            handshake: seconds(10),
            idle: None,
            ping_interval: seconds(25),
            pong: seconds(10),
            close: seconds(5),
            write: seconds(30),
            drain: seconds(10),
        }
    }
}
