//! What is read of real processes.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::report::Sample;
use loadtest::watch::server::ServerWatch;
use loadtest::watch::{Done, Watch, WatchError};

static ALONE: Mutex<()> = Mutex::new(());

/// Tests that look at this process, or spin, take turns.
fn alone() -> MutexGuard<'static, ()> {
    ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A child process that does not outlive its test.
struct Running(Child);

impl Running {
    /// Returns when the shell has come as far as the script.
    fn shell(script: &str) -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("echo; {script}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut line = [0];
        child
            .stdout
            .as_mut()
            .expect("piped")
            .read_exact(&mut line)
            .expect("it says a line");
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watched(pid: u32, span: Duration) -> (loadtest::watch::Outcome, Sample) {
    let mut watch = Watch::new(Some(pid)).expect("our child");
    watch.before().expect("it runs");
    watch.begin().expect("it runs");
    thread::sleep(span / 2);
    let mut sample = Sample::default();
    watch.tick(&mut sample).expect("it runs");
    thread::sleep(span / 2);
    (
        watch.end(&Done {
            connections: 10,
            loop_lag_us: None,
        }),
        sample,
    )
}

/// How busy a spinning process is depends on who else wants the machine's cores, so the claim is that
/// it has nearly all the time that it was not kept waiting for one.
#[test]
fn a_spinning_child_is_busy_and_a_sleeping_one_is_not() {
    let _alone = alone();
    let spinning = Running::shell("while :; do :; done");
    let start = Instant::now();
    let (outcome, sample) = watched(spinning.0.id(), Duration::from_secs(1));
    let wall = start.elapsed().as_secs_f64();
    let mut server = outcome.server.expect("it runs");
    server.share(1000);
    let busy = server.user_seconds + server.system_seconds;
    assert!(busy > 0.05 && busy < wall + 0.05, "{busy} s of {wall} s");
    assert!(server.user_seconds > server.system_seconds, "{server:?}");
    let per_message = server.cpu_per_message_us.expect("there were messages");
    assert!(
        (per_message - busy * 1000.0).abs() < 1e-6,
        "{per_message} µs for each of 1000 in {busy} s"
    );
    assert!(
        sample.server_cpu.is_some_and(|cpu| cpu > 0.05 && cpu < 1.2),
        "{sample:?}"
    );
    assert!(
        sample.server_memory.is_some_and(|memory| memory > 100_000),
        "{sample:?}"
    );
    assert!(
        server.memory_before > 50_000 && server.memory_after > 50_000,
        "{server:?}"
    );
    assert!(
        server
            .memory_per_connection
            .is_none_or(|memory| memory < 1e5),
        "{server:?}"
    );

    let sleeping = Running::shell("exec sleep 60");
    let (outcome, _) = watched(sleeping.0.id(), Duration::from_secs(1));
    let server = outcome.server.expect("it sleeps");
    assert!(
        server.user_seconds + server.system_seconds < 0.02,
        "{server:?}"
    );
}

#[test]
fn memory_that_shrank_is_no_figure_for_connections() {
    let _alone = alone();
    let held = std::hint::black_box(vec![1u8; 64 << 20]);
    let mut watch = Watch::new(Some(std::process::id())).expect("ourselves");
    watch.before().expect("ourselves");
    watch.begin().expect("ourselves");
    drop(held);
    assert_eq!(watch.memory_per_connection(10), Ok(None));
    let done = Done {
        connections: 10,
        loop_lag_us: None,
    };
    let server = watch.end(&done).server.expect("ourselves");
    assert!(server.memory_after < server.memory_before, "{server:?}");
    assert_eq!(server.memory_per_connection, None);
}

#[test]
fn a_process_that_ends_is_an_error_and_the_client_s_part_stays() {
    let _alone = alone();
    let mut child = Running::shell("exec sleep 60");
    let pid = child.0.id();
    let mut watch = Watch::new(Some(pid)).expect("our child");
    watch.before().expect("it runs");
    watch.begin().expect("it runs");
    child.0.kill().expect("ours");
    // Until the exit status is asked for it has an entry still.
    let started = Instant::now();
    while watch.tick(&mut Sample::default()).is_ok() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it seems to run for ever"
        );
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(
        watch.tick(&mut Sample::default()),
        Err(WatchError::Gone(pid))
    );
    assert_eq!(
        ServerWatch::new(pid).err(),
        Some(WatchError::NoSuchProcess(pid))
    );
    child.0.wait().expect("it ended");
    assert_eq!(
        watch.tick(&mut Sample::default()),
        Err(WatchError::Gone(pid))
    );
    assert_eq!(
        ServerWatch::new(pid).err(),
        Some(WatchError::NoSuchProcess(pid))
    );

    let outcome = watch.end(&Done::default());
    assert_eq!(
        (outcome.server, outcome.error),
        (None, Some(WatchError::Gone(pid)))
    );
    assert!(outcome.client.threads > 0);
}

/// A load thread that spins leaves the watched server, which sleeps, no blame.
#[test]
fn a_spinning_load_thread_is_the_bottleneck() {
    let _alone = alone();
    let server = Running::shell("exec sleep 60");
    let mut watch = Watch::new(Some(server.0.id())).expect("our child");
    watch.before().expect("it runs");
    let span = Duration::from_secs(1);
    let until = Instant::now() + 2 * span;
    let spin = move || while Instant::now() < until {};
    let load = thread::Builder::new()
        .name("load-0".into())
        .spawn(spin)
        .expect("a thread");
    // A thread names itself once it runs.
    thread::sleep(span / 10);
    watch.begin().expect("it runs");
    thread::sleep(span);
    let client = watch.end(&Done::default()).client;
    load.join().expect("it only spins");
    assert_eq!(client.threads, 1, "{client:?}");
    // With a core of its own it is busy, without one it waits; either is said.
    assert!(
        client.busiest_thread > 0.05 && client.busiest_thread <= 1.0,
        "{client:?}"
    );
    let reason = client.bottleneck.expect("it spins");
    assert!(
        reason.contains("busy") || reason.contains("waited for a CPU"),
        "{reason}"
    );
}

#[test]
fn a_thread_that_ends_before_the_end_is_remembered() {
    let _alone = alone();
    let mut watch = Watch::new(None).expect("ourselves");
    let until = Instant::now() + Duration::from_millis(800);
    let spin = move || while Instant::now() < until {};
    let load = thread::Builder::new()
        .name("load-gone".into())
        .spawn(spin)
        .expect("a thread");
    thread::sleep(Duration::from_millis(50));
    watch.begin().expect("ourselves");
    thread::sleep(Duration::from_millis(600));
    watch.tick(&mut Sample::default()).expect("ourselves");
    load.join().expect("it only spins");
    let client = watch.end(&Done::default()).client;
    // One that was forgotten would have had no time at all.
    assert!(client.busiest_thread > 0.0, "{client:?}");
}
