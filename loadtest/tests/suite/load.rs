//! Each scenario against a server that does nothing wrong.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use loadtest::engine::{Observer, Phase, Plan, Scenario};
use loadtest::net::Sources;
use loadtest::payload::Pattern;
use loadtest::report::{Report, Sample};
use loadtest::run::{self, Title};
use loadtest::scenario::{Churn, Echo, Handshake, Idle, Rate};
use tungstenite::Message;

use super::server::{self, Server};

/// A short run with a few connections.
pub(crate) fn plan(server: &Server) -> Plan {
    Plan {
        address: server.address,
        host: server.address.to_string(),
        path: "/".into(),
        sources: Sources::new(1, server.address).unwrap(),
        connections: 6,
        threads: 2,
        cores: Vec::new(),
        ramp: None,
        most_connecting: 4,
        connect_timeout: Duration::from_secs(10),
        warmup: Duration::from_millis(50),
        duration: Duration::from_millis(250),
        grace: Duration::from_secs(5),
        close_timeout: Duration::from_secs(5),
        steps: Vec::new(),
        pattern: Arc::new(Pattern::new(125, true)),
    }
}

pub(crate) fn run<S: Scenario>(plan: Plan, make: impl Fn(u32) -> S) -> Report {
    let stop = AtomicBool::new(false);
    run::run(&Title::default(), plan, make, &mut (), &stop)
        .unwrap()
        .report
}

pub(crate) fn echo(in_flight: u32) -> impl Fn(u32) -> Echo {
    move |_| Echo {
        in_flight,
        active: 1.0,
    }
}

fn assert_faultless(report: &Report) {
    assert!(report.is_faultless(), "{:?}", report.faults);
    assert!(
        !report.details.contains_key("unclean_closes"),
        "{:?}",
        report.details
    );
}

#[test]
fn echoes_of_every_size_come_back() {
    let server = Server::start(server::echo);
    for (len, text, in_flight) in [
        (0, true, 3),
        (1, false, 16),
        (125, true, 1),
        (126, false, 40),
        (4090, true, 5),
        (65_536, false, 3),
        (1 << 20, true, 4),
    ] {
        let mut plan = plan(&server);
        plan.pattern = Arc::new(Pattern::new(len, text));
        let report = run(plan, echo(in_flight));
        assert_faultless(&report);
        assert_eq!(report.connections.opened, 6);
        assert!(report.messages.received > 0, "{len}");
        let latency = report.latency.unwrap().raw;
        assert!(
            latency.min > 0.0 && latency.max >= latency.p50,
            "{latency:?}"
        );
        assert_eq!(report.handshake.unwrap().count, 6);
    }
}

#[test]
fn only_the_active_ones_send() {
    let server = Server::start(server::echo);
    let mut plan = plan(&server);
    plan.threads = 1;
    let make = |_| Echo {
        in_flight: 1,
        active: 0.0,
    };
    let report = run(plan, make);
    assert_faultless(&report);
    assert_eq!(report.messages.sent, 0);
    assert_eq!(report.connections.opened, 6);
}

#[test]
fn a_schedule_is_kept() {
    let server = Server::start(server::echo);
    let mut plan = plan(&server);
    plan.duration = Duration::from_millis(500);
    let shares = [plan.share(0), plan.share(1)];
    let report = run(plan, |thread| Rate::new(1000.0, shares[thread as usize], 6));
    assert_faultless(&report);
    let latency = report.latency.unwrap();
    let corrected = latency.corrected.unwrap();
    // 500, but for how exactly the threads see the measured part begin and end.
    assert!((400..600).contains(&corrected.count), "{}", corrected.count);
    assert!(
        (400..600).contains(&latency.raw.count),
        "{}",
        latency.raw.count
    );
    assert!(corrected.mean >= 0.9 * latency.raw.mean);
}

#[test]
fn an_overload_adds_up() {
    // Each connection takes 1000 messages per second or fewer; ten times as many are due, and large
    // enough that they do not all fit into the kernel's buffers.
    let server = Server::start(|socket| {
        loop {
            let message = server::next(socket)?;
            std::thread::sleep(Duration::from_millis(1));
            socket.send(message)?;
        }
    });
    let mut plan = plan(&server);
    plan.connections = 2;
    plan.pattern = Arc::new(Pattern::new(16 << 10, true));
    plan.warmup = Duration::from_millis(300);
    plan.duration = Duration::from_millis(500);
    plan.grace = Duration::from_millis(700);
    let report = run(plan, |_| Rate::new(20_000.0, 1, 2));
    let (messages, latency) = (&report.messages, report.latency.as_ref().unwrap());
    let corrected = latency.corrected.as_ref().unwrap();
    // What was due left, or it did not: no less, and nothing of the warm-up.
    let due = 20_000.0 * report.seconds;
    let unsent = report.details.get("unsent").copied().unwrap_or_default();
    let all = messages.sent as f64 + unsent;
    assert!((all - due).abs() < 0.1 * due, "{all} of {due}");
    assert!(messages.received <= messages.sent, "{messages:?}");
    // Both are about the same messages, none of which left before it was due.
    let late = report.details.get("received_late").copied();
    let came = messages.received + late.unwrap_or_default() as u64;
    assert_eq!((latency.raw.count, corrected.count), (came, came));
    assert!(corrected.p50 >= 0.99 * latency.raw.p50, "{latency:?}");
    assert!(corrected.p90 >= 0.99 * latency.raw.p90, "{latency:?}");
}

#[test]
fn a_stall_shows_in_corrected_latency_of_all_it_delayed() {
    // One connection; the server sleeps 200 ms at the 50th message.
    let server = Server::start(|socket| {
        server::echo_some(socket, 50)?;
        std::thread::sleep(Duration::from_millis(200));
        server::echo(socket)
    });
    let mut plan = plan(&server);
    (plan.connections, plan.threads) = (1, 1);
    plan.warmup = Duration::ZERO;
    plan.duration = Duration::from_millis(500);
    let report = run(plan, |_| Rate::new(500.0, 1, 1));
    assert_faultless(&report);
    let latency = report.latency.unwrap();
    let corrected = latency.corrected.unwrap();
    // 100 of 250 messages were due in the stall, the first of which waited all of it.
    assert!(corrected.max > 150_000.0, "{}", corrected.max);
    assert!(corrected.p90 > 50_000.0, "{}", corrected.p90);
}

#[test]
fn idle_connections_are_held_pinged_and_echo_once() {
    let server = Server::start(server::echo);
    let mut plan = plan(&server);
    plan.ramp = Some(200.0);
    plan.duration = Duration::from_millis(400);
    plan.steps = vec![(Duration::from_millis(200), "before")];
    let begun = Instant::now();
    let report = run(plan, |_| Idle::new(Some(Duration::from_millis(50))));
    assert_faultless(&report);
    assert!(begun.elapsed() >= Duration::from_millis(420));
    assert_eq!(report.messages.received, 6);
    assert_eq!(report.connections.peak, 6);
    let (pings, pongs) = (report.details["pings"], report.details["pongs"]);
    assert!(pings >= 6.0, "{pings}");
    assert_eq!(pings, pongs);
}

#[test]
fn idle_takes_what_it_did_not_ask_for() {
    let server = Server::start(|socket| {
        socket.send(Message::text("welcome"))?;
        // One that begins before the message of the connection and ends after it.
        socket.get_mut().write_all(&[0x01, 3, b'a', b'l', b'l'])?;
        let message = server::next(socket)?;
        socket
            .get_mut()
            .write_all(&[0x80, 4, b' ', b'y', b'o', b'u'])?;
        socket.send(message)?;
        server::echo(socket)
    });
    let report = run(plan(&server), |_| Idle::new(None));
    assert_faultless(&report);
    assert_eq!(report.details["unasked"], 6.0);
    let mut plan = plan(&server);
    plan.steps = vec![(Duration::from_millis(150), "before")];
    let report = run(plan, |_| Idle::new(None));
    assert_faultless(&report);
    assert_eq!(report.details["unasked"], 12.0);
    assert_eq!((report.messages.sent, report.messages.received), (6, 6));
}

#[test]
fn idle_checks_what_comes_after_its_message() {
    let server = Server::start(|socket| {
        socket.send(Message::text("welcome"))?;
        server::next(socket)?;
        socket.send(Message::text("no echo"))?;
        server::echo(socket)
    });
    let mut plan = plan(&server);
    plan.steps = vec![(Duration::from_millis(150), "before")];
    let report = run(plan, |_| Idle::new(None));
    assert_eq!(
        (report.details["unasked"], report.messages.corrupted),
        (6.0, 6)
    );
}

#[test]
fn handshakes_are_counted() {
    let server = Server::start(server::echo);
    let report = run(plan(&server), |_| Handshake);
    assert_faultless(&report);
    assert!(report.details["connections_per_second"] > 10.0);
    let handshake = report.handshake.unwrap();
    assert!(handshake.count > 0 && handshake.count <= report.connections.opened);
    assert_eq!(report.connections.wanted, report.connections.opened);
    // Being opened, four at a time, for none is open longer than a moment.
    let peak = report.connections.peak;
    assert!((2..=4).contains(&peak), "{peak}");
}

#[test]
fn connections_come_talk_and_leave() {
    let server = Server::start(server::echo);
    let report = run(plan(&server), |_| Churn { messages: 3 });
    assert_faultless(&report);
    assert!(
        report.connections.opened > 6,
        "{}",
        report.connections.opened
    );
    assert!(report.messages.received > report.connections.opened);
    assert!(report.connections.peak <= 6);
}

#[test]
fn what_is_looked_at_is_looked_at_in_order() {
    #[derive(Default)]
    struct Log(Vec<String>);
    impl Observer for Log {
        fn before(&mut self) {
            self.0.push("before".into());
        }
        fn begin(&mut self) {
            self.0.push("begin".into());
        }
        fn mark(&mut self, what: &str, open: u64) {
            self.0.push(format!("{what} {open}"));
        }
        fn tick(&mut self, _: Phase, sample: &mut Sample) {
            sample.server_memory = Some(7);
        }
        fn end(&mut self, open: u64, _: Option<f64>) {
            self.0.push(format!("end {open}"));
        }
    }
    let server = Server::start(server::echo);
    let mut plan = plan(&server);
    plan.steps = vec![(Duration::from_millis(100), "step")];
    let mut log = Log::default();
    let stop = AtomicBool::new(false);
    let report = run::run(
        &Title::default(),
        plan,
        |_| Idle::new(None),
        &mut log,
        &stop,
    )
    .unwrap()
    .report;
    assert_eq!(log.0, ["before", "begin", "step 6", "end 6"]);
    assert!(!report.series.is_empty());
    assert!(
        report
            .series
            .iter()
            .all(|sample| sample.server_memory == Some(7))
    );
}

#[test]
fn what_comes_while_the_end_is_looked_at_does_not_count() {
    // To read about a large server takes time, in which the load goes on.
    struct Slow;
    impl Observer for Slow {
        fn end(&mut self, _: u64, _: Option<f64>) {
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    let server = Server::start(server::echo);
    let mut plan = plan(&server);
    (plan.connections, plan.threads) = (1, 1);
    plan.duration = Duration::from_millis(500);
    let stop = AtomicBool::new(false);
    let make = |_| Rate::new(1000.0, 1, 1);
    let report = run::run(&Title::default(), plan, make, &mut Slow, &stop)
        .unwrap()
        .report;
    assert_faultless(&report);
    // Twice as many if all were counted that came until the end had been looked at.
    let per_second = report.messages.per_second;
    assert!((600.0..1400.0).contains(&per_second), "{per_second}");
    assert!(report.messages.sent < 700, "{}", report.messages.sent);
    let corrected = report.latency.unwrap().corrected.unwrap();
    assert!(corrected.count < 700, "{}", corrected.count);
}

#[test]
fn what_is_in_flight_when_the_warm_up_is_interrupted_is_not_lost() {
    // Slow enough that something is in flight at any time.
    let server = Server::start(|socket| {
        loop {
            let message = server::next(socket)?;
            std::thread::sleep(Duration::from_millis(100));
            socket.send(message)?;
        }
    });
    let mut plan = plan(&server);
    plan.warmup = Duration::from_secs(60);
    let stop = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(400));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        run::run(&Title::default(), plan, echo(2), &mut (), &stop)
            .unwrap()
            .report
    });
    assert_faultless(&report);
    assert_eq!(report.notes, [run::INTERRUPTED]);
    assert_eq!(report.details["interrupted"], 1.0);
}

#[test]
fn a_run_can_be_stopped() {
    let server = Server::start(server::echo);
    let mut plan = plan(&server);
    plan.duration = Duration::from_secs(60);
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(400));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        run::run(&Title::default(), plan, echo(1), &mut (), &stop)
            .unwrap()
            .report
    });
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_faultless(&report);
    assert!(report.messages.received > 0);
    assert_eq!(report.details["interrupted"], 1.0);
}
