//! Servers in this process, whose handlers are counted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use sockeye::{
    CloseReason, Config, Handler, Message, Peer, Request, Running, Server, ServerHandle,
    ServerStats, Subscription,
};

use crate::client::Client;
use crate::logger;
use crate::patience::eventually;

/// Where handlers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// On the two reactors.
    Inline,
    /// On two workers besides the two reactors.
    Workers,
}

impl Mode {
    fn workers(self) -> usize {
        match self {
            Mode::Inline => 0,
            Mode::Workers => 2,
        }
    }

    /// How the names of the threads begin on which handlers run.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Mode::Inline => "reactor-",
            Mode::Workers => "worker-",
        }
    }
}

pub(crate) fn in_both_modes(test: impl Fn(Mode)) {
    for mode in [Mode::Inline, Mode::Workers] {
        eprintln!("{mode:?}");
        test(mode);
    }
}

/// The name of the calling thread.
pub(crate) fn here() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// What became of a server's handlers.
#[derive(Default)]
pub(crate) struct Tally {
    opened: AtomicUsize,
    closed: AtomicUsize,
    /// Callbacks other than `on_close` that ended in a panic.
    panicked: AtomicUsize,
    alive: AtomicUsize,
    violations: Mutex<Vec<String>>,
}

impl Tally {
    fn blame(&self, violation: String) {
        self.violations.lock().unwrap().push(violation);
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(SeqCst)
    }

    /// Checks what must hold once all threads have ended.
    #[track_caller]
    pub(crate) fn check(&self) {
        eventually("every handler is dropped", || self.alive.load(SeqCst) == 0);
        let violations = self.violations.lock().unwrap();
        assert!(violations.is_empty(), "{violations:?}");
        let ended = self.closed.load(SeqCst) + self.panicked.load(SeqCst);
        assert_eq!(self.opened(), ended, "one on_close for each on_open");
    }
}

/// A handler that is watched.
struct Counted<H> {
    handler: Option<H>,
    tally: Arc<Tally>,
    made_on: ThreadId,
    opened: bool,
    over: bool,
}

impl<H: Handler> Counted<H> {
    fn new(handler: H, tally: Arc<Tally>, mode: Mode) -> Self {
        tally.alive.fetch_add(1, SeqCst);
        if !here().starts_with(mode.prefix()) {
            tally.blame(format!("a handler was made on {}", here()));
        }
        Self {
            handler: Some(handler),
            tally,
            made_on: thread::current().id(),
            opened: false,
            over: false,
        }
    }

    fn run(&mut self, what: &str, callback: impl FnOnce(&mut H)) {
        if thread::current().id() != self.made_on {
            self.tally.blame(format!("{what} on {}", here()));
        }
        if self.over || self.opened == (what == "on_open") {
            self.tally.blame(format!("{what} at the wrong time"));
        }
        self.opened = true;
        self.over = what == "on_close";
        let _notice = (!self.over).then(|| Notice(&self.tally));
        callback(self.handler.as_mut().expect("it is not dropped"));
    }
}

/// Notices a panic that passes it.
struct Notice<'a>(&'a Tally);

impl Drop for Notice<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.panicked.fetch_add(1, SeqCst);
        }
    }
}

impl<H: Handler> Handler for Counted<H> {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        self.tally.opened.fetch_add(1, SeqCst);
        self.run("on_open", |handler| handler.on_open(peer));
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        self.run("on_message", |handler| handler.on_message(peer, message));
    }

    fn on_timer(&mut self, peer: &mut Peer<'_>) {
        self.run("on_timer", |handler| handler.on_timer(peer));
    }

    fn on_drain(&mut self, peer: &mut Peer<'_>) {
        self.run("on_drain", |handler| handler.on_drain(peer));
    }

    fn on_subscribed(&mut self, peer: &mut Peer<'_>, subscription: &Subscription) {
        self.run("on_subscribed", |handler| {
            handler.on_subscribed(peer, subscription)
        });
    }

    fn on_close(&mut self, peer: &mut Peer<'_>, reason: &CloseReason) {
        self.tally.closed.fetch_add(1, SeqCst);
        self.run("on_close", |handler| handler.on_close(peer, reason));
    }
}

impl<H> Drop for Counted<H> {
    fn drop(&mut self) {
        self.tally.alive.fetch_sub(1, SeqCst);
        if thread::current().id() != self.made_on {
            self.tally.blame(format!("dropped on {}", here()));
        }
        drop(self.handler.take());
    }
}

/// What happens to a handler.
pub(crate) enum On<'a> {
    Open,
    Message(Message<'a>),
    Timer,
    Drain,
    Subscribed(&'a Subscription),
    Close(&'a CloseReason),
}

/// A handler made of one closure, of which every connection has a copy.
struct Script<F>(F);

impl<F: FnMut(&mut Peer<'_>, On<'_>) + 'static> Handler for Script<F> {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        (self.0)(peer, On::Open);
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        (self.0)(peer, On::Message(message));
    }

    fn on_timer(&mut self, peer: &mut Peer<'_>) {
        (self.0)(peer, On::Timer);
    }

    fn on_drain(&mut self, peer: &mut Peer<'_>) {
        (self.0)(peer, On::Drain);
    }

    fn on_subscribed(&mut self, peer: &mut Peer<'_>, subscription: &Subscription) {
        (self.0)(peer, On::Subscribed(subscription));
    }

    fn on_close(&mut self, peer: &mut Peer<'_>, reason: &CloseReason) {
        (self.0)(peer, On::Close(reason));
    }
}

pub(crate) fn script(script: impl FnMut(&mut Peer<'_>, On<'_>) + 'static) -> impl Handler {
    Script(script)
}

/// A server to be started. It has an `/echo` and a `/who`, which first sends the name of its
/// thread and then echoes.
pub(crate) struct Site {
    mode: Mode,
    config: Config,
    routes: Vec<Box<dyn FnOnce(Server) -> Server>>,
    tally: Arc<Tally>,
}

impl Site {
    pub(crate) fn new(mode: Mode) -> Self {
        logger::install();
        let mut config = Config::default();
        config.listen = vec!["127.0.0.1:0".into()];
        config.reactors = 2;
        config.workers = Some(mode.workers());
        let site = Self {
            mode,
            config,
            routes: Vec::new(),
            tally: Arc::default(),
        };
        site.on("/echo", echo).on("/who", |peer, on| {
            if let On::Open = on {
                peer.send(here());
            }
            echo(peer, on);
        })
    }

    pub(crate) fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    pub(crate) fn route<F, H>(mut self, path: &'static str, factory: F) -> Self
    where
        F: Fn(&Request<'_>) -> H + Send + Sync + 'static,
        H: Handler,
    {
        let (tally, mode) = (Arc::clone(&self.tally), self.mode);
        self.routes.push(Box::new(move |server| {
            server.route(path, move |request| {
                Counted::new(factory(request), Arc::clone(&tally), mode)
            })
        }));
        self
    }

    pub(crate) fn on<F>(self, path: &'static str, script: F) -> Self
    where
        F: FnMut(&mut Peer<'_>, On<'_>) + Clone + Send + Sync + 'static,
    {
        self.route(path, move |_| self::script(script.clone()))
    }

    /// Anything else that is said to a server.
    pub(crate) fn with(mut self, change: impl FnOnce(Server) -> Server + 'static) -> Self {
        self.routes.push(Box::new(change));
        self
    }

    /// A server that is not running yet, and what is counted of it.
    pub(crate) fn bind(self) -> (Server, Arc<Tally>) {
        let mut server = Server::with_config(self.config).expect("the server binds");
        for route in self.routes {
            server = route(server);
        }
        (server, self.tally)
    }

    pub(crate) fn serve(self) -> Live {
        let (server, tally) = self.bind();
        let running = server.spawn().expect("the server starts");
        Live {
            handle: running.handle(),
            address: running.local_addrs()[0],
            running: Some(running),
            tally,
        }
    }
}

pub(crate) fn echo(peer: &mut Peer<'_>, on: On<'_>) {
    if let On::Message(message) = on {
        peer.send(message);
    }
}

/// A server that runs. It is stopped and its counters are checked when it is dropped.
pub(crate) struct Live {
    running: Option<Running>,
    pub(crate) handle: ServerHandle,
    pub(crate) address: SocketAddr,
    pub(crate) tally: Arc<Tally>,
}

impl Live {
    #[track_caller]
    pub(crate) fn open(&self, path: &str) -> Client {
        Client::open(self.address, path)
    }

    /// A connection to `/who`, or another route that says so, and the name of its thread.
    #[track_caller]
    pub(crate) fn open_named(&self, path: &str) -> (Client, String) {
        let mut client = self.open(path);
        let name = client.next().expect("the name of a thread").payload;
        (client, String::from_utf8(name).unwrap())
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        self.running.as_ref().map_or(&[], Running::local_addrs)
    }

    pub(crate) fn stats(&self) -> ServerStats {
        self.handle.stats()
    }

    /// Connections of each worker.
    pub(crate) fn loads(&self) -> Vec<usize> {
        let workers = self.stats().workers;
        workers.iter().map(|worker| worker.connections).collect()
    }

    /// Stops the server and says how long that took, but does not check the counters: a stuck
    /// handler may still have its end before it.
    #[track_caller]
    pub(crate) fn join(&mut self) -> Duration {
        let start = Instant::now();
        self.handle.stop();
        let running = self.running.take().expect("it runs");
        running.join().expect("the server ends well");
        start.elapsed()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        drop(self.running.take());
        if !thread::panicking() {
            self.tally.check();
        }
    }
}
