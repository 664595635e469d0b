//! A server's threads.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::app::App;
use super::error::{Error, Result};
use super::handle::ServerHandle;
use super::{Parts, Server};
use crate::connection::{Context, Front, Settings, ticks};
use crate::reactor::{Population, Reactor, pin, reserved_slots};
use crate::worker::{Executor, Inline, Outside};

/// A server that runs on threads of its own. Dropping it stops it and waits.
#[derive(Debug)]
pub struct Running {
    handle: ServerHandle,
    local_addrs: Vec<SocketAddr>,
    threads: Vec<JoinHandle<Result<()>>>,
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

    /// Waits until the server has ended.
    ///
    /// # Errors
    /// [`Error::Reactor`] if an event loop failed; the others were stopped then.
    pub fn join(mut self) -> Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(thread_died()));
            result = result.and(ended);
        }
        result
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
        };
        for (index, parts) in self.reactors.into_iter().enumerate() {
            let job = Job {
                index,
                parts,
                app: Arc::clone(&app),
                settings: self.settings.clone(),
                population: self.population.clone(),
                drain: self.config.timeouts.drain.map(ticks),
                pin: self.config.pin,
            };
            let handle = running.handle();
            let thread = std::thread::Builder::new()
                .name(format!("reactor-{index}"))
                .spawn(move || {
                    let result = catch_unwind(AssertUnwindSafe(|| job.run()))
                        .unwrap_or_else(|_| Err(thread_died()));
                    if result.is_err() {
                        handle.stop();
                    }
                    result
                })
                .map_err(Error::Reactor)?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

/// What one reactor's thread does.
struct Job {
    index: usize,
    parts: Parts,
    app: Arc<App>,
    settings: Settings,
    population: Population,
    drain: Option<u32>,
    pin: bool,
}

impl Job {
    fn run(self) -> Result<()> {
        if self.pin {
            pin(self.index).map_err(Error::Reactor)?;
        }
        let Parts {
            mut shell,
            listeners,
            inbox,
            stats,
        } = self.parts;
        let sys = shell.sys().map_err(Error::Reactor)?;
        for (at, listener) in listeners.iter().enumerate() {
            sys.register_listener(listener, at).map_err(Error::Reactor)?;
        }
        let outside = Outside {
            reactor: self.index as u16,
            inbox: Arc::clone(&inbox),
            outbox: self.settings.outbox,
        };
        let slots = reserved_slots(&self.population);
        let executor = Executor::new(Arc::clone(&self.app), outside, slots);
        let front: Arc<dyn Front> = self.app;
        let cx = Context::new(sys, Inline::new(executor), front, self.settings, shell.now());
        let mut reactor = Reactor::new(listeners, self.population, inbox, stats, self.drain, cx);
        shell.run(&mut reactor).map_err(Error::Reactor)
    }
}
