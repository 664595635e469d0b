//! A server's threads.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::app::App;
use super::error::{Error, Result};
use super::handle::{ServerHandle, Signal};
use super::{Parts, Server};
use crate::connection::{Context, Errands, Front, Settings, ticks};
use crate::reactor::{
    BATCHES, Batch, Dispatch, Handoff, Inbox, Job, Load, Outgoing, Population, Queue, Reactor,
    errands, pin, reserved_slots,
};
use crate::topics::Memory;
use crate::transport::OsSys;
use crate::worker::{Executor, Inline, Outside, Worker};

/// What the threads may take beyond the drain deadline before they are left behind.
const GRACE: Duration = Duration::from_millis(500);

/// A server that runs on threads of its own. Dropping it stops it and waits.
#[derive(Debug)]
pub struct Running {
    handle: ServerHandle,
    local_addrs: Vec<SocketAddr>,
    threads: Vec<JoinHandle<Result<()>>>,
    signals: Receiver<Signal>,
    /// When the threads were started: a server may be stopped before that.
    since: Instant,
    drain: Option<Duration>,
}

impl Running {
    /// Steers the server.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// The bound addresses.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Waits until the server has ended. A thread that is stuck in a handler is not waited for
    /// once [`Timeouts::drain`](crate::Timeouts::drain) is over; it is left behind.
    ///
    /// # Errors
    /// [`Error::Reactor`] if an event loop failed; the others were stopped then.
    pub fn join(mut self) -> Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        let mut running: Vec<bool> = vec![true; self.threads.len()];
        let mut deadline = None;
        while running.contains(&true) {
            let signal = match deadline {
                None => self.signals.recv().ok(),
                Some(deadline) => self.signals.recv_deadline(deadline).ok(),
            };
            match signal {
                Some(Signal::Ended(index)) => running[index] = false,
                Some(Signal::Stopping(since)) => {
                    let since = since.max(self.since);
                    deadline = self.drain.map(|drain| since + drain + GRACE);
                }
                None => break,
            }
        }
        let mut result = Ok(());
        for (thread, running) in self.threads.drain(..).zip(running) {
            if running {
                let name = thread.thread().name().unwrap_or("a thread");
                log::error!("{name} is stuck in a handler and is left behind");
                continue;
            }
            let ended = thread.join().unwrap_or_else(|_| Err(thread_died()));
            result = result.and(ended);
        }
        result
    }

    /// Starts a thread that says when it ends, and stops the server if it fails.
    fn start(
        &mut self,
        name: String,
        work: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<Thread> {
        let handle = self.handle();
        let index = self.threads.len();
        let body = move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            let result = result.unwrap_or_else(|_| Err(thread_died()));
            if result.is_err() {
                handle.stop();
            }
            handle.ended(index);
            result
        };
        let join = std::thread::Builder::new().name(name).spawn(body);
        let join = join.map_err(Error::Reactor)?;
        let thread = join.thread().clone();
        self.threads.push(join);
        Ok(thread)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        if let Err(error) = self.wait() {
            log::error!("{error}");
        }
    }
}

fn thread_died() -> Error {
    Error::Reactor(std::io::Error::other("its thread panicked"))
}

impl Server {
    /// Serves on threads of its own.
    ///
    /// # Errors
    /// [`Error::Reactor`] if a thread cannot be started.
    pub fn spawn(self) -> Result<Running> {
        let app = Arc::new(self.app);
        let mut running = Running {
            handle: self.handle,
            local_addrs: self.local_addrs,
            threads: Vec::new(),
            signals: self.signals,
            since: Instant::now(),
            drain: self.config.timeouts.drain,
        };
        let jobs = if app.has_source() {
            let (jobs, received) = errands(self.reactors.len());
            running.start("pages".to_owned(), move || {
                received.iter().for_each(Job::run);
                Ok(())
            })?;
            Some(jobs)
        } else {
            None
        };
        let shared = Shared {
            jobs,
            slots: reserved_slots(&self.population),
            app,
            hub: self.hub,
            settings: self.settings,
            population: self.population,
            drain: self.config.timeouts.drain.map(ticks),
            pin: self.config.pin,
        };
        let outsides: Arc<[Outside]> = self
            .reactors
            .iter()
            .enumerate()
            .map(|(reactor, parts)| shared.outside(reactor, &parts.inbox))
            .collect();
        let mut lanes = Vec::new();
        for (index, link) in running.handle().workers().iter().enumerate() {
            let (sender, batches) = bounded::<Box<Batch>>(outsides.len() * BATCHES);
            let load = Arc::clone(&link.load);
            let outsides = Arc::clone(&outsides);
            let activity = Arc::clone(&link.activity);
            let (app, slots) = (Arc::clone(&shared.app), shared.slots);
            let thread = running.start(format!("worker-{index}"), move || {
                // Handlers need not be `Send`: they are made here and never leave.
                let executor = Executor::new(app, load, slots);
                Worker::new(executor, outsides).run(&batches, &activity);
                Ok(())
            })?;
            let queue = Queue::new(sender, thread);
            lanes.push((queue, Arc::clone(&link.load)));
        }
        for (index, parts) in self.reactors.into_iter().enumerate() {
            let shared = shared.clone();
            let lanes = lanes.clone();
            running.start(format!("reactor-{index}"), move || {
                shared.react(index, parts, lanes)
            })?;
        }
        Ok(running)
    }
}

type Lanes = Vec<(Queue, Load)>;

/// What all reactors are started with.
#[derive(Clone)]
struct Shared {
    app: Arc<App>,
    hub: Arc<Memory>,
    /// Where errands go; `None` if there are none.
    jobs: Option<Sender<Job>>,
    settings: Settings,
    population: Population,
    slots: usize,
    drain: Option<u32>,
    pin: bool,
}

impl Shared {
    fn outside(&self, reactor: usize, inbox: &Arc<Inbox>) -> Outside {
        Outside::new(reactor, inbox, self.hub.clone(), &self.settings)
    }

    /// The body of a reactor's thread.
    fn react(self, index: usize, parts: Parts, lanes: Lanes) -> Result<()> {
        if self.pin {
            pin(index).map_err(Error::Reactor)?;
        }
        let sys = parts.shell.sys().map_err(Error::Reactor)?;
        for (at, listener) in parts.listeners.iter().enumerate() {
            sys.register_listener(listener, at)
                .map_err(Error::Reactor)?;
        }
        if lanes.is_empty() {
            let outside = self.outside(index, &parts.inbox);
            let load = Load::new(AtomicUsize::new(0));
            let executor = Executor::new(Arc::clone(&self.app), load, self.slots);
            self.turn(parts, sys, Inline::new(executor, outside))
        } else {
            let now = parts.shell.now();
            let dispatch = Dispatch::new(index as u16, lanes, Arc::clone(&parts.inbox), now);
            self.turn(parts, sys, dispatch)
        }
    }

    fn turn(self, parts: Parts, sys: OsSys, delivery: impl Handoff) -> Result<()> {
        let Parts {
            mut shell,
            listeners,
            inbox,
            stats,
        } = parts;
        let front: Arc<dyn Front> = self.app;
        let mut cx = Context::new(sys, delivery, front, self.settings, shell.now());
        cx.errands = self
            .jobs
            .map(|jobs| Box::new(Outgoing::new(jobs, Arc::clone(&inbox))) as Box<dyn Errands>);
        let mut reactor = Reactor::new(listeners, self.population, inbox, stats, self.drain, cx);
        shell.run(&mut reactor).map_err(Error::Reactor)
    }
}
