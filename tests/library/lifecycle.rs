//! Starting and stopping.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use sockeye::CloseReason;

use crate::client::{CLOSE, Client, FIN, close, close_parts, text};
use crate::patience::eventually;
use crate::process;
use crate::site::{Mode, On, Site, in_both_modes};

const SOON: Duration = Duration::from_secs(3);

/// Keeps sixteen messages under way until the server says goodbye; says how many came back.
fn until_goodbye(mut client: Client, progress: &AtomicUsize) {
    let mut sent = 0;
    let mut received = 0;
    loop {
        while sent < received + 16 {
            // Once it has said goodbye it need not take more.
            _ = client.try_send(&text(&sent.to_string()));
            sent += 1;
        }
        let frame = client.next().expect("an answer or a Close frame");
        if frame.first == FIN | CLOSE {
            assert_eq!(close_parts(&frame).0, Some(1001));
            break;
        }
        assert_eq!(frame.payload, received.to_string().as_bytes());
        received += 1;
        progress.fetch_add(1, SeqCst);
    }
    _ = client.try_send(&close(1001, b""));
    client.expect_eof();
}

#[test]
fn stop_under_load() {
    in_both_modes(|mode| {
        let mut live = Site::new(mode).serve();
        let progress = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                let client = live.open("/echo");
                scope.spawn(|| until_goodbye(client, &progress));
            }
            eventually("the load runs", || progress.load(SeqCst) > 2000);
            let elapsed = live.join();
            assert!(elapsed < SOON, "{elapsed:?}");
        });
        assert_eq!(live.tally.opened(), 8);
        live.tally.check();
    });
}

/// Stopping while connections come, go, and are in the middle of their handshakes.
#[test]
fn stop_under_handshakes() {
    in_both_modes(|mode| {
        for round in 0..4 {
            let mut live = Site::new(mode).serve();
            let address = live.address;
            let clients: Vec<_> = (0..4)
                .map(|_| {
                    thread::spawn(move || {
                        let mut opened = 0;
                        while let Ok(mut client) = Client::try_connect(address) {
                            let request = crate::client::request("/echo");
                            let all = [request.as_bytes(), &text("hello")].concat();
                            if client.try_send(&all).is_err() {
                                break;
                            }
                            match client.try_response() {
                                Ok(response) => assert_eq!(response.status, 101),
                                Err(_) => break,
                            }
                            opened += 1;
                            if client.next().is_ok_and(|frame| frame.payload == b"hello") {
                                client.reset();
                            }
                        }
                        opened
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(50 + 10 * round));
            let elapsed = live.join();
            assert!(elapsed < SOON, "{elapsed:?}");
            let opened: usize = clients.into_iter().map(|it| it.join().unwrap()).sum();
            assert!(opened > 0 && opened <= live.tally.opened());
            live.tally.check();
        }
    });
}

#[test]
fn stop_before_the_start() {
    in_both_modes(|mode| {
        for spawn in [true, false] {
            let (server, tally) = Site::new(mode).bind();
            let address = server.local_addrs()[0];
            server.handle().stop();
            let start = Instant::now();
            if spawn {
                server.spawn().expect("it starts").join().expect("it ends");
            } else {
                server.run().expect("it ends");
            }
            assert!(start.elapsed() < SOON);
            assert!(std::net::TcpStream::connect(address).is_err());
            tally.check();
        }
    });
}

/// Clients that came before the server ran have waited for it.
#[test]
fn clients_may_come_before_the_start() {
    in_both_modes(|mode| {
        let (server, tally) = Site::new(mode).bind();
        let mut client = Client::connect(server.local_addrs()[0]);
        client.send(crate::client::request("/echo").as_bytes());
        let running = server.spawn().expect("it starts");
        client.expect_upgrade();
        client.echo("at last");
        client.finish();
        drop(running);
        tally.check();
    });
}

#[test]
fn dropping_what_runs_stops_it() {
    in_both_modes(|mode| {
        let (server, tally) = Site::new(mode).bind();
        let running = server.spawn().expect("it starts");
        let address = running.local_addrs()[0];
        let clients: Vec<Client> = (0..6).map(|_| Client::open(address, "/echo")).collect();
        let progress = AtomicUsize::new(0);
        thread::scope(|scope| {
            for client in clients {
                scope.spawn(|| until_goodbye(client, &progress));
            }
            eventually("the load runs", || progress.load(SeqCst) > 500);
            let start = Instant::now();
            drop(running);
            assert!(start.elapsed() < SOON);
        });
        assert!(std::net::TcpStream::connect(address).is_err());
        assert_eq!(tally.opened(), 6);
        tally.check();
    });
}

#[test]
fn two_servers_in_one_process() {
    in_both_modes(|mode| {
        let mut first = Site::new(mode).serve();
        let second = Site::new(Mode::Workers).serve();
        assert_ne!(first.address, second.address);
        let mut one = first.open("/echo");
        let mut two = second.open("/echo");
        one.echo("first");
        two.echo("second");
        eventually("each counts its own", || {
            first.stats().messages == 1 && second.stats().accepted == 1
        });
        let progress = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| until_goodbye(one, &progress));
            first.join();
        });
        two.echo("unmoved");
        two.finish();
    });
}

/// The reason a handler is told for each kind of end, and that it is told once.
#[test]
fn on_close_tells_how_it_ended() {
    in_both_modes(|mode| {
        let (ends, told) = crossbeam_channel::unbounded();
        let mut live = Site::new(mode)
            .config(|config| config.timeouts.drain = Some(Duration::from_millis(300)))
            .on("/told", move |peer, on| match on {
                On::Message(message) => {
                    peer.send(message);
                }
                On::Close(reason) => ends.send(reason.clone()).unwrap(),
                _ => {}
            })
            .serve();
        let open = || {
            let mut client = live.open("/told");
            client.echo("hello");
            client
        };
        let told_once = || -> CloseReason {
            let reason = told.recv_timeout(crate::patience::PATIENCE);
            assert!(told.is_empty());
            reason.expect("on_close")
        };
        open().finish();
        assert_eq!(told_once().to_string(), "closed by the peer (1000)");
        drop(open());
        assert_eq!(told_once().to_string(), "end of stream (1006)");
        open().reset();
        let reason = told_once().to_string();
        assert!(reason.starts_with("connection lost"), "{reason}");
        let mut client = open();
        client.send(&[0xff; 6]);
        client.until_end();
        let reason = told_once().to_string();
        assert!(reason.starts_with("protocol fault (1002)"), "{reason}");
        // This one does not answer the Close frame of the shutdown.
        let mut silent = open();
        live.join();
        let reason = told_once().to_string();
        assert!(reason.starts_with("server shutdown (1001)"), "{reason}");
        silent.expect_close(1001);
    });
}

#[test]
fn fifty_servers_leave_nothing_behind() {
    process::alone("lifecycle::fifty_servers_leave_nothing_behind", || {
        let serve = |mode| {
            let live = Site::new(mode).serve();
            let mut client = live.open("/echo");
            client.echo("hello");
            let abandoned = live.open("/echo");
            client.finish();
            drop((abandoned, live));
        };
        serve(Mode::Workers);
        let before = (process::descriptors(), process::threads());
        in_both_modes(|mode| (0..25).for_each(|_| serve(mode)));
        eventually("all are gone", || {
            (process::descriptors(), process::threads()) == before
        });
    });
}
