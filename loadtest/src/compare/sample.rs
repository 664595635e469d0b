//! One sample: a server started anew, one run of the load generator against it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::build::Launch;
use super::cell::{Cell, Load, Metric, Placement};
use super::process::{self, Interrupt, Server};
use crate::report::Report;

/// The largest report read from the load generator.
const MAX_REPORT: u64 = 32 << 20;
/// How long idle connections are held before memory is read.
const HOLD: &str = "2s";
/// Connections from one source address; more of them take further addresses.
const CONNECTIONS_PER_SOURCE: u64 = 20_000;

/// The figures of a sample.
pub type Figures = BTreeMap<Metric, f64>;

/// What one run found out about one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Which round, from 0.
    pub round: u32,
    /// Empty if it failed.
    pub figures: Figures,
    /// Why the figures say more about the client than about the server, if they do.
    pub bottleneck: Option<String>,
    /// Why there are no figures.
    pub error: Option<String>,
}

/// How all samples are taken.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// The load generator.
    pub(crate) client: PathBuf,
    /// The server's core and the client's, for pinned cells.
    pub(crate) cores: Option<(usize, usize)>,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    pub(crate) timeout: Duration,
    pub(crate) interrupt: Interrupt,
}

impl Sampler {
    /// Takes a sample. `rate` is for rate cells. What goes wrong is in the sample.
    pub(crate) fn take(
        &self,
        cell: Cell,
        launch: &Launch,
        rate: Option<u64>,
        round: u32,
    ) -> Sample {
        match self.measure(cell, launch, rate) {
            Ok((figures, bottleneck)) => Sample {
                round,
                figures,
                bottleneck,
                error: None,
            },
            Err(error) => Sample {
                round,
                error: Some(error),
                ..Sample::default()
            },
        }
    }

    /// Whether this server starts, and why not.
    pub(crate) fn try_start(&self, cell: Cell, launch: &Launch) -> Result<(), String> {
        self.start(cell, launch, Instant::now() + self.timeout)?
            .stop()
    }

    fn start(&self, cell: Cell, launch: &Launch, deadline: Instant) -> Result<Server, String> {
        let core = self.pinned(cell).map(|(server, _)| server);
        Server::start(
            &mut launch.command(cell.placement),
            core,
            deadline,
            &self.interrupt,
        )
    }

    fn pinned(&self, cell: Cell) -> Option<(usize, usize)> {
        self.cores.filter(|_| cell.placement == Placement::Pinned)
    }

    fn measure(
        &self,
        cell: Cell,
        launch: &Launch,
        rate: Option<u64>,
    ) -> Result<(Figures, Option<String>), String> {
        let deadline = Instant::now() + self.timeout;
        let server = self.start(cell, launch, deadline)?;
        let url = format!("{}{}", server.url.trim_end_matches('/'), launch.path(cell));
        let mut command = Command::new(&self.client);
        command.args(self.arguments(cell, rate)?).arg(&url);
        command.args(["--server-pid", &server.pid().to_string(), "--json", "-"]);
        let core = self.pinned(cell).map(|(_, client)| client);
        let run = process::output(&mut command, core, MAX_REPORT, deadline, &self.interrupt);
        let stopped = server.stop();
        let run = run.map_err(|error| format!("load generator: {error}"))?;
        stopped?;
        let report: Report = serde_json::from_slice(&run.stdout).map_err(|error| {
            if run.status.success() {
                format!("load generator: no report: {error}")
            } else {
                format!("load generator: {}", run.epitaph)
            }
        })?;
        figures(cell, &report).map(|figures| (figures, report.client.bottleneck))
    }

    /// What the load generator is to do, without the target.
    fn arguments(&self, cell: Cell, rate: Option<u64>) -> Result<Vec<String>, String> {
        let time = |duration: Duration| {
            humantime::format_duration(duration)
                .to_string()
                .replace(' ', "")
        };
        let mut args: Vec<String> = Vec::new();
        let mut add = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
        let connections = match cell.load {
            Load::Echo {
                connections,
                payload,
                in_flight,
            } => {
                add("--payload", payload.to_string());
                add("--in-flight", in_flight.to_string());
                connections
            }
            Load::Rate {
                connections,
                payload,
            } => {
                let rate = rate.ok_or("no rate, for no closed-loop sample succeeded")?;
                add("--payload", payload.to_string());
                add("--rate", rate.to_string());
                connections
            }
            Load::Idle { connections, .. } => {
                add("--hold", HOLD.to_owned());
                add(
                    "--source-ips",
                    connections.div_ceil(CONNECTIONS_PER_SOURCE).to_string(),
                );
                connections
            }
            Load::Handshake { connections } => connections,
            Load::Broadcast {
                subscribers,
                payload,
            } => {
                add("--payload", payload.to_string());
                // None of those compared does, and each is to be checked for the same.
                add("--echoes-sender", "no".to_owned());
                subscribers
            }
        };
        let flag = match cell.load {
            Load::Broadcast { .. } => "--subscribers",
            _ => "--connections",
        };
        add(flag, connections.to_string());
        if !matches!(cell.load, Load::Idle { .. }) {
            add("--warmup", time(self.warmup));
            add("--duration", time(self.duration));
        }
        let subcommand = match cell.load {
            Load::Echo { .. } => "echo",
            Load::Rate { .. } => "rate",
            Load::Idle { .. } => "idle",
            Load::Handshake { .. } => "handshake",
            Load::Broadcast { .. } => "broadcast",
        };
        args.insert(0, subcommand.to_owned());
        match cell.load {
            Load::Echo { .. } | Load::Rate { .. } | Load::Broadcast { .. } => {
                args.push("--binary".to_owned())
            }
            Load::Idle { echoed: true, .. } => args.push("--echo-once".to_owned()),
            Load::Idle { echoed: false, .. } | Load::Handshake { .. } => {}
        }
        Ok(args)
    }
}

/// The figures of this cell in a report.
///
/// # Errors
///
/// In words: what went wrong in the run, or which figure the report lacks.
pub(crate) fn figures(cell: Cell, report: &Report) -> Result<Figures, String> {
    if !report.is_faultless() {
        let faults: Vec<String> = report
            .faults
            .iter()
            .take(3)
            .map(|fault| format!("{} ({}x)", fault.what, fault.count))
            .collect();
        return Err(faults.join("; "));
    }
    let mut figures = Figures::new();
    for &metric in cell.metrics() {
        let value = figure(metric, cell.load, report)
            .filter(|value| value.is_finite())
            .ok_or_else(|| format!("the report has no {}", metric.name()))?;
        figures.insert(metric, value);
    }
    Ok(figures)
}

fn figure(metric: Metric, load: Load, report: &Report) -> Option<f64> {
    let latency = report.latency.as_ref();
    // In the open loop, what users would wait counts from when a message was due.
    let quantiles = latency.map(|latency| latency.corrected.as_ref().unwrap_or(&latency.raw));
    match metric {
        // Those of the measured part only; `connections` counts all of the run.
        Metric::Throughput if matches!(load, Load::Handshake { .. }) => {
            report.details.get("connections_per_second").copied()
        }
        Metric::Throughput => Some(report.messages.per_second),
        Metric::Cpu => report.server.as_ref()?.cpu_per_message_us,
        Metric::P50 => Some(quantiles?.p50),
        Metric::P99 => Some(quantiles?.p99),
        Metric::P999 => Some(quantiles?.p999),
        Metric::Memory => report.server.as_ref()?.memory_per_connection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Fault, Latency, Quantiles, ServerUse};

    fn report() -> Report {
        let mut report = Report {
            seconds: 2.0,
            ..Report::default()
        };
        report.connections.opened = 300;
        report
            .details
            .insert("connections_per_second".into(), 120.0);
        report.messages.per_second = 1000.0;
        let at = |p50| Quantiles {
            p50,
            p99: p50 * 2.0,
            p999: p50 * 3.0,
            ..Quantiles::default()
        };
        report.latency = Some(Latency {
            raw: at(10.0),
            corrected: None,
        });
        report.server = Some(ServerUse {
            cpu_per_message_us: Some(4.5),
            memory_per_connection: Some(93.0),
            ..ServerUse::default()
        });
        report
    }

    fn cell(text: &str) -> Cell {
        text.parse().unwrap()
    }

    fn sampler() -> Sampler {
        Sampler {
            client: PathBuf::new(),
            cores: None,
            warmup: Duration::from_millis(500),
            duration: Duration::from_millis(2500),
            timeout: Duration::from_secs(1),
            interrupt: Interrupt::default(),
        }
    }

    #[test]
    fn each_kind_of_cell_has_its_figures() {
        let of = |text| figures(cell(text), &report()).unwrap();
        assert_eq!(
            of("64,32,1"),
            Figures::from([
                (Metric::Throughput, 1000.0),
                (Metric::Cpu, 4.5),
                (Metric::P50, 10.0),
                (Metric::P99, 20.0),
                (Metric::P999, 30.0),
            ])
        );
        assert_eq!(of("idle"), Figures::from([(Metric::Memory, 93.0)]));
        assert_eq!(
            of("handshake"),
            Figures::from([(Metric::Cpu, 4.5), (Metric::Throughput, 120.0)])
        );
    }

    #[test]
    fn the_open_loop_counts_from_when_a_message_was_due() {
        let mut report = report();
        let due = Quantiles {
            p999: 99.0,
            ..Quantiles::default()
        };
        report.latency.as_mut().unwrap().corrected = Some(due);
        assert_eq!(
            figures(cell("rate:64,32"), &report).unwrap()[&Metric::P999],
            99.0
        );
    }

    #[test]
    fn a_run_with_faults_has_no_figures() {
        let mut report = report();
        report.faults.push(Fault {
            what: "message lost".into(),
            count: 3,
        });
        assert_eq!(
            figures(cell("64,32,1"), &report).unwrap_err(),
            "message lost (3x)"
        );
    }

    #[test]
    fn a_report_without_a_figure_is_no_sample() {
        let mut report = report();
        report.server = None;
        assert_eq!(
            figures(cell("idle"), &report).unwrap_err(),
            "the report has no memory"
        );
        let server = ServerUse {
            cpu_per_message_us: Some(f64::NAN),
            ..ServerUse::default()
        };
        report.server = Some(server);
        assert_eq!(
            figures(cell("handshake"), &report).unwrap_err(),
            "the report has no cpu"
        );
    }

    #[test]
    fn the_load_generator_is_told_the_cell() {
        let args = |text, rate| {
            sampler()
                .arguments(cell(text), rate)
                .map(|args| args.join(" "))
        };
        assert_eq!(
            args("64,16KiB,4", None).unwrap(),
            "echo --payload 16384 --in-flight 4 --connections 64 --warmup 500ms --duration 2s500ms --binary"
        );
        assert_eq!(
            args("rate:64,32", Some(7000)).unwrap(),
            "rate --payload 32 --rate 7000 --connections 64 --warmup 500ms --duration 2s500ms --binary"
        );
        assert_eq!(
            args("echoed", None).unwrap(),
            "idle --hold 2s --source-ips 1 --connections 15000 --echo-once"
        );
        assert_eq!(
            args("broadcast:1000,125", None).unwrap(),
            "broadcast --payload 125 --echoes-sender no --subscribers 1000 --warmup 500ms --duration 2s500ms --binary"
        );
        assert!(args("rate:64,32", None).unwrap_err().contains("no rate"));
    }
}
