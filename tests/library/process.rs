//! Tests that measure this process run in one of their own.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const ALONE: &str = "SOCKEYE_TEST_ALONE";

/// Runs `measure` in another process, in which no other test runs. `test` is the full name of
/// the test that calls this.
#[track_caller]
pub(crate) fn alone(test: &str, measure: impl FnOnce()) {
    if std::env::var(ALONE).is_ok_and(|name| name == test) {
        return measure();
    }
    let executable = std::env::current_exe().expect("the name of this executable");
    let output = Command::new(executable)
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, test)
        .stdin(Stdio::null())
        .output()
        .expect("start this executable again");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    eprintln!("{errors}");
    assert!(output.status.success(), "{test} alone: {text}");
    assert!(text.contains("1 passed"), "no test has the name {test}");
}

/// Processor time of the threads whose names begin like this, to 10 ms.
pub(crate) fn processor_time(prefix: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("the threads");
    let mut ticks = 0;
    for task in tasks.flatten() {
        // It may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else {
            continue;
        };
        let (head, tail) = stat.rsplit_once(')').expect("a name");
        let name = head.split_once('(').expect("a name").1;
        if name.starts_with(prefix) {
            let fields: Vec<&str> = tail.split_whitespace().collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    // USER_HZ is 100 on every Linux this runs on.
    Duration::from_millis(ticks * 10)
}

/// Checks that reactors and workers come to do nothing for a while. On a busy machine what was
/// begun may take its time; a thread that spins never rests.
#[track_caller]
pub(crate) fn expect_rest() {
    let used = || processor_time("reactor-") + processor_time("worker-");
    let rested = (0..20).any(|_| {
        let before = used();
        thread::sleep(Duration::from_millis(500));
        let spent = used() - before;
        eprintln!("{spent:?} of processor time in 500 ms");
        spent <= Duration::from_millis(50)
    });
    assert!(rested, "a thread spins");
}

/// A figure of `/proc/self/status`, in bytes or without unit.
fn status(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the status");
    let line = status.lines().find(|line| line.starts_with(field));
    let mut words = line.expect("the field").split_whitespace().skip(1);
    let number: usize = words.next().unwrap().parse().unwrap();
    match words.next() {
        Some("kB") => number << 10,
        _ => number,
    }
}

pub(crate) fn resident() -> usize {
    status("VmRSS:")
}

pub(crate) fn threads() -> usize {
    status("Threads:")
}

pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd")
        .expect("the descriptors")
        .count()
}
