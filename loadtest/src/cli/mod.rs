//! Flags.

mod output;
mod values;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::compare;
use crate::engine::{Plan, Scenario};
use crate::net::{Sources, Target};
use crate::payload::Pattern;
use crate::report::Report;
use crate::run::{self, Title};
use crate::scenario::Echo;
use output::OutputFlags;
use values::{Cores, bytes, duration, fraction, rate};

/// A load generator for WebSocket servers that checks every message it gets back.
///
/// The exit code is 0 if every message came back as it was sent, 1 if something was wrong or a
/// requirement did not hold, 2 if the flags are bad or the server cannot be reached.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep a number of messages in flight on each connection (closed loop)
    Echo(EchoFlags),
    Compare(Box<compare::Flags>),
}

/// What every scenario takes.
#[derive(Clone, Debug, Args)]
struct Common {
    /// The server, as ws://HOST:PORT/PATH
    url: Target,
    /// Load threads, each an event loop of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Pin load threads to these cores, such as 1 or 0-1,3
    #[arg(long, value_name = "CORES", default_value = "")]
    pin: Cores,
    /// Connect from 127.0.0.1 to 127.0.0.N (loopback only): 28,000 connections each
    #[arg(long, value_name = "N", default_value_t = 1)]
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
    output: OutputFlags,
}

/// When the load begins and ends.
#[derive(Clone, Debug, Args)]
struct Times {
    /// Load that does not count, first
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    warmup: Duration,
    /// Load that counts
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// How long answers are waited for after that
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    grace: Duration,
}

/// What is sent.
#[derive(Clone, Debug, Args)]
struct Content {
    /// Bytes of each message, such as 125 or 16KiB; up to 64MiB
    #[arg(long, value_name = "BYTES", default_value = "125", value_parser = bytes)]
    payload: usize,
    /// Send text messages (the default)
    #[arg(long, conflicts_with = "binary")]
    text: bool,
    /// Send binary messages
    #[arg(long)]
    binary: bool,
}

#[derive(Clone, Debug, Args)]
struct EchoFlags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    content: Content,
    /// Connections
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Messages in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    in_flight: u32,
    /// The part of the connections that send; the others stay idle
    #[arg(long, value_name = "FRACTION", default_value_t = 1.0, value_parser = fraction)]
    active: f64,
    /// Open at most so many connections per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    ramp: Option<f64>,
}

/// Reads the flags, runs, reports.
pub fn main() -> ExitCode {
    let mut command = Cli::command();
    let matches = command.get_matches_mut();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.format(&mut command).exit(),
    };
    let settings = settings(&command, &matches);
    let result = match cli.command {
        Command::Echo(flags) => flags.run(settings, &stop_on_signals()),
        Command::Compare(flags) => return compare::run(&flags),
    };
    match result {
        Ok(report) if report.is_faultless() && report.failed_requirements.is_empty() => {
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::from(2)
        }
    }
}

/// Set by the first SIGINT or SIGTERM; the second ends the process at once.
fn stop_on_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal must not yet meet the flag it sets.
        signal_hook::flag::register_conditional_default(signal, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .expect("these signals can be handled");
    }
    stop
}

/// All flags of the subcommand with their values.
fn settings(command: &clap::Command, matches: &ArgMatches) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let Some((name, matches)) = matches.subcommand() else {
        return settings;
    };
    let Some(command) = command.find_subcommand(name) else {
        return settings;
    };
    for flag in command
        .get_arguments()
        .filter_map(|arg| arg.get_long().zip(Some(arg.get_id())))
    {
        let (long, id) = flag;
        if let Ok(Some(values)) = matches.try_get_raw(id.as_str()) {
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            settings.insert(long.into(), values.join(","));
        }
    }
    settings
}

impl EchoFlags {
    fn run(self, settings: BTreeMap<String, String>, stop: &AtomicBool) -> Result<Report, String> {
        let mut plan = self.common.plan(self.connections)?;
        plan.ramp = self.ramp;
        self.times.apply(&mut plan);
        self.content.apply(&mut plan);
        let echo = Echo {
            in_flight: self.in_flight,
            active: self.active,
        };
        run(&self.common, ("echo", settings), plan, |_| echo, stop)
    }
}

impl Common {
    /// The settings that need no more than this.
    fn plan(&self, connections: u32) -> Result<Plan, String> {
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
}

impl Times {
    fn apply(&self, plan: &mut Plan) {
        plan.warmup = self.warmup;
        plan.duration = self.duration;
        plan.grace = self.grace;
    }
}

impl Content {
    fn apply(&self, plan: &mut Plan) {
        plan.pattern = Arc::new(Pattern::new(self.payload, !self.binary));
    }
}

/// Runs and writes what is asked for.
fn run<S: Scenario>(
    common: &Common,
    (scenario, settings): (&'static str, BTreeMap<String, String>),
    plan: Plan,
    make: impl Fn(u32) -> S,
    stop: &AtomicBool,
) -> Result<Report, String> {
    let title = Title {
        scenario,
        target: common.url.to_string(),
        settings,
    };
    let total = plan.warmup + plan.duration;
    let mut session = common.output.session(scenario, total)?;
    let mut found = run::run(&title, plan, make, &mut session, stop)
        .map_err(|error| format!("{}: {error}", common.url))?;
    common.output.write(&mut found, session)?;
    Ok(found.report)
}
