//! How long to wait for what must happen.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything that must happen may take. Nothing that works comes near it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Polls until `done` holds, and fails the test with `what` if it does not in time.
#[track_caller]
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}
