//! What every scenario is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::Sources;
use crate::payload::Pattern;

/// The settings of a run that do not depend on its scenario.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to connect to.
    pub address: SocketAddr,
    /// The value of `Host`.
    pub host: String,
    /// Path and query of the request.
    pub path: String,
    /// Where to connect from.
    pub sources: Sources,
    /// Connections at once, of all threads.
    pub connections: u32,
    /// Load threads; at least one.
    pub threads: u32,
    /// The core of each thread, those after the last start over; empty for any.
    pub cores: Vec<usize>,
    /// Connections opened per second, all threads together; `None` as fast as the server accepts.
    pub ramp: Option<f64>,
    /// Attempts to connect at the same time, of all threads.
    pub most_connecting: u32,
    /// How long an attempt may take, from connecting to the whole response.
    pub connect_timeout: Duration,
    /// Load before the measured part.
    pub warmup: Duration,
    /// The measured part.
    pub duration: Duration,
    /// How long echoes are waited for after the last message was sent.
    pub grace: Duration,
    /// How long closing handshakes may take.
    pub close_timeout: Duration,
    /// Steps of the measured part: when, counted from its beginning, and what is to be noted before.
    pub steps: Vec<(Duration, &'static str)>,
    /// What messages say.
    pub pattern: Arc<Pattern>,
}

impl Plan {
    /// How many of the connections thread `i` holds: as many as the others, or one more.
    pub fn share(&self, thread: u32) -> u32 {
        self.connections / self.threads + u32::from(thread < self.connections % self.threads)
    }
}
