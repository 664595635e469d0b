//! From settings to a report: the one place where scenarios, the engine and the report meet.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hdrhistogram::Histogram;

use crate::engine::{self, Observer, Outcome, Plan, Scenario, Unable};
use crate::net::{self, TooMany};
use crate::report::{self, Latency, Messages, Quantiles, Report};

/// Why a run could not be made.
#[derive(Debug)]
pub enum Error {
    /// More connections than descriptors.
    TooMany(TooMany),
    /// The server or a thread of ours.
    Unable(Unable),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(error) => error.fmt(f),
            Self::Unable(error) => error.fmt(f),
        }
    }
}

/// How a run is called in its report.
#[derive(Clone, Debug, Default)]
pub struct Title {
    /// The subcommand.
    pub scenario: &'static str,
    /// The URL.
    pub target: String,
    /// Flags and their values.
    pub settings: BTreeMap<String, String>,
}

/// Runs a scenario, and says what it found. `make` makes the scenario of each thread; `stop`, once
/// set, ends the run early.
///
/// # Errors
///
/// If there is nothing to report.
pub fn run<S: Scenario>(
    title: &Title,
    plan: Plan,
    make: impl Fn(u32) -> S,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report, Error> {
    net::make_room(u64::from(plan.connections)).map_err(Error::TooMany)?;
    let plan = Arc::new(plan);
    let started = jiff::Timestamp::now();
    let outcome = engine::run(&plan, make, observer, stop).map_err(Error::Unable)?;
    let mut report = report(&plan, S::STAYS, outcome);
    report.scenario = title.scenario.into();
    report.target = title.target.clone();
    report.settings = title.settings.clone();
    report.started = started.to_string();
    Ok(report)
}

/// The part of the report that the engine knows.
fn report(plan: &Plan, stays: bool, outcome: Outcome) -> Report {
    let Outcome {
        stats,
        seconds,
        series,
        interrupted,
    } = outcome;
    let per_second = if seconds > 0.0 {
        stats.received as f64 / seconds
    } else {
        0.0
    };
    let mut details: BTreeMap<String, f64> = stats
        .details
        .iter()
        .map(|(&what, &count)| (what.into(), count))
        .collect();
    if stats.received_late > 0 {
        details.insert("received_late".into(), stats.received_late as f64);
    }
    if interrupted {
        details.insert("interrupted".into(), 1.0);
    }
    Report {
        schema: report::SCHEMA,
        seconds,
        connections: report::Connections {
            wanted: if stays {
                u64::from(plan.connections)
            } else {
                stats.started
            },
            opened: stats.opened,
            failed: stats.failed,
            lost: stats.dropped,
            peak: stats.peak,
        },
        messages: Messages {
            sent: stats.sent,
            received: stats.received,
            lost: stats.lost,
            duplicated: stats.duplicated,
            reordered: stats.reordered,
            corrupted: stats.corrupted,
            per_second,
            bytes_per_second: per_second * plan.pattern.payload_len() as f64,
        },
        latency: (!stats.latency.is_empty()).then(|| Latency {
            raw: quantiles(&stats.latency),
            corrected: stats.corrected.as_ref().map(quantiles),
        }),
        handshake: (!stats.handshake.is_empty()).then(|| quantiles(&stats.handshake)),
        client: report::ClientUse {
            threads: plan.threads,
            ..report::ClientUse::default()
        },
        details,
        series,
        faults: stats.faults.report(),
        ..Report::default()
    }
}

/// A histogram of nanoseconds in microseconds.
pub fn quantiles(histogram: &Histogram<u64>) -> Quantiles {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Quantiles {
        count: histogram.len(),
        min: histogram.min() as f64 / 1e3,
        mean: histogram.mean() / 1e3,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        p9999: at(0.9999),
        max: histogram.max() as f64 / 1e3,
        curve: histogram
            .iter_quantiles(5)
            .map(|step| {
                let value = step.value_iterated_to() as f64 / 1e3;
                (step.quantile_iterated_to() * 100.0, value)
            })
            .collect(),
    }
}
