//! The flags of each scenario, and what they make.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use super::output::{OutputFlags, Session};
use super::run;
use super::values::{Cores, bytes, duration, part, period, rate};
use crate::engine::Plan;
use crate::net::{Sources, Target};
use crate::payload::Pattern;
use crate::report::Report;
use crate::report::figures::Workload;
use crate::report::quantity::whole;
use crate::run::Found;
use crate::scenario::broadcast::{SHORTEST_BINARY, SHORTEST_TEXT};
use crate::scenario::{Churn, Echo, Handshake, Idle, Rate};

/// How long the last answers of an idle run are waited for.
const GRACE: Duration = Duration::from_secs(2);

/// What every scenario takes.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    /// The server, as ws://HOST[:PORT][/PATH]; without a port it is 80
    pub(super) url: Target,
    /// Load threads, each an event loop of its own; no more than connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Pin load threads to these cores, such as 1 or 0-1,3
    #[arg(
        long,
        value_name = "CORES",
        default_value = "",
        hide_default_value = true
    )]
    pin: Cores,
    /// Connect from 127.0.0.1 to 127.0.0.N (loopback only): 28,000 connections each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=254))]
    source_ips: u8,
    /// Attempts to connect at the same time [default: 128, for handshake and churn all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connecting: Option<u32>,
    /// Time for each connection to open
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    connect_timeout: Duration,
    /// Time for closing handshakes at the end
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    close_timeout: Duration,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// When the load begins and ends.
#[derive(Clone, Debug, Args)]
pub(super) struct Times {
    /// Load that does not count, first
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    warmup: Duration,
    /// Load that counts
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = period)]
    duration: Duration,
    /// How long answers are waited for after that
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    grace: Duration,
}

/// What is sent.
#[derive(Clone, Debug, Args)]
pub(super) struct Content {
    /// Bytes of each message, such as 125 or 16KiB; up to 64MiB
    #[arg(long, value_name = "BYTES", default_value = "125", value_parser = bytes)]
    payload: usize,
    /// Send text messages (the default)
    #[arg(
        long,
        conflicts_with = "binary",
        default_value_t = true,
        default_value_if("binary", "true", "false")
    )]
    text: bool,
    /// Send binary messages
    #[arg(long)]
    binary: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct EchoFlags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    content: Content,
    /// Connections
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = whole(1..=u32::MAX))]
    connections: u32,
    /// Open at most so many connections per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    ramp: Option<f64>,
    /// Messages in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    in_flight: u32,
    /// The part of the connections that send; the others stay idle
    #[arg(long, value_name = "FRACTION", default_value_t = 1.0, value_parser = part)]
    active: f64,
}

#[derive(Clone, Debug, Args)]
pub(super) struct RateFlags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    content: Content,
    /// Connections
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = whole(1..=u32::MAX))]
    connections: u32,
    /// Open at most so many connections per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    ramp: Option<f64>,
    /// Messages per second, of all connections
    #[arg(long, value_name = "MESSAGES", value_parser = rate)]
    rate: f64,
}

#[derive(Clone, Debug, Args)]
pub(super) struct IdleFlags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    content: Content,
    /// Connections
    #[arg(short, long, value_name = "N", default_value_t = 1000, value_parser = whole(1..=u32::MAX))]
    connections: u32,
    /// Open at most so many connections per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    ramp: Option<f64>,
    /// How long connections are held; with --echo-once, before and after it
    #[arg(long, visible_alias = "duration", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    hold: Duration,
    /// Ping each connection that often
    #[arg(long, value_name = "DURATION", value_parser = period)]
    ping_every: Option<Duration>,
    /// Let each connection echo one message, then hold them once more. What comes before it sends
    /// anything is `unasked` in the details, and no fault
    #[arg(long)]
    echo_once: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct HandshakeFlags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    times: Times,
    /// Connections being opened at the same time
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = whole(1..=u32::MAX))]
    connections: u32,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ChurnFlags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    content: Content,
    /// Connections at the same time
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = whole(1..=u32::MAX))]
    connections: u32,
    /// Open at most so many connections per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    ramp: Option<f64>,
    /// Messages that each connection exchanges, one after the other
    #[arg(long, value_name = "N", default_value_t = 10)]
    messages: u32,
}

type Settings = BTreeMap<String, String>;

impl EchoFlags {
    pub(super) fn run(self, settings: Settings, stop: &AtomicBool) -> Result<Report, String> {
        let mut plan = self.common.plan(self.connections)?;
        plan.ramp = self.ramp;
        self.times.apply(&mut plan);
        self.content.apply(&mut plan);
        if f64::from(self.connections) * self.active < 1.0 {
            return Err(format!(
                "--active {} of {} connections is none",
                self.active, self.connections
            ));
        }
        let echo = Echo {
            in_flight: self.in_flight,
            active: self.active,
        };
        let what = (Workload::Echo, settings);
        run(&self.common, what, plan, |_| echo, stop)
    }
}

impl RateFlags {
    pub(super) fn run(self, settings: Settings, stop: &AtomicBool) -> Result<Report, String> {
        let mut plan = self.common.plan(self.connections)?;
        plan.ramp = self.ramp;
        self.times.apply(&mut plan);
        self.content.apply(&mut plan);
        let shares: Vec<_> = (0..plan.threads).map(|thread| plan.share(thread)).collect();
        let make = |thread: u32| Rate::new(self.rate, shares[thread as usize], self.connections);
        run(&self.common, (Workload::Rate, settings), plan, make, stop)
    }
}

impl IdleFlags {
    pub(super) fn run(self, settings: Settings, stop: &AtomicBool) -> Result<Report, String> {
        let mut plan = self.common.plan(self.connections)?;
        plan.ramp = self.ramp;
        plan.duration = self.hold;
        plan.grace = GRACE;
        if self.echo_once {
            plan.steps.push((self.hold, "before_echo"));
            plan.duration = 2 * self.hold;
        }
        self.content.apply(&mut plan);
        let make = |_| Idle::new(self.ping_every);
        let workload = Workload::Idle {
            pings: self.ping_every.is_some(),
            echoes: self.echo_once,
        };
        run(&self.common, (workload, settings), plan, make, stop)
    }
}

impl HandshakeFlags {
    pub(super) fn run(self, settings: Settings, stop: &AtomicBool) -> Result<Report, String> {
        let mut plan = self.common.plan(self.connections)?;
        plan.most_connecting = self.common.connecting.unwrap_or(self.connections);
        self.times.apply(&mut plan);
        let what = (Workload::Handshake, settings);
        run(&self.common, what, plan, |_| Handshake, stop)
    }
}

impl ChurnFlags {
    pub(super) fn run(self, settings: Settings, stop: &AtomicBool) -> Result<Report, String> {
        let mut plan = self.common.plan(self.connections)?;
        plan.most_connecting = self.common.connecting.unwrap_or(self.connections);
        plan.ramp = self.ramp;
        self.times.apply(&mut plan);
        self.content.apply(&mut plan);
        let churn = Churn {
            messages: self.messages,
        };
        let workload = Workload::Churn {
            messages: self.messages > 0,
        };
        run(&self.common, (workload, settings), plan, |_| churn, stop)
    }
}

impl Common {
    /// The settings that need no more than this.
    pub(super) fn plan(&self, connections: u32) -> Result<Plan, String> {
        let address = self
            .url
            .resolve()
            .map_err(|error| format!("{}: {error}", self.url))?;
        Ok(Plan {
            address,
            host: self.url.host(),
            path: self.url.path().into(),
            sources: Sources::new(self.source_ips, address)?,
            connections,
            threads: self.threads.min(connections.max(1)),
            cores: self.pin.0.clone(),
            ramp: None,
            most_connecting: self.connecting.unwrap_or(128),
            connect_timeout: self.connect_timeout,
            warmup: Duration::ZERO,
            duration: Duration::ZERO,
            grace: Duration::ZERO,
            close_timeout: self.close_timeout,
            steps: Vec::new(),
            pattern: Arc::new(Pattern::new(0, true)),
        })
    }

    /// Completes the report with what was watched, and notes what was not as the flags say.
    pub(super) fn complete(&self, found: &mut Found, session: Session) {
        self.output.complete(found, session);
        let threads = found.report.client.threads;
        if threads < self.threads {
            found.report.notes.push(format!(
                "{threads} load threads instead of {}: each needs a connection",
                self.threads
            ));
        }
    }
}

impl Times {
    pub(super) fn apply(&self, plan: &mut Plan) {
        plan.warmup = self.warmup;
        plan.duration = self.duration;
        plan.grace = self.grace;
    }
}

impl Content {
    pub(super) fn apply(&self, plan: &mut Plan) {
        plan.pattern = Arc::new(Pattern::new(self.payload, self.text));
    }

    /// Checks that messages are long enough to tell who sent them, and which one each is.
    pub(super) fn tell_origin(&self) -> Result<(), String> {
        let (shortest, what) = if self.binary {
            (SHORTEST_BINARY, "binary")
        } else {
            (SHORTEST_TEXT, "text")
        };
        if self.payload < shortest {
            return Err(format!(
                "{what} messages to many must have {shortest} bytes to tell who sent them"
            ));
        }
        Ok(())
    }
}
