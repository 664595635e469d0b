//! `loadtest compare` end to end, with servers and a load generator that are shell scripts.
//!
//! The scripts know nothing of WebSocket: a server prints its URL and sleeps, and the load
//! generator prints the report that was prepared for that URL.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use loadtest::compare::{Comparison, Metric, Ratio};
use loadtest::report::{Fault, Latency, Quantiles, Report, ServerUse};
use tempfile::TempDir;

/// What a load generator does that prints the report of its target, which is its last plain
/// argument, after noting how it was called.
const CLIENT: &str = r#"
for argument; do
  case $argument in ws://*) host=${argument#ws://}; host=${host%%/*} ;; esac
done
echo "$*" >> calls
cat "$host.json"
"#;

struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let scene = Scene { folder };
        scene.script("client", CLIENT);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let folder = self.folder.path().display();
        fs::write(&path, format!("#!/bin/sh\ncd {folder}\n{text}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A server that is ready at once, notes its pid and order, and has this report.
    fn server(&self, name: &str, report: &Report) -> String {
        let json = serde_json::to_vec(report).unwrap();
        fs::write(self.path(&format!("{name}.json")), json).unwrap();
        let script =
            format!("echo {name} $$ >> starts\necho listening on ws://{name}\nexec sleep 60\n");
        self.add(name, &script)
    }

    /// A server that is this script, as `--add` wants it.
    fn add(&self, name: &str, script: &str) -> String {
        format!(
            "{name}={}",
            self.script(&format!("{name}.sh"), script).display()
        )
    }

    /// Compares these servers, only these, on cell 64,32,1.
    fn command(&self, servers: &[String], more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args(["compare", "--cell", "64,32,1", "--no-pin", "--no-netns"]);
        command.arg("--json").arg(self.path("out.json"));
        command.arg("--client").arg(self.path("client"));
        for server in servers {
            command.args(["--add", server]);
        }
        command.args(more);
        command.stdin(Stdio::null());
        command
    }

    /// Runs it with `--server` for each of the servers.
    fn compare(&self, servers: &[String], more: &[&str]) -> Output {
        let mut command = self.command(servers, more);
        for server in servers {
            command.args(["--server", server.split_once('=').unwrap().0]);
        }
        command.output().unwrap()
    }

    fn comparison(&self) -> Comparison {
        serde_json::from_slice(&fs::read(self.path("out.json")).unwrap()).unwrap()
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The servers that were started and still run.
    fn left_behind(&self) -> Vec<String> {
        let runs = |line: &String| {
            let pid = line.split(' ').nth(1).unwrap_or_default();
            let command = fs::read(Path::new("/proc").join(pid).join("cmdline"));
            command.is_ok_and(|command| command.starts_with(b"sleep"))
        };
        self.lines("starts").into_iter().filter(runs).collect()
    }
}

/// A good report in which a message costs the server this much.
fn report(cpu: f64) -> Report {
    let mut report = Report {
        seconds: 1.0,
        ..Report::default()
    };
    report.messages.per_second = 1e6 / cpu;
    report.latency = Some(Latency {
        raw: Quantiles {
            p50: cpu,
            ..Quantiles::default()
        },
        corrected: None,
    });
    report.server = Some(ServerUse {
        cpu_per_message_us: Some(cpu),
        ..ServerUse::default()
    });
    report
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn servers_are_started_anew_for_each_sample_and_compared_round_by_round() {
    let scene = Scene::new();
    let servers = [
        scene.server("one", &report(4.0)),
        scene.server("two", &report(6.0)),
    ];
    let markdown = scene.path("out.md");
    let output = scene.compare(
        &servers,
        &[
            "--rounds",
            "6",
            "--markdown",
            markdown.to_str().unwrap(),
            "--require",
            "two/one<1.51",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let comparison = scene.comparison();
    let cell = &comparison.cells[0];
    assert_eq!(cell.server("one").unwrap().values(Metric::Cpu).len(), 6);
    let Some(Ratio::Sure(ratio)) = cell.ratio(Metric::Cpu, "two", "one") else {
        panic!("refused");
    };
    assert_eq!((ratio.median, ratio.count), (1.5, 6));
    for page in [text(&output.stdout), fs::read_to_string(markdown).unwrap()] {
        assert!(page.contains("64 connections, 32 B, 1 in flight"), "{page}");
        assert!(page.contains("6.00 (6.00-6.00)"), "{page}");
    }

    // Where there is no terminal, each round of a cell has a line.
    let stderr = text(&output.stderr);
    let lines: Vec<_> = stderr
        .lines()
        .filter(|line| line.starts_with("round "))
        .collect();
    assert_eq!(lines.len(), 6, "{stderr}");
    assert_eq!(lines[5], "round 6 of 6, 64,32,1");

    // Each sample has a process of its own; the first two starts are the check that they start.
    let starts = scene.lines("starts");
    assert_eq!(starts.len(), 2 + 12);
    for round in starts[2..].chunks(2) {
        let mut names: Vec<_> = round
            .iter()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["one", "two"]);
    }
    assert_eq!(scene.left_behind(), [""; 0]);
    let calls = scene.lines("calls");
    assert_eq!(calls.len(), 12);
    let pid = starts[2].split(' ').nth(1).unwrap();
    assert!(
        calls[0].starts_with("echo ") && calls[0].contains(&format!("--server-pid {pid} ")),
        "{calls:?}"
    );
}

#[test]
fn a_condition_that_does_not_hold_fails_the_run() {
    let scene = Scene::new();
    let servers = [
        scene.server("one", &report(4.0)),
        scene.server("two", &report(6.0)),
    ];
    let output = scene.compare(&servers, &["--rounds", "5", "--require", "two/one<1.49"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not hold: two/one<1.49: 1.500 at 64,32,1"));
    // Too few rounds for a ratio: not sure is not good enough.
    let output = scene.compare(&servers, &["--rounds", "4", "--require", "two/one<1.51"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("unsure at 64,32,1, 4 good rounds, 5 wanted"));
    assert!(text(&output.stdout).contains("unsure"));
}

#[test]
fn a_faulty_server_has_an_error_instead_of_figures() {
    let scene = Scene::new();
    let mut faulty = report(1.0);
    faulty.faults.push(Fault {
        what: "message lost".into(),
        count: 2,
    });
    let servers = [
        scene.server("good", &report(4.0)),
        scene.server("faulty", &faulty),
    ];
    let output = scene.compare(&servers, &["--rounds", "5"]);
    assert_eq!(output.status.code(), Some(1));
    let comparison = scene.comparison();
    let faulty = comparison.cells[0].server("faulty").unwrap();
    assert_eq!(faulty.failures(), Some((5, "message lost (2x)")));
    assert_eq!(faulty.values(Metric::Cpu), []);
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("faulty: 5 of 5 samples failed: message lost (2x)"),
        "{stdout}"
    );
}

#[test]
fn a_sample_whose_client_was_the_bottleneck_is_marked() {
    let scene = Scene::new();
    let mut busy = report(4.0);
    busy.client.bottleneck = Some("its one thread was busy 99% of the time".into());
    let servers = [scene.server("busy", &busy)];
    let output = scene.compare(&servers, &["--rounds", "2"]);
    assert_eq!(output.status.code(), Some(0));
    let stdout = text(&output.stdout);
    assert!(stdout.contains("busy†"), "{stdout}");
    assert!(
        stdout.contains("busy 2 of 2, such as: its one thread was busy"),
        "{stdout}"
    );
}

#[test]
fn garbage_from_the_load_generator_is_a_failed_sample() {
    let scene = Scene::new();
    let servers = [
        scene.server("one", &report(4.0)),
        scene.server("two", &report(4.0)),
    ];
    fs::write(scene.path("one.json"), "no report at all").unwrap();
    fs::remove_file(scene.path("two.json")).unwrap();
    let output = scene.compare(&servers, &["--rounds", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let comparison = scene.comparison();
    let why = |name| {
        comparison.cells[0]
            .server(name)
            .unwrap()
            .failures()
            .unwrap()
            .1
            .to_owned()
    };
    assert!(
        why("one").contains("load generator: no report"),
        "{}",
        why("one")
    );
    assert!(
        why("two").contains("exit status: 1") && why("two").contains("two.json"),
        "{}",
        why("two")
    );
}

#[test]
fn a_load_generator_that_hangs_is_ended() {
    let scene = Scene::new();
    let servers = [scene.server("one", &report(4.0))];
    scene.script("client", "exec sleep 60");
    let started = Instant::now();
    let output = scene.compare(&servers, &["--rounds", "2", "--sample-timeout", "300ms"]);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(1));
    let comparison = scene.comparison();
    let one = comparison.cells[0].server("one").unwrap();
    assert_eq!(one.failures(), Some((2, "load generator: took too long")));
    assert_eq!(scene.left_behind(), [""; 0]);
}

#[test]
fn a_server_that_cannot_start_is_an_error_if_it_was_asked_for() {
    let scene = Scene::new();
    let dies = scene.add("dies", "echo no such library >&2; exit 5");
    let output = scene.compare(&[dies], &["--rounds", "1"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("error: dies: ended before it was ready, exit status: 5: no such library"),
        "{stderr}"
    );

    let mute = scene.add("mute", "exec sleep 60");
    let output = scene.compare(&[mute], &["--rounds", "1", "--sample-timeout", "200ms"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("error: mute: was not ready in time"));
}

#[test]
fn an_added_server_takes_part_beside_those_that_are_named() {
    let scene = Scene::new();
    let one = scene.server("one", &report(4.0));
    let dies = scene.add("dies", "exit 5");
    let mut command = scene.command(&[one, dies], &["--rounds", "1", "--server", "one"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("error: dies: ended before it was ready"),
        "{stderr}"
    );
}

#[test]
fn a_server_that_cannot_start_is_left_out_if_it_was_not_asked_for() {
    let scene = Scene::new();
    let good = scene.server("good", &report(4.0));
    let mut command = scene.command(&[good], &["--rounds", "1", "--no-build"]);
    // Nothing is built but one server that does not run.
    let target = scene.path("target");
    let built = target.join("peers/release");
    fs::create_dir_all(&built).unwrap();
    fs::rename(scene.script("floor", "exit 5"), built.join("floor")).unwrap();
    command
        .env("CARGO_TARGET_DIR", &target)
        .arg("--workspace")
        .arg(&target);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("Left out: floor: ended before it was ready, exit status: 5."),
        "{stdout}"
    );
    assert!(
        stdout.contains("Left out: fastwebsockets: not built."),
        "{stdout}"
    );
    let comparison = scene.comparison();
    let left_out = |name: &str| {
        comparison
            .servers
            .iter()
            .find(|s| s.name == name)
            .unwrap()
            .left_out
            .is_some()
    };
    assert!(left_out("floor") && left_out("sockeye") && !left_out("good"));
    let stderr = text(&output.stderr);
    assert!(!stderr.contains("building"), "{stderr}");
}

#[test]
fn a_server_that_dies_during_a_sample_is_an_error_there() {
    let scene = Scene::new();
    let dies = scene.server("dies", &report(4.0));
    // It lives long enough to be started.
    scene.script(
        "dies.sh",
        "echo listening on ws://dies\nsleep 0.2; echo out of memory >&2; exit 9\n",
    );
    scene.script("client", "sleep 1; cat dies.json");
    let output = scene.compare(&[dies], &["--rounds", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let comparison = scene.comparison();
    let failures = comparison.cells[0].server("dies").unwrap().failures();
    assert_eq!(
        failures,
        Some((1, "the server ended, exit status: 9: out of memory"))
    );
}

#[test]
fn a_signal_ends_what_was_started() {
    let scene = Scene::new();
    let servers = [scene.server("one", &report(4.0))];
    scene.script("client", "echo x >> calls; exec sleep 60");
    let mut command = scene.command(&servers, &["--server", "one"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while scene.lines("calls").is_empty() {
        assert!(Instant::now() < deadline, "the first sample never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(scene.left_behind(), [""; 0]);
    assert!(
        !scene.path("out.json").exists(),
        "there was nothing to write"
    );
}

#[test]
fn what_was_measured_before_a_signal_is_written() {
    let scene = Scene::new();
    let server = scene.server("one", &report(4.0));
    // The second sample takes long enough for the signal to come in it.
    scene.script(
        "client",
        &format!("[ -e calls ] && {{ echo x >> calls; exec sleep 60; }}\n{CLIENT}"),
    );
    let more = ["--server", "one", "--cell", "idle", "--require", "one<1"];
    let child = scene
        .command(&[server], &more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while scene.lines("calls").len() < 2 {
        assert!(Instant::now() < deadline, "the second sample never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(scene.left_behind(), [""; 0]);
    let comparison = scene.comparison();
    assert!(comparison.interrupted);
    assert_eq!(comparison.cells.len(), 1, "the other has no sample");
    let one = comparison.cells[0].server("one").unwrap();
    assert_eq!(one.values(Metric::Cpu), [(0, 4.0)]);
    assert!(text(&output.stdout).contains("Interrupted: not all samples"));
}
