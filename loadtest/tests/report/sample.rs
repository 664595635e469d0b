//! A report such as an open-loop run of half a minute gives, with a stall in it.

use std::f64::consts::TAU;

use hdrhistogram::Histogram;
use loadtest::report::{
    ClientUse, Connections, Fault, Latency, Messages, Quantiles, Report, SCHEMA, Sample, ServerUse,
    Table,
};

/// A full report: every part is there.
pub(crate) fn full() -> Report {
    let mut report = quiet();
    report.handshake = Some(Quantiles::from(&latencies(15_000, 180_000.0, 0)));
    report.client.bottleneck = Some("a load thread was busy 97.0% of the time".into());
    report.details = [
        ("victim_p99_us".to_owned(), 812.5),
        ("steps".to_owned(), 7.0),
    ]
    .into();
    report.faults = vec![Fault {
        what: "connection 17 ended before its time: 1006".into(),
        count: 3,
    }];
    report.tables = vec![Table {
        title: "tries".into(),
        columns: vec!["p99".into()],
        rows: vec![vec!["50000/s".into(), "310 µs".into()]],
    }];
    report.notes = vec!["more would have met it".into()];
    report.failed_requirements = vec!["p99<5ms: it was 210 ms".into()];
    report
}

/// The same without anything that went wrong, and without what only some scenarios have.
pub(crate) fn quiet() -> Report {
    let raw = latencies(300_000, 70_000.0, 0);
    let corrected = latencies(300_000, 70_000.0, 6_000);
    let settings = [
        ("connections", "15000"),
        ("payload", "125"),
        ("rate", "50000"),
        ("threads", "2"),
        ("binary", ""),
    ];
    Report {
        schema: SCHEMA,
        scenario: "rate".into(),
        target: "ws://127.0.0.1:9998/echo".into(),
        settings: settings
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        started: "2026-03-01T12:00:00Z".into(),
        seconds: 30.0,
        connections: Connections {
            wanted: 15_000,
            opened: 15_000,
            failed: 0,
            lost: 3,
            peak: 15_000,
        },
        messages: Messages {
            sent: 1_500_000,
            received: 1_500_000,
            per_second: 50_000.0,
            bytes_per_second: 6_250_000.0,
            ..Messages::default()
        },
        latency: Some(Latency {
            raw: (&raw).into(),
            corrected: Some((&corrected).into()),
        }),
        handshake: None,
        server: Some(ServerUse {
            pid: 4711,
            user_seconds: 2.14,
            system_seconds: 5.91,
            cpu_per_message_us: Some(5.37),
            memory_before: 2_900_000,
            memory_after: 4_400_000,
            memory_per_connection: Some(100.0),
            kernel_socket_memory: 61_000_000,
        }),
        client: ClientUse {
            threads: 2,
            user_seconds: 4.2,
            system_seconds: 9.8,
            busiest_thread: 0.243,
            bottleneck: None,
        },
        series: (0..=35).map(second).collect(),
        ..Report::default()
    }
}

/// Five seconds of opening, then the load; a stall in the twentieth second.
fn second(at: u32) -> Sample {
    let x = f64::from(at);
    let connections = (u64::from(at) * 3000).min(15_000);
    let loaded = at > 5;
    let stall = if at == 20 { 0.6 } else { 1.0 };
    let wave = 1.0 + 0.02 * (x * TAU / 7.3).sin();
    Sample {
        at: x,
        connections,
        messages_per_second: if loaded { 50_000.0 * wave * stall } else { 0.0 },
        p50_us: loaded.then_some(70.0 * wave),
        p99_us: loaded.then_some(310.0 * wave / stall.powi(6)),
        server_memory: Some(2_900_000 + connections * 100),
        server_cpu: Some(if loaded { 0.27 * wave } else { 0.07 }),
    }
}

/// About exponential above a floor, in nanoseconds; `stalled` of them up to 200 ms late.
fn latencies(count: u32, scale: f64, stalled: u32) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("three digits");
    for index in 0..count {
        let quantile = (f64::from(index) + 0.5) / f64::from(count);
        let value = scale * (0.6 - 0.55 * (1.0 - quantile).ln());
        histogram.record(value as u64).expect("grows");
    }
    for index in 0..stalled {
        let value = 2e8 * f64::from(index + 1) / f64::from(stalled);
        histogram.record(value as u64).expect("grows");
    }
    histogram
}
