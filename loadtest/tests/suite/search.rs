//! Searches of servers with a known breaking point.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use loadtest::report::Report;

use super::command::{loadtest, said};
use super::server::{self, Server};

/// How long echoes take beyond the breaking point; far more than a busy machine adds.
const DELAY: Duration = Duration::from_millis(150);

/// An echo server that is slow while more than `most` connections are open.
fn crowded(most: usize) -> Server {
    let open = Arc::new(AtomicUsize::new(0));
    Server::raw(move |stream| {
        stream.set_nodelay(true).unwrap();
        let Ok(mut socket) = tungstenite::accept(stream) else {
            return;
        };
        open.fetch_add(1, Ordering::SeqCst);
        while let Ok(message) = server::next(&mut socket) {
            if open.load(Ordering::SeqCst) > most {
                thread::sleep(DELAY);
            }
            if socket.send(message).is_err() {
                break;
            }
        }
        open.fetch_sub(1, Ordering::SeqCst);
    })
}

fn search(url: &str, more: &[&str]) -> (i32, Report, String) {
    let common = [
        "search",
        url,
        "--json=-",
        "--warmup=200ms",
        "--step-duration=500ms",
    ];
    let output = loadtest(&[&common, more].concat());
    let (code, text) = said(&output);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (code, report, text)
}

#[test]
fn the_most_connections_are_found() {
    let server = crowded(10);
    let limit = [
        "--by=connections",
        "--limit=p50<75ms",
        "--from=2",
        "--to=64",
    ];
    for load in ["--per-connection=5", "--in-flight=1"] {
        let (code, report, text) = search(&server.url(), &[&limit[..], &[load]].concat());
        assert_eq!(code, 0, "{text}");
        assert_eq!(report.details["most"], 10.0, "{load}: {text}");
        assert_eq!(report.connections.opened, 10, "{text}");
        assert_eq!(
            (&report.scenario[..], report.settings["to"].as_str()),
            ("search", "64")
        );
        let tries = report.details["tries"];
        // 2, 4, 8, 16, 12, 10 and 11, the failing ones twice.
        assert!(tries >= 10.0, "{text}");
        assert_eq!(report.tables[0].rows.len() as f64, tries);
        assert_eq!(
            (report.details["try.1"], report.details["try.1.met"]),
            (2.0, 1.0)
        );
        assert!(
            report.notes[0].contains("10 connections meet the limit"),
            "{text}"
        );
        let ascend = report.series.windows(2).all(|two| two[0].at <= two[1].at);
        assert!(ascend && report.series.len() as f64 >= tries);
    }
}

#[test]
fn the_highest_rate_is_found() {
    // One connection, 10 ms for each message: 100 per second and no more.
    let server = Server::start(|socket| {
        loop {
            let message = server::next(socket)?;
            thread::sleep(Duration::from_millis(10));
            socket.send(message)?;
        }
    });
    let args = [
        "--by=rate",
        "--connections=1",
        "--limit=p50<80ms",
        "--from=10",
        "--to=1000",
        "--precision=0.2",
    ];
    let (code, report, text) = search(&server.url(), &args);
    assert_eq!(code, 0, "{text}");
    let most = report.details["most"];
    assert!((40.0..=102.0).contains(&most), "{most}: {text}");
}

#[test]
fn none_and_all_that_meet_the_limit() {
    let server = crowded(3);
    let limit = ["--by=connections", "--limit=p50<75ms", "--per-connection=5"];
    let from = |range: &[&str]| search(&server.url(), &[&limit[..], range].concat());
    let (code, report, text) = from(&["--from=8", "--to=64"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("nothing that was tried meets the limit"),
        "{text}"
    );
    assert!(!report.details.contains_key("most"));
    let (code, report, text) = from(&["--from=1", "--to=3"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(
        (report.details["most"], report.details["at_least"]),
        (3.0, 1.0)
    );
    assert!(text.contains("at least 3 connections"), "{text}");
}

#[test]
fn bad_searches_are_exit_code_2() {
    let server = crowded(3);
    for (args, why) in [
        (&["--by=connections"][..], "--limit"),
        (&["--by=size", "--limit=p99<1s"], "possible values"),
        (&["--by=rate", "--limit=p99"], "compares nothing"),
        (
            &["--by=rate", "--limit=p99<1s", "--to=5"],
            "less than --from",
        ),
        (
            &["--by=connections", "--limit=p99<1s", "--from=1.5"],
            "whole",
        ),
        (
            &["--by=rate", "--limit=p99<1s", "--precision=0"],
            "precision",
        ),
        (
            &["--by=rate", "--limit=p99<1s", "--per-connection=5"],
            "--per-connection is for a search --by connections",
        ),
        (
            &["--by=rate", "--limit=p99<1s", "--in-flight=5"],
            "--in-flight is for a search --by connections",
        ),
        (
            &["--by=connections", "--limit=p99<1s", "-c=5"],
            "--connections is for a search --by rate",
        ),
        (
            &["--by=rate", "--limit=cpu-per-message<5ms"],
            "in each try, cpu-per-message<5ms: it needs --server-pid",
        ),
        (
            &["--by=rate", "--limit=p99<1s", "--require=details.foo<1"],
            "no detail `foo`: there are tries",
        ),
    ] {
        let (code, _, text) = search(&server.url(), args);
        assert_eq!(code, 2, "{args:?}: {text}");
        assert!(text.contains(why), "{args:?}: {text}");
    }
    let (code, _, text) = search("ws://127.0.0.1:1/", &["--by=rate", "--limit=p99<1s"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("refused"), "{text}");
}

/// Far from any limit that a busy machine might break.
const EASY: [&str; 5] = [
    "--by=rate",
    "--limit=p50<10s",
    "--from=100",
    "--connections=4",
    "--precision=0.01",
];

#[test]
fn a_server_that_dies_ends_the_search() {
    let server = Server::mortal(Duration::from_millis(1500), usize::MAX);
    let (code, report, text) = search(&server.url(), &EASY);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("the search could not go on") && text.contains("refused"),
        "{text}"
    );
    // What was found until then is told; nothing that was refused is taken for a try.
    let rows = &report.tables[0].rows;
    assert!((1..=5).contains(&rows.len()), "{text}");
    assert!(
        !rows.iter().any(|row| row[6].contains("refused")),
        "{rows:?}"
    );
}

#[test]
fn a_server_process_that_ends_ends_the_search() {
    // Any process will do: it is its end that is looked for.
    let mut process = std::process::Command::new("sleep")
        .arg("1.5")
        .spawn()
        .unwrap();
    let server = Server::start(server::echo);
    let pid = process.id().to_string();
    let (code, report, text) = search(
        &server.url(),
        &[&EASY[..], &["--server-pid", &pid]].concat(),
    );
    process.wait().unwrap();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("the search could not go on"), "{text}");
    assert!(
        text.contains(&format!("process {pid} ended")) || text.contains("no process has the pid"),
        "{text}"
    );
    assert!((1..=4).contains(&report.tables[0].rows.len()), "{text}");
}

#[test]
fn a_server_that_takes_no_more_connections_is_not_gone() {
    const MOST: usize = 4;
    let open = Arc::new(AtomicUsize::new(0));
    let server = Server::raw(move |mut stream| {
        if open.fetch_add(1, Ordering::SeqCst) < MOST {
            server::serve(server::echo)(stream);
        } else {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
        }
        open.fetch_sub(1, Ordering::SeqCst);
    });
    let args = [
        "--by=connections",
        "--limit=p50<10s",
        "--from=2",
        "--to=16",
        "--per-connection=5",
    ];
    let (code, report, text) = search(&server.url(), &args);
    assert_eq!(code, 0, "{text}");
    assert_eq!(report.details["most"], 4.0, "{text}");
}
