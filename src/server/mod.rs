//! What a library user sees.

mod allow;
mod app;
mod config;
mod error;
mod handle;
mod handler;
mod message;
mod peer;
mod request;
mod run;
mod stats;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::connection::{MAX_TICKS, Settings, ticks};
use crate::http::{Page, PageSource};
use crate::protocol::{DecoderSettings, Role};
use crate::reactor::{BATCHES, Inbox, Population, Shell, Stats};
use crate::topics::{Memory, TopicLimits, is_topic_name};
use crate::transport;

pub use config::{Config, Limits, Timeouts};
pub use error::{Error, Result};
pub use handle::{PeerHandle, SendError, ServerHandle};
pub use handler::Handler;
pub use message::Message;
pub use peer::{Peer, PeerId, Sent};
pub use request::{IntoUpgrade, Refusal, Request, Upgrade};
pub use run::Running;
pub use stats::{ServerStats, WorkerStats};

pub(crate) use app::App;
pub(crate) use handle::WorkerLink;
use handle::{ReactorLink, Signal};

/// Descriptors that the process needs besides connections: standard streams, logs, and some
/// that are open only for a moment.
const SPARE_DESCRIPTORS: u64 = 16;
/// Descriptors of a reactor besides its listeners: its poll, a second name of it, its waker.
const REACTOR_DESCRIPTORS: u64 = 3;
/// Threads of either kind at most: their numbers are 16 bits wide with room to spare.
const MAX_THREADS: usize = 1024;
/// How often another port is tried when port 0 was given for a name with several addresses.
const PORT_ATTEMPTS: usize = 16;
/// The longest of [`Timeouts`].
const LONGEST_TIMEOUT: Duration = Duration::from_secs(12 * 24 * 60 * 60);
const _: () = assert!(LONGEST_TIMEOUT.as_millis() < MAX_TICKS as u128);

/// A WebSocket server that has bound its addresses and is not running yet: clients that
/// connect now wait until it does.
///
/// ```no_run
/// use sockeye::{Handler, Message, Peer, Server};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
///         peer.send(message);
///     }
/// }
///
/// fn main() -> sockeye::Result<()> {
///     Server::bind("localhost:9998")?
///         .route("/echo", |_request| Echo)
///         .run()
/// }
/// ```
pub struct Server {
    app: App,
    settings: Settings,
    config: Config,
    population: Population,
    local_addrs: Vec<SocketAddr>,
    reactors: Vec<Parts>,
    handle: ServerHandle,
    hub: Arc<Memory>,
    signals: Receiver<Signal>,
}

/// What a reactor's thread is started with.
struct Parts {
    shell: Shell,
    listeners: Vec<TcpListener>,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
}

impl Server {
    /// Binds `HOST:PORT` with the default settings.
    ///
    /// # Errors
    /// As [`with_config`](Self::with_config).
    pub fn bind(addr: &str) -> Result<Self> {
        Self::with_config(Config {
            listen: vec![addr.to_owned()],
            ..Config::default()
        })
    }

    /// Binds what `config` says.
    ///
    /// # Errors
    /// [`Error::Listen`] if an address cannot be bound; a port that another program listens on
    /// is one, unless [`Config::takeover`] is set. [`Error::Config`] for settings that cannot
    /// hold, such as more connections than the descriptor limit allows.
    pub fn with_config(config: Config) -> Result<Self> {
        let app = App::new(&config)?;
        let settings = settings(&config)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = config.workers.unwrap_or(cores);
        let count = match config.reactors {
            0 => default_reactors(cores, workers),
            count => count,
        };
        for (name, count) in [("reactors", count), ("workers", workers)] {
            if count > MAX_THREADS {
                return Err(Error::Config(format!(
                    "{name} must be at most {MAX_THREADS}"
                )));
            }
        }
        let listeners = listen(&config, count)?;
        let local_addrs = listeners
            .first()
            .into_iter()
            .flatten()
            .map(|listener| listener.local_addr().map_err(Error::Reactor))
            .collect::<Result<Vec<_>>>()?;
        let population = Population::new(connection_limit(&config, count, local_addrs.len())?);
        let reactors = listeners.into_iter().map(|listeners| {
            let shell = Shell::new()?;
            let inbox = Arc::new(Inbox::new(workers * BATCHES, shell.wake()?));
            Ok(Parts {
                shell,
                listeners,
                inbox,
                stats: Arc::default(),
            })
        });
        let reactors = reactors
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(Error::Reactor)?;
        let hub = hub(&config);
        let links = reactors.iter().map(|parts| ReactorLink {
            inbox: Arc::clone(&parts.inbox),
            stats: Arc::clone(&parts.stats),
        });
        let workers = (0..workers).map(|_| WorkerLink::new());
        let (handle, signals) = ServerHandle::new(links.collect(), workers.collect(), hub.clone());
        Ok(Self {
            app,
            settings,
            config,
            population,
            local_addrs,
            reactors,
            handle,
            hub,
            signals,
        })
    }

    /// Serves `path` (exactly, without query) with what `factory` makes of each request: a
    /// handler, an [`Upgrade`] with more to say, or a `Result` of either with a [`Refusal`].
    /// A factory that panics is answered for with 500. The last route for a path counts.
    ///
    /// A path that ends in `/*` stands for all paths that have something there instead of the star:
    /// [`Request::tail`] says what. Routes without a star come first, then those with the longer path.
    ///
    /// ```no_run
    /// use sockeye::{CloseCode, Handler, Message, Peer, Server, Since};
    ///
    /// /// A room that has the name of its path.
    /// struct Room(String);
    ///
    /// impl Handler for Room {
    ///     fn on_open(&mut self, peer: &mut Peer<'_>) {
    ///         if let Err(error) = peer.subscribe(&self.0, Since::History) {
    ///             peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
    ///         }
    ///     }
    ///
    ///     fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
    ///         if let Err(error) = peer.publish(&self.0, message) {
    ///             peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
    ///         }
    ///     }
    /// }
    ///
    /// Server::bind("localhost:9998")?
    ///     .route("/rooms/*", |request| Room(request.tail().to_owned()))
    ///     .run()
    /// # ; Ok::<(), sockeye::Error>(())
    /// ```
    ///
    /// # Panics
    /// If `path` does not begin with `/`.
    #[must_use]
    pub fn route<F, R>(mut self, path: impl Into<String>, factory: F) -> Self
    where
        F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
        R: IntoUpgrade,
    {
        let path = path.into();
        assert!(path.starts_with('/'), "a path begins with `/`: {path:?}");
        self.app.route(path, factory);
        self
    }

    /// Topics whose names begin with `prefix` remember this many publications instead of
    /// [`Limits::history`]; 0 is none. If several prefixes fit, the longest counts. Does not change
    /// topics that are in use already.
    #[must_use]
    pub fn history(self, prefix: impl Into<String>, publications: usize) -> Self {
        self.hub.set_history(prefix.into(), publications);
        self
    }

    /// Makes a topic that is there for good, however long nobody uses it, and however many others there
    /// are. Others come into being when they are first used, and have to make room again. It does not
    /// count among [`Limits::topics`]. What it remembers is said before, by [`history`](Self::history).
    ///
    /// # Panics
    /// If the name is empty or longer than 255 bytes.
    #[must_use]
    pub fn topic(self, name: &str) -> Self {
        assert!(is_topic_name(name), "no name of a topic: {name:?}");
        self.hub.keep(name);
        self
    }

    /// Answers a plain GET or HEAD of `path` (exactly, without query, as it is sent: percent-encoded)
    /// with `page`. The path may also be a route's: upgrades go to the route. The last page for a
    /// path counts.
    ///
    /// # Panics
    /// If `path` does not begin with `/`, or the page is not held in memory.
    #[must_use]
    pub fn page(mut self, path: impl Into<String>, page: Page) -> Self {
        let path = path.into();
        assert!(path.starts_with('/'), "a path begins with `/`: {path:?}");
        let page = page
            .fixed()
            .expect("a page that can be sent more than once");
        self.app.page(path, page);
        self
    }

    /// Answers a plain GET or HEAD of any other path with what `source` finds there, which may be
    /// slow: it is asked, and read from, on a thread of its own. Upgrades, and the paths of routes
    /// that do not end in `/`, never reach it. At most 128 of its pages are looked for at once;
    /// more are answered 503, and one that takes longer than
    /// [`Timeouts::handshake`](crate::Timeouts::handshake) to find is answered 504. A part of a page that
    /// takes as long to come ends its transfer.
    ///
    /// A page that has been found is sent in parts, the next one read when the client has taken the
    /// one before. As many as there are connections may be under way: each holds one part in memory
    /// at most, and the source's reader, which for a folder is no open file.
    #[must_use]
    pub fn pages(mut self, source: impl PageSource) -> Self {
        self.app.source(source);
        self
    }

    /// What this server was told.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The bound addresses, with their real ports, in the order they were given.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Steers this server from any thread, before and while it runs.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves until [`ServerHandle::stop`]. Installs no signal handlers.
    ///
    /// # Errors
    /// [`Error::Reactor`] if an event loop fails.
    pub fn run(self) -> Result<()> {
        self.spawn()?.join()
    }
}

/// One for each core, but for one that is left to the workers, if there are any: with more threads
/// than cores, they take the cores from each other in small pieces of work.
fn default_reactors(cores: usize, workers: usize) -> usize {
    cores.saturating_sub(workers.min(1)).max(1)
}

/// The topics of a server.
pub(crate) fn hub(config: &Config) -> Arc<Memory> {
    let limits = &config.limits;
    Memory::new(TopicLimits {
        topics: limits.topics,
        history: limits.history,
        history_bytes: limits.history_bytes,
        history_total: limits.history_total,
        log: limits.topic_log,
    })
}

/// The settings of connections, checked.
pub(crate) fn settings(config: &Config) -> Result<Settings> {
    let Limits {
        max_message,
        max_fragments,
        max_headers,
        outbox,
        subscriptions,
        ..
    } = config.limits;
    for (name, value) in [
        ("max-message", max_message),
        ("max-fragments", max_fragments),
        ("max-headers", max_headers),
    ] {
        if value == 0 {
            return Err(Error::Config(format!("{name} must be at least 1")));
        }
    }
    // What is with a handler, and what waits for a peer, is counted in 32 bits.
    for (name, value) in [
        ("outbox-limit", outbox),
        ("max-headers", max_headers),
        ("max-message", max_message),
    ] {
        if value > 1 << 30 {
            return Err(Error::Config(format!("{name} must be at most 1 GiB")));
        }
    }
    let Timeouts {
        handshake,
        idle,
        ping_interval,
        pong,
        close,
        write,
        drain,
    } = config.timeouts;
    for (name, timeout) in [
        ("handshake-timeout", handshake),
        ("idle-timeout", idle),
        ("ping-interval", ping_interval),
        ("pong-timeout", pong),
        ("close-timeout", close),
        ("write-timeout", write),
        ("drain-timeout", drain),
    ] {
        if timeout.is_some_and(|timeout| timeout > LONGEST_TIMEOUT) {
            return Err(Error::Config(format!("{name} must be at most 12 days")));
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::Config(format!(
                "{name} of zero: use None to switch it off"
            )));
        }
    }
    Ok(Settings {
        decoder: DecoderSettings {
            role: Role::Server,
            max_message,
            max_fragments,
        },
        max_headers,
        outbox,
        subscriptions,
        handshake: handshake.map(ticks),
        idle: idle.map(ticks),
        ping_interval: ping_interval.map(ticks),
        pong: pong.map(ticks),
        close: close.map(ticks),
        write: write.map(ticks),
    })
}

/// Binds every address once for each reactor.
fn listen(config: &Config, reactors: usize) -> Result<Vec<Vec<TcpListener>>> {
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for name in &config.listen {
        for addr in claim(name, config.takeover)? {
            if addrs.contains(&addr) {
                return Err(Error::Config(format!("{addr} is to be listened on twice")));
            }
            addrs.push(addr);
        }
    }
    if addrs.is_empty() {
        return Err(Error::Config("no address to listen on".into()));
    }
    let bind_all = |_| {
        let bound = addrs.iter().map(|&addr| {
            transport::bind(addr, true, true).map_err(|source| listen_error(addr, source))
        });
        bound.collect()
    };
    (0..reactors).map(bind_all).collect()
}

/// The addresses behind a name, each free to be bound, with a port instead of 0.
fn claim(name: &str, takeover: bool) -> Result<Vec<SocketAddr>> {
    let resolved = transport::resolve(name).map_err(|source| listen_error(name, source))?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match claim_addrs(name, &resolved, takeover) {
            // The port that was free on the first address may be taken on the second.
            Err(Error::Listen { source, .. })
                if source.kind() == std::io::ErrorKind::AddrInUse
                    && resolved[0].port() == 0
                    && attempt < PORT_ATTEMPTS => {}
            result => return result,
        }
    }
}

fn claim_addrs(name: &str, resolved: &[SocketAddr], takeover: bool) -> Result<Vec<SocketAddr>> {
    let mut port = None;
    let mut claimed = Vec::new();
    let mut refusal = None;
    for &addr in resolved {
        let mut addr = addr;
        if let Some(port) = port {
            addr.set_port(port);
        }
        // Sharing a port is silent: binding alone first shows whether somebody has it.
        let bound = transport::bind(addr, takeover, false).and_then(|probe| probe.local_addr());
        match bound {
            Ok(bound) => {
                port = Some(bound.port());
                claimed.push(bound);
            }
            // A machine without IPv6 still has a localhost.
            Err(source)
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::AddrNotAvailable | std::io::ErrorKind::Unsupported
                ) || source.raw_os_error()
                    == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
            {
                refusal = Some(listen_error(addr, source));
            }
            Err(source) => return Err(listen_error(addr, source)),
        }
    }
    match (claimed.is_empty(), refusal) {
        (false, _) => Ok(claimed),
        (true, Some(refusal)) => Err(refusal),
        (true, None) => Err(Error::Config(format!("{name} names no address"))),
    }
}

fn listen_error(addr: impl ToString, source: std::io::Error) -> Error {
    Error::Listen {
        addr: addr.to_string(),
        source,
    }
}

/// How many connections the descriptor limit leaves room for, or fewer if so configured.
fn connection_limit(config: &Config, reactors: usize, addrs: usize) -> Result<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let descriptors = limit.current.unwrap_or(u64::MAX);
    let own = SPARE_DESCRIPTORS + reactors as u64 * (REACTOR_DESCRIPTORS + addrs as u64);
    let Some(room) = descriptors.checked_sub(own).filter(|&room| room > 0) else {
        return Err(Error::Config(format!(
            "the descriptor limit of {descriptors} leaves no room for connections"
        )));
    };
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    match config.limits.max_connections {
        None => Ok(room),
        Some(0) => Err(Error::Config("max-connections must be at least 1".into())),
        Some(wanted) if wanted <= room => Ok(wanted),
        Some(wanted) => Err(Error::Config(format!(
            "max-connections {wanted} is over what the descriptor limit allows ({room})"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_left_to_the_workers() {
        for (cores, workers, reactors) in [
            (1, 0, 1),
            (1, 1, 1),
            (2, 0, 2),
            (2, 2, 1),
            (8, 0, 8),
            (8, 1, 7),
            (8, 8, 7),
        ] {
            assert_eq!(
                default_reactors(cores, workers),
                reactors,
                "{cores} {workers}"
            );
        }
    }
}
