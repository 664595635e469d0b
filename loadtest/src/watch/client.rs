//! This process: whether the load threads could keep up, so that the figures are the server's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use procfs::process::Process;

use super::process::{ThreadTimes, Times, share};
use super::server::{WatchError, reason};
use crate::report::ClientUse;
use crate::report::format::{micros, percent};

/// The names of load threads begin with this. If none does, all threads count as load threads.
pub const LOAD_THREAD_PREFIX: &str = "load";

/// A load thread with more CPU time than this per wall time has no time left to answer at once: what
/// it measures is its own queue. Not 100%, for a loop that waits now and then is already late in bursts.
pub const BUSY_THREAD: f64 = 0.85;

/// A server with a thread busier than this is at its own limit, and a busy client is no surprise.
pub const BUSY_SERVER: f64 = 0.85;

/// A load thread busier than this is at its limit; a server that is not as busy is waiting for it,
/// however busy it is itself.
pub const SATURATED: f64 = 0.95;

/// A load thread that was ready to run but had no CPU for more than this part of the time adds that
/// wait to every latency. A few per cent come with every wake-up.
pub const WAITED: f64 = 0.15;

/// A loop that gets to what was due later than this (99th percentile, microseconds) does not keep the
/// schedule it measures against.
pub const LATE_US: f64 = 1000.0;

/// What the verdict depends on; shares of the wall time, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observed {
    /// CPU time of the busiest load thread.
    pub busiest_thread: f64,
    /// Time of the load thread that waited most for a CPU while it was ready to run.
    pub waited: f64,
    /// CPU time of the server's busiest thread, if its process is known.
    pub server_thread: Option<f64>,
    /// How late the loops were, 99th percentile in microseconds, if they measured it.
    pub loop_lag_us: Option<f64>,
}

/// Why the figures say more about this client than about the server, if they do.
pub fn verdict(observed: &Observed) -> Option<String> {
    let mut reasons = Vec::new();
    if observed.busiest_thread > BUSY_THREAD {
        let busy = percent(observed.busiest_thread);
        match observed.server_thread {
            None => reasons.push(format!(
                "a load thread was busy {busy} of the time, and nothing is known of the server (--server-pid)"
            )),
            Some(server) if is_behind(observed.busiest_thread, server) => reasons.push(format!(
                "a load thread was busy {busy} of the time, the server's busiest thread only {}",
                percent(server)
            )),
            Some(_) => {}
        }
    }
    if observed.waited > WAITED {
        reasons.push(format!(
            "a load thread was ready but waited for a CPU {} of the time",
            percent(observed.waited)
        ));
    }
    if let Some(lag) = observed.loop_lag_us.filter(|lag| *lag > LATE_US) {
        reasons.push(format!(
            "the load threads were up to {} late for what was due (p99)",
            micros(lag)
        ));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Whether it is the client that is the slower one of the two.
fn is_behind(client: f64, server: f64) -> bool {
    server < BUSY_SERVER || (client > SATURATED && server < client - (1.0 - SATURATED))
}

/// This process being watched.
#[derive(Debug)]
pub struct ClientWatch {
    process: Process,
    begin: (Instant, Times),
    load_threads: BTreeSet<i32>,
    /// The latest reading of each load thread, which outlives the thread.
    seen: BTreeMap<i32, ThreadTimes>,
}

impl ClientWatch {
    /// Starts to watch this process.
    ///
    /// # Errors
    ///
    /// There is no `/proc`.
    pub fn new() -> Result<Self, WatchError> {
        let process = Process::myself().map_err(|error| own(&error))?;
        let begin = (
            Instant::now(),
            Times::read(&process).map_err(|error| own(&error))?,
        );
        Ok(Self {
            process,
            begin,
            load_threads: BTreeSet::new(),
            seen: BTreeMap::new(),
        })
    }

    /// The measured part starts. All load threads exist, see [`LOAD_THREAD_PREFIX`].
    ///
    /// # Errors
    ///
    /// As [`new()`](Self::new).
    pub fn begin(&mut self) -> Result<(), WatchError> {
        self.load_threads.clear();
        self.seen.clear();
        for task in self.process.tasks().map_err(|error| own(&error))?.flatten() {
            if task
                .stat()
                .is_ok_and(|stat| stat.comm.starts_with(LOAD_THREAD_PREFIX))
            {
                self.load_threads.insert(task.tid);
            }
        }
        let times = self.read()?;
        if self.load_threads.is_empty() {
            self.load_threads = times.threads.keys().copied().collect();
        }
        self.begin = (Instant::now(), times);
        Ok(())
    }

    /// Remembers the readings of now, for threads that end before [`end()`](Self::end).
    ///
    /// # Errors
    ///
    /// As [`new()`](Self::new).
    pub fn tick(&mut self) -> Result<(), WatchError> {
        let times = self.read()?;
        self.remember(&times);
        Ok(())
    }

    /// The measured part is over; with the share of the server's busiest thread and the loops' lag,
    /// where they are known.
    ///
    /// # Errors
    ///
    /// As [`new()`](Self::new).
    pub fn end(
        &mut self,
        server_thread: Option<f64>,
        loop_lag_us: Option<f64>,
    ) -> Result<ClientUse, WatchError> {
        let times = self.read()?;
        let wall = self.begin.0.elapsed().as_secs_f64();
        self.remember(&times);
        let cpu = times.since(&self.begin.1);
        let most = |part: fn(&ThreadTimes) -> u64| {
            share(self.seen.values().map(part).max().unwrap_or(0), wall)
        };
        let observed = Observed {
            busiest_thread: most(|thread| thread.run),
            waited: most(|thread| thread.wait),
            server_thread,
            loop_lag_us,
        };
        Ok(ClientUse {
            threads: self.load_threads.len() as u32,
            user_seconds: cpu.user,
            system_seconds: cpu.system,
            busiest_thread: observed.busiest_thread,
            bottleneck: verdict(&observed),
        })
    }

    fn read(&self) -> Result<Times, WatchError> {
        Times::read(&self.process).map_err(|error| own(&error))
    }

    fn remember(&mut self, times: &Times) {
        let changes = times
            .changes(&self.begin.1)
            .filter(|(tid, _)| self.load_threads.contains(tid));
        self.seen.extend(changes);
    }
}

fn own(error: &procfs::ProcError) -> WatchError {
    reason(std::process::id(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let busy = |client, server| Observed {
            busiest_thread: client,
            server_thread: server,
            ..Observed::default()
        };
        let waited = |waited| Observed {
            waited,
            ..busy(0.5, Some(0.99))
        };
        let late = |lag| Observed {
            loop_lag_us: Some(lag),
            ..busy(0.5, Some(0.5))
        };
        for (observed, words) in [
            (busy(0.50, None), None),
            (busy(0.85, None), None),
            (
                busy(0.86, None),
                Some("busy 86.0% of the time, and nothing is known of the server (--server-pid)"),
            ),
            (
                busy(0.97, Some(0.40)),
                Some("busy 97.0% of the time, the server's busiest thread only 40.0%"),
            ),
            (
                busy(0.97, Some(0.84)),
                Some("the server's busiest thread only 84.0%"),
            ),
            (
                busy(0.99, Some(0.86)),
                Some("busy 99.0% of the time, the server's busiest thread only 86.0%"),
            ),
            (busy(0.99, Some(0.96)), None),
            (busy(0.90, Some(0.86)), None),
            (busy(0.40, Some(0.10)), None),
            (waited(0.15), None),
            (
                waited(0.16),
                Some("a load thread was ready but waited for a CPU 16.0% of the time"),
            ),
            (late(1000.0), None),
            (late(2500.0), Some("up to 2.50 ms late for what was due")),
        ] {
            let found = verdict(&observed);
            match words {
                None => assert_eq!(found, None, "{observed:?}"),
                Some(words) => {
                    let found = found.unwrap_or_else(|| panic!("nothing said of {observed:?}"));
                    assert!(found.contains(words), "{found}");
                }
            }
        }
    }

    #[test]
    fn every_reason_is_said() {
        let all = Observed {
            busiest_thread: 1.0,
            waited: 0.5,
            server_thread: None,
            loop_lag_us: Some(9e6),
        };
        assert_eq!(verdict(&all).expect("bound").matches("; ").count(), 2);
    }
}
