//! What a run found. The JSON of `--json` is this, field by field.

pub mod details;
pub mod figures;
pub mod format;
pub mod hgrm;
pub mod html;
pub mod json;
pub mod output;
pub mod plot;
pub mod progress;
pub mod quantiles;
pub mod quantity;
pub mod require;
pub mod summary;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the JSON's schema: raised when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// One run of one scenario. Times are in seconds unless a name says otherwise; sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The subcommand.
    pub scenario: String,
    /// The URL of the server.
    pub target: String,
    /// The settings that made this run, by the names of their flags.
    pub settings: BTreeMap<String, String>,
    /// When the run began, RFC 3339.
    pub started: String,
    /// How long the measured part took: without opening connections and warming up, except in
    /// scenarios that measure these.
    pub seconds: f64,
    /// What became of the connections.
    pub connections: Connections,
    /// What became of the messages, in the measured part.
    pub messages: Messages,
    /// From sending a message to having its echo whole.
    pub latency: Option<Latency>,
    /// From starting to connect to having the whole response of the opening handshake.
    pub handshake: Option<Quantiles>,
    /// What the server's process used, if `--server-pid` told it.
    pub server: Option<ServerUse>,
    /// What this process used.
    pub client: ClientUse,
    /// What only this scenario has, such as the rates a search tried; each entry is named by the scenario.
    /// `ROW.WHAT` is a figure of a row of one of the tables.
    pub details: BTreeMap<String, f64>,
    /// What of it is easier read in rows and columns, such as the tries of a search.
    #[serde(default)]
    pub tables: Vec<Table>,
    /// What a reader ought to know about the figures, though it is no fault.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Over time, one for each second or so.
    pub series: Vec<Sample>,
    /// What went wrong, in words, with how often; bounded.
    pub faults: Vec<Fault>,
    /// The thresholds of `--require` that did not hold.
    pub failed_requirements: Vec<String>,
}

impl Report {
    /// Whether every message came back as it was sent and nothing else went wrong; thresholds
    /// apart.
    pub fn is_faultless(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Rows and columns of text that only one scenario has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What its rows are about; the heading of the first column.
    pub title: String,
    /// Headings of the other columns.
    pub columns: Vec<String>,
    /// The rows; the first entry is the row's name.
    pub rows: Vec<Vec<String>>,
}

/// What became of the connections, in the whole run: with the warm-up, also in `handshake` and `churn`,
/// whose `connections_per_second` in the details is that of the measured part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// How many the run wanted at once; for `handshake` and `churn`, how many it started in all.
    pub wanted: u64,
    /// Opening handshakes completed.
    pub opened: u64,
    /// Attempts that failed before or in the opening handshake.
    pub failed: u64,
    /// Connections the server ended, or lost, before the run wanted them to end.
    pub lost: u64,
    /// The most that were open at the same time; for `handshake` and `churn`, open or being opened.
    pub peak: u64,
}

/// What became of the messages of the measured part. In a closed loop these are all that are sent, or
/// come back, between its beginning and its end. In an open loop they are those that the schedule wants
/// sent in it, whenever they leave; what was due but had not begun to leave by the end of the grace
/// period is `unsent` in the details, what came back after the measured part `received_late`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// Messages whose sending began.
    pub sent: u64,
    /// Messages received whole and found right before the end of the measured part.
    pub received: u64,
    /// Sent, also in the warm-up, but no echo came by the end of the grace period or before the
    /// connection was lost.
    pub lost: u64,
    /// Came more than once.
    pub duplicated: u64,
    /// Came after one that was sent later.
    pub reordered: u64,
    /// Wrong connection, length, type or content.
    pub corrupted: u64,
    /// Messages received per second of the measured part.
    pub per_second: f64,
    /// Payload bytes received per second of the measured part.
    pub bytes_per_second: f64,
}

/// Times from sending to having the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Counted from the moment the message was really sent.
    pub raw: Quantiles,
    /// Counted from the moment the schedule said it was to be sent: what users would wait
    /// when the server stalls (open loop only).
    pub corrected: Option<Quantiles>,
}

/// A distribution of times, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Samples.
    pub count: u64,
    /// Smallest.
    pub min: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// 99.99th percentile.
    pub p9999: f64,
    /// Largest.
    pub max: f64,
    /// The percentile curve: (percentile 0-100, microseconds), ascending.
    pub curve: Vec<(f64, f64)>,
}

/// What the server's process used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerUse {
    /// The process.
    pub pid: u32,
    /// User CPU time in the measured part.
    pub user_seconds: f64,
    /// System CPU time in the measured part.
    pub system_seconds: f64,
    /// CPU time (user and system) for each message received, microseconds; for `handshake`, for each
    /// handshake.
    pub cpu_per_message_us: Option<f64>,
    /// Resident memory (private pages: Pss of `smaps_rollup`) before the first connection.
    pub memory_before: u64,
    /// The same at the end of the measured part, connections still open.
    pub memory_after: u64,
    /// `(memory_after - memory_before) / connections open`, unless memory shrank.
    pub memory_per_connection: Option<f64>,
    /// The most kernel memory that TCP buffers used at any sample, from `/proc/net/sockstat`; the
    /// kernel counts them for the whole machine, the client's own included.
    pub kernel_socket_memory: u64,
}

impl ServerUse {
    /// Why there is no memory per connection, if that is because memory shrank.
    pub fn shrank(&self) -> Option<&'static str> {
        (self.memory_per_connection.is_none() && self.memory_after < self.memory_before)
            .then_some("memory shrank; use a fresh server")
    }

    /// Shares the CPU time out among so many messages (or handshakes).
    pub fn share(&mut self, messages: u64) {
        let cpu = self.user_seconds + self.system_seconds;
        self.cpu_per_message_us = (messages > 0).then(|| cpu * 1e6 / messages as f64);
    }
}

/// What this process used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientUse {
    /// Load threads.
    pub threads: u32,
    /// User CPU time in the measured part.
    pub user_seconds: f64,
    /// System CPU time in the measured part.
    pub system_seconds: f64,
    /// CPU time per wall time of the busiest load thread, 0 to 1.
    pub busiest_thread: f64,
    /// Why the figures say more about this client than about the server, if they do.
    pub bottleneck: Option<String>,
}

/// One point in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Since the run began.
    pub at: f64,
    /// Connections open.
    pub connections: u64,
    /// Messages received since the last sample, per second.
    pub messages_per_second: f64,
    /// Median latency of those since the last sample, microseconds.
    pub p50_us: Option<f64>,
    /// 99th percentile of those since the last sample, microseconds.
    pub p99_us: Option<f64>,
    /// The server's resident memory, if its process is known.
    pub server_memory: Option<u64>,
    /// The server's CPU time per wall time since the last sample, if its process is known.
    pub server_cpu: Option<f64>,
}

/// Something that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// In words, with the first case's connection and sequence number where there is one.
    pub what: String,
    /// How many times.
    pub count: u64,
}
