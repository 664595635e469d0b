//! The flags of `search`, and its tries.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::flags::{Common, Content};
use super::values::{duration, fraction, period, rate};
use crate::engine::Scenario;
use crate::report::figures::Workload;
use crate::report::format::{micros, percent, rate as per_second, trim_zeros};
use crate::report::quantity::whole;
use crate::report::require::{self, Requirement};
use crate::report::{Fault, Report, Table};
use crate::run::search::{Answer, Bounds, Try, Verdict, details, search};
use crate::run::{self, Error, Found, Title};
use crate::scenario::{Echo, Rate};

/// How much fewer messages than wanted may come back in time: a part of them, and so many.
const SHORT: (f64, f64) = (0.02, 2.0);
/// At most this part of them may be on their way when the measured part ends.
const ON_THEIR_WAY: f64 = 0.1;
/// Characters of a reason in the table of tries.
const WIDEST: usize = 70;
/// Connections of a search by rate.
const CONNECTIONS: u32 = 64;
/// Messages per second of each connection in a search by connections.
const PER_CONNECTION: f64 = 1.0;
/// Between two tries, for the server to be done with the last one.
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Connections,
    Rate,
}

#[derive(Clone, Debug, Args)]
pub(super) struct SearchFlags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    content: Content,
    /// What is searched for: the most connections, or the most messages per second on a schedule
    #[arg(long)]
    by: By,
    /// What a try must keep, such as 'p99<5ms', as with --require; repeatable
    #[arg(long, value_name = "METRIC<VALUE", required = true)]
    limit: Vec<Requirement>,
    /// The first to be tried [default: 16 connections, 1000 messages per second]
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    from: Option<f64>,
    /// The most to be tried [default: 19,000 connections, 2,000,000 messages per second]
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    to: Option<f64>,
    /// How far the answer may be below the least that failed
    #[arg(long, value_name = "FRACTION", default_value = "0.05", value_parser = fraction)]
    precision: f64,
    /// Tries at most; what fails is tried twice
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=99))]
    tries: u32,
    /// No try begins after this
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = period)]
    max_time: Duration,
    /// Connections in a search by rate [default: 64]
    #[arg(short, long, value_name = "N", value_parser = whole(1..=100_000))]
    connections: Option<u32>,
    /// Messages per second of each connection in a search by connections, on a schedule [default: 1]
    #[arg(long, value_name = "MESSAGES", value_parser = rate)]
    per_connection: Option<f64>,
    /// In a search by connections, keep so many messages in flight on each instead
    #[arg(long, value_name = "N", conflicts_with = "per_connection", value_parser = clap::value_parser!(u32).range(1..=65536))]
    in_flight: Option<u32>,
    /// Open at most so many connections per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    ramp: Option<f64>,
    /// Load of each try that does not count, first
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    warmup: Duration,
    /// Load of each try that counts
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = period)]
    step_duration: Duration,
    /// How long answers are waited for after that
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    grace: Duration,
}

/// All tries so far.
#[derive(Default)]
struct Tries {
    tries: Vec<Try>,
    rows: Vec<Vec<String>>,
    series: Vec<crate::report::Sample>,
    /// The one that met the limit with the most, and the last that did not.
    best: Option<(f64, Found)>,
    worst: Option<Found>,
    /// Why no further try could be made.
    end: Option<String>,
}

impl SearchFlags {
    pub(super) fn run(
        self,
        settings: BTreeMap<String, String>,
        stop: &AtomicBool,
    ) -> Result<Report, String> {
        self.has_only_its_flags()?;
        let bounds = self.bounds()?;
        let workload = self.workload();
        let each = self.common.output.can_have(&self.each(), &self.limit);
        each.map_err(|why| format!("in each try, {why}"))?;
        let title = Title {
            scenario: workload.name(),
            target: self.common.url.to_string(),
            settings,
        };
        let begun = Instant::now();
        let mut tries = Tries::default();
        let answer = search(&bounds, |value| {
            if begun.elapsed() > self.max_time || stop.load(Ordering::Relaxed) {
                return None;
            }
            self.attempt(value, &title, &mut tries, begun, stop)
        });
        let end = tries.end.take();
        let best = tries.best.take().map(|(_, found)| found);
        let Some(mut found) = best.or(tries.worst.take()) else {
            // What cannot be reached at all is no search.
            return Err(end.unwrap_or_else(|| "the search ended before its first try".into()));
        };
        conclude(&mut found.report, &answer, tries, self.by);
        if let Some(why) = end {
            let what = format!("the search could not go on: {why}");
            found.report.faults.push(Fault { what, count: 1 });
        }
        if stop.load(Ordering::Relaxed) {
            let report = &mut found.report;
            report.details.insert("interrupted".into(), 1.0);
            report.notes.push(run::INTERRUPTED.into());
        }
        self.common.output.write(&workload, &mut found)?;
        Ok(found.report)
    }

    /// Refuses flags of the other kind of search.
    fn has_only_its_flags(&self) -> Result<(), String> {
        let (flags, by) = match self.by {
            By::Connections => (&[("--connections", self.connections.is_some())][..], "rate"),
            By::Rate => (
                &[
                    ("--per-connection", self.per_connection.is_some()),
                    ("--in-flight", self.in_flight.is_some()),
                ][..],
                "connections",
            ),
        };
        match flags.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(format!("{flag} is for a search --by {by}")),
            None => Ok(()),
        }
    }

    fn is_scheduled(&self) -> bool {
        self.in_flight.is_none()
    }

    fn workload(&self) -> Workload {
        Workload::Search {
            scheduled: self.is_scheduled(),
            tries: self.tries,
        }
    }

    /// What each try is.
    fn each(&self) -> Workload {
        if self.is_scheduled() {
            Workload::Rate
        } else {
            Workload::Echo
        }
    }

    fn bounds(&self) -> Result<Bounds, String> {
        let whole = self.by == By::Connections;
        let (from, to) = if whole { (16.0, 19_000.0) } else { (1e3, 2e6) };
        let bounds = Bounds {
            from: self.from.unwrap_or(from),
            to: self.to.unwrap_or(self.from.unwrap_or(from).max(to)),
            precision: self.precision,
            whole,
            tries: self.tries,
        };
        if bounds.to < bounds.from {
            return Err(format!(
                "--to {} is less than --from {}",
                bounds.to, bounds.from
            ));
        }
        let fits = |value: f64| value.fract() == 0.0 && value <= f64::from(u32::MAX);
        if whole && !(fits(bounds.from) && fits(bounds.to)) {
            return Err("--from and --to are whole numbers of connections".into());
        }
        if bounds.precision <= 0.0 {
            return Err("--precision must be more than 0".into());
        }
        Ok(bounds)
    }

    /// Tries one value and notes what came of it; `None` if that ends the search.
    fn attempt(
        &self,
        value: f64,
        title: &Title,
        tries: &mut Tries,
        begun: Instant,
        stop: &AtomicBool,
    ) -> Option<Verdict> {
        if !tries.tries.is_empty() {
            std::thread::sleep(PAUSE);
        }
        let at = begun.elapsed().as_secs_f64();
        let (verdict, found) = match self.load(value, title, stop) {
            Ok((found, _)) if found.report.details.contains_key("interrupted") => return None,
            Ok((found, end)) => {
                tries.end = end;
                (self.judge(value, &found.report), Some(found))
            }
            Err(Failure::Client(why)) => (Verdict::ClientBound(why), None),
            // A server that takes fewer connections than wanted does not meet the limit; one that takes
            // none is gone, and says nothing about it.
            Err(Failure::End(why)) => {
                tries.end = Some(why);
                return None;
            }
        };
        tries.note(value, verdict.clone(), found, at, self.by);
        tries.end.is_none().then_some(verdict)
    }

    /// Makes one try; also why it is the last, if it is.
    fn load(
        &self,
        value: f64,
        title: &Title,
        stop: &AtomicBool,
    ) -> Result<(Found, Option<String>), Failure> {
        let connections = match self.by {
            By::Connections => value as u32,
            By::Rate => self.connections.unwrap_or(CONNECTIONS),
        };
        match (self.by, self.in_flight) {
            (By::Connections, Some(in_flight)) => {
                let echo = Echo {
                    in_flight,
                    active: 1.0,
                };
                self.load_with(connections, title, |_, _| echo, stop)
            }
            _ => {
                let rate = self.wanted(value);
                let make = |share, _| Rate::new(rate, share, connections);
                self.load_with(connections, title, make, stop)
            }
        }
    }

    /// Messages per second of a try on a schedule.
    fn wanted(&self, value: f64) -> f64 {
        match self.by {
            By::Connections => value * self.per_connection.unwrap_or(PER_CONNECTION),
            By::Rate => value,
        }
    }

    fn load_with<S: Scenario>(
        &self,
        connections: u32,
        title: &Title,
        make: impl Fn(u32, u32) -> S,
        stop: &AtomicBool,
    ) -> Result<(Found, Option<String>), Failure> {
        let mut plan = self.common.plan(connections).map_err(Failure::End)?;
        self.content.apply(&mut plan);
        plan.ramp = self.ramp;
        plan.warmup = self.warmup;
        plan.duration = self.step_duration;
        plan.grace = self.grace;
        let shares: Vec<_> = (0..plan.threads).map(|thread| plan.share(thread)).collect();
        let total = plan.warmup + plan.duration;
        let output = &self.common.output;
        let mut session = output
            .session(&self.workload(), total)
            .map_err(Failure::End)?;
        let make = |thread: u32| make(shares[thread as usize], thread);
        let found = run::run(title, plan, make, &mut session, stop);
        let mut found = found.map_err(|error| match error {
            Error::TooMany(why) => Failure::Client(why.to_string()),
            Error::Unable(why) => Failure::End(format!("{}: {why}", self.common.url)),
        })?;
        let ended = session.ended();
        self.common.complete(&mut found, session);
        Ok((found, ended))
    }

    /// Whether a try kept the limit. One that did keeps it however busy the client was; one that did
    /// not says nothing about the server if the client was the bottleneck.
    fn judge(&self, value: f64, report: &Report) -> Verdict {
        let wanted = self.is_scheduled().then(|| self.wanted(value));
        judge(report, &self.limit, wanted)
    }
}

/// Why a try could not be made.
enum Failure {
    /// This client is too small for it.
    Client(String),
    /// Nor can any other.
    End(String),
}

/// See [`SearchFlags::judge`]; `wanted` messages per second were scheduled.
fn judge(report: &Report, limits: &[Requirement], wanted: Option<f64>) -> Verdict {
    let mut reasons = Vec::new();
    for fault in report.faults.iter().take(3) {
        reasons.push(format!("{} ({} times)", fault.what, fault.count));
    }
    if let Some(wanted) = wanted {
        let (part, few) = SHORT;
        let due = wanted * report.seconds;
        let missing = due - report.messages.received as f64 - on_their_way(report, wanted, due);
        if missing > part * due + few {
            let reached = report.messages.per_second / wanted;
            reasons.push(format!(
                "only {} of the wanted rate came back in time",
                percent(reached)
            ));
        }
    }
    reasons.extend(require::failed(limits, report));
    match (&report.client.bottleneck, reasons.is_empty()) {
        (_, true) => Verdict::Meets,
        (Some(why), false) => Verdict::ClientBound(format!("{why} ({})", reasons.join("; "))),
        (None, false) => Verdict::Fails(reasons.join("; ")),
    }
}

/// How many messages are on their way at any time, if `wanted` are sent per second: they were due in
/// the measured part and come after it, though the server keeps up.
fn on_their_way(report: &Report, wanted: f64, due: f64) -> f64 {
    let times = report.latency.as_ref();
    let times = times.map(|times| times.corrected.as_ref().unwrap_or(&times.raw));
    times.map_or(0.0, |times| {
        (wanted * times.p50 / 1e6).min(ON_THEIR_WAY * due)
    })
}

impl Tries {
    fn note(&mut self, value: f64, verdict: Verdict, found: Option<Found>, at: f64, by: By) {
        let report = found.as_ref().map(|found| &found.report);
        self.rows
            .push(row(self.tries.len() + 1, value, &verdict, report, by));
        if let Some(report) = report {
            let series = report.series.iter().cloned();
            self.series.extend(series.map(|mut sample| {
                sample.at += at;
                sample
            }));
        }
        if let Some(found) = found {
            let better = self.best.as_ref().is_none_or(|best| best.0 <= value);
            if verdict != Verdict::Meets {
                self.worst = Some(found);
            } else if better {
                self.best = Some((value, found));
            }
        }
        self.tries.push(Try { value, verdict });
    }
}

fn row(n: usize, value: f64, verdict: &Verdict, report: Option<&Report>, by: By) -> Vec<String> {
    let times = report.and_then(|report| report.latency.as_ref());
    let times = times.map(|times| times.corrected.as_ref().unwrap_or(&times.raw));
    let time = |time: Option<f64>| time.map_or("-".into(), micros);
    vec![
        n.to_string(),
        wording(value, by),
        report.map_or("-".into(), |report| per_second(report.messages.per_second)),
        time(times.map(|times| times.p50)),
        time(times.map(|times| times.p99)),
        time(times.map(|times| times.p999)),
        match verdict {
            Verdict::Meets => "yes".into(),
            Verdict::Fails(why) => cut(&format!("no: {why}")),
            Verdict::ClientBound(why) => cut(&format!("client: {why}")),
        },
    ]
}

/// The beginning of a long text.
fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

fn wording(value: f64, by: By) -> String {
    let number = trim_zeros(&format!("{value:.3}"));
    match by {
        By::Connections => number,
        By::Rate => format!("{number}/s"),
    }
}

/// Makes the report of the best try, or the worst if none met the limit, that of the search.
fn conclude(report: &mut Report, answer: &Answer, tries: Tries, by: By) {
    report.details.extend(details(&tries.tries));
    let mut insert = |name: &str, value| report.details.insert(name.into(), value);
    insert("tries", tries.tries.len() as f64);
    insert("at_least", f64::from(u8::from(answer.at_least.is_some())));
    let what = match by {
        By::Connections => "connections",
        By::Rate => "messages per second",
    };
    match answer.most {
        Some(most) => {
            insert("most", most);
            let least = answer.at_least.as_ref().map_or("", |_| "at least ");
            let why = answer.at_least.as_ref().or(answer.failed.as_ref());
            let why = why.map_or(String::new(), |why| format!("; {why}"));
            let most = trim_zeros(&format!("{most:.3}"));
            report
                .notes
                .push(format!("{least}{most} {what} meet the limit{why}"));
        }
        None => {
            let why = answer.failed.as_ref().or(answer.at_least.as_ref());
            let why = why.map_or("", |why| why);
            report.faults.push(Fault {
                what: format!("nothing that was tried meets the limit: {why}"),
                count: 1,
            });
        }
    }
    report.series = tries.series;
    report.tables.push(Table {
        title: "try".into(),
        columns: [what, "reached", "p50", "p99", "p99.9", "meets the limit"]
            .map(String::from)
            .into(),
        rows: tries.rows,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Latency, Messages, Quantiles};

    fn report(received: u64, p99: f64) -> Report {
        Report {
            seconds: 2.0,
            messages: Messages {
                received,
                per_second: received as f64 / 2.0,
                ..Messages::default()
            },
            latency: Some(Latency {
                raw: Quantiles {
                    count: received,
                    p99,
                    ..Quantiles::default()
                },
                corrected: None,
            }),
            ..Report::default()
        }
    }

    #[test]
    fn a_try_fails_for_latency_rate_and_faults() {
        let limits = ["p99<5ms".parse().unwrap()];
        let judge = |report: &Report| judge(report, &limits, Some(1000.0));
        assert_eq!(judge(&report(1990, 4_000.0)), Verdict::Meets);
        let failed = |report: &Report| match judge(report) {
            Verdict::Fails(why) => why,
            verdict => panic!("{verdict:?}"),
        };
        assert!(failed(&report(1990, 6_000.0)).contains("p99<5ms: it was 6"));
        assert!(failed(&report(1900, 4_000.0)).contains("95.0% of the wanted rate"));
        let mut faulty = report(2000, 4_000.0);
        faulty.faults.push(Fault {
            what: "a message never came back".into(),
            count: 3,
        });
        assert!(failed(&faulty).contains("never came back (3 times)"));
    }

    #[test]
    fn a_busy_client_is_only_an_excuse_for_what_failed() {
        let limits = ["p99<5ms".parse().unwrap()];
        let mut met = report(2000, 4_000.0);
        met.client.bottleneck = Some("busy".into());
        assert_eq!(judge(&met, &limits, None), Verdict::Meets);
        let mut slow = report(2000, 6_000.0);
        slow.client.bottleneck = Some("busy".into());
        let verdict = judge(&slow, &limits, None);
        assert!(matches!(verdict, Verdict::ClientBound(why) if why.starts_with("busy (p99")));
    }
}
