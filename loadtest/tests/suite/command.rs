//! The binary: flags, exit codes, JSON.

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use loadtest::report::Report;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use super::server::{self, Server};

pub(crate) fn loadtest(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(args)
        .output()
        .unwrap()
}

/// Exit code and what it said.
pub(crate) fn said(output: &Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code().unwrap(), said)
}

#[test]
fn a_run_writes_its_json() {
    let server = Server::start(server::echo);
    let url = server.url();
    let output = loadtest(&[
        "echo",
        &url,
        "--connections=3",
        "--duration=200ms",
        "--warmup=0",
        "--payload=1KiB",
        "--json=-",
    ]);
    assert_eq!(said(&output).0, 0, "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report.scenario[..], &report.target), ("echo", &url));
    assert_eq!(report.settings["payload"], "1KiB");
    assert_eq!(report.settings["in-flight"], "1");
    assert_eq!(report.connections.opened, 3);
    assert!(report.messages.received > 0);
    assert!(report.messages.bytes_per_second > report.messages.per_second * 1000.0);
}

/// A process that spins on one core.
struct Spinner(std::process::Child);

impl Spinner {
    fn start(core: usize) -> Self {
        let child = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(Pid::from_raw(child.id() as i32), &set).unwrap();
        Self(child)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_client_that_is_kept_from_its_core_says_so() {
    let server = Server::start(server::echo);
    let core = sched_getcpu();
    let _spinners = [core; 3].map(Spinner::start);
    let pin = format!("--pin={core}");
    let output = loadtest(&[
        "echo",
        &server.url(),
        &pin,
        "--connections=16",
        "--in-flight=64",
        "--duration=2s",
        "--warmup=100ms",
        "--grace=20s",
        "--json=-",
    ]);
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    let bottleneck = report.client.bottleneck.unwrap();
    assert!(bottleneck.contains("waited for a CPU"), "{bottleneck}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("WARNING: the figures may be the client's"),
        "{said}"
    );
}

#[test]
fn a_fault_is_exit_code_1() {
    let server = Server::start(|socket| {
        server::next(socket)?;
        server::echo(socket)
    });
    let url = server.url();
    let output = loadtest(&[
        "echo",
        &url,
        "-c1",
        "--in-flight=2",
        "--duration=200ms",
        "--grace=100ms",
    ]);
    let (code, said) = said(&output);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("never came back"), "{said}");
}

#[test]
fn what_cannot_run_is_exit_code_2() {
    let refuses = server::answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let named = format!("{closed}: a connection could not be opened: Connection refused");
    let closed = format!("ws://{closed}/");
    for (args, why) in [
        (&["echo", &refuses.url()][..], "403 Forbidden"),
        (&["handshake", &refuses.url()], "403 Forbidden"),
        (&["echo", &closed], "Connection refused"),
        (&["echo", &closed], &named),
        (&["echo", "wss://127.0.0.1/"], "TLS"),
        (&["echo", &closed, "-c", "100000000"], "descriptors"),
        (&["echo", &closed, "--payload", "1TB"], "KiB"),
        (&["rate", &closed], "--rate"),
        (&["echo", &closed, "--pin", "900"], "core 900"),
        (
            &["echo", "ws://[::1]:9/", "--source-ips", "9"],
            "source addresses",
        ),
        (
            &["echo", &closed, "--text", "--binary"],
            "cannot be used with",
        ),
        (&["echo", &closed, "--duration", "0"], "more than 0"),
        (&["echo", &closed, "--active", "0"], "more than 0"),
        (&["echo", &closed, "-c9", "--active", "0.1"], "is none"),
        (&["echo", &closed, "--source-ips=0"], "1..=254"),
        (&["echo", &closed, "--source-ips=255"], "1..=254"),
        (
            &["broadcast", &closed, "--rate=9", "--in-flight=4"],
            "--in-flight is for broadcasts without --rate",
        ),
    ] {
        let (code, said) = said(&loadtest(args));
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
}

#[test]
fn threads_without_a_connection_are_not_started_and_that_is_said() {
    let server = Server::start(server::echo);
    let times = ["--duration=100ms", "--warmup=0"];
    for (threads, said_so) in [("--threads=9", true), ("--threads=2", false)] {
        let url = server.url();
        let args = [&["echo", &url, "-c2", threads][..], &times].concat();
        let (code, text) = said(&loadtest(&args));
        assert_eq!(code, 0, "{text}");
        let note = "NOTE: 2 load threads instead of 9: each needs a connection";
        assert_eq!(text.contains(note), said_so, "{text}");
    }
}

#[test]
fn a_requirement_that_no_run_can_keep_is_exit_code_2_at_once() {
    let server = Server::start(server::echo);
    let pid = format!("--server-pid={}", std::process::id());
    for (args, requirement, why) in [
        (&["echo"][..], "details.foo>1", "no detail `foo`"),
        (&["echo"], "details.deliveries>1", "no detail `deliveries`"),
        (
            &["broadcast"],
            "details.reach>1",
            "no detail `reach`: there are deliveries, given_up,",
        ),
        (&["echo"], "cpu-per-message<1s", "--server-pid"),
        (&["echo"], "memory<1GiB", "--server-pid"),
        (&["echo"], "corrected.p99<1s", "open loop"),
        (&["churn"], "corrected.p99<1s", "open loop"),
        (&["broadcast"], "corrected.p99<1s", "--rate"),
        (&["hostile"], "corrected.p99<1s", "--rate"),
        (&["handshake"], "p99<1s", "no messages"),
        (&["handshake"], "rate>1", "no messages"),
        (&["idle"], "p99<1s", "--echo-once or --ping-every"),
        (&["idle"], "rate>1", "--echo-once"),
        (&["idle"], "details.pings>0", "no detail `pings`"),
        (
            &["handshake", &pid],
            "bytes-per-connection<9",
            "as soon as it is open",
        ),
        (&["hostile", &pid], "bytes-per-connection<9", "attackers"),
    ] {
        let require = format!("--require={requirement}");
        let url = server.url();
        let output = loadtest(&[args, &[&url, "--duration=1h", &require]].concat());
        let (code, text) = said(&output);
        assert_eq!(code, 2, "{text}");
        assert!(
            text.contains(requirement) && text.contains(why),
            "{requirement}: {text}"
        );
    }
}

#[test]
fn results_that_cannot_be_written_are_exit_code_2() {
    let server = Server::start(server::echo);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["echo", &server.url(), "--duration=100ms", "--warmup=0"])
        .stdout(full)
        .output()
        .unwrap();
    let (code, text) = said(&output);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("cannot write to standard output"), "{text}");
    assert!(!text.contains("panicked"), "{text}");

    // Known at once: the run would take an hour.
    let hour = "--duration=1h";
    let output = loadtest(&["echo", &server.url(), hour, "--html=/none/run.html"]);
    let (code, text) = said(&output);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("cannot write /none/run.html"), "{text}");
    let output = loadtest(&["echo", &server.url(), hour, "--json=-", "--hgrm=-"]);
    let (code, text) = said(&output);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("only one of --json"), "{text}");
}

#[test]
fn a_measured_part_without_messages_is_a_fault() {
    let server = Server::start(|socket| {
        loop {
            let message = server::next(socket)?;
            thread::sleep(Duration::from_millis(600));
            socket.send(message)?;
        }
    });
    let url = server.url();
    for scenario in [&["echo"][..], &["rate", "--rate=10"], &["churn"]] {
        let mut args = scenario.to_vec();
        args.extend([&url, "-c1", "--duration=100ms", "--warmup=0"]);
        let (code, text) = said(&loadtest(&args));
        assert_eq!(code, 1, "{args:?}: {text}");
        assert!(
            text.contains("no echo came back whole and right in the measured part"),
            "{args:?}: {text}"
        );
    }
}

#[test]
fn an_interrupted_run_still_reports() {
    let server = Server::start(server::echo);
    let child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args([
            "echo",
            &server.url(),
            "--duration=60s",
            "--warmup=0",
            "--json=-",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It measures long before; and if not, that is no other end.
    thread::sleep(Duration::from_millis(700));
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let (code, said) = said(&output);
    assert_eq!(code, 130, "{said}");
    assert!(
        said.contains("NOTE: interrupted before its end\n"),
        "{said}"
    );
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report.details["interrupted"], 1.0);
    assert!(report.messages.received > 0);
    assert!(report.seconds < 30.0);
}

#[test]
fn idle_takes_its_time_as_duration_too() {
    let server = Server::start(server::echo);
    let output = loadtest(&[
        "idle",
        &server.url(),
        "--connections=3",
        "--duration=100ms",
        "--json=-",
    ]);
    assert_eq!(said(&output).0, 0, "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report.settings["hold"], "100ms");
}

/// The number of times in HdrHistogram's percentile output.
fn timed(output: &Output) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, count) = text.split_once("Total count    =").unwrap();
    let (count, _) = count.split_once(']').unwrap();
    count.trim().parse().unwrap()
}

#[test]
fn percentiles_are_of_what_was_timed_or_refused() {
    let server = Server::start(server::echo);
    let url = server.url();
    for scenario in [
        &["handshake"][..],
        &["idle", "--echo-once"],
        &["idle", "--ping-every=50ms"],
    ] {
        let args = [scenario, &[&url, "-c2", "--duration=300ms", "--hgrm=-"]].concat();
        let output = loadtest(&args);
        assert_eq!(said(&output).0, 0, "{output:?}");
        assert!(timed(&output) > 0, "{output:?}");
    }
    for scenario in [&["idle"][..], &["churn", "--messages=0"]] {
        let args = [scenario, &[&url, "--duration=1h", "--hgrm=-"]].concat();
        let (code, text) = said(&loadtest(&args));
        assert_eq!(code, 2, "{args:?}: {text}");
        assert!(text.contains("--hgrm"), "{args:?}: {text}");
    }
}

#[test]
fn idle_tells_memory_before_and_after_an_echo() {
    // Each connection has so much that no other test, in the same process, outweighs it.
    let server = Server::start(|socket| {
        let held = vec![1u8; 32 << 20];
        let done = server::echo(socket);
        drop(std::hint::black_box(held));
        done
    });
    let url = server.url();
    // Any process will do to see that it is looked at: this one has the server in it.
    let pid = std::process::id().to_string();
    let output = loadtest(&[
        "idle",
        &url,
        "--connections=3",
        "--hold=100ms",
        "--echo-once",
        "--server-pid",
        &pid,
        "--json=-",
    ]);
    assert_eq!(said(&output).0, 0, "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        report
            .details
            .contains_key("memory_per_connection_before_echo")
    );
    assert!(report.server.unwrap().memory_per_connection.is_some());
    assert_eq!(report.messages.received, 3);
}
