//! The binary: flags, exit codes, JSON.

use std::process::{Command, Output};

use loadtest::report::Report;

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
    let closed = format!("ws://{closed}/");
    for (args, why) in [
        (&["echo", &refuses.url()][..], "403 Forbidden"),
        (&["handshake", &refuses.url()], "403 Forbidden"),
        (&["echo", &closed], "Connection refused"),
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
    ] {
        let (code, said) = said(&loadtest(args));
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
}
