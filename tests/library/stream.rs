//! A handler that has more to send than its peer takes: `Sent::OverLimit` and `on_drain`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use sockeye::{CloseCode, Peer, Sent};

use crate::client::{BINARY, FIN, text};
use crate::site::{On, Site, in_both_modes};

const CHUNK: usize = 64 << 10;

#[derive(Clone)]
struct Stream {
    sent: usize,
    total: usize,
    refusals: Arc<AtomicUsize>,
}

impl Stream {
    fn go_on(&mut self, peer: &mut Peer<'_>) {
        while self.sent < self.total {
            let mut chunk = vec![self.sent as u8; CHUNK];
            chunk[..8].copy_from_slice(&self.sent.to_be_bytes());
            match peer.send(chunk) {
                Sent::Queued => self.sent += 1,
                Sent::OverLimit => {
                    self.refusals.fetch_add(1, SeqCst);
                    return;
                }
                Sent::Closing => return,
            }
        }
        peer.close(CloseCode::NORMAL, "all of it");
    }
}

fn site(mode: crate::site::Mode, total: usize) -> (Site, Arc<AtomicUsize>) {
    let refusals = Arc::new(AtomicUsize::new(0));
    let mut stream = Stream {
        sent: 0,
        total,
        refusals: Arc::clone(&refusals),
    };
    let site = Site::new(mode).on("/stream", move |peer, on| match on {
        On::Message(_) | On::Drain => stream.go_on(peer),
        _ => {}
    });
    (site, refusals)
}

#[test]
fn a_hundred_mebibytes_arrive_whole() {
    const TOTAL: usize = (100 << 20) / CHUNK;
    in_both_modes(|mode| {
        let (site, refusals) = site(mode, TOTAL);
        let live = site.serve();
        let mut client = live.open("/stream");
        client.send(&text("go"));
        let mut memory = 0;
        for at in 0..TOTAL {
            if at % 64 == 0 {
                memory = memory.max(live.stats().memory);
                if at < 256 {
                    thread::sleep(Duration::from_millis(20));
                }
            }
            let frame = client.next().expect("a chunk");
            assert_eq!((frame.first, frame.payload.len()), (FIN | BINARY, CHUNK));
            assert_eq!(frame.payload[..8], at.to_be_bytes());
            assert!(frame.payload[8..].iter().all(|&byte| byte == at as u8));
        }
        assert_eq!(client.expect_close(1000), "all of it");
        client.send(&crate::client::close(1000, b""));
        client.expect_eof();
        let refusals = refusals.load(SeqCst);
        eprintln!("{refusals} times over the limit, at most {memory} bytes held");
        assert!(refusals > 10, "it has to wait for its peer: {refusals}");
        // The limit, what answers may add, and a chunk.
        assert!(memory < (1 << 20) + (256 << 10), "{memory} bytes held");
    });
}

/// Whoever takes nothing costs no more than the limit, and loses nothing.
#[test]
fn peers_that_pause_are_waited_for() {
    const TOTAL: usize = (8 << 20) / CHUNK;
    in_both_modes(|mode| {
        let (site, _) = site(mode, TOTAL);
        let live = site.config(|config| config.limits.outbox = 200_000).serve();
        let mut clients: Vec<_> = (0..8).map(|_| live.open("/stream")).collect();
        clients
            .iter_mut()
            .for_each(|client| client.send(&text("go")));
        let mut bystander = live.open("/echo");
        for _ in 0..100 {
            bystander.echo("well?");
        }
        let memory = live.stats().memory;
        assert!(memory < 8 * 400_000, "{memory} bytes held");
        for mut client in clients {
            for at in 0..TOTAL {
                let frame = client.next().expect("a chunk");
                assert_eq!(frame.payload[..8], at.to_be_bytes());
            }
            client.expect_close(1000);
            client.send(&crate::client::close(1000, b""));
            client.expect_eof();
        }
    });
}

/// Answers that exceed what the inbox of a reactor may hold: its workers wait, then go on.
#[test]
fn more_than_an_inbox_holds_at_once() {
    in_both_modes(|mode| {
        let live = Site::new(mode)
            .config(|config| config.limits.outbox = 256 << 20)
            .on("/flood", |peer, on| {
                if let On::Message(_) = on {
                    for at in 0..10u8 {
                        assert_eq!(peer.send(vec![at; 8 << 20]), Sent::Queued);
                    }
                }
            })
            .serve();
        let mut clients = [live.open("/flood"), live.open("/flood")];
        clients
            .iter_mut()
            .for_each(|client| client.send(&text("go")));
        let mut bystanders: Vec<_> = (0..4).map(|_| live.open("/echo")).collect();
        for client in &mut clients {
            for at in 0..10u8 {
                let frame = client.next().expect("a chunk");
                assert_eq!((frame.payload[0], frame.payload.len()), (at, 8 << 20));
            }
            bystanders.iter_mut().for_each(|client| client.echo("well"));
        }
        clients.into_iter().for_each(crate::client::Client::finish);
    });
}
