//! The live line while a run goes on.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Sample, format};

/// A progress line on standard error: redrawn in place on a terminal; elsewhere nothing, or a plain
/// line now and then if asked.
pub struct Progress {
    scenario: String,
    phase: String,
    total: Duration,
    start: Instant,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines {
        out: Box<dyn Write + Send>,
        every: Duration,
        last: Option<Instant>,
    },
    Nothing,
}

impl Progress {
    /// A line for a run of a scenario that takes `total`, zero if that is not known. Without a
    /// terminal it is a plain line every `plain`, or nothing.
    pub fn new(scenario: &str, total: Duration, plain: Option<Duration>) -> Self {
        let shown = match plain {
            _ if io::stderr().is_terminal() => Shown::Bar(bar(total)),
            Some(every) => Shown::Lines {
                out: Box::new(io::stderr()),
                every,
                last: None,
            },
            None => Shown::Nothing,
        };
        Self::with(scenario, total, shown)
    }

    fn with(scenario: &str, total: Duration, shown: Shown) -> Self {
        Self {
            scenario: scenario.into(),
            phase: String::new(),
            total,
            start: Instant::now(),
            shown,
        }
    }

    /// Says what the run is doing now: `opening`, `measuring`, `closing`.
    pub fn phase(&mut self, phase: &str) {
        self.phase = phase.into();
        match &mut self.shown {
            Shown::Bar(bar) => bar.set_message(format!("{}  {phase}", self.scenario)),
            Shown::Lines { last, .. } => *last = None,
            Shown::Nothing => {}
        }
    }

    /// Shows the newest sample. Cheap enough for many calls a second.
    pub fn update(&mut self, sample: &Sample) {
        let elapsed = self.start.elapsed();
        let (scenario, phase) = (&self.scenario, &self.phase);
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(millis(elapsed).min(bar.length().unwrap_or(u64::MAX)));
                bar.set_message(format!("{scenario}  {phase}  {}", line(sample)));
            }
            Shown::Lines { out, every, last } => {
                if last.is_none_or(|last| last.elapsed() >= *every) {
                    *last = Some(Instant::now());
                    // Progress that nobody can read any more is no reason to end the run.
                    let _ = writeln!(
                        out,
                        "{}  {scenario}  {phase}  {}",
                        clock(elapsed, self.total),
                        line(sample)
                    );
                }
            }
            Shown::Nothing => {}
        }
    }

    /// Takes the line away, so that the summary stands alone.
    pub fn finish(self) {
        if let Shown::Bar(bar) = self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Duration) -> ProgressBar {
    let (bar, template) = if total.is_zero() {
        (
            ProgressBar::new_spinner(),
            "{spinner} {elapsed_precise}  {wide_msg}",
        )
    } else {
        (
            ProgressBar::new(millis(total)),
            "{bar:24} {elapsed_precise}  {wide_msg}",
        )
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.with_style(ProgressStyle::with_template(template).expect("a template that a test draws"))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `12s/30s`.
fn clock(elapsed: Duration, total: Duration) -> String {
    let elapsed = format!("{}s", elapsed.as_secs());
    if total.is_zero() {
        elapsed
    } else {
        format!("{elapsed}/{}s", total.as_secs())
    }
}

fn line(sample: &Sample) -> String {
    let mut parts = vec![format!("{} open", format::count(sample.connections))];
    if sample.messages_per_second > 0.0 {
        parts.push(format::rate(sample.messages_per_second));
    }
    parts.extend(
        sample
            .p50_us
            .map(|p50| format!("p50 {}", format::micros(p50))),
    );
    parts.extend(
        sample
            .p99_us
            .map(|p99| format!("p99 {}", format::micros(p99))),
    );
    parts.extend(
        sample
            .server_cpu
            .map(|cpu| format!("server {}", format::percent(cpu))),
    );
    parts.extend(
        sample
            .server_memory
            .map(|memory| format::bytes(memory as f64)),
    );
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic under it").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn lines(&self) -> Vec<String> {
            let bytes = self.0.lock().expect("no panic under it").clone();
            String::from_utf8(bytes)
                .expect("text")
                .lines()
                .map(str::to_owned)
                .collect()
        }
    }

    fn sample() -> Sample {
        Sample {
            connections: 12_345,
            messages_per_second: 1_230_000.0,
            p50_us: Some(45.0),
            p99_us: Some(1200.0),
            server_cpu: Some(0.93),
            ..Sample::default()
        }
    }

    #[test]
    fn a_plain_line_comes_once_per_interval_and_for_each_phase() {
        let out = Written::default();
        let every = Duration::from_secs(3600);
        let shown = Shown::Lines {
            out: Box::new(out.clone()),
            every,
            last: None,
        };
        let mut progress = Progress::with("echo", Duration::from_secs(30), shown);
        progress.phase("opening");
        progress.update(&Sample {
            connections: 7,
            ..Sample::default()
        });
        progress.update(&Sample {
            connections: 8,
            ..Sample::default()
        });
        progress.phase("measuring");
        progress.update(&sample());
        progress.finish();
        assert_eq!(
            out.lines(),
            [
                "0s/30s  echo  opening  7 open",
                "0s/30s  echo  measuring  12,345 open  1.23 M/s  p50 45.0 µs  p99 1.20 ms  server 93.0%",
            ]
        );
    }

    #[test]
    fn a_bar_draws_its_line_and_clears_it() {
        let terminal = indicatif::InMemoryTerm::new(4, 120);
        for total in [Duration::from_secs(30), Duration::ZERO] {
            let bar = bar(total);
            bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
            let mut progress = Progress::with("echo", total, Shown::Bar(bar.clone()));
            progress.phase("measuring");
            progress.update(&sample());
            bar.force_draw();
            assert!(
                terminal
                    .contents()
                    .contains("echo  measuring  12,345 open  1.23 M/s"),
                "{}",
                terminal.contents()
            );
            progress.finish();
            assert_eq!(terminal.contents(), "");
        }
    }
}
