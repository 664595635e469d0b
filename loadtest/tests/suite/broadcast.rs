//! `broadcast` against hubs that do it right, and hubs that do not.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loadtest::payload::Pattern;
use loadtest::report::Report;
use loadtest::run::{self, Title};
use loadtest::scenario::Broadcast;
use loadtest::scenario::broadcast::{EchoesSender, Hub, Settings, complete};
use tungstenite::Message;

use super::command::{loadtest, said};
use super::load::plan;
use super::server::{self, Server};

/// One delivery: which message of the hub's it is, and to which of the receivers.
struct Delivery<'a> {
    number: u64,
    rank: usize,
    message: &'a Message,
    /// A message of this receiver's that waits.
    held: &'a mut Option<Message>,
    /// How long the receiver has been there.
    age: Duration,
}

/// What the receiver gets.
type Behaviour = fn(Delivery<'_>) -> Vec<Message>;

struct Receiver {
    id: u64,
    stream: TcpStream,
    held: Option<Message>,
    since: Instant,
}

#[derive(Default)]
struct Topic {
    receivers: Vec<Receiver>,
    connections: u64,
    messages: u64,
}

/// A hub; senders get their own messages, too, if `echoes`.
fn hub(behaviour: Behaviour, echoes: bool) -> Server {
    let topic = Arc::new(Mutex::new(Topic::default()));
    Server::raw(move |stream| {
        stream.set_nodelay(true).unwrap();
        let Ok(mut socket) = tungstenite::accept(stream) else {
            return;
        };
        let id = {
            let mut topic = topic.lock().unwrap();
            topic.connections += 1;
            let receiver = Receiver {
                id: topic.connections,
                stream: socket.get_ref().try_clone().unwrap(),
                held: None,
                since: Instant::now(),
            };
            topic.receivers.push(receiver);
            topic.connections
        };
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                let topic = &mut topic.lock().unwrap();
                publish(topic, &message, behaviour, |to| echoes || to != id);
            }
        }
        let mut topic = topic.lock().unwrap();
        topic.receivers.retain(|receiver| receiver.id != id);
    })
}

fn publish(
    topic: &mut Topic,
    message: &Message,
    behaviour: Behaviour,
    wanted: impl Fn(u64) -> bool,
) {
    let number = topic.messages;
    topic.messages += 1;
    let receivers = topic.receivers.iter_mut().filter(|one| wanted(one.id));
    for (rank, receiver) in receivers.enumerate() {
        let delivery = Delivery {
            number,
            rank,
            message,
            held: &mut receiver.held,
            age: receiver.since.elapsed(),
        };
        for message in behaviour(delivery) {
            // Who is gone is told so by its own thread.
            let _ = match message {
                Message::Close(_) => receiver.stream.shutdown(Shutdown::Both),
                message => receiver.stream.write_all(&frame(&message)),
            };
        }
    }
}

/// An unmasked frame.
fn frame(message: &Message) -> Vec<u8> {
    let mut frame = vec![if message.is_text() { 0x81 } else { 0x82 }];
    let data = message.clone().into_data();
    match data.len() {
        len @ 0..=125 => frame.push(len as u8),
        len @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&data);
    frame
}

fn right(delivery: Delivery<'_>) -> Vec<Message> {
    vec![delivery.message.clone()]
}

fn closed(publishers: u32) -> Settings {
    Settings {
        publishers,
        rate: None,
        in_flight: 2,
        echoes_sender: EchoesSender::Auto,
        join_timeout: Duration::from_secs(1),
    }
}

fn scheduled(publishers: u32) -> Settings {
    Settings {
        rate: Some(1000.0),
        ..closed(publishers)
    }
}

/// A short run of eight connections.
fn run_with(server: &Server, settings: Settings, pattern: Pattern) -> Report {
    let mut plan = plan(server);
    plan.connections = 8;
    plan.warmup = Duration::from_millis(30);
    plan.grace = Duration::from_secs(1);
    plan.pattern = Arc::new(pattern);
    let hub = Arc::new(Hub::new(settings, plan.connections, plan.threads));
    let stop = AtomicBool::new(false);
    let make = |_| Broadcast::new(hub.clone());
    let mut report = run::run(&Title::default(), plan, make, &mut (), &stop)
        .unwrap()
        .report;
    complete(&mut report);
    report
}

fn run(server: &Server, settings: Settings) -> Report {
    run_with(server, settings, Pattern::new(125, true))
}

fn assert_whole(report: &Report, receivers: f64) {
    assert!(report.is_faultless(), "{:?}", report.faults);
    let details = &report.details;
    assert_eq!(details["reach_percent"], 100.0);
    assert_eq!(details["receivers"], receivers);
    assert!(details["published"] >= 10.0, "{details:?}");
    assert_eq!(details["deliveries"], details["published"] * receivers);
    assert!(!details.contains_key("given_up"), "{details:?}");
    let latency = report.latency.as_ref().unwrap();
    assert!(latency.raw.count > 0 && latency.raw.min > 0.0);
}

/// The faults of a run whose reach need not be whole.
fn faults(report: &Report) -> Vec<&str> {
    let what = report.faults.iter().map(|fault| &fault.what[..]);
    what.filter(|what| !what.starts_with("the reach is"))
        .collect()
}

fn assert_only(report: &Report, what: &str) {
    let faults = faults(report);
    assert!(faults.len() == 1 && faults[0].contains(what), "{faults:?}");
}

#[test]
fn a_hub_reaches_everyone_but_the_sender() {
    let server = hub(right, false);
    assert_whole(&run(&server, closed(1)), 7.0);
    assert_whole(&run(&server, closed(3)), 7.0);
    let report = run(&server, scheduled(3));
    assert_whole(&report, 7.0);
    // 250, but for how exactly the threads see the measured part begin and end.
    let published = report.details["published"];
    assert!((200.0..300.0).contains(&published), "{published}");
    let latency = report.latency.unwrap();
    assert!(latency.corrected.unwrap().mean >= 0.9 * latency.raw.mean);
}

#[test]
fn a_hub_may_reach_the_sender_too() {
    let server = hub(right, true);
    assert_whole(&run(&server, closed(2)), 8.0);
    let settings = Settings {
        echoes_sender: EchoesSender::Yes,
        ..scheduled(2)
    };
    assert_whole(&run(&server, settings), 8.0);
}

#[test]
fn messages_of_every_size_are_told_apart() {
    let server = hub(right, false);
    for (len, text) in [(8, false), (16, true), (126, false), (70_000, true)] {
        let report = run_with(&server, closed(2), Pattern::new(len, text));
        assert_whole(&report, 7.0);
    }
}

#[test]
fn what_comes_before_everyone_is_subscribed_is_no_loss() {
    let server = hub(
        |delivery| match delivery.age {
            age if age < Duration::from_millis(300) && delivery.rank >= 3 => Vec::new(),
            _ => right(delivery),
        },
        false,
    );
    assert_whole(&run(&server, closed(2)), 7.0);
}

#[test]
fn who_is_never_subscribed_is_a_fault() {
    let server = hub(
        |delivery| match delivery.rank {
            2 => Vec::new(),
            _ => right(delivery),
        },
        false,
    );
    let report = run(&server, scheduled(1));
    let faults = faults(&report).join("; ");
    assert!(
        faults.contains("not everyone had a message") && faults.contains("6 of 7 others"),
        "{faults}"
    );
    let reach = report.details["reach_percent"];
    assert!((reach - 600.0 / 7.0).abs() < 0.1, "{reach}");
    assert!(report.messages.lost as f64 >= report.details["published"]);
}

#[test]
fn a_lost_message_is_lost_for_one_receiver() {
    let lose: Behaviour = |delivery| match (delivery.number, delivery.rank) {
        (150, 3) => Vec::new(),
        _ => right(delivery),
    };
    let report = run(&hub(lose, false), scheduled(1));
    assert_only(&report, "never reached a connection");
    assert_eq!(report.messages.lost, 1);
    assert!(report.details["reach_percent"] < 100.0);
    assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
}

#[test]
fn what_a_lost_connection_did_not_get_is_lost() {
    let cut: Behaviour = |delivery| match (delivery.number, delivery.rank) {
        (150, 3) => vec![Message::Close(None)],
        _ => right(delivery),
    };
    let report = run(&hub(cut, false), scheduled(1));
    assert_only(&report, "a connection was lost");
    assert!(report.messages.lost >= 1, "{:?}", report.messages);
}

#[test]
fn the_closed_loop_goes_on_after_a_loss() {
    let server = hub(
        |delivery| match (delivery.number, delivery.rank) {
            (20, 3) => Vec::new(),
            _ => right(delivery),
        },
        false,
    );
    let mut settings = closed(1);
    settings.in_flight = 1;
    let mut plan = plan(&server);
    plan.connections = 5;
    plan.warmup = Duration::ZERO;
    plan.duration = Duration::from_millis(2_700);
    let hub = Arc::new(Hub::new(settings, 5, plan.threads));
    let stop = AtomicBool::new(false);
    let make = |_| Broadcast::new(hub.clone());
    let report = run::run(&Title::default(), plan, make, &mut (), &stop)
        .unwrap()
        .report;
    assert_eq!(report.details["given_up"], 1.0);
    assert_eq!(report.messages.lost, 1);
    assert!(report.details["published"] > 30.0, "{:?}", report.details);
}

#[test]
fn a_message_that_comes_twice_is_a_duplicate() {
    let twice: Behaviour = |delivery| match (delivery.number, delivery.rank) {
        (150, 3) => vec![delivery.message.clone(); 2],
        _ => right(delivery),
    };
    let report = run(&hub(twice, false), scheduled(1));
    assert_only(&report, "came twice");
    assert_eq!((report.messages.duplicated, report.messages.lost), (1, 0));
    assert_eq!(report.details["reach_percent"], 100.0);
}

#[test]
fn a_message_that_comes_late_is_reordered() {
    let late: Behaviour = |delivery| match (delivery.number, delivery.rank) {
        (150, 3) => {
            *delivery.held = Some(delivery.message.clone());
            Vec::new()
        }
        _ => {
            let held = delivery.held.take();
            right(delivery).into_iter().chain(held).collect()
        }
    };
    let report = run(&hub(late, false), scheduled(1));
    assert_only(&report, "after one that was published later");
    assert_eq!((report.messages.reordered, report.messages.lost), (1, 0));
    assert_eq!(report.details["reach_percent"], 100.0);
}

#[test]
fn what_is_not_what_was_sent_is_corrupted() {
    let cases: [(Behaviour, &str); 4] = [
        (
            |delivery| spoilt(delivery, |bytes| bytes[60] ^= 2),
            "other content",
        ),
        (
            |delivery| spoilt(delivery, |bytes| bytes.truncate(100)),
            "another length",
        ),
        (
            // The highest letter of the publisher's number.
            |delivery| spoilt(delivery, |bytes| bytes[15] = b'B'),
            "of a publisher there is not",
        ),
        (
            |delivery| match (delivery.number, delivery.rank) {
                (150, 3) => vec![Message::binary(delivery.message.clone().into_data())],
                _ => right(delivery),
            },
            "text came as binary",
        ),
    ];
    for (behaviour, what) in cases {
        let report = run(&hub(behaviour, false), scheduled(1));
        let faults = faults(&report).join("; ");
        assert!(faults.contains(what), "{faults}");
        assert!(faults.contains("never reached a connection"), "{faults}");
        assert_eq!((report.messages.corrupted, report.messages.lost), (1, 1));
    }
}

/// One message, to one receiver, is changed.
fn spoilt(delivery: Delivery<'_>, change: fn(&mut Vec<u8>)) -> Vec<Message> {
    if (delivery.number, delivery.rank) != (150, 3) {
        return right(delivery);
    }
    let mut bytes = delivery.message.clone().into_data().to_vec();
    change(&mut bytes);
    vec![Message::text(String::from_utf8(bytes).unwrap())]
}

#[test]
fn a_message_of_nobody_is_seen() {
    // As right as messages are, but of a publisher there is not, or not yet published.
    let forged: Behaviour = |delivery| {
        let pattern = Pattern::new(125, true);
        let forge = |publisher, sequence| {
            let cursor = pattern.cursor(publisher, sequence);
            let bytes = [&pattern.prefix(cursor)[..], pattern.body(cursor)].concat();
            Message::text(String::from_utf8(bytes).unwrap())
        };
        let mut messages = vec![delivery.message.clone()];
        match (delivery.number, delivery.rank) {
            // That of each connection that only listens, the receiver's own among them.
            (150, 3) => messages.extend((1..8).map(|connection| forge(connection, 0))),
            (160, 3) => messages.push(forge(0, 1 << 20)),
            _ => {}
        }
        messages
    };
    let report = run(&hub(forged, false), scheduled(1));
    let faults = faults(&report).join("; ");
    assert!(faults.contains("of a publisher there is not"), "{faults}");
    assert!(faults.contains("never published"), "{faults}");
    assert_eq!((report.messages.corrupted, report.messages.lost), (8, 0));
}

#[test]
fn senders_that_get_their_own_against_the_flag_are_a_fault() {
    let settings = Settings {
        echoes_sender: EchoesSender::No,
        ..scheduled(2)
    };
    let report = run(&hub(right, true), settings);
    assert_only(&report, "got its own message");
    let settings = Settings {
        echoes_sender: EchoesSender::Yes,
        ..scheduled(2)
    };
    let report = run(&hub(right, false), settings);
    assert!(report.details["reach_percent"] < 90.0);
    assert!(report.messages.lost > 0);
}

#[test]
fn what_is_no_hub_is_told_soon() {
    let echo = Server::start(server::echo);
    let silent = Server::start(|socket| {
        loop {
            server::next(socket)?;
        }
    });
    let wrapping = hub(
        |delivery| {
            vec![Message::text(format!(
                "{{\"said\":\"{}\"}}",
                delivery.message
            ))]
        },
        true,
    );
    let closing = Server::start(|socket| {
        server::next(socket)?;
        socket.close(None)
    });
    let no_hub = "/topic does not pass messages on to others: not a hub?";
    let other = "what comes back is not what was published";
    for (server, why) in [
        (&echo, &[no_hub][..]),
        (&silent, &[no_hub]),
        (&wrapping, &[other, "a message came with another length"]),
        (&closing, &[no_hub, "a connection was lost"]),
    ] {
        let begun = Instant::now();
        let url = format!("{}topic", server.url());
        let output = loadtest(&[
            "broadcast",
            &url,
            "--subscribers=5",
            "--threads=2",
            "--join-timeout=300ms",
            "--duration=1h",
        ]);
        let (code, text) = said(&output);
        assert_eq!(code, 2, "{text}");
        for why in why {
            assert!(text.contains(why), "{text}");
        }
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{text}");
    }
}

#[test]
fn the_command_reports_the_reach() {
    let server = hub(right, false);
    let output = loadtest(&[
        "broadcast",
        &server.url(),
        "--subscribers=20",
        "--publishers=2",
        "--rate=200",
        "--warmup=100ms",
        "--duration=500ms",
        "--require=details.reach_percent>99.999",
        "--json=-",
    ]);
    assert_eq!(said(&output).0, 0, "{output:?}");
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report.details["reach_percent"], 100.0);
    assert_eq!(report.details["receivers"], 21.0);
    assert_eq!(report.scenario, "broadcast");
    for wrong in [
        ["--payload=15", "16 bytes"],
        ["--publishers=10000", "too many"],
        ["--echoes-sender=maybe", "auto"],
    ] {
        let (code, text) = said(&loadtest(&["broadcast", &server.url(), wrong[0]]));
        assert!(code == 2 && text.contains(wrong[1]), "{text}");
    }
}
