//! Against Python's `websockets`: a fault that our codec shared with our server would show here.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use loadtest::report::Report;

use crate::command::loadtest;

/// The report, and the exit code.
fn run(arguments: &[&str]) -> (Report, i32) {
    let output = loadtest(&[arguments, &["--json=-"]].concat());
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (report, output.status.code().unwrap())
}

struct Python {
    child: Child,
    url: String,
}

impl Python {
    /// `None`, with a printed reason, where the package is missing.
    fn start(arguments: &[&str]) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/echo.py");
        let probe = Command::new("python3")
            .args(["-c", "import websockets"])
            .stderr(Stdio::null())
            .status();
        if !probe.is_ok_and(|status| status.success()) {
            assert!(
                std::env::var_os("LOADTEST_REQUIRE_PYTHON").is_none(),
                "Python's websockets is missing"
            );
            eprintln!("skipped: Python's websockets is missing (pip install websockets)");
            return None;
        }
        let mut child = Command::new("python3")
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 was there a moment ago");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("it says its port");
        let url = format!("ws://127.0.0.1:{}/", line.trim());
        Some(Self { child, url })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn another_codec_reads_what_we_write_and_writes_what_we_read() {
    let Some(server) = Python::start(&[]) else {
        return;
    };
    for (kind, payload, in_flight) in [
        ("--text", "125", "4"),
        ("--binary", "125", "4"),
        ("--text", "126", "1"),
        ("--binary", "65536", "2"),
        ("--text", "1MiB", "1"),
        ("--binary", "0", "1"),
    ] {
        let (report, code) = run(&[
            "echo",
            &server.url,
            kind,
            "--payload",
            payload,
            "--in-flight",
            in_flight,
            "--connections=5",
            "--warmup=100ms",
            "--duration=500ms",
            "--grace=20s",
        ]);
        assert_eq!(report.faults, [], "{kind} {payload}");
        assert_eq!(code, 0, "{kind} {payload}");
        assert!(report.messages.received > 10, "{kind} {payload}");
        assert_eq!(report.messages.received, report.messages.sent);
    }
}

#[test]
fn a_bit_that_python_flips_is_seen() {
    let Some(server) = Python::start(&["corrupt"]) else {
        return;
    };
    for kind in ["--text", "--binary"] {
        let (report, code) = run(&[
            "echo",
            &server.url,
            kind,
            "--payload=64",
            "--in-flight=8",
            "--connections=2",
            "--warmup=100ms",
            "--duration=1s",
        ]);
        assert!(report.messages.corrupted > 0, "{kind}: {report:?}");
        assert_eq!(code, 1);
    }
}
