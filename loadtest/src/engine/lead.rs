//! The leader: starts the load threads, takes them through the phases and collects what they counted.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Poll, Waker};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::control::Gauges;
use super::stats::{Interval, add};
use super::thread::{Thread, WAKER};
use super::{Context, Nanos, Phase, Plan, Scenario, Shared, Stats, histogram, now};
use crate::report::Sample;

/// Between two samples.
const SAMPLE: Nanos = 1_000_000_000;
/// Samples over less time than this say nothing.
const SHORTEST: Nanos = SAMPLE / 5;
/// How often the leader looks while something may be complete before its time.
const LOOK_SOON: Duration = Duration::from_millis(2);
/// And how often otherwise; an interruption takes that long to be seen.
const LOOK: Duration = Duration::from_millis(50);
/// So many failures, and no connection opened, end a run.
const HOPELESS: u64 = 16;

/// Is told where a run is, to look at the server at the right moments. Called on the leader's thread,
/// never on a load thread.
pub trait Observer {
    /// No connection has been opened yet.
    fn before(&mut self) {}
    /// The measured part begins.
    fn begin(&mut self) {}
    /// A step of the measured part is about to be taken, with so many connections open.
    fn mark(&mut self, _what: &str, _open: u64) {}
    /// About once per second, in every phase; what it knows it may write into the sample.
    fn tick(&mut self, _phase: Phase, _sample: &mut Sample) {}
    /// The measured part ends; so many connections are open and stay so until this returns.
    /// `lag_us`: how late the load threads were for what was due, 99th percentile, in scenarios with
    /// a schedule.
    fn end(&mut self, _open: u64, _lag_us: Option<f64>) {}
}

/// Does nothing.
impl Observer for () {}

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// The counts of all threads.
    pub stats: Stats,
    /// How long the measured part took.
    pub seconds: f64,
    /// One for each second or so.
    pub series: Vec<Sample>,
    /// Whether it was ended before its time.
    pub interrupted: bool,
}

/// Why there is nothing to report.
#[derive(Debug)]
pub enum Unable {
    /// No connection could be opened; why not.
    Unreachable(String),
    /// The scenario gave up before the load began; why.
    Useless(String),
    /// A load thread could not be started or failed.
    Thread(io::Error),
}

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Useless(why) => f.write_str(why),
            Self::Thread(error) => write!(f, "a load thread failed: {error}"),
        }
    }
}

/// Runs a scenario to its end, or until `stop` is set. `make` makes that of each thread.
///
/// # Errors
///
/// If no connection could be opened at all, the scenario gave up, or a thread could not run.
pub fn run<S: Scenario>(
    plan: &Arc<Plan>,
    make: impl Fn(u32) -> S,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Outcome, Unable> {
    observer.before();
    let shared = Arc::new(Shared::default());
    thread::scope(|scope| {
        let mut lead = Lead {
            plan,
            shared: &shared,
            members: Vec::new(),
            observer,
            stop,
            series: Vec::new(),
            began: now(),
            last: (now(), 0),
            interrupted: false,
            hopeless: false,
            lag: None,
        };
        let mut handles = Vec::new();
        let mut wakers = Vec::new();
        let mut failure = None;
        for i in 0..plan.threads {
            let started = Poll::new().and_then(|poll| {
                let waker = Waker::new(poll.registry(), WAKER)?;
                let (samples, receiver) = channel();
                let gauges = Arc::new(Gauges::default());
                let context = Context::new(plan.clone(), shared.clone(), i);
                let thread = Thread::new(poll, make(i), context, gauges.clone(), samples)?;
                let core = plan
                    .cores
                    .get(i as usize % plan.cores.len().max(1))
                    .copied();
                let handle = thread::Builder::new()
                    .name(format!("load-{i}"))
                    .spawn_scoped(scope, move || pin(core).and_then(|()| thread.run()))?;
                wakers.push(waker);
                lead.members.push(Member {
                    gauges,
                    samples: receiver,
                });
                Ok(handle)
            });
            match started {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        shared.set_wakers(wakers);
        let seconds = match failure {
            None => lead.phases(&handles),
            Some(_) => 0.0,
        };
        lead.enter(Phase::Done);
        let mut stats = Stats::new();
        for handle in handles {
            match handle.join().expect("load threads do not panic") {
                Ok(counts) => stats.merge(counts),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            return Err(Unable::Thread(error));
        }
        if stats.opened == 0 && stats.started > 0 && (stats.failed > 0 || !lead.interrupted) {
            let faults = stats.faults.report();
            let why = faults.first().map(|fault| fault.what.clone());
            let why = why.unwrap_or_else(|| "no connection was opened before the end".into());
            return Err(Unable::Unreachable(format!("{}: {why}", plan.address)));
        }
        if let Some(why) = shared.useless() {
            let faults = stats.faults.report();
            let first = faults.first().map(|fault| &fault.what[..]);
            let why: Vec<_> = [why].into_iter().chain(first).collect();
            return Err(Unable::Useless(why.join("; ")));
        }
        Ok(Outcome {
            stats,
            seconds,
            series: lead.series,
            interrupted: lead.interrupted,
        })
    })
}

/// Pins the calling thread.
fn pin(core: Option<usize>) -> io::Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
        .map_err(|error| io::Error::other(format!("it cannot be pinned to core {core}: {error}")))
}

/// What the leader has of a thread.
struct Member {
    gauges: Arc<Gauges>,
    samples: Receiver<Interval>,
}

struct Lead<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    members: Vec<Member>,
    observer: &'a mut dyn Observer,
    stop: &'a AtomicBool,
    series: Vec<Sample>,
    began: Nanos,
    /// When the last sample was taken, and what had been done then.
    last: (Nanos, u64),
    interrupted: bool,
    hopeless: bool,
    lag: Option<Histogram<u64>>,
}

type Handles<'s> = [ScopedJoinHandle<'s, io::Result<Stats>>];

impl Lead<'_> {
    /// All phases; returns how many seconds the measured part took.
    fn phases(&mut self, handles: &Handles<'_>) -> f64 {
        self.enter(Phase::Open);
        self.wait(handles, None, true);
        let mut seconds = 0.0;
        if self.goes_on() {
            self.enter(Phase::Warmup);
            self.wait(handles, Some(self.plan.warmup), false);
        }
        if self.goes_on() {
            seconds = self.measure(handles);
        }
        // Also after an interruption, for what is in flight then is not lost.
        if !self.hopeless {
            self.enter(Phase::Grace);
            self.wait(handles, Some(self.plan.grace), true);
        }
        self.sample();
        self.enter(Phase::Close);
        self.wait(handles, Some(self.plan.close_timeout), true);
        seconds
    }

    fn measure(&mut self, handles: &Handles<'_>) -> f64 {
        let begin = now();
        self.enter(Phase::Measure);
        self.observer.begin();
        let mut passed = Duration::ZERO;
        for &(at, what) in &self.plan.steps {
            self.wait(handles, Some(at.saturating_sub(passed)), false);
            if !self.goes_on() {
                break;
            }
            passed = at;
            let open = self.sum(|gauges| &gauges.open);
            self.observer.mark(what, open);
            self.shared.take_step();
            self.wake();
        }
        self.wait(
            handles,
            Some(self.plan.duration.saturating_sub(passed)),
            false,
        );
        self.sample();
        let open = self.sum(|gauges| &gauges.open);
        // To look at the server takes time, in which messages go on coming that do not count.
        let end = now();
        self.shared.set_end(end);
        let lag = self.lag.as_ref();
        let lag = lag.map(|lag| lag.value_at_quantile(0.99) as f64 / 1e3);
        self.observer.end(open, lag);
        (end - begin) as f64 / 1e9
    }

    fn goes_on(&self) -> bool {
        !self.interrupted && !self.hopeless
    }

    fn enter(&mut self, phase: Phase) {
        for member in &self.members {
            member.gauges.idle.store(false, Ordering::Release);
        }
        self.shared.set_phase(phase);
        self.wake();
    }

    fn wake(&self) {
        self.shared.wake_all();
    }

    fn sum(&self, gauge: impl Fn(&Gauges) -> &AtomicU64) -> u64 {
        let load = |member: &Member| gauge(&member.gauges).load(Ordering::Relaxed);
        self.members.iter().map(load).sum()
    }

    /// Waits until `time` has passed, or, if `idle`, until no thread has anything to do; or until the
    /// run is to end.
    fn wait(&mut self, handles: &Handles<'_>, time: Option<Duration>, idle: bool) {
        let end = time.map_or(Nanos::MAX, |time| now() + time.as_nanos() as Nanos);
        let phase = self.shared.phase();
        loop {
            let time = now();
            let is_idle = |member: &Member| member.gauges.idle.load(Ordering::Acquire);
            if time >= end || (idle && self.members.iter().all(is_idle)) {
                return;
            }
            if handles.iter().any(ScopedJoinHandle::is_finished) {
                self.hopeless = true;
                return;
            }
            if phase < Phase::Grace && self.is_to_end() {
                return;
            }
            if time - self.last.0 >= SAMPLE {
                self.sample();
            }
            let look = if idle { LOOK_SOON } else { LOOK };
            let sample = self.last.0 + SAMPLE;
            let left = sample.min(end).saturating_sub(now());
            thread::sleep(look.min(Duration::from_nanos(left)));
        }
    }

    /// Whether the run was interrupted, or nothing can come of it.
    fn is_to_end(&mut self) -> bool {
        self.interrupted |= self.stop.load(Ordering::Relaxed);
        let enough = HOPELESS.min(u64::from(self.plan.connections));
        self.hopeless |= self.shared.useless().is_some();
        self.hopeless |=
            self.sum(|gauges| &gauges.failed) >= enough && self.sum(|gauges| &gauges.opened) == 0;
        !self.goes_on()
    }

    /// Asks every thread for what it has counted since the last sample.
    fn sample(&mut self) {
        self.shared.ask_for_sample();
        self.wake();
        let mut latency = histogram();
        for member in &self.members {
            // One that has ended, or is kept from running, is missing in this sample. What it had for
            // an earlier one comes with this.
            let first = member.samples.recv_timeout(Duration::from_millis(200)).ok();
            for interval in first.into_iter().chain(member.samples.try_iter()) {
                add(&mut latency, &interval.latency);
                if let Some(lag) = interval.lag {
                    add(self.lag.get_or_insert_with(histogram), &lag);
                }
            }
        }
        let (time, done) = (now(), self.sum(|gauges| &gauges.done));
        if time - self.last.0 < SHORTEST {
            return;
        }
        let seconds = (time - self.last.0) as f64 / 1e9;
        let quantile = |q| (!latency.is_empty()).then(|| latency.value_at_quantile(q) as f64 / 1e3);
        let mut sample = Sample {
            at: (time - self.began) as f64 / 1e9,
            connections: self.sum(|gauges| &gauges.open),
            messages_per_second: (done - self.last.1) as f64 / seconds,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            ..Sample::default()
        };
        self.last = (time, done);
        self.observer.tick(self.shared.phase(), &mut sample);
        self.series.push(sample);
    }
}
