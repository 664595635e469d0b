//! The summary on a terminal.

use loadtest::report::require::Requirement;
use loadtest::report::{Report, summary};

use crate::sample;

#[test]
fn the_summary_has_every_part_in_human_units() {
    let text = summary::text(&sample::full(), None);
    println!("{text}");
    for part in [
        "rate  ws://127.0.0.1:9998/echo  30.0 s measured",
        "15,000",
        "1,500,000",
        "50.0 k/s",
        "5.96 MiB/s",
        "latency, raw",
        "latency, corrected",
        "opening handshake",
        "p99.99",
        "CPU per message",
        "5.37 µs",
        "2.77 MiB → 4.20 MiB",
        "100 B",
        "2.14 s user + 5.91 s system, 26.8% of one core",
        "24.3%",
        "victim_p99_us",
        "connection 17 ended before its time: 1006",
        "\nWARNING: the figures may be the client's: a load thread was busy 97.0% of the time\n",
        "\nWARNING: the run has faults: 3\n",
        "\nWARNING: requirement failed: p99<5ms: it was 210 ms\n",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

/// CPU time is told for what the scenario is about.
#[test]
fn cpu_time_is_shared_out_among_deliveries_or_handshakes() {
    for (scenario, wanted) in [
        ("rate", "CPU per message"),
        ("broadcast", "CPU per delivery"),
        ("handshake", "CPU per handshake"),
    ] {
        let mut report = sample::full();
        report.scenario = scenario.into();
        let text = summary::text(&report, None);
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
        let page = loadtest::report::html::page(&report);
        assert!(page.contains(&format!("server {wanted}")), "{scenario}");
    }
}

#[test]
fn memory_that_shrank_is_said_and_keeps_no_requirement() {
    let mut report = sample::full();
    let server = report.server.as_mut().expect("watched");
    (server.memory_before, server.memory_after) = (2 << 20, 1 << 20);
    server.memory_per_connection = None;
    let why = "memory shrank; use a fresh server";
    let text = summary::text(&report, None);
    assert!(text.contains(&format!("n/a: {why}")), "{text}");
    let requirement: Requirement = "bytes-per-connection<96".parse().expect("fine");
    let error = requirement.check(&report).expect_err("no figure");
    assert!(error.contains(why), "{error}");

    // An attack is not about connections that stay.
    report.scenario = "hostile".into();
    let text = summary::text(&report, None);
    assert!(!text.contains(why), "{text}");
}

/// Raw and corrected latency stand in one table, in rows of the same columns.
#[test]
fn raw_and_corrected_latency_are_side_by_side() {
    let text = summary::text(&sample::quiet(), None);
    let row = |name: &str| {
        text.lines()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("no {name}"))
    };
    let (raw, corrected) = (row("latency, raw"), row("latency, corrected"));
    assert_eq!(
        raw.chars().count(),
        corrected.chars().count(),
        "\n{raw}\n{corrected}"
    );
    assert!(
        !raw.contains("ms") && corrected.contains("ms"),
        "only the corrected one shows the stall\n{raw}\n{corrected}"
    );
}

#[test]
fn what_a_run_does_not_have_leaves_no_trace() {
    let text = summary::text(&Report::default(), None);
    for part in [
        "latency",
        "handshake",
        "server",
        "details",
        "faults",
        "WARNING",
        "NOTE",
        "NaN",
        "inf",
        "of one core",
    ] {
        assert!(!text.contains(part), "`{part}` in\n{text}");
    }
    let quiet = summary::text(&sample::quiet(), None);
    assert!(!quiet.contains("WARNING"), "{quiet}");
}

#[test]
fn a_table_keeps_to_the_terminal_s_width() {
    let text = summary::text(&sample::quiet(), Some(90));
    for line in text.lines() {
        assert!(line.chars().count() <= 90, "{line}");
    }
}

/// A server's words must not move the cursor.
#[test]
fn control_characters_do_not_reach_the_terminal() {
    let mut report = sample::full();
    report.target = "ws://\u{1b}[2J/".into();
    report.faults[0].what = "\u{1b}]0;title\u{7}".into();
    report.client.bottleneck = Some("a\rb".into());
    let text = summary::text(&report, None);
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{text:?}"
    );
}
