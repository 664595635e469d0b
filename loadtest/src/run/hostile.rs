//! Attackers next to clients that behave well, whose figures are the run's.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Error, Found, Title, run};
use crate::engine::{self, Observer, Outcome, Phase, Plan, Scenario, Unable};
use crate::net;
use crate::report::format::{count, micros, rate, seconds, short};
use crate::report::{Fault, Report, Sample, Table};
use crate::scenario::Churn;
use crate::scenario::hostile::{Attack, Hostile, Orders, Tallies, Tally};

/// The step of the measured part with which the attack begins.
pub const STEP: &str = "attack";
/// Newcomers at the same time.
const NEWCOMERS: u32 = 8;
/// How long a server that may be dead is given to take a connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// Attackers may be at it for that long at most; they are stopped before.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The attackers of a run, all threads together.
#[derive(Clone, Debug)]
pub struct Assault {
    /// What they do; the bytes are those of all of them.
    pub orders: Orders,
    /// Attackers at the same time.
    pub attackers: u32,
    /// Their load threads.
    pub threads: u32,
    /// Well-behaved clients per second that connect, exchange one message and leave during the
    /// attack; `None` for none.
    pub newcomers: Option<f64>,
}

/// Runs a well-behaved scenario as [`run`] does, with the attackers from the step
/// [`STEP`] of the plan on. The faults are those of the well-behaved clients.
///
/// # Errors
///
/// If there is nothing to report.
pub fn hostile<S: Scenario>(
    title: &Title,
    plan: Plan,
    assault: &Assault,
    make: impl Fn(u32) -> S,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Found, Error> {
    let all = plan.connections + assault.attackers + NEWCOMERS;
    net::make_room(u64::from(all)).map_err(Error::TooMany)?;
    let baseline = plan.steps.first().map_or(Duration::ZERO, |step| step.0);
    let attack = assault.attack_plan(&plan);
    let newcomers = assault.newcomers.map(|rate| newcomers_plan(&plan, rate));
    let address = plan.address;
    let tallies = Tallies::default();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (begin, gate) = Gate::new(observer, &over);
        let [attack_begins, newcomers_begin] = begin;
        let (over, tallies) = (&over, &tallies);
        let attackers = scope.spawn(move || {
            attack_begins.recv().ok()?;
            let make = |thread| Hostile::new(&assault.share(thread), tallies.clone());
            Some(engine::run(&attack, make, &mut (), over))
        });
        let newcomers = scope.spawn(move || {
            newcomers_begin.recv().ok()?;
            let plan = newcomers?;
            Some(engine::run(&plan, |_| Churn { messages: 1 }, &mut (), over))
        });
        let mut gate = gate;
        let found = run(title, plan, make, &mut gate, stop);
        drop(gate);
        over.store(true, Ordering::Relaxed);
        let attackers = attackers.join().expect("attackers do not panic");
        let newcomers = newcomers.join().expect("newcomers do not panic");
        let mut found = found?;
        let mut tallies = tallies.lock().expect("attackers do not panic");
        if is_gone(&found.report, address) {
            note_gone(&mut found.report, &mut tallies);
        }
        note_latency(&mut found, baseline);
        note_attackers(&mut found.report, assault, attackers, &tallies);
        if let Some(outcome) = newcomers {
            note_newcomers(&mut found.report, outcome);
        }
        Ok(found)
    })
}

impl Assault {
    fn attack_plan(&self, plan: &Plan) -> Arc<Plan> {
        Arc::new(Plan {
            connections: self.attackers,
            threads: self.threads.min(self.attackers),
            ramp: Some(self.orders.rate * f64::from(self.attackers)),
            most_connecting: self.attackers,
            warmup: Duration::ZERO,
            duration: LONGEST,
            grace: Duration::ZERO,
            steps: Vec::new(),
            ..plan.clone()
        })
    }

    /// The orders of one thread.
    fn share(&self, thread: u32) -> Orders {
        Orders {
            bytes: self.orders.bytes / u64::from(self.threads),
            seed: self.orders.seed.wrapping_add(u64::from(thread)),
            ..self.orders.clone()
        }
    }
}

fn newcomers_plan(plan: &Plan, rate: f64) -> Arc<Plan> {
    Arc::new(Plan {
        connections: NEWCOMERS,
        threads: 1,
        ramp: Some(rate),
        most_connecting: NEWCOMERS,
        warmup: Duration::ZERO,
        duration: LONGEST,
        steps: Vec::new(),
        ..plan.clone()
    })
}

/// Passes everything on to another observer, lets the attackers go at the step and ends them with the
/// measured part.
struct Gate<'a> {
    observer: &'a mut dyn Observer,
    begin: Vec<Sender<()>>,
    over: &'a AtomicBool,
}

impl<'a> Gate<'a> {
    fn new(observer: &'a mut dyn Observer, over: &'a AtomicBool) -> ([Receiver<()>; 2], Self) {
        let ((one, attackers), (two, newcomers)) = (channel(), channel());
        let gate = Self {
            observer,
            begin: vec![one, two],
            over,
        };
        ([attackers, newcomers], gate)
    }
}

impl Observer for Gate<'_> {
    fn before(&mut self) {
        self.observer.before();
    }

    fn begin(&mut self) {
        self.observer.begin();
    }

    fn mark(&mut self, what: &str, open: u64) {
        self.observer.mark(what, open);
        for begin in self.begin.drain(..) {
            // A thread that is gone has said why, or will.
            let _ = begin.send(());
        }
    }

    fn tick(&mut self, phase: Phase, sample: &mut Sample) {
        self.observer.tick(phase, sample);
    }

    fn end(&mut self, open: u64, lag_us: Option<f64>) {
        self.observer.end(open, lag_us);
        self.over.store(true, Ordering::Relaxed);
    }
}

/// The well-behaved clients' latency before and under attack.
fn note_latency(found: &mut Found, baseline: Duration) {
    let details = &mut found.report.details;
    let [before, under] = &found.parts[..] else {
        // The run was interrupted before the attack.
        return;
    };
    let under_seconds = found.report.seconds - baseline.as_secs_f64();
    let mut rows = Vec::new();
    let mut note = |name: &str, part: &Histogram<u64>, seconds: f64| {
        if part.is_empty() || seconds <= 0.0 {
            return None;
        }
        let us = |nanos: u64| nanos as f64 / 1e3;
        let (p50, p99) = (
            us(part.value_at_quantile(0.5)),
            us(part.value_at_quantile(0.99)),
        );
        let (max, per_second) = (us(part.max()), part.len() as f64 / seconds);
        let mut insert = |what: &str, value| details.insert(format!("{name}_{what}"), value);
        insert("p50_us", p50);
        insert("p99_us", p99);
        insert("max_us", max);
        insert("per_second", per_second);
        let mut row = vec![name.to_owned(), rate(per_second)];
        row.extend([p50, p99, max].map(micros));
        rows.push(row);
        Some(p99)
    };
    let before = note("baseline", before, baseline.as_secs_f64());
    let under = note("attack", under, under_seconds);
    if let (Some(before), Some(under)) = (before, under) {
        details.insert("ratio".into(), under / before.max(0.001));
    }
    if !rows.is_empty() {
        found.report.tables.push(Table {
            title: "latency of well-behaved clients".into(),
            columns: ["messages", "p50", "p99", "max"].map(String::from).into(),
            rows,
        });
    }
}

/// Whether the server is dead: it kept none of its connections, and takes no other.
fn is_gone(report: &Report, address: SocketAddr) -> bool {
    let connections = &report.connections;
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    connections.lost == connections.opened
        && TcpStream::connect_timeout(&address, PATIENCE).is_err_and(refused)
}

/// A dead server bears nobody, though the kernel may not have told all attackers: those that it had
/// not handed over yet hear nothing.
fn note_gone(report: &mut Report, tallies: &mut BTreeMap<Attack, Tally>) {
    let open: u64 = tallies.values().map(|tally| tally.open).sum();
    for tally in tallies.values_mut() {
        tally.overstaying = 0;
    }
    if open > 0 {
        report.notes.push(format!(
            "the server was gone at the end; {} attackers have not heard of it",
            count(open)
        ));
    }
}

fn note_attackers(
    report: &mut Report,
    assault: &Assault,
    outcome: Option<Result<Outcome, Unable>>,
    tallies: &BTreeMap<Attack, Tally>,
) {
    let failed = match outcome {
        Some(Err(error)) => Some(error.to_string()),
        Some(Ok(_)) if tallies.values().all(|tally| tally.opened == 0) => {
            Some("none got as far as attacking".into())
        }
        _ => None,
    };
    if let Some(why) = failed {
        let what = format!("there was no attack: {why}");
        report.faults.push(Fault { what, count: 1 });
    }
    let mut overstayed = 0;
    let mut rows = Vec::new();
    for (attack, tally) in tallies {
        overstayed += tally.borne();
        let details = tally.details().into_iter();
        let named = details.map(|(name, value)| (format!("{attack}.{name}"), value));
        report.details.extend(named);
        rows.push(row(*attack, tally));
        if tally.borne() > 0 {
            report.notes.push(format!(
                "the server bore {} attackers ({attack}) for more than {}",
                count(tally.borne()),
                seconds(assault.orders.overstay.as_secs_f64())
            ));
        }
    }
    report
        .details
        .insert("overstayed".into(), overstayed as f64);
    report.tables.push(Table {
        title: "attacks".into(),
        columns: [
            "opened",
            "refused",
            "bytes",
            "ended",
            "after (max)",
            "how",
            "left",
            "still open",
        ]
        .map(String::from)
        .into(),
        rows,
    });
}

fn row(attack: Attack, tally: &Tally) -> Vec<String> {
    let time = |nanos: u64| seconds(nanos as f64 / 1e9);
    let after = match tally.ended {
        0 => "-".into(),
        ended => format!("{} ({})", time(tally.took.0 / ended), time(tally.took.1)),
    };
    let open = match tally.open {
        0 => "0".into(),
        open => format!("{} ({})", count(open), time(tally.oldest)),
    };
    vec![
        attack.name().into(),
        count(tally.opened),
        count(tally.refused),
        short(tally.bytes as f64),
        count(tally.ended),
        after,
        tally.endings(),
        count(tally.left),
        open,
    ]
}

/// What those found who came during the attack; their faults are the run's.
fn note_newcomers(report: &mut Report, outcome: Result<Outcome, Unable>) {
    let fault = |what: &str, count| Fault {
        what: format!("of the newcomers: {what}"),
        count,
    };
    match outcome {
        Err(error) => report.faults.push(fault(&error.to_string(), 1)),
        Ok(Outcome { stats, .. }) => {
            let faults = stats.faults.report();
            let faults = faults.iter().map(|found| fault(&found.what, found.count));
            report.faults.extend(faults);
            if stats.opened == 0 && stats.failed == 0 && stats.started > 0 {
                let what = "none was answered before the attack ended";
                report.faults.push(fault(what, stats.started));
            }
            let mut insert = |what: &str, value| {
                report.details.insert(format!("newcomers_{what}"), value);
            };
            insert("opened", stats.opened as f64);
            insert("failed", stats.failed as f64);
            let unanswered = stats.details.get("unopened").copied();
            insert("unanswered", unanswered.unwrap_or_default());
            insert("received", stats.received as f64);
            if !stats.handshake.is_empty() {
                let p99 = stats.handshake.value_at_quantile(0.99);
                insert("handshake_p99_us", p99 as f64 / 1e3);
            }
        }
    }
}
