//! What the library logs.

use std::sync::{Mutex, Once};
use std::thread::{self, ThreadId};

use log::{LevelFilter, Log, Metadata, Record};

struct Capture(Mutex<Vec<(ThreadId, String)>>);

static CAPTURE: Capture = Capture(Mutex::new(Vec::new()));

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (thread::current().id(), record.args().to_string());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&CAPTURE).expect("no other logger");
        log::set_max_level(LevelFilter::Warn);
    });
}

/// Whether any thread has logged a line that contains `part`.
pub(crate) fn has(part: &str) -> bool {
    let lines = CAPTURE.0.lock().unwrap();
    lines.iter().any(|(_, line)| line.contains(part))
}

/// The same of this thread. Other servers of the process have threads of the same names.
pub(crate) fn has_from_here(part: &str) -> bool {
    let here = thread::current().id();
    let lines = CAPTURE.0.lock().unwrap();
    lines
        .iter()
        .any(|(thread, line)| *thread == here && line.contains(part))
}
