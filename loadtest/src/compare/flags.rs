//! The flags of `loadtest compare`.

use std::path::PathBuf;
use std::time::Duration;

use super::cell::Cell;
use super::require::Requirement;
use super::servers::Extra;
use crate::report::quantity::whole;

/// Several servers in one run: started in turn over many rounds, with medians and ratios.
///
/// Builds the servers, starts each anew for every sample, pins server and client to a core each,
/// and measures in a network namespace of its own where it may.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Only this cell; repeatable. CONNECTIONS,PAYLOAD,IN-FLIGHT (such as 64,16KiB,1),
    /// `rate:CONNECTIONS,PAYLOAD`, `idle[:CONNECTIONS]`, `echoed[:CONNECTIONS]`,
    /// `handshake[:CONNECTIONS]` or `broadcast:SUBSCRIBERS,PAYLOAD`; with `2core:` in front on two cores, nothing pinned
    #[arg(long, value_name = "CELL")]
    pub cell: Vec<Cell>,

    /// Only this server, and those of --add; repeatable. One that cannot be built or started is then
    /// an error
    #[arg(long, value_name = "NAME")]
    pub server: Vec<String>,

    /// One more server; repeatable. Its command prints `listening on ws://HOST:PORT` when ready
    /// and ends on SIGTERM; PATH is appended to the URL. One that cannot be started is an error
    #[arg(long, value_name = "NAME[/PATH]=COMMAND")]
    pub add: Vec<Extra>,

    /// Samples of each server in each cell [default: 9; quick: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,

    /// The measured part of a sample [default: 2s; quick: 400ms]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,

    /// Before the measured part of a sample [default: 500ms; quick: 200ms]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Option<Duration>,

    /// Fewer cells, short samples: an impression in some minutes
    #[arg(long)]
    pub quick: bool,

    /// Messages per second in rate cells, instead of half of what the slowest main server does
    #[arg(long, value_name = "N", value_parser = whole(1..=100_000_000))]
    pub rate: Option<u32>,

    /// The longest a sample may take from starting the server on [default: 30s and three times
    /// what it measures]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub sample_timeout: Option<Duration>,

    /// The order of the servers follows from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Pin neither servers nor client
    #[arg(long)]
    pub no_pin: bool,

    /// Stay in this network namespace, with its congestion control
    #[arg(long)]
    pub no_netns: bool,

    /// Build nothing: servers are used as the last run built them
    #[arg(long)]
    pub no_build: bool,

    /// Exit code 1 unless this holds; repeatable.
    /// `[METRIC:]SERVER[/SERVER][@CELL]<NUMBER`, or `>`;
    /// such as 'sockeye-inline/floor<1.10' or 'memory:sockeye@2core:idle<96'. METRIC is
    /// throughput, cpu, p50, p99, p999 or memory [default: the cell's own]
    #[arg(long, value_name = "CONDITION")]
    pub require: Vec<Requirement>,

    /// Write every sample, as JSON, also those of a comparison that a signal ended; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the tables, as Markdown; - is standard output
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// Draw CPU per message relative to the floor, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,

    /// The folder with the server's Cargo.toml
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."), hide_default_value = true)]
    pub workspace: PathBuf,

    /// The load generator to run for each sample, instead of this executable
    #[arg(long, value_name = "FILE", hide = true)]
    pub client: Option<PathBuf>,
}

impl Flags {
    /// Whether this server was asked for by its name.
    pub(crate) fn asks_for(&self, name: &str) -> bool {
        self.server.iter().any(|one| one == name) || self.add.iter().any(|extra| extra.is(name))
    }

    /// Samples of each server in each cell.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 5 } else { 9 })
    }

    /// The measured part of a sample.
    pub(crate) fn duration(&self) -> Duration {
        let default = Duration::from_millis(if self.quick { 400 } else { 2000 });
        self.duration.unwrap_or(default)
    }

    /// What a sample does before its measured part.
    pub(crate) fn warmup(&self) -> Duration {
        let default = Duration::from_millis(if self.quick { 200 } else { 500 });
        self.warmup.unwrap_or(default)
    }

    /// The longest a sample may take.
    pub(crate) fn sample_timeout(&self) -> Duration {
        self.sample_timeout
            .unwrap_or(Duration::from_secs(30) + 3 * (self.warmup() + self.duration()))
    }
}
