//! The whole server under one seed.
//!
//! Real reactors, connections, executors and workers run on one thread with virtual sockets and
//! a virtual clock; a random driver decides who goes on when and what goes wrong, random clients
//! and handlers do what clients and handlers do, and a checker compares what each was told with
//! what it had to be told. The same seed always gives the same run:
//!
//! ```sh
//! SOCKEYE_SIM_SEED=1234 cargo test --lib simulation
//! SOCKEYE_SIM_SEEDS=100000 cargo test --release --lib simulation
//! ```

mod checker;
mod clients;
mod handlers;
mod ledger;
mod rng;
mod topics;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ledger::Coverage;
use world::{Outcome, run};

/// Seeds run when the environment does not say how many.
const SEEDS: u64 = 3_000;
/// Lines of its trace shown of a run that failed.
const SHOWN: usize = 150;

/// Seeds that once showed a bug; a change of what a seed means has to find new ones.
const REGRESSIONS: &[u64] = &[
    24, // A ping came only when the pong before it would have been overdue.
];

/// What has to come up in any few thousand runs.
const EXPECTED: &[&str] = &[
    "Close frames",
    "Full",
    "Gone",
    "closed by the handler",
    "closed by the peer",
    "closes",
    "closes of handles",
    "deliveries",
    "drains",
    "early messages",
    "echoes",
    "end of stream",
    "fragmented messages",
    "idle timeout",
    "lost",
    "messages",
    "messages of handles",
    "orderly conversations",
    "over the limit",
    "panics in a factory",
    "panics in drop",
    "panics in on_close",
    "panics in on_drain",
    "panics in on_message",
    "panics in on_open",
    "panics in on_timer",
    "pauses for a slow reader",
    "pings of the server",
    "pong timeout",
    "pongs",
    "protocol fault",
    "publications",
    "publications that did not fit",
    "publications to the others",
    "refusals",
    "replays",
    "replays that are lost",
    "resets",
    "rests",
    "rests with a stuck worker",
    "sends of handles",
    "shutdown",
    "slow consumer",
    "subscriptions",
    "subscriptions again",
    "subscriptions that end",
    "timers",
    "turns with a full worker",
    "write timeout",
];

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a seed is a number"))
}

/// One run; a panic in the server is a fault like any other.
fn attempt(seed: u64, trace: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed, trace))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Outcome {
            faults: vec![format!("panicked: {}", text.unwrap_or("?"))],
            coverage: Coverage::default(),
            trace: Vec::new(),
        }
    })
}

fn report(seed: u64, all: bool) -> String {
    let Outcome { faults, trace, .. } = attempt(seed, true);
    let start = if all {
        0
    } else {
        trace.len().saturating_sub(SHOWN)
    };
    format!(
        "{}\n\nseed {seed}: {}\nreplay it with its whole trace:\n    \
         SOCKEYE_SIM_SEED={seed} cargo test --lib simulation\n",
        trace[start..].join("\n"),
        faults.join("\n")
    )
}

#[test]
fn simulation_seeds() {
    if let Some(seed) = number("SOCKEYE_SIM_SEED") {
        let report = report(seed, true);
        assert!(attempt(seed, false).faults.is_empty(), "{report}");
        return;
    }
    let seeds = number("SOCKEYE_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let sums = Mutex::new((Coverage::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut coverage = Coverage::default();
                let mut failures = Vec::new();
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds + REGRESSIONS.len() as u64 {
                        break;
                    }
                    let seed = match REGRESSIONS.get(at as usize) {
                        Some(&seed) => seed,
                        None => at - REGRESSIONS.len() as u64,
                    };
                    let outcome = attempt(seed, false);
                    coverage.merge(outcome.coverage);
                    if !outcome.faults.is_empty() {
                        failures.push(seed);
                        failed.store(true, Ordering::Relaxed);
                    }
                }
                let mut sums = sums.lock().expect("no thread panics");
                sums.0.merge(coverage);
                sums.1.extend(failures);
            });
        }
    });
    let (coverage, failures) = sums.into_inner().expect("no thread panics");
    if let Some(&seed) = failures.iter().min() {
        panic!("{}", report(seed, false));
    }
    for (what, count) in &coverage.0 {
        println!("{count:>12} {what}");
    }
    println!("{seeds:>12} seeds");
    if seeds >= SEEDS {
        for what in EXPECTED {
            assert!(coverage.of(what) > 0, "no run had any {what}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        assert_eq!(attempt(seed, true).trace, attempt(seed, true).trace);
    }
}
