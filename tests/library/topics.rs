//! Topics over real sockets and threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sockeye::{Offset, Peer, PublishError, ServerHandle, Since};

use crate::client::{Client, close_parts, text};
use crate::crowd::{Crowd, be_crowd, raise_descriptors};
use crate::patience::eventually;
use crate::process::{alone, expect_rest, resident};
use crate::site::{Live, Mode, On, Site, in_both_modes};

fn publish(server: &ServerHandle, topic: &str, text: &str) -> Offset {
    loop {
        match server.publish(topic, text) {
            Ok(offset) => return offset,
            Err(PublishError::Full) => thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
}

fn next_text(client: &mut Client) -> String {
    let frame = client.next().expect("a message");
    String::from_utf8(frame.payload).expect("text")
}

/// Obeys: `new`, `after OFFSET`, `leave`. Answers a subscription with `at OFFSET` and whether it
/// is whole, and an end with `left`.
fn visitor(peer: &mut Peer<'_>, on: On<'_>) {
    match on {
        On::Message(message) => {
            let text = message.as_text().expect("a command");
            match text.split_once(' ') {
                None if text == "new" => peer.subscribe("a", Since::New).unwrap(),
                None => {
                    peer.unsubscribe("a");
                    peer.send("left");
                }
                Some((_, offset)) => {
                    let offset = offset.parse().expect("an offset");
                    peer.subscribe("a", Since::After(offset)).unwrap();
                }
            }
        }
        On::Subscribed(subscription) => {
            let whole = if subscription.recovered() {
                "whole"
            } else {
                "lost"
            };
            peer.send(format!("at {} {whole}", subscription.offset()));
            for publication in subscription.replay() {
                peer.send(publication.message());
            }
        }
        _ => {}
    }
}

fn listener(peer: &mut Peer<'_>, on: On<'_>) {
    if let On::Open = on {
        peer.subscribe("a", Since::New).unwrap();
    }
}

/// What a visitor heard: when a subscription began, what it said of the past, and the messages.
struct Visit {
    /// Where it wanted to begin, if it did.
    after: Option<Offset>,
    at: Offset,
    whole: bool,
    messages: Vec<String>,
}

/// Joins, leaves and resumes until it is told to stop.
fn visit(address: std::net::SocketAddr, over: &AtomicBool) -> Vec<Visit> {
    let mut client = Client::open(address, "/visit");
    // A subscription waits its turn behind millions of deliveries, and the machine may be busy.
    let patience = Some(Duration::from_secs(60));
    client.stream().set_read_timeout(patience).unwrap();
    let mut visits: Vec<Visit> = Vec::new();
    let mut last: Option<Offset> = None;
    while !over.load(SeqCst) {
        let after = last.filter(|_| !visits.len().is_multiple_of(3));
        let command = match after {
            Some(offset) => format!("after {offset}"),
            None => "new".into(),
        };
        client.send(&text(&command));
        let answer = loop {
            let text = next_text(&mut client);
            if text.starts_with("at ") {
                break text;
            }
            // It was under way when the subscription before ended.
            let before = visits.last_mut().expect("a subscription");
            before.messages.push(text);
        };
        let mut words = answer.split(' ').skip(1);
        let at = words.next().and_then(|word| word.parse().ok());
        let at: Offset = at.expect("an offset");
        let mut visit = Visit {
            after,
            at,
            whole: words.next() == Some("whole"),
            messages: Vec::new(),
        };
        thread::sleep(Duration::from_millis(5));
        client.send(&text("leave"));
        loop {
            let message = next_text(&mut client);
            if message == "left" {
                break;
            }
            visit.messages.push(message);
        }
        last = Some(at);
        visits.push(visit);
    }
    visits
}

const CLIENTS: usize = 10_000;
const MESSAGES: usize = 1_000;
/// Digits, after one that says who published it.
const LENGTH: usize = 16;

fn ten_thousand(test: &str, mode: Mode) {
    if be_crowd() {
        return;
    }
    raise_descriptors();
    let site = Site::new(mode).config(|config| {
        config.limits.history = 2 * MESSAGES;
        config.limits.history_bytes = 1 << 20;
    });
    let live = site.on("/crowd", listener).on("/visit", visitor).serve();
    let start = Instant::now();
    let crowd = Crowd::start(test, live.address, CLIENTS, MESSAGES * (2 + LENGTH));
    eprintln!("{CLIENTS} connected after {:?}", start.elapsed());
    let start = Instant::now();
    let over = AtomicBool::new(false);
    let published = Mutex::new(HashMap::new());
    let (all, visits) = thread::scope(|scope| {
        let visitors: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| visit(live.address, &over)))
            .collect();
        for publisher in 0..2 {
            let (server, published) = (live.handle.clone(), &published);
            scope.spawn(move || {
                for number in 0..MESSAGES / 2 {
                    let text = format!("{publisher}{number:0width$}", width = LENGTH - 1);
                    let offset = publish(&server, "a", &text);
                    published.lock().unwrap().insert(text, offset);
                    if number % 10 == 0 {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        let all = crowd.finish();
        over.store(true, SeqCst);
        let visits = visitors.into_iter().flat_map(|it| it.join().unwrap());
        (all, visits.collect::<Vec<Visit>>())
    });
    let elapsed = start.elapsed();
    let rate = (CLIENTS * MESSAGES) as f64 / elapsed.as_secs_f64();
    eprintln!(
        "{} deliveries in {elapsed:?}: {rate:.0} per second",
        CLIENTS * MESSAGES
    );
    let published = published.into_inner().unwrap();
    check_order(&all, &published);
    check_visits(&visits, &published);
    let deliveries = live.stats().deliveries;
    assert!(deliveries >= (CLIENTS * MESSAGES) as u64, "{deliveries}");
}

/// Everybody was sent these bytes: everything, once, in the order of its offsets.
fn check_order(all: &[u8], published: &HashMap<String, Offset>) {
    let mut next = [0; 2];
    for (at, frame) in all.chunks(2 + LENGTH).enumerate() {
        assert_eq!(frame[..2], [0x81, LENGTH as u8]);
        let text = std::str::from_utf8(&frame[2..]).unwrap();
        assert_eq!(published[text].number, at as u64 + 1, "{text}");
        let publisher: usize = text[..1].parse().unwrap();
        let number: usize = text[1..].parse().unwrap();
        assert_eq!(
            number, next[publisher],
            "the order of publisher {publisher}"
        );
        next[publisher] += 1;
    }
    assert_eq!(next, [MESSAGES / 2; 2]);
}

/// What each visitor heard has neither gaps nor duplicates, from where it began.
fn check_visits(visits: &[Visit], published: &HashMap<String, Offset>) {
    let mut heard = 0;
    let mut resumed = 0;
    for visit in visits {
        assert!(visit.whole, "the history has room for everything");
        let first = visit.after.map_or(visit.at, |after| {
            resumed += 1;
            after
        });
        let numbers = visit.messages.iter().map(|it| published[it].number);
        let numbers: Vec<u64> = numbers.collect();
        let expected: Vec<u64> = (first.number + 1..).take(numbers.len()).collect();
        let at = visit.at;
        assert_eq!(numbers, expected, "after {first}, subscribed at {at}");
        let replayed = at.number - first.number;
        assert!(numbers.len() as u64 >= replayed, "the replay is whole");
        heard += numbers.len();
    }
    eprintln!(
        "{} visits, {resumed} resumed, {heard} messages",
        visits.len()
    );
    assert!(resumed > 10 && heard > 10, "nothing happened meanwhile");
}

#[test]
fn ten_thousand_subscribers_inline() {
    let test = "topics::ten_thousand_subscribers_inline";
    ten_thousand(test, Mode::Inline);
}

#[test]
fn ten_thousand_subscribers_with_workers() {
    let test = "topics::ten_thousand_subscribers_with_workers";
    ten_thousand(test, Mode::Workers);
}

#[test]
fn a_message_reaches_subscribers_on_every_thread() {
    in_both_modes(|mode| {
        let live = Site::new(mode)
            .on("/room", |peer, on| match on {
                On::Open => peer.subscribe("room", Since::New).unwrap(),
                On::Subscribed(_) => drop(peer.send("welcome")),
                On::Message(message) => drop(peer.publish("room", message).unwrap()),
                _ => {}
            })
            .serve();
        let mut clients: Vec<Client> = (0..32).map(|_| live.open("/room")).collect();
        clients.iter_mut().for_each(|it| it.expect_text("welcome"));
        for at in 0..clients.len() {
            clients[at].send(&text(&format!("from {at}")));
            for client in &mut clients {
                client.expect_text(&format!("from {at}"));
            }
        }
        expect_quiet(&live);
    });
}

#[test]
fn what_topics_hold_is_counted() {
    let live = Site::new(Mode::Inline)
        .with(|server| server.history("without/", 0).topic("kept"))
        .serve();
    publish(&live.handle, "kept", "12345678");
    publish(&live.handle, "without/history", "x");
    let stats = live.stats();
    // With two bytes of frame header.
    assert_eq!((stats.topics, stats.history), (2, 10));
}

/// Nothing is left to do.
fn expect_quiet(live: &Live) {
    let before = live.stats().deliveries;
    thread::sleep(Duration::from_millis(50));
    assert_eq!(live.stats().deliveries, before);
}

/// A reader that stops costs pointers, is closed, and the others notice nothing.
#[test]
fn a_slow_consumer_is_closed_and_the_others_get_everything() {
    alone(
        "topics::a_slow_consumer_is_closed_and_the_others_get_everything",
        || {
            const SLOW: usize = 50;
            const QUICK: usize = 4;
            // More than sockets hold.
            const MESSAGES: usize = 2_000;
            const SIZE: usize = 8_000;
            in_both_modes(|mode| {
                let causes = Arc::new(Mutex::new(Vec::new()));
                let told = Arc::clone(&causes);
                let live = Site::new(mode)
                    .config(|config| config.limits.outbox = 4 << 20)
                    .on("/listen", listener)
                    .on("/slow", move |peer, on| match on {
                        On::Open => peer.subscribe("a", Since::New).unwrap(),
                        On::Close(reason) => told.lock().unwrap().push(reason.to_string()),
                        _ => {}
                    })
                    .serve();
                let mut slow: Vec<Client> = (0..SLOW).map(|_| live.open("/slow")).collect();
                let quick: Vec<Client> = (0..QUICK).map(|_| live.open("/listen")).collect();
                thread::sleep(Duration::from_millis(50));
                let message = |number: usize| format!("{number:0SIZE$}");
                let before = resident();
                let most = thread::scope(|scope| {
                    for mut client in quick {
                        scope.spawn(move || {
                            for number in 0..MESSAGES {
                                client.expect_text(&message(number));
                            }
                        });
                    }
                    let mut most = 0;
                    for number in 0..MESSAGES {
                        publish(&live.handle, "a", &message(number));
                        most = most.max(resident().saturating_sub(before));
                        thread::sleep(Duration::from_micros(500));
                    }
                    most
                });
                eventually("all slow consumers are told of their end", || {
                    causes.lock().unwrap().len() == SLOW
                });
                for cause in &*causes.lock().unwrap() {
                    assert_eq!(cause, "the peer fell behind (1008): slow consumer");
                }
                let each = most / SLOW;
                eprintln!("{mode:?}: {most} bytes at most, {each} for each slow consumer");
                // Each had 4 MiB waiting; all of them hold the same.
                assert!(most < 64 << 20, "{most} bytes for {SLOW} slow consumers");
                let client = &mut slow[0];
                let mut number = 0;
                let close = loop {
                    let frame = client.next().expect("messages, then Close");
                    if frame.first == 0x88 {
                        break frame;
                    }
                    assert_eq!(frame.payload, message(number).into_bytes());
                    number += 1;
                };
                assert_eq!(close_parts(&close), (Some(1008), "slow consumer".into()));
                assert!(number < MESSAGES);
                drop(slow);
                expect_rest();
            });
        },
    );
}

/// Publishing and subscribing go on while connections come and go.
#[test]
fn connections_come_and_go_while_much_is_published() {
    in_both_modes(|mode| {
        let live = Site::new(mode).on("/listen", listener).serve();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(SeqCst) {
                        publish(&live.handle, "a", "x");
                        thread::sleep(Duration::from_micros(100));
                    }
                });
            }
            for at in 0..300 {
                let mut client = live.open("/listen");
                client.expect_text("x");
                match at % 3 {
                    0 => client.reset(),
                    1 => drop(client),
                    _ => {
                        client.send(&crate::client::close(1000, b""));
                        client.until_end();
                    }
                }
            }
            over.store(true, SeqCst);
        });
        eventually("all connections end", || live.stats().connections == 0);
        expect_quiet(&live);
    });
}
