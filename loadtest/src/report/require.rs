//! `--require 'p99<5ms'`: a figure of the report, a comparison and a limit.

use std::fmt;
use std::str::FromStr;

use super::figures::Workload;
use super::quantity::{BadQuantity, Kind};
use super::{Quantiles, Report};

/// A threshold that a run must keep: `METRIC OP VALUE`, with `<`, `<=`, `>` or `>=`.
///
/// | metric | value |
/// |---|---|
/// | `min mean p50 p90 p99 p99.9 p99.99 max` | a time; of the corrected latency if the run has one, of the raw one otherwise |
/// | `raw.p99`, `corrected.p99`, `handshake.p99` and so on | a time; of that one, or the run does not keep it |
/// | `cpu-per-message` | a time |
/// | `rate` or `messages-per-second` | a number, `k` and `M` for thousands and millions |
/// | `bytes-per-connection`, `memory` | bytes, or `KiB`, `MiB`, `GiB` |
/// | `opened`, `failed`, `lost` (connections), `messages-lost` | a number |
/// | `details.NAME` | a number; an entry of the report's details |
///
/// Times need a unit: `ns`, `us` or `µs`, `ms`, `s`.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    metric: Metric,
    comparison: Comparison,
    limit: f64,
    text: String,
}

/// Why a threshold cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// There is no comparison in it.
    NoComparison(String),
    /// No such metric.
    UnknownMetric(String),
    /// The limit is no number with a unit that fits.
    BadLimit(BadQuantity),
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoComparison(text) => {
                write!(
                    out,
                    "`{text}` compares nothing: write METRIC, one of < <= > >=, and a value, such as p99<5ms"
                )
            }
            Self::UnknownMetric(name) => write!(
                out,
                "no metric `{name}`: there are min, mean, p50, p90, p99, p99.9, p99.99 and max (also as raw.p99, \
                 corrected.p99, handshake.p99), rate, cpu-per-message, bytes-per-connection, memory, opened, failed, \
                 lost, messages-lost and details.NAME"
            ),
            Self::BadLimit(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for ParseError {}

impl Requirement {
    /// Whether the run keeps it; if not, why, with what was found. A run without the figure does not.
    pub fn check(&self, report: &Report) -> Result<(), String> {
        match self.metric.value(report) {
            None => {
                let why = self.metric.why_none(report);
                let why = why.map_or(String::new(), |why| format!(": {why}"));
                Err(format!(
                    "{}: the run has no {}{why}",
                    self.text, self.metric
                ))
            }
            Some(value) if self.comparison.holds(value, self.limit) => Ok(()),
            Some(value) => Err(format!(
                "{}: it was {}",
                self.text,
                self.metric.kind().display(value)
            )),
        }
    }

    /// Checks that such a run can have the figure; if not, why. `watched`: whether the server's
    /// process is.
    pub fn check_before(&self, workload: &Workload, watched: bool) -> Result<(), String> {
        let can = match &self.metric {
            Metric::Time(Source::Latency | Source::Raw, _) => workload.latency(),
            Metric::Time(Source::Corrected, _) => workload.corrected(),
            Metric::Rate | Metric::MessagesLost => workload.messages(),
            Metric::CpuPerMessage => workload.cpu_per_message(watched),
            Metric::BytesPerConnection => workload.bytes_per_connection(watched),
            Metric::Memory => workload.memory(watched),
            Metric::Detail(name) if !workload.has_detail(name, watched) => {
                return Err(format!(
                    "{}: `{}` with these flags has no detail `{name}`: there are {}",
                    self.text,
                    workload.name(),
                    workload.details(watched).join(", ")
                ));
            }
            Metric::Time(Source::Handshake, _)
            | Metric::Opened
            | Metric::Failed
            | Metric::Lost
            | Metric::Detail(_) => Ok(()),
        };
        can.map_err(|why| format!("{}: {why}", self.text))
    }
}

/// What of `requirements` the run does not keep, in words.
pub fn failed(requirements: &[Requirement], report: &Report) -> Vec<String> {
    requirements
        .iter()
        .filter_map(|requirement| requirement.check(report).err())
        .collect()
}

impl fmt::Display for Requirement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for Requirement {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let at = text
            .find(['<', '>'])
            .ok_or_else(|| ParseError::NoComparison(text.into()))?;
        let (metric, rest) = text.split_at(at);
        let (comparison, value) = [
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Below),
            (">", Comparison::Above),
        ]
        .into_iter()
        .find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)))
        .ok_or_else(|| ParseError::NoComparison(text.into()))?;
        let metric: Metric = metric.trim().parse()?;
        let limit = metric.kind().parse(value.trim());
        let limit = limit.map_err(ParseError::BadLimit)?;
        Ok(Self {
            metric,
            comparison,
            limit,
            text: text.trim().into(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Comparison {
    /// Nothing holds for a value that is not a number.
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Metric {
    Time(Source, Quantile),
    Rate,
    CpuPerMessage,
    BytesPerConnection,
    Memory,
    Opened,
    Failed,
    Lost,
    MessagesLost,
    Detail(String),
}

/// Which distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Latency,
    Raw,
    Corrected,
    Handshake,
}

/// Its name and what it reads.
#[derive(Clone, Copy, Debug)]
struct Quantile(&'static str, fn(&Quantiles) -> f64);

impl PartialEq for Quantile {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

const QUANTILES: [Quantile; 8] = [
    Quantile("min", |q| q.min),
    Quantile("mean", |q| q.mean),
    Quantile("p50", |q| q.p50),
    Quantile("p90", |q| q.p90),
    Quantile("p99", |q| q.p99),
    Quantile("p99.9", |q| q.p999),
    Quantile("p99.99", |q| q.p9999),
    Quantile("max", |q| q.max),
];

impl FromStr for Metric {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        Ok(match name {
            "rate" | "messages-per-second" => Self::Rate,
            "cpu-per-message" => Self::CpuPerMessage,
            "bytes-per-connection" => Self::BytesPerConnection,
            "memory" => Self::Memory,
            "opened" => Self::Opened,
            "failed" => Self::Failed,
            "lost" => Self::Lost,
            "messages-lost" => Self::MessagesLost,
            _ => match name.split_once('.') {
                Some(("details", detail)) if !detail.is_empty() => Self::Detail(detail.into()),
                Some(("raw", rest)) => Self::Time(Source::Raw, quantile(name, rest)?),
                Some(("corrected", rest)) => Self::Time(Source::Corrected, quantile(name, rest)?),
                Some(("handshake", rest)) => Self::Time(Source::Handshake, quantile(name, rest)?),
                _ => Self::Time(Source::Latency, quantile(name, name)?),
            },
        })
    }
}

fn quantile(metric: &str, name: &str) -> Result<Quantile, ParseError> {
    QUANTILES
        .into_iter()
        .find(|quantile| quantile.0 == name)
        .ok_or_else(|| ParseError::UnknownMetric(metric.into()))
}

impl fmt::Display for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(Source::Latency | Source::Raw, _) => out.write_str("latency"),
            Self::Time(Source::Corrected, _) => {
                out.write_str("corrected latency, which only an open loop measures")
            }
            Self::Time(Source::Handshake, _) => out.write_str("handshake times"),
            Self::CpuPerMessage => out.write_str("CPU time of the server for messages"),
            Self::BytesPerConnection => out.write_str("memory of the server for connections"),
            Self::Memory => out.write_str("memory of the server"),
            Self::Detail(name) => write!(out, "detail `{name}`"),
            Self::Rate => out.write_str("rate"),
            Self::Opened | Self::Failed | Self::Lost => out.write_str("connections"),
            Self::MessagesLost => out.write_str("messages"),
        }
    }
}

impl Metric {
    fn value(&self, report: &Report) -> Option<f64> {
        let server = report.server.as_ref();
        match self {
            Self::Time(source, quantile) => {
                source.of(report).filter(|q| q.count > 0).map(quantile.1)
            }
            Self::Rate => Some(report.messages.per_second),
            Self::CpuPerMessage => server?.cpu_per_message_us,
            Self::BytesPerConnection => server?.memory_per_connection,
            Self::Memory => Some(server?.memory_after as f64),
            Self::Opened => Some(report.connections.opened as f64),
            Self::Failed => Some(report.connections.failed as f64),
            Self::Lost => Some(report.connections.lost as f64),
            Self::MessagesLost => Some(report.messages.lost as f64),
            Self::Detail(name) => report.details.get(name).copied(),
        }
    }

    /// Why the run has no such figure, where that is not plain.
    fn why_none(&self, report: &Report) -> Option<&'static str> {
        match self {
            Self::BytesPerConnection => report.server.as_ref()?.shrank(),
            _ => None,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Time(..) | Self::CpuPerMessage => Kind::Time,
            Self::Rate => Kind::Rate,
            Self::BytesPerConnection | Self::Memory => Kind::Bytes,
            _ => Kind::Number,
        }
    }
}

impl Source {
    fn of(self, report: &Report) -> Option<&Quantiles> {
        let latency = report.latency.as_ref();
        match self {
            Self::Latency => latency.map(|l| l.corrected.as_ref().unwrap_or(&l.raw)),
            Self::Raw => latency.map(|l| &l.raw),
            Self::Corrected => latency?.corrected.as_ref(),
            Self::Handshake => report.handshake.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Latency, ServerUse};

    fn report() -> Report {
        let corrected = Quantiles {
            count: 9,
            p99: 7000.0,
            ..Quantiles::default()
        };
        let raw = Quantiles {
            count: 9,
            p99: 1000.0,
            p999: 4000.0,
            ..Quantiles::default()
        };
        let mut report = Report {
            latency: Some(Latency {
                raw,
                corrected: Some(corrected),
            }),
            ..Report::default()
        };
        report.messages.per_second = 120_000.0;
        report.connections.opened = 500;
        report.connections.lost = 2;
        report.server = Some(ServerUse {
            cpu_per_message_us: Some(5.0),
            memory_per_connection: Some(96.0),
            memory_after: 3 << 20,
            ..ServerUse::default()
        });
        report.details.insert("victim_p99_us".into(), 80.0);
        report
    }

    fn kept(text: &str) -> bool {
        text.parse::<Requirement>()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .check(&report())
            .is_ok()
    }

    #[test]
    fn each_metric_reads_its_figure() {
        for (holds, fails) in [
            ("p99<7.1ms", "p99<6.9ms"),
            ("raw.p99<=1ms", "raw.p99<1ms"),
            ("raw.p99.9 <= 4000us", "raw.p99.9 <= 3999us"),
            ("corrected.p99>=7000µs", "corrected.p99>7000µs"),
            ("raw.p99<0.0011s", "raw.p99<999000ns"),
            ("rate>100k", "rate>0.2M"),
            (
                "messages-per-second>=120_000",
                "messages-per-second>=120_001/s",
            ),
            ("cpu-per-message<5.1us", "cpu-per-message<4900ns"),
            ("bytes-per-connection<=96", "bytes-per-connection<96B"),
            ("bytes-per-connection<0.1KiB", "bytes-per-connection>1KiB"),
            ("memory<=3MiB", "memory>1GiB"),
            ("opened>=500", "opened>500"),
            ("failed<1", "failed>0"),
            ("lost<=2", "lost<1"),
            ("messages-lost<=0", "messages-lost>0"),
            ("details.victim_p99_us<100", "details.victim_p99_us<80"),
        ] {
            assert!(kept(holds), "{holds}");
            assert!(!kept(fails), "{fails}");
        }
    }

    #[test]
    fn without_a_corrected_latency_the_raw_one_counts() {
        let mut report = report();
        report.latency.as_mut().expect("set above").corrected = None;
        let check = |text: &str| text.parse::<Requirement>().expect(text).check(&report);
        assert_eq!(check("p99<2ms"), Ok(()));
        assert_eq!(
            check("corrected.p99<9s"),
            Err("corrected.p99<9s: the run has no corrected latency, which only an open loop measures".into())
        );
    }

    #[test]
    fn a_figure_that_the_run_does_not_have_fails() {
        for text in [
            "p99<1s",
            "handshake.p50<1s",
            "cpu-per-message<1s",
            "memory<9GiB",
            "details.none<1",
            "max>0ns",
        ] {
            let requirement: Requirement = text.parse().expect(text);
            let error = requirement.check(&Report::default()).expect_err(text);
            assert!(
                error.starts_with(&format!("{text}: the run has no ")),
                "{error}"
            );
        }
        // A distribution without samples has no p99 of 0.
        let report = Report {
            handshake: Some(Quantiles::default()),
            ..Report::default()
        };
        assert!(
            "handshake.p99<1s"
                .parse::<Requirement>()
                .expect("fine")
                .check(&report)
                .is_err()
        );
    }

    #[test]
    fn what_failed_says_what_was_found() {
        let requirements: Vec<Requirement> = ["p99<5ms", "rate>1k", " lost < 1 "]
            .map(|text| text.parse().expect(text))
            .into();
        assert_eq!(
            failed(&requirements, &report()),
            ["p99<5ms: it was 7.00 ms", "lost < 1: it was 2"]
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, error) in [
            ("p99", "`p99` compares nothing"),
            ("p99=5ms", "`p99=5ms` compares nothing"),
            ("p95<5ms", "no metric `p95`"),
            ("raw.p95<5ms", "no metric `raw.p95`"),
            ("details.<5", "no metric `details.`"),
            ("p99<", "`` does not begin with a number"),
            ("p99<fast", "`fast` does not begin with a number"),
            ("p99<-5ms", "`-5ms` does not begin with a number"),
            ("p99<1.2.3ms", "`1.2.3ms` does not begin with a number"),
            ("p99<5", "`5` has no unit: ns, us, ms or s, such as 5ms"),
            ("p99<5m", "`5m` needs another unit: ns, us, ms or s"),
            ("rate>5ms", "`5ms` needs another unit: none, k or M"),
            (
                "memory<5MB",
                "`5MB` needs another unit: none for bytes, KiB",
            ),
            ("p99<<5ms", "`<5ms` does not begin with a number"),
        ] {
            let found = text.parse::<Requirement>().expect_err(text).to_string();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
