//! What others on a topic notice of one that takes nothing, or that comes and goes without end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use sockeye::{Peer, Since, SubscribeError};

use crate::client::{Client, text};
use crate::patience::eventually;
use crate::process::{alone, resident};
use crate::site::{Live, On, Site, in_both_modes};

fn listener(peer: &mut Peer<'_>, on: On<'_>) {
    if let On::Open = on {
        peer.subscribe("a", Since::New).unwrap();
    }
}

const MESSAGES: usize = 500;
const SIZE: usize = 16_000;

/// Publications that a listener may be behind by, on a machine that is busy with other things: far
/// from its limit.
const AHEAD: usize = 16;

/// Publishes on a schedule to listeners that read, and says what 99 of 100 deliveries took at most.
fn percentile(live: &Live, listeners: &mut [Client]) -> Duration {
    let start = Instant::now();
    let heard: Vec<AtomicUsize> = listeners.iter().map(|_| AtomicUsize::new(0)).collect();
    let mut took: Vec<Duration> = thread::scope(|scope| {
        let readers: Vec<_> = listeners
            .iter_mut()
            .zip(&heard)
            .map(|(client, heard)| {
                scope.spawn(move || {
                    let took = |_| {
                        let payload = client.next().expect("a message").payload;
                        let now = start.elapsed();
                        heard.fetch_add(1, SeqCst);
                        let sent = std::str::from_utf8(&payload).unwrap().trim();
                        now - Duration::from_nanos(sent.parse().unwrap())
                    };
                    (0..MESSAGES).map(took).collect::<Vec<_>>()
                })
            })
            .collect();
        for at in 0..MESSAGES {
            let due = Duration::from_millis(2 * at as u64);
            thread::sleep(due.saturating_sub(start.elapsed()));
            eventually("all listen", || {
                heard.iter().all(|it| it.load(SeqCst) + AHEAD > at)
            });
            let message = format!("{:<SIZE$}", start.elapsed().as_nanos());
            live.handle.publish("a", message).expect("room");
        }
        readers
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// Whatever else the machine does makes deliveries slower, never faster: of some rounds with readers
/// that stop, and as many without, the quickest of each kind are compared.
#[test]
fn readers_that_stop_delay_nobody() {
    const STOPPED: usize = 16;
    const ROUNDS: usize = 12;
    alone("neighbours::readers_that_stop_delay_nobody", || {
        in_both_modes(|mode| {
            let ended = Arc::new(Mutex::new(Vec::new()));
            let told = Arc::clone(&ended);
            let live = Site::new(mode)
                .config(|config| config.limits.outbox = 2 << 20)
                .on("/listen", listener)
                .on("/stopped", move |peer, on| match on {
                    On::Open => peer.subscribe("a", Since::New).unwrap(),
                    On::Close(reason) => told.lock().unwrap().push(reason.to_string()),
                    _ => {}
                })
                .serve();
            let mut listeners: Vec<Client> = (0..4).map(|_| live.open("/listen")).collect();
            percentile(&live, &mut listeners);
            let mut best = [Duration::MAX; 2];
            let stays = |[without, with]: [Duration; 2]| with <= without * 3 / 2;
            for round in 0..ROUNDS {
                best[0] = best[0].min(percentile(&live, &mut listeners));
                let open = |_| {
                    let client = live.open("/stopped");
                    let small = SockRef::from(client.stream()).set_recv_buffer_size(32 << 10);
                    small.expect("a small buffer");
                    client
                };
                let stopped: Vec<Client> = (0..STOPPED).map(open).collect();
                best[1] = best[1].min(percentile(&live, &mut listeners));
                // All of them were dropped while the others listened.
                eventually("all that stopped are dropped", || {
                    ended.lock().unwrap().len() == STOPPED
                });
                let mut ended = ended.lock().unwrap();
                let expected = "the peer fell behind (1008): slow consumer";
                assert!(ended.drain(..).all(|it| it == expected));
                drop(stopped);
                if round >= 2 && stays(best) {
                    break;
                }
            }
            let [without, with] = best;
            eprintln!("{mode:?}: p99 {with:?} beside readers that stop, {without:?} without");
            assert!(stays(best), "{with:?} instead of {without:?}");
        });
    });
}

/// Subscribing and unsubscribing as fast as messages come takes no memory, and keeps neither
/// publications nor newcomers waiting.
#[test]
fn who_comes_and_goes_without_end_delays_nobody() {
    alone(
        "neighbours::who_comes_and_goes_without_end_delays_nobody",
        || {
            in_both_modes(|mode| {
                let toggled = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&toggled);
                let live = Site::new(mode)
                    .on("/listen", |peer, on| match on {
                        On::Open => peer.subscribe("a", Since::New).unwrap(),
                        On::Subscribed(_) => drop(peer.send("welcome")),
                        _ => {}
                    })
                    .on("/toggle", move |peer, on| match on {
                        On::Message(message) if message.as_text() == Some("s") => {
                            count.fetch_add(1, SeqCst);
                            match peer.subscribe("a", Since::New) {
                                Ok(()) | Err(SubscribeError::Full) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                        On::Message(_) => drop(peer.unsubscribe("a")),
                        _ => {}
                    })
                    .serve();
                let over = AtomicBool::new(false);
                let before = resident();
                let most = thread::scope(|scope| {
                    for _ in 0..2 {
                        let mut client = live.open("/toggle");
                        let over = &over;
                        let stream = client.stream().try_clone().unwrap();
                        scope.spawn(move || {
                            let burst = [text("s"), text("u")].concat().repeat(4_000);
                            while !over.load(SeqCst) {
                                let sent = client.try_send(&burst);
                                assert!(sent.is_ok() || over.load(SeqCst), "{sent:?}");
                            }
                        });
                        // What it is sent meanwhile.
                        let mut stream = stream;
                        scope.spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
                    }
                    eventually("it has begun", || toggled.load(SeqCst) > 100_000);
                    let mut most = 0;
                    for at in 0..50 {
                        let mut client = live.open("/listen");
                        client.expect_text("welcome");
                        live.handle.publish("a", at.to_string()).expect("room");
                        client.expect_text(&at.to_string());
                        most = most.max(resident().saturating_sub(before));
                        client.finish();
                    }
                    over.store(true, SeqCst);
                    eprintln!("{mode:?}: {most} bytes more, {toggled:?} subscriptions");
                    live.handle.stop();
                    most
                });
                assert!(most < 64 << 20, "{most} bytes more");
            });
        },
    );
}
