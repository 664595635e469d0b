//! From settings to a report: the one place where scenarios, the engine and the report meet.

pub mod hostile;
pub mod search;

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

/// The note of a run that a signal ended.
pub const INTERRUPTED: &str = "interrupted before its end";

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

/// What a run found.
#[derive(Debug)]
pub struct Found {
    /// Everything but what is watched from outside the run.
    pub report: Report,
    /// Latency from the real moment of sending, in nanoseconds.
    pub latency: Histogram<u64>,
    /// The same from the scheduled moment, if there was a schedule.
    pub corrected: Option<Histogram<u64>>,
    /// From starting to connect to having the whole response, in nanoseconds.
    pub handshake: Histogram<u64>,
    /// The latency of each part of the measured part, between the plan's steps; corrected if there
    /// was a schedule.
    pub parts: Vec<Histogram<u64>>,
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
) -> Result<Found, Error> {
    net::make_room(u64::from(plan.connections)).map_err(Error::TooMany)?;
    let plan = Arc::new(plan);
    let started = jiff::Timestamp::now();
    let outcome = engine::run(&plan, make, observer, stop).map_err(Error::Unable)?;
    let latency = outcome.stats.latency.clone();
    let corrected = outcome.stats.corrected.clone();
    let handshake = outcome.stats.handshake.clone();
    let parts = outcome.stats.parts();
    let mut report = report(&plan, S::STAYS, outcome);
    report.scenario = title.scenario.into();
    report.target = title.target.clone();
    report.settings = title.settings.clone();
    report.started = started.to_string();
    Ok(Found {
        report,
        latency,
        corrected,
        handshake,
        parts,
    })
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
    let mut notes = Vec::new();
    let mut details: BTreeMap<String, f64> = stats
        .details
        .iter()
        .map(|(&what, &count)| (what.into(), count))
        .collect();
    // In a closed loop these are no more than what is in flight at any time.
    if stats.corrected.is_some() && stats.received_late > 0 {
        details.insert("received_late".into(), stats.received_late as f64);
    }
    if !stays && seconds > 0.0 {
        let opened = stats.opened_measured as f64 / seconds;
        details.insert("connections_per_second".into(), opened);
    }
    if interrupted {
        details.insert("interrupted".into(), 1.0);
        notes.push(INTERRUPTED.into());
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
            raw: Quantiles::from(&stats.latency),
            corrected: stats.corrected.as_ref().map(Quantiles::from),
        }),
        handshake: (!stats.handshake.is_empty()).then(|| Quantiles::from(&stats.handshake)),
        client: report::ClientUse {
            threads: plan.threads,
            ..report::ClientUse::default()
        },
        details,
        notes,
        series,
        faults: stats.faults.report(),
        ..Report::default()
    }
}
