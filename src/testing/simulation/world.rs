//! A whole server with its clients, and who goes on when.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::clients::{Client, Habits};
use super::handlers::{Plan, upgrade};
use super::ledger::{Author, Coverage, Item, Ledger, Ledgers, Record};
use super::rng::Rng;
use super::topics::publish;
use crate::connection::{Tick, ticks};
use crate::reactor::Next;
use crate::server::{App, hub};
use crate::testing::engine::Engine;
use crate::testing::network::{Call, Fate};
use crate::{Config, MessageKind, SendError};

/// Rounds after which a server that should have come to rest is not going to.
const ROUNDS: usize = 20_000;
/// Turns a reactor may ask for at once without anything coming of them.
const IDLE_TURNS: usize = 8;

/// A reactor as the driver knows it.
struct Loop {
    next: Next,
    ended: bool,
    /// Gets no turn until so many steps have been made.
    frozen: usize,
    idle_turns: usize,
}

pub(super) struct World {
    rng: Rng,
    pub(super) config: Config,
    pub(super) engine: Engine,
    pub(super) now: Tick,
    loops: Vec<Loop>,
    /// For each worker, the steps until it goes on.
    frozen: Vec<usize>,
    pub(super) clients: Vec<Client>,
    to_come: usize,
    heavy: bool,
    /// Turns that nothing called for happen.
    spurious: bool,
    /// Whether handlers use topics.
    pub(super) has_topics: bool,
    topics: Rng,
    pub(super) ledgers: Ledgers,
    pub(super) stopped: Option<Tick>,
    steps: usize,
}

/// What a run came to.
pub(super) struct Outcome {
    pub(super) faults: Vec<String>,
    pub(super) coverage: Coverage,
    pub(super) trace: Vec<String>,
}

pub(super) fn run(seed: u64, trace: bool) -> Outcome {
    let mut world = World::new(seed, trace);
    world.live();
    // What is found when the world goes after a fault are only consequences.
    let mut ledger = world.ledgers.lock();
    ledger.is_over = true;
    Outcome {
        faults: std::mem::take(&mut ledger.faults),
        coverage: std::mem::take(&mut ledger.coverage),
        trace: ledger.trace.take().unwrap_or_default(),
    }
}

fn configuration(rng: &mut Rng, heavy: bool) -> Config {
    let mut config = Config {
        reactors: rng.pick(&[1, 1, 2, 3]),
        workers: Some(rng.pick(&[0, 1, 1, 2, 3])),
        ..Config::default()
    };
    let mut pick = |choices: &[u64]| match choices[rng.below(choices.len())] {
        0 => None,
        millis => Some(Duration::from_millis(millis)),
    };
    let timeouts = &mut config.timeouts;
    timeouts.handshake = pick(&[0, 200, 10_000, 10_000]);
    timeouts.idle = pick(&[0, 0, 0, 300, 5_000]);
    timeouts.ping_interval = pick(&[0, 0, 50, 1_000, 25_000]);
    timeouts.pong = pick(&[0, 30, 500, 10_000]);
    timeouts.close = pick(&[0, 50, 1_000, 5_000]);
    timeouts.write = pick(&[0, 100, 2_000, 30_000]);
    timeouts.drain = pick(&[0, 50, 1_000, 10_000]);
    let limits = &mut config.limits;
    limits.outbox = rng.pick(&[1, 100, 1_000, 10_000, 10_000, 100_000, 1 << 20]);
    limits.max_message = rng.pick(&[1_000, 70_000, 300_000, 16 << 20]);
    if heavy {
        limits.max_message = 16 << 20;
    }
    limits.max_headers = rng.pick(&[512, 4_096, 16 << 10]);
    limits.max_connections = rng.pick(&[None, None, None, Some(2), Some(4)]);
    if heavy {
        config.reactors = 1;
        config.workers = Some(rng.pick(&[0, 1, 1, 1, 2]));
        config.limits.max_connections = None;
    }
    if rng.one_in(4) {
        config.timeouts = crate::Timeouts {
            idle: None,
            write: None,
            ..crate::Timeouts::default()
        };
    }
    config
}

/// How a network treats the calls of its reactor.
fn weather(mut rng: Rng) -> impl FnMut(Call) -> Fate {
    let rough = rng.pick(&[usize::MAX, usize::MAX, 30, 6, 3]);
    let hard = rng.pick(&[usize::MAX, usize::MAX, usize::MAX, 400, 60]);
    move |call| {
        let is_stream = matches!(call, Call::Read | Call::Write);
        if rng.one_in(hard) {
            let errno = match call {
                Call::Accept => rng.pick(&[
                    Errno::MFILE,
                    Errno::NFILE,
                    Errno::NOBUFS,
                    Errno::CONNABORTED,
                    Errno::PROTO,
                ]),
                Call::PeerAddr | Call::Shutdown => Errno::NOTCONN,
                Call::Register => rng.pick(&[Errno::NOMEM, Errno::NOSPC]),
                Call::Read => rng.pick(&[Errno::CONNRESET, Errno::TIMEDOUT, Errno::NOBUFS]),
                Call::Write => rng.pick(&[Errno::CONNRESET, Errno::PIPE, Errno::NOBUFS]),
            };
            return Fate::Fail(errno);
        }
        if !rng.one_in(rough) {
            return Fate::Proceed(usize::MAX);
        }
        match rng.below(5) {
            0 if is_stream || call == Call::Accept => Fate::Fail(Errno::AGAIN),
            1 if is_stream || call == Call::Accept => Fate::Fail(Errno::INTR),
            2 => Fate::Proceed(1 + rng.below(8)),
            3 => Fate::Proceed(1 + rng.below(200)),
            _ => Fate::Proceed(1 + rng.below(20_000)),
        }
    }
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let heavy = rng.one_in(16);
        let mut config = configuration(&mut rng, heavy);
        // Drawn apart, so that the rest of what a seed means is what it was.
        let mut topics = Rng::new(!seed);
        let has_topics = topics.one_in(2);
        config.limits.history = topics.pick(&[0, 2, 100]);
        config.limits.topic_log = topics.pick(&[1, 3_000, 16 << 20]);
        let ledgers = Ledgers::default();
        let mut app = App::new(&config).expect("a configuration that can hold");
        let shared = ledgers.clone();
        app.route("/".into(), move |request| upgrade(&shared, request));
        // Near its wrap-around the clock has to work as well.
        let now = Tick(rng.pick(&[0, 1_000, u32::MAX - 5_000]));
        let hub = hub(&config);
        hub.set_history("relay/".into(), 0);
        let engine = Engine::new(&config, Arc::new(app), hub, now);
        let engine = engine.expect("a configuration that can hold");
        let reactors = config.reactors;
        for reactor in 0..reactors {
            let network = engine.network(reactor);
            network.set_coalescing(rng.one_in(2));
            network.set_fates(weather(rng.fork()));
        }
        {
            let mut ledger = ledgers.lock();
            ledger.now = now;
            ledger.board.is_on = has_topics;
            ledger.board.remembers = config.limits.history > 0;
            ledger.trace = trace.then(Vec::new);
            ledger.note(|| format!("{config:?}"));
        }
        let loops = (0..reactors).map(|_| Loop {
            next: Next::Now,
            ended: false,
            frozen: 0,
            idle_turns: 0,
        });
        Self {
            loops: loops.collect(),
            frozen: vec![0; config.workers.unwrap_or(0)],
            clients: Vec::new(),
            to_come: if heavy {
                6 + rng.below(6)
            } else {
                1 + rng.below(7)
            },
            heavy,
            spurious: rng.one_in(8),
            has_topics,
            topics,
            config,
            engine,
            now,
            ledgers,
            stopped: None,
            steps: 0,
            rng,
        }
    }

    pub(super) fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledgers.lock()
    }

    pub(super) fn has_fault(&self) -> bool {
        !self.ledger().faults.is_empty()
    }

    fn note(&self, line: impl FnOnce() -> String) {
        self.ledger().note(line);
    }

    /// From the first client to the end of the server.
    fn live(&mut self) {
        let steps = self.rng.pick(&[50, 200, 500, 1_000]);
        let stops_early = self.rng.one_in(4).then(|| self.rng.below(steps));
        for at in 0..steps {
            self.step();
            if stops_early == Some(at) {
                self.stop();
            }
            if self.rng.one_in(60) {
                self.come_to_rest(false);
                if self.rng.one_in(2) {
                    self.sleep();
                }
            }
            if self.has_fault() {
                return;
            }
        }
        while self.to_come > 0 {
            self.arrive();
        }
        if self.heavy || self.rng.one_in(8) {
            // Everybody is let in, then sends all it can to workers that do nothing.
            self.thaw();
            for at in 0..8 * self.clients.len() {
                let at = at % self.clients.len();
                self.clients[at].step();
            }
            self.come_to_rest(false);
            let stuck = self.steps + 1;
            self.frozen.fill(stuck);
            for at in 0..self.clients.len() {
                self.clients[at].pump();
                let reactor = self.clients[at].reactor;
                self.turn(reactor);
            }
            self.come_to_rest(true);
        }
        self.thaw();
        for _ in 0..self.rng.pick(&[1, 5, 20]) {
            self.come_to_rest(true);
            if self.has_fault() || !self.sleep() {
                break;
            }
        }
        self.shut_down();
        if !self.has_fault() {
            self.check_ends();
        }
    }

    /// Something happens.
    fn step(&mut self) {
        self.steps += 1;
        if self.has_topics && self.topics.one_in(15) {
            let server = self.engine.handle();
            let mut ledger = self.ledgers.lock();
            publish(&mut ledger, &mut self.topics, None, |topic, text| {
                server.publish(topic, text)
            });
        }
        match self.rng.below(100) {
            0..35 => {
                let reactor = self.rng.below(self.loops.len());
                if self.steps >= self.loops[reactor].frozen
                    && (self.is_due(reactor) || (self.spurious && self.rng.one_in(10)))
                {
                    self.turn(reactor);
                }
            }
            35..55 if !self.frozen.is_empty() => {
                let worker = self.rng.below(self.frozen.len());
                if self.steps >= self.frozen[worker] {
                    self.work(worker);
                }
            }
            55..85 if !self.clients.is_empty() => {
                let client = self.rng.below(self.clients.len());
                self.clients[client].step();
            }
            85..88 => self.send_from_outside(),
            88..92 => {
                let by = self.rng.pick(&[1, 1, 3, 10, 10, 40]);
                self.pass(by);
            }
            92 => {
                let steps = self.steps + self.rng.pick(&[5, 50, 300]);
                let which = self.rng.below(self.loops.len() + self.frozen.len());
                let which = if self.heavy {
                    self.loops.len() + self.frozen.len() - 1
                } else {
                    which
                };
                match which.checked_sub(self.loops.len()) {
                    Some(worker) => self.frozen[worker] = steps,
                    None => self.loops[which].frozen = steps,
                }
            }
            _ if self.to_come > 0 => self.arrive(),
            _ => {}
        }
    }

    fn thaw(&mut self) {
        self.frozen.fill(0);
        for it in &mut self.loops {
            it.frozen = 0;
        }
    }

    fn arrive(&mut self) {
        self.to_come -= 1;
        let number = self.clients.len();
        let reactor = self.rng.below(self.loops.len());
        let habits = Habits::random(&mut self.rng, self.heavy);
        let plan = Plan::random(&mut self.rng);
        self.note(|| format!("{number} arrives: {habits:?} {plan:?}"));
        self.ledger().records.push(Record {
            plan,
            ..Record::default()
        });
        // Accepting keeps IPv4 addresses; IPv6 addresses are asked for.
        let ip: IpAddr = match number % 4 {
            0 => Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        let remote = SocketAddr::from((ip, 1 + number as u16));
        let window = self.rng.pick(&[10, 500, 10_000, 100_000, 1_000_000]);
        let wire = self.engine.network(reactor).connect(remote, window);
        self.clients.push(Client::new(
            number,
            reactor,
            wire,
            habits,
            self.ledgers.clone(),
            self.rng.fork(),
            self.config.limits.max_message,
        ));
    }

    /// Whether the poll of a reactor would return.
    pub(super) fn is_due(&self, reactor: usize) -> bool {
        let it = &self.loops[reactor];
        !it.ended
            && (it.next == Next::Now
                || matches!(it.next, Next::At(at) if !self.now.is_before(at))
                || self.engine.is_woken(reactor)
                || self.engine.network(reactor).has_events())
    }

    fn turn(&mut self, reactor: usize) {
        if self.loops[reactor].ended {
            return;
        }
        let was_asked_for = self.loops[reactor].next == Next::Now
            && !self.engine.is_woken(reactor)
            && !self.engine.network(reactor).has_events();
        let before = self.progress(reactor);
        let next = self.engine.turn(reactor, self.now);
        self.note(|| {
            let calls = self.engine.network(reactor).take_calls();
            format!("reactor {reactor} turns, next {next:?}{calls}")
        });
        let moved = self.progress(reactor) != before;
        let it = &mut self.loops[reactor];
        it.next = next;
        it.idle_turns = match was_asked_for && !moved {
            true => it.idle_turns + 1,
            false => 0,
        };
        let spins = it.idle_turns > IDLE_TURNS;
        if next == Next::Never {
            it.ended = true;
            self.engine.end_reactor(reactor);
        }
        if spins {
            let mut ledger = self.ledger();
            ledger.faults.push(format!("reactor {reactor} spins"));
        }
        self.check_limits(reactor);
    }

    /// What changes when something comes of a turn.
    fn progress(&self, reactor: usize) -> (u64, u64, usize) {
        let moved = self.engine.network(reactor).moved();
        let messages = self.ledger().coverage.of("messages");
        let items = self.engine.inbox_len(reactor);
        (moved, messages, items)
    }

    fn work(&mut self, worker: usize) -> bool {
        let worked = self.engine.work(worker);
        if worked {
            self.note(|| format!("worker {worker} works"));
        }
        worked
    }

    fn pass(&mut self, millis: u32) {
        self.now = self.now.after(millis);
        self.ledger().now = self.now;
    }

    /// Time passes until the first reactor wants to be woken. Says whether one does.
    pub(super) fn sleep(&mut self) -> bool {
        let deadlines = self.loops.iter().filter_map(|it| match it.next {
            Next::At(at) if !it.ended => Some(at),
            _ => None,
        });
        let first = deadlines.fold(None, |first, at| Some(at.earlier(first)));
        let Some(first) = first else { return false };
        self.pass(first.since(self.now));
        true
    }

    /// Uses a handle as a thread outside the server would.
    fn send_from_outside(&mut self) {
        let (connection, handle) = {
            let ledger = self.ledgers.lock();
            if ledger.handles.is_empty() {
                return;
            }
            ledger.handles[self.rng.below(ledger.handles.len())].clone()
        };
        if self.rng.one_in(15) {
            let code = self.rng.pick(&[1000, 4000]);
            let result = handle.close(code.into(), "from outside");
            let mut ledger = self.ledgers.lock();
            ledger.note(|| format!("{connection} handle closes: {result:?}"));
            if result.is_ok() {
                let record = &mut ledger.records[connection];
                record.closing_outside.get_or_insert(code);
                ledger.cover("closes of handles");
            }
            return;
        }
        let size = self.rng.pick(&[10, 200, 5_000, 30_000]);
        let len = Item::NAMED + self.rng.below(size);
        let kind = self.rng.pick(&[MessageKind::Text, MessageKind::Binary]);
        let mut ledger = self.ledgers.lock();
        let record = &mut ledger.records[connection];
        let item = Item {
            author: Author::Outside,
            number: record.outside.len() as u32,
            len,
            kind,
        };
        let payload = item.payload(connection);
        let before = handle.buffered_amount();
        let result = match kind {
            MessageKind::Text => handle.send(String::from_utf8(payload).expect("text")),
            MessageKind::Binary => handle.send(payload),
        };
        let has_ended = record.closed.is_some();
        match result {
            Ok(()) => record.outside.push(item),
            Err(SendError::Full) => {}
            Err(SendError::Gone) => {}
        }
        ledger.note(|| format!("{connection} handle sends {item:?}: {result:?}"));
        match result {
            Ok(()) if has_ended => ledger.fault(connection, "a handle sends after the end"),
            Ok(()) => ledger.cover("sends of handles"),
            Err(SendError::Full) if before == 0 => ledger.fault(connection, "Full, but empty"),
            Err(SendError::Full) => ledger.cover("Full"),
            Err(SendError::Gone) => {
                ledger.cover("Gone");
                let record = &ledger.records[connection];
                let closes = record.is_closing() || record.closing_outside.is_some();
                if record.is_live() && !closes {
                    ledger.fault(connection, "Gone, but it neither closes nor has ended");
                }
            }
        }
    }

    /// Lets the server, and the clients if `all`, do everything that can be done now.
    pub(super) fn come_to_rest(&mut self, all: bool) {
        if !all && self.rng.one_in(2) {
            self.thaw();
        }
        let is_thawed = |until: usize, steps: usize| steps >= until;
        let mut who = String::new();
        for _ in 0..ROUNDS {
            let mut busy = false;
            for reactor in 0..self.loops.len() {
                if self.is_due(reactor) {
                    self.turn(reactor);
                    who = format!("reactor {reactor}");
                    busy = true;
                }
            }
            for worker in 0..self.frozen.len() {
                while is_thawed(self.frozen[worker], self.steps) && self.work(worker) {
                    busy = true;
                }
            }
            if all {
                for client in &mut self.clients {
                    if client.pump() {
                        who = format!("client {}", client.number);
                        busy = true;
                    }
                }
            }
            if self.has_fault() {
                return;
            }
            if !busy {
                self.check_rest();
                return;
            }
        }
        let mut ledger = self.ledger();
        ledger
            .faults
            .push(format!("the server does not come to rest: {who}"));
    }

    fn stop(&mut self) {
        if self.stopped.is_none() {
            self.note(|| "stop".into());
            self.engine.handle().stop();
            self.stopped = Some(self.now);
        }
    }

    /// Whether the time for an orderly shutdown was over at that moment.
    pub(super) fn is_drained(&self, at: Tick) -> bool {
        match (self.stopped, self.config.timeouts.drain) {
            (Some(stopped), Some(drain)) => !at.is_before(stopped.after(ticks(drain))),
            _ => false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.loops.iter().all(|it| it.ended)
    }

    /// Stops the server and waits until it has ended.
    fn shut_down(&mut self) {
        if self.has_fault() {
            return;
        }
        // A worker that is stuck meanwhile does not hold the reactors up.
        if !self.frozen.is_empty() && self.rng.one_in(4) && self.config.timeouts.drain.is_some() {
            let stuck = self.rng.below(self.frozen.len());
            self.frozen[stuck] = usize::MAX;
        }
        self.stop();
        for _ in 0..300 {
            self.come_to_rest(true);
            if self.has_fault() || self.is_over() || !self.sleep() {
                break;
            }
        }
        if !self.is_over() && !self.has_fault() {
            let mut ledger = self.ledger();
            match self.config.timeouts.drain {
                Some(_) => ledger.faults.push("the shutdown has no end".into()),
                None => ledger.cover("shutdowns that wait for clients"),
            }
        }
        self.thaw();
        if !self.is_over() {
            for client in &mut self.clients {
                client.reset();
            }
            self.come_to_rest(true);
        }
        for worker in 0..self.frozen.len() {
            while self.work(worker) {}
        }
    }
}
