//! What a run costs: the server's process, this process, the kernel's socket memory.

pub mod client;
mod process;
pub mod server;

use std::time::Instant;

use crate::report::{ClientUse, Sample, ServerUse};
use client::ClientWatch;
use process::Times;
pub use server::WatchError;
use server::{ServerWatch, kernel_socket_memory};

/// Watches a run from before its first connection to the end of its measured part.
///
/// The calls come in this order: [`new()`](Self::new), [`before()`](Self::before), then
/// [`begin()`](Self::begin) when the measured part starts, [`end()`](Self::end) while all load
/// threads and connections still exist; [`tick()`](Self::tick) at any time after `before`.
pub struct Watch {
    server: Option<ServerSpan>,
    client: ClientWatch,
    kernel_socket_memory: u64,
}

/// What the run itself knows at the end of its measured part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// Connections open now.
    pub connections: u64,
    /// How late the load threads' loops were for what was due, 99th percentile, in microseconds, if
    /// they measured it.
    pub loop_lag_us: Option<f64>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// None without a pid, or if the process is gone.
    pub server: Option<ServerUse>,
    /// This process, with the verdict about it.
    pub client: ClientUse,
    /// Why there is nothing about the server though there was a pid.
    pub error: Option<WatchError>,
}

struct ServerSpan {
    watch: ServerWatch,
    memory_before: u64,
    begin: (Instant, Times),
    last: (Instant, Times),
}

impl Watch {
    /// Watches this process, and the server's if its pid is given.
    ///
    /// # Errors
    ///
    /// No such process, or not ours to read.
    pub fn new(server_pid: Option<u32>) -> Result<Self, WatchError> {
        let server = server_pid
            .map(|pid| ServerSpan::new(ServerWatch::new(pid)?))
            .transpose()?;
        Ok(Self {
            server,
            client: ClientWatch::new()?,
            kernel_socket_memory: 0,
        })
    }

    /// Before the first connection: what the server's memory is compared with.
    ///
    /// # Errors
    ///
    /// The server's process is gone.
    pub fn before(&mut self) -> Result<(), WatchError> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        server.memory_before = server.watch.private_memory()?;
        server.begin = server.now()?;
        server.last = server.begin.clone();
        Ok(())
    }

    /// The measured part starts; all load threads run.
    ///
    /// # Errors
    ///
    /// The server's process is gone.
    pub fn begin(&mut self) -> Result<(), WatchError> {
        // First, for messages count from before this call on.
        if let Some(server) = &mut self.server {
            server.begin = server.now()?;
            server.last = server.begin.clone();
        }
        self.client.begin()
    }

    /// How much the server's memory has grown for each of so many connections, if its process is
    /// known and it has not shrunk.
    ///
    /// # Errors
    ///
    /// The server's process is gone.
    pub fn memory_per_connection(&self, connections: u64) -> Result<Option<f64>, WatchError> {
        let Some(server) = &self.server else {
            return Ok(None);
        };
        let memory = server.watch.private_memory()?;
        Ok(server.memory_for_each(memory, connections))
    }

    /// Fills in the server's part of a sample: its resident memory, and its CPU time since the last
    /// tick.
    ///
    /// # Errors
    ///
    /// The server's process is gone.
    pub fn tick(&mut self, sample: &mut Sample) -> Result<(), WatchError> {
        self.client.tick()?;
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        self.kernel_socket_memory = self.kernel_socket_memory.max(kernel_socket_memory()?);
        let now = server.now()?;
        let wall = (now.0 - server.last.0).as_secs_f64();
        if wall > 0.0 {
            sample.server_cpu = Some(now.1.since(&server.last.1).total() / wall);
        }
        sample.server_memory = Some(server.watch.resident_memory()?);
        server.last = now;
        Ok(())
    }

    /// The measured part is over. A server that is gone leaves the client's part as it is.
    pub fn end(&mut self, done: &Done) -> Outcome {
        let mut outcome = Outcome::default();
        let mut server_busy = None;
        match self.server_use(done) {
            Ok(Some((server, busy))) => {
                outcome.server = Some(server);
                server_busy = Some(busy);
            }
            Ok(None) => {}
            Err(error) => outcome.error = Some(error),
        }
        match self.client.end(server_busy, done.loop_lag_us) {
            Ok(client) => outcome.client = client,
            Err(error) => outcome.error = outcome.error.or(Some(error)),
        }
        outcome
    }

    /// Also how busy the server's busiest thread was.
    fn server_use(&mut self, done: &Done) -> Result<Option<(ServerUse, f64)>, WatchError> {
        let Some(server) = &self.server else {
            return Ok(None);
        };
        let (at, times) = server.now()?;
        let wall = (at - server.begin.0).as_secs_f64();
        let cpu = times.since(&server.begin.1);
        let memory_after = server.watch.private_memory()?;
        let found = ServerUse {
            pid: server.watch.pid(),
            user_seconds: cpu.user,
            system_seconds: cpu.system,
            cpu_per_message_us: None,
            memory_before: server.memory_before,
            memory_after,
            memory_per_connection: server.memory_for_each(memory_after, done.connections),
            kernel_socket_memory: self.kernel_socket_memory.max(kernel_socket_memory()?),
        };
        let busy = times.busiest_since(&server.begin.1, wall);
        Ok(Some((found, busy)))
    }
}

impl ServerSpan {
    fn new(watch: ServerWatch) -> Result<Self, WatchError> {
        let memory_before = watch.private_memory()?;
        let now = (Instant::now(), watch.times()?);
        Ok(Self {
            watch,
            memory_before,
            begin: now.clone(),
            last: now,
        })
    }

    /// What memory grew by to this much, for each connection. A process that was used before may have
    /// shrunk meanwhile, which says nothing about connections.
    fn memory_for_each(&self, memory: u64, connections: u64) -> Option<f64> {
        let grown = memory.checked_sub(self.memory_before)?;
        (connections > 0).then(|| grown as f64 / connections as f64)
    }

    fn now(&self) -> Result<(Instant, Times), WatchError> {
        Ok((Instant::now(), self.watch.times()?))
    }
}
