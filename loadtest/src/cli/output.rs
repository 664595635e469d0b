//! What is watched during a run, and where its findings go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::engine::{Observer, Phase};
use crate::report::figures::Workload;
use crate::report::progress::Progress;
use crate::report::require::{self, Requirement};
use crate::report::{Fault, Report, Sample, hgrm, html, json, output, summary};
use crate::run::Found;
use crate::watch::{Done, Outcome, Watch, WatchError};

/// Between two lines about a run's progress where there is no terminal.
const PLAIN_PROGRESS: Duration = Duration::from_secs(5);

/// Where the help lists these flags. Each says so, for a heading of the whole would go on after them.
const OUTPUT: &str = "Output";

#[derive(Clone, Debug, Args)]
pub(super) struct OutputFlags {
    /// The server's process: its CPU time and memory are watched
    #[arg(help_heading = OUTPUT, long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Fail with exit code 1 unless this holds, such as 'p99<5ms'; with < <= > or >=; repeatable.
    /// METRIC is min, mean, p50, p90, p99, p99.9, p99.99 or max (also as raw.p99, corrected.p99,
    /// handshake.p99) or cpu-per-message, in ns, us, ms or s; rate; memory or bytes-per-connection;
    /// opened, failed, lost or messages-lost; or details.NAME. What no such run can have is refused
    /// before it, with exit code 2
    #[arg(help_heading = OUTPUT, long, value_name = "METRIC<VALUE")]
    require: Vec<Requirement>,
    /// Write the whole report as JSON to this file; - is standard output
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the latency's percentiles in HdrHistogram's format to this file: of the corrected latency
    /// if the run has a schedule, for handshake of the opening handshakes; - is standard output
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write a page with the charts of the run to this file
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print a line about the progress every 5 seconds also where there is no terminal
    #[arg(help_heading = OUTPUT, long)]
    progress: bool,
}

impl OutputFlags {
    /// Checks that such a run can have every figure that is required.
    pub(super) fn can_have(
        &self,
        workload: &Workload,
        required: &[Requirement],
    ) -> Result<(), String> {
        let watched = self.server_pid.is_some();
        required
            .iter()
            .try_for_each(|requirement| requirement.check_before(workload, watched))
    }

    /// Starts to watch, if all results can be written. `total`: how long the run will take, zero if that is not known.
    pub(super) fn session(&self, workload: &Workload, total: Duration) -> Result<Session, String> {
        self.can_have(workload, &self.require)?;
        if self.hgrm.is_some() {
            let can = workload.percentiles();
            can.map_err(|why| format!("--hgrm: {why}"))?;
        }
        self.prepare()?;
        let watch = Watch::new(self.server_pid).map_err(|error| error.to_string())?;
        let plain = self.progress.then_some(PLAIN_PROGRESS);
        Ok(Session {
            watch,
            outcome: Outcome::default(),
            progress: Progress::new(workload.name(), total, plain),
            phase: None,
            details: BTreeMap::new(),
        })
    }

    /// Completes the report with what was watched.
    pub(super) fn complete(&self, found: &mut Found, session: Session) {
        session.progress.finish();
        let report = &mut found.report;
        report.details.extend(session.details);
        let Outcome {
            server,
            client,
            error,
        } = session.outcome;
        report.client = crate::report::ClientUse {
            threads: report.client.threads,
            ..client
        };
        report.server = server;
        let messages = match report.scenario.as_str() {
            // Those of the measured part.
            "handshake" => report.handshake.as_ref().map_or(0, |times| times.count),
            _ => report.messages.received,
        };
        if let Some(server) = &mut report.server {
            server.share(messages);
        }
        if let Some(error) = error {
            report.faults.push(Fault {
                what: error.to_string(),
                count: 1,
            });
        }
        if is_empty(report) {
            // Others may have come: each kind of those is a fault of its own.
            let what = match report.scenario.as_str() {
                "broadcast" => "no message came whole and right in the measured part",
                _ => "no echo came back whole and right in the measured part",
            };
            report.faults.push(Fault {
                what: what.into(),
                count: 1,
            });
        }
    }

    /// Checks what was required, and writes a complete report to where it is wanted.
    pub(super) fn write(&self, workload: &Workload, found: &mut Found) -> Result<(), String> {
        let report = &mut found.report;
        let known = |name: &String| workload.has_detail(name, self.server_pid.is_some());
        debug_assert!(
            report.details.keys().all(known),
            "the details of {workload:?} are not all known: {:?}",
            report.details
        );
        report.failed_requirements = require::failed(&self.require, report);
        let said = |error: std::io::Error| error.to_string();
        let text = summary::text(report, None);
        let taken = self.files().any(output::is_stdout);
        // The files are written also if nobody can read the summary.
        let printed = output::print(&text, taken).map_err(said);
        if let Some(path) = &self.json {
            json::write(report, path).map_err(said)?;
        }
        if let Some(path) = &self.hgrm {
            let histogram = match report.scenario.as_str() {
                "handshake" => &found.handshake,
                _ => found.corrected.as_ref().unwrap_or(&found.latency),
            };
            hgrm::write(histogram, path).map_err(said)?;
        }
        if let Some(path) = &self.html {
            html::write(report, path).map_err(said)?;
        }
        printed
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.json, &self.hgrm, &self.html];
        files.into_iter().flatten().map(PathBuf::as_path)
    }

    /// Makes sure that everything can be written, before the run.
    fn prepare(&self) -> Result<(), String> {
        if self.files().filter(|path| output::is_stdout(path)).count() > 1 {
            return Err("only one of --json, --hgrm and --html can be standard output".into());
        }
        for path in self.files() {
            output::prepare(path).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Whether a run that is about messages had none in its measured part; without a measured part it was
/// interrupted before.
fn is_empty(report: &Report) -> bool {
    let wants_messages = match report.scenario.as_str() {
        "broadcast" | "echo" | "rate" => true,
        "churn" => report.settings.get("messages").is_none_or(|n| n != "0"),
        _ => false,
    };
    wants_messages
        && report.seconds > 0.0
        && report.messages.received == 0
        && !report.details.contains_key("interrupted")
}

/// Watches one run.
pub(super) struct Session {
    watch: Watch,
    outcome: Outcome,
    progress: Progress,
    phase: Option<Phase>,
    details: BTreeMap<String, f64>,
}

impl Session {
    /// That the server's process ended, if it is known and did.
    pub(super) fn ended(&self) -> Option<String> {
        let gone = |error: &&WatchError| matches!(error, WatchError::Gone(_));
        self.outcome
            .error
            .as_ref()
            .filter(gone)
            .map(WatchError::to_string)
    }

    /// A process that cannot be watched any longer is a fault of the run, named once.
    fn note(&mut self, result: Result<(), WatchError>) {
        if let Err(error) = result {
            self.outcome.error.get_or_insert(error);
        }
    }
}

impl Observer for Session {
    fn before(&mut self) {
        let result = self.watch.before();
        self.note(result);
    }

    fn begin(&mut self) {
        let result = self.watch.begin();
        self.note(result);
    }

    fn mark(&mut self, what: &str, open: u64) {
        match self.watch.memory_per_connection(open) {
            Ok(Some(memory)) => {
                let what = format!("memory_per_connection_{what}");
                self.details.insert(what, memory);
            }
            Ok(None) => {}
            Err(error) => self.note(Err(error)),
        }
    }

    fn tick(&mut self, phase: Phase, sample: &mut Sample) {
        let result = self.watch.tick(sample);
        self.note(result);
        if self.phase != Some(phase) {
            self.phase = Some(phase);
            self.progress.phase(phase.name());
        }
        self.progress.update(sample);
    }

    fn end(&mut self, open: u64, lag_us: Option<f64>) {
        let error = self.outcome.error.take();
        self.outcome = self.watch.end(&Done {
            connections: open,
            loop_lag_us: lag_us,
        });
        self.outcome.error = error.or(self.outcome.error.take());
    }
}
