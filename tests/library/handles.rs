//! `PeerHandle`: sending from threads that are not the server's.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use sockeye::{CloseCode, PeerHandle, SendError};

use crate::client::{Client, close, text};
use crate::gate::Gate;
use crate::patience::eventually;
use crate::site::{Live, Mode, On, Site, in_both_modes};

type Handles = Arc<Mutex<Vec<PeerHandle>>>;

/// `/handle` leaves a handle of each connection in the list and echoes.
fn site(mode: Mode) -> (Site, Handles) {
    let handles = Handles::default();
    let list = Arc::clone(&handles);
    let site = Site::new(mode).on("/handle", move |peer, on| match on {
        On::Open => list.lock().unwrap().push(peer.handle()),
        on => crate::site::echo(peer, on),
    });
    (site, handles)
}

fn open_with_handle(live: &Live, handles: &Handles) -> (Client, PeerHandle) {
    let client = live.open("/handle");
    let handle = handles.lock().unwrap().pop().expect("a handle");
    (client, handle)
}

/// What is accepted arrives, in order for each thread that sends.
#[test]
fn eight_threads_send_to_a_hundred_connections() {
    const THREADS: usize = 8;
    const MESSAGES: usize = 10_000;
    const CONNECTIONS: usize = 100;
    in_both_modes(|mode| {
        let (site, handles) = site(mode);
        let live = site.serve();
        let (mut clients, handles): (Vec<_>, Vec<_>) = (0..CONNECTIONS)
            .map(|_| open_with_handle(&live, &handles))
            .unzip();
        let full = AtomicUsize::new(0);
        thread::scope(|scope| {
            for sender in 0..THREADS {
                let (handles, full) = (&handles, &full);
                scope.spawn(move || {
                    for at in 0..MESSAGES {
                        let message = format!("{sender} {at}");
                        // Each thread in an order of its own.
                        let to = &handles[(at * 7 + sender * 13) % CONNECTIONS];
                        while let Err(error) = to.send(&*message) {
                            assert_eq!(error, SendError::Full);
                            full.fetch_add(1, SeqCst);
                            thread::yield_now();
                        }
                    }
                });
            }
            for part in clients.chunks_mut(CONNECTIONS / 2) {
                scope.spawn(move || {
                    for client in part {
                        let mut last = [None; THREADS];
                        for _ in 0..THREADS * MESSAGES / CONNECTIONS {
                            let frame = client.next().expect("a message");
                            let text = String::from_utf8(frame.payload).unwrap();
                            let (sender, at) = text.split_once(' ').unwrap();
                            let sender: usize = sender.parse().unwrap();
                            let at: usize = at.parse().unwrap();
                            assert!(last[sender] < Some(at), "{at} of {sender} is late");
                            last[sender] = Some(at);
                        }
                    }
                });
            }
        });
        eprintln!("{} times full", full.load(SeqCst));
        for (client, handle) in clients.into_iter().zip(&handles) {
            client.finish();
            assert_eq!(handle.buffered_amount(), 0);
            assert_eq!(handle.send("late"), Err(SendError::Gone));
        }
        eventually("nothing is held", || live.stats().memory == 0);
    });
}

#[test]
fn full_until_the_peer_takes_it_and_nothing_is_lost() {
    in_both_modes(|mode| {
        let (site, handles) = site(mode);
        let live = site.config(|config| config.limits.outbox = 100_000).serve();
        let (mut client, handle) = open_with_handle(&live, &handles);
        let mut accepted = 0u32;
        let fill = |accepted: &mut u32| {
            // The kernel takes some megabytes before the outbox fills up.
            let mut refused = 0;
            while refused < 50 {
                let mut message = vec![0; 10_000];
                message[..4].copy_from_slice(&accepted.to_be_bytes());
                match handle.send(message) {
                    Ok(()) => {
                        *accepted += 1;
                        refused = 0;
                    }
                    Err(error) => {
                        assert_eq!(error, SendError::Full);
                        refused += 1;
                        thread::sleep(std::time::Duration::from_millis(2));
                    }
                }
            }
        };
        fill(&mut accepted);
        assert!(handle.buffered_amount() > 90_000);
        assert!(live.stats().memory < 300_000);
        let mut received = 0u32;
        for goal in [accepted / 2, accepted] {
            while received < goal {
                let frame = client.next().expect("a message");
                assert_eq!(frame.payload[..4], received.to_be_bytes());
                received += 1;
            }
            fill(&mut accepted);
        }
        while received < accepted {
            let frame = client.next().expect("a message");
            assert_eq!(frame.payload[..4], received.to_be_bytes());
            received += 1;
        }
        client.echo("well");
        client.finish();
    });
}

#[test]
fn gone_after_every_kind_of_end() {
    in_both_modes(|mode| {
        let (site, handles) = site(mode);
        let mut live = site.serve();
        let ends: [fn(Client); 4] = [Client::finish, Client::reset, drop, |mut client| {
            client.send(&[0xff; 6]);
            client.until_end();
        }];
        let mut gone = Vec::new();
        for end in ends {
            let (client, handle) = open_with_handle(&live, &handles);
            assert!(handle.is_open());
            end(client);
            eventually("it is gone", || !handle.is_open());
            assert_eq!(handle.send("late"), Err(SendError::Gone));
            assert_eq!(handle.close(CloseCode::NORMAL, ""), Err(SendError::Gone));
            // Its slot has a new owner, whom it never reaches.
            let (mut heir, _) = open_with_handle(&live, &handles);
            assert_eq!(handle.send("for another"), Err(SendError::Gone));
            heir.echo("mine");
            gone.push(heir);
        }
        let (client, handle) = open_with_handle(&live, &handles);
        let reading = thread::spawn(move || {
            gone.push(client);
            for client in &mut gone {
                client.expect_close(1001);
                client.send(&close(1001, b""));
                client.expect_eof();
            }
        });
        live.join();
        reading.join().unwrap();
        // Beyond the life of its server, too.
        assert_eq!(handle.send("late"), Err(SendError::Gone));
    });
}

/// A handle may be used before the handshake's response has left.
#[test]
fn from_within_on_open() {
    in_both_modes(|mode| {
        let live = Site::new(mode)
            .on("/greet", |peer, on| {
                if let On::Open = on {
                    let handle = peer.handle();
                    peer.send("one");
                    handle.send("two").unwrap();
                    let elsewhere = thread::spawn(move || {
                        handle.send("three").unwrap();
                        handle.send(vec![4; 100_000]).unwrap();
                    });
                    elsewhere.join().unwrap();
                }
            })
            .on("/farewell", |peer, on| {
                if let On::Open = on {
                    let handle = peer.handle();
                    handle.send("and").unwrap();
                    handle.close(CloseCode::from(4001), "at once").unwrap();
                    handle.send("too late").unwrap();
                }
            })
            .serve();
        for _ in 0..50 {
            let mut client = live.open("/greet");
            for text in ["one", "two", "three"] {
                client.expect_text(text);
            }
            client.expect_binary(&[4; 100_000]);
            client.finish();
            let mut client = live.open("/farewell");
            client.expect_text("and");
            assert_eq!(client.expect_close(4001), "at once");
            client.send(&close(4001, b""));
            client.expect_eof();
        }
    });
}

#[test]
fn closing_comes_after_what_was_sent() {
    in_both_modes(|mode| {
        let (site, handles) = site(mode);
        let live = site.serve();
        for round in 0..20 {
            let (mut client, handle) = open_with_handle(&live, &handles);
            client.send(&text("hello"));
            client.expect_text("hello");
            for at in 0..round {
                handle.send(at.to_string()).unwrap();
            }
            let twin = handle.clone();
            thread::spawn(move || twin.close(CloseCode::from(4000 + round), "bye"))
                .join()
                .unwrap()
                .unwrap();
            for at in 0..round {
                client.expect_text(&at.to_string());
            }
            assert_eq!(client.expect_close(4000 + round), "bye");
            client.send(&close(4000, b""));
            client.expect_eof();
            eventually("it is gone", || !handle.is_open());
        }
    });
}

/// Handlers send to connections of other threads while those send to theirs.
#[test]
fn everybody_to_everybody() {
    const PEERS: usize = 16;
    const MESSAGES: usize = 100;
    in_both_modes(|mode| {
        let handles = Handles::default();
        let list = Arc::clone(&handles);
        let lost = Arc::new(AtomicUsize::new(0));
        let refused = Arc::clone(&lost);
        let live = Site::new(mode)
            .on("/relay", move |peer, on| match on {
                On::Open => list.lock().unwrap().push(peer.handle()),
                On::Message(message) => {
                    for handle in &*list.lock().unwrap() {
                        if handle.send(message.as_text().unwrap()).is_err() {
                            refused.fetch_add(1, SeqCst);
                        }
                    }
                }
                _ => {}
            })
            .serve();
        let clients: Vec<Client> = (0..PEERS).map(|_| live.open("/relay")).collect();
        let received = AtomicUsize::new(0);
        thread::scope(|scope| {
            for (who, mut client) in clients.into_iter().enumerate() {
                let received = &received;
                scope.spawn(move || {
                    // One message under way for each peer: more than an inbox takes is refused.
                    client.send(&text(&format!("{who} 0")));
                    let mut last = [None; PEERS];
                    while last.iter().any(|&last| last != Some(MESSAGES - 1)) {
                        let payload = client.next().expect("a message").payload;
                        let line = String::from_utf8(payload).unwrap();
                        let (from, at) = line.split_once(' ').unwrap();
                        let from: usize = from.parse().unwrap();
                        let at: usize = at.parse().unwrap();
                        assert_eq!(last[from].map_or(0, |last| last + 1), at);
                        last[from] = Some(at);
                        if from == who && at + 1 < MESSAGES {
                            client.send(&text(&format!("{who} {}", at + 1)));
                        }
                        received.fetch_add(1, SeqCst);
                    }
                    client.finish();
                });
            }
        });
        assert_eq!(lost.load(SeqCst), 0);
        assert_eq!(received.load(SeqCst), PEERS * PEERS * MESSAGES);
    });
}

/// A reactor that is busy takes nothing from its inbox, which has a limit: what was accepted
/// arrives all the same.
#[test]
fn full_while_the_reactor_is_busy() {
    let gate = Gate::default();
    let pass = gate.clone();
    let (handles, given) = crossbeam_channel::unbounded();
    let live = Site::new(Mode::Inline)
        .config(|config| config.reactors = 1)
        .on("/hold", move |peer, on| match on {
            On::Open => handles.send(peer.handle()).unwrap(),
            On::Message(_) => pass.pass(),
            _ => {}
        })
        .serve();
    let mut client = live.open("/hold");
    let handle = given.recv().unwrap();
    client.send(&text("hold"));
    gate.wait_for(1);
    let mut accepted = 0;
    while handle.send(accepted.to_string()).is_ok() {
        accepted += 1;
    }
    assert!((5000..50_000).contains(&accepted), "{accepted}");
    assert_eq!(handle.send("more"), Err(SendError::Full));
    gate.open();
    for at in 0..accepted {
        client.expect_text(&at.to_string());
    }
    handle.send("room again").unwrap();
    client.expect_text("room again");
    client.finish();
}
