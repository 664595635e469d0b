//! The CPU time of a process and its threads.
//!
//! Two sources, each with what the other lacks. `/proc/PID/task/*/schedstat` counts nanoseconds, each
//! thread's up to its last scheduler tick, but a thread that ended takes its time along.
//! `/proc/PID/stat` keeps the time of ended threads and tells user from system, but in clock ticks of
//! 10 ms, and the kernel samples the split. So the sum comes from the first, unless a thread ended;
//! then from the second, as the split always does.

use std::collections::BTreeMap;

use procfs::ProcResult;
use procfs::process::Process;

/// Readings of one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    user_ticks: u64,
    system_ticks: u64,
    pub(super) threads: BTreeMap<i32, ThreadTimes>,
}

/// Of one thread, in nanoseconds since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreadTimes {
    /// On a CPU.
    pub(super) run: u64,
    /// Ready to run, but waiting for a CPU.
    pub(super) wait: u64,
}

/// CPU time in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    pub(super) user: f64,
    pub(super) system: f64,
}

impl Cpu {
    pub(super) fn total(self) -> f64 {
        self.user + self.system
    }
}

impl Times {
    pub(super) fn read(process: &Process) -> ProcResult<Self> {
        let mut threads = BTreeMap::new();
        for task in process.tasks()? {
            // A thread may end between being listed and being read.
            let Ok(task) = task else { continue };
            if let Ok(found) = task.schedstat() {
                threads.insert(
                    task.tid,
                    ThreadTimes {
                        run: found.sum_exec_runtime,
                        wait: found.run_delay,
                    },
                );
            }
        }
        let stat = process.stat()?;
        Ok(Self {
            user_ticks: stat.utime,
            system_ticks: stat.stime,
            threads,
        })
    }

    /// The CPU time from `earlier` to now.
    pub(super) fn since(&self, earlier: &Self) -> Cpu {
        let tick = 1.0 / procfs::ticks_per_second() as f64;
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64 * tick;
        let system = self.system_ticks.saturating_sub(earlier.system_ticks) as f64 * tick;
        let by_ticks = user + system;
        let thread_ended = earlier
            .threads
            .keys()
            .any(|tid| !self.threads.contains_key(tid));
        let exact = self
            .changes(earlier)
            .map(|(_, change)| change.run as f64 / 1e9)
            .sum::<f64>();
        let total = if thread_ended {
            by_ticks.max(exact)
        } else {
            exact
        };
        // In a span without a single tick the split is not known; then all of it counts as user time.
        let user_share = if by_ticks > 0.0 { user / by_ticks } else { 1.0 };
        Cpu {
            user: total * user_share,
            system: total * (1.0 - user_share),
        }
    }

    /// What each thread that still exists spent since `earlier`.
    pub(super) fn changes(&self, earlier: &Self) -> impl Iterator<Item = (i32, ThreadTimes)> {
        self.threads.iter().map(|(tid, now)| {
            let then = earlier.threads.get(tid).copied().unwrap_or_default();
            let change = ThreadTimes {
                run: now.run.saturating_sub(then.run),
                wait: now.wait.saturating_sub(then.wait),
            };
            (*tid, change)
        })
    }

    /// CPU time per wall time of the thread that had most, 0 to 1.
    pub(super) fn busiest_since(&self, earlier: &Self, wall: f64) -> f64 {
        let most = self
            .changes(earlier)
            .map(|(_, change)| change.run)
            .max()
            .unwrap_or(0);
        share(most, wall)
    }
}

/// Nanoseconds of `wall` seconds, 0 to 1: a reading is not taken at one moment, so that it can seem
/// a little more.
pub(super) fn share(nanoseconds: u64, wall: f64) -> f64 {
    if wall > 0.0 {
        (nanoseconds as f64 / 1e9 / wall).min(1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(user_ticks: u64, system_ticks: u64, threads: &[(i32, u64)]) -> Times {
        let threads = threads
            .iter()
            .map(|&(tid, ms)| {
                (
                    tid,
                    ThreadTimes {
                        run: ms * 1_000_000,
                        wait: 0,
                    },
                )
            })
            .collect();
        Times {
            user_ticks,
            system_ticks,
            threads,
        }
    }

    fn near(found: f64, right: f64) {
        assert!((found - right).abs() < 1e-9, "{found} is not {right}");
    }

    #[test]
    fn the_sum_is_of_the_threads_and_the_split_of_the_ticks() {
        let cpu = times(30, 10, &[(1, 1234), (2, 100)]).since(&times(0, 0, &[(1, 1000)]));
        near(cpu.total(), 0.334);
        near(cpu.user, 0.334 * 0.75);
    }

    #[test]
    fn time_of_a_thread_that_ended_is_not_lost() {
        let tick = 1.0 / procfs::ticks_per_second() as f64;
        let cpu = times(150, 50, &[(1, 10)]).since(&times(0, 0, &[(1, 0), (2, 5)]));
        near(cpu.total(), 200.0 * tick);
        near(cpu.system, 50.0 * tick);
    }

    #[test]
    fn a_span_without_a_tick_has_time() {
        let cpu = times(5, 5, &[(1, 3)]).since(&times(5, 5, &[(1, 1)]));
        assert_eq!(
            cpu,
            Cpu {
                user: 0.002,
                system: 0.0
            }
        );
    }

    #[test]
    fn the_busiest_thread_is_the_one_with_most_in_the_span() {
        let busy =
            times(0, 0, &[(1, 9000), (2, 700)]).busiest_since(&times(0, 0, &[(1, 8900)]), 1.0);
        near(busy, 0.7);
        near(share(2_000_000_000, 1.0), 1.0);
        near(share(1, 0.0), 0.0);
    }
}
