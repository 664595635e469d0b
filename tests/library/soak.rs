//! Everything at once: peers of every kind, for a while, and then the end of the server.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sockeye::PeerHandle;

use crate::client::{BINARY, Client, End, FIN, PING, binary, close, frame, request, text};
use crate::order::Dice;
use crate::site::{On, Site, in_both_modes};

/// Does one of many things with a new connection. Whatever the server does meanwhile, and be it
/// to shut down, is right as long as its handlers are accounted for.
fn visit(address: std::net::SocketAddr, dice: &mut Dice) -> Result<(), End> {
    let Ok(mut client) = Client::try_connect(address) else {
        thread::sleep(Duration::from_millis(1));
        return Err(End::Eof);
    };
    let lost = |_| End::Reset;
    let head = request("/all");
    let cut = dice.below(head.len());
    client.try_send(&head.as_bytes()[..cut]).map_err(lost)?;
    if dice.below(20) == 0 {
        return Ok(());
    }
    client.try_send(&head.as_bytes()[cut..]).map_err(lost)?;
    match dice.below(10) {
        0 => return Ok(()),
        1 => {
            client.reset();
            return Ok(());
        }
        2 => client.finish_sending(),
        _ => {}
    }
    assert_eq!(client.try_response()?.status, 101);
    for _ in 0..dice.below(20) {
        let size = [0, 10, 125, 2000, 20_000, 200_000][dice.below(6)];
        let message = match dice.below(12) {
            0 => text("timer"),
            1 => text("handle"),
            2 => frame(FIN | PING, b"ping"),
            4 => [frame(BINARY, b"one"), frame(FIN, b"two")].concat(),
            _ => binary(&vec![7; size]),
        };
        client.try_send(&message).map_err(lost)?;
        if dice.below(2) == 0 {
            client.next()?;
        }
    }
    match dice.below(8) {
        0 => client.reset(),
        1 => client
            .try_send(&frame(BINARY, b"unfinished"))
            .map_err(lost)?,
        2 => {
            client.try_send(&[0xff; 6]).map_err(lost)?;
            client.until_end();
        }
        3 => {
            client.try_send(&text("close")).map_err(lost)?;
            client.try_send(&close(1000, b"")).map_err(lost)?;
            client.until_end();
        }
        4 => client.finish_sending(),
        _ => {
            client.try_send(&close(1000, b"")).map_err(lost)?;
            client.until_end();
        }
    }
    Ok(())
}

/// Visits that there have to be. The slowest machine has this time for them.
const VISITS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn all_kinds_of_peers_and_then_a_shutdown() {
    in_both_modes(|mode| {
        let handles: Arc<Mutex<Vec<PeerHandle>>> = Arc::default();
        let list = Arc::clone(&handles);
        let mut live = Site::new(mode)
            .config(|config| {
                config.limits.outbox = 100_000;
                // Some of these peers answer no Close frame.
                config.timeouts.close = Some(Duration::from_secs(1));
            })
            .on("/all", move |peer, on| match on {
                On::Message(message) => match message.as_text() {
                    Some("timer") => peer.set_timer(Duration::from_millis(1)),
                    Some("handle") => {
                        let handle = peer.handle();
                        handle.send("from the handle").ok();
                        let mut list = list.lock().unwrap();
                        list.push(handle);
                        if list.len() > 100 {
                            list.clear();
                        }
                        drop(list);
                        peer.send("handled");
                    }
                    Some("close") => peer.close(4000.into(), "as you wish"),
                    _ => _ = peer.send(message),
                },
                On::Timer => _ = peer.send("timer"),
                On::Open | On::Drain | On::Subscribed(_) | On::Close(_) => {}
            })
            .serve();
        let address = live.address;
        let over = AtomicBool::new(false);
        let visits = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (over, visits, handles) = (&over, &visits, &handles);
            for who in 1..=8 {
                scope.spawn(move || {
                    let mut dice = Dice::new(0x9e37_79b9 ^ who);
                    while !over.load(SeqCst) {
                        if visit(address, &mut dice).is_ok() {
                            visits.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    for handle in &*handles.lock().unwrap() {
                        handle.send("from outside").ok();
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            });
            // At least for a while, and until there have been enough of them.
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(2)
                || visits.load(SeqCst) <= VISITS && start.elapsed() < PATIENCE
            {
                thread::sleep(Duration::from_millis(5));
            }
            let elapsed = live.join();
            over.store(true, SeqCst);
            eprintln!("{} visits, {elapsed:?}", visits.load(SeqCst));
            assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
        });
        live.tally.check();
        assert!(live.tally.opened() > VISITS);
        let stats = live.stats();
        assert_eq!((stats.connections, stats.memory), (0, 0));
        assert!(live.loads().iter().all(|&load| load == 0));
        assert!(handles.lock().unwrap().iter().all(|it| !it.is_open()));
    });
}
