//! Handles on threads of their own and the reactor's real turn, in every interleaving.

use std::sync::{Arc, Mutex};

use loom::thread;

use super::network::{Network, Wire};
use super::{PATH, WINDOW};
use crate::connection::{Context, Tick};
use crate::protocol::handshake::encode_key;
use crate::protocol::{ClientHandshake, CloseCode};
use crate::reactor::{Inbox, Next, Poll, Population, Reactor, Stats, check};
use crate::server::{App, hub, settings};
use crate::worker::{Executor, Inline, Outside};
use crate::{Config, Handler, Message, Peer, PeerHandle, SendError};

type Handles = Arc<Mutex<Option<PeerHandle>>>;

struct Lender(Handles);

impl Handler for Lender {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        *self.0.lock().unwrap() = Some(peer.handle());
    }

    fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}
}

/// A reactor with one open connection and no worker.
struct Server {
    reactor: Reactor<Network, Inline<App>>,
    network: Network,
    wire: Wire,
    poll: Arc<Poll>,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
    handle: PeerHandle,
}

impl Server {
    fn new(outbox: usize) -> Self {
        let mut config = Config::default();
        config.limits.outbox = outbox;
        let handles = Handles::default();
        let lent = Arc::clone(&handles);
        let mut app = App::new(&config).unwrap();
        app.route(PATH.to_owned(), move |_| Lender(Arc::clone(&lent)));
        let app = Arc::new(app);
        let poll = Arc::new(Poll::default());
        let waker = Arc::clone(&poll);
        let inbox = Arc::new(Inbox::new(0, Box::new(move || waker.wake())));
        let executor = Executor::new(Arc::clone(&app), Arc::default(), 0);
        let network = Network::default();
        let settings = settings(&config).unwrap();
        let outside = Outside::new(0, &inbox, hub(&config), &settings);
        let (sys, delivery) = (network.clone(), Inline::new(executor, outside));
        let cx = Context::new(sys, delivery, app, settings, Tick(0));
        let stats = Arc::new(Stats::default());
        let (own, figures) = (Arc::clone(&inbox), Arc::clone(&stats));
        let population = Population::new(1);
        let mut reactor = Reactor::new(vec![()], population, own, figures, None, cx);
        let wire = network.connect(([127, 0, 0, 1], 50_000).into(), WINDOW);
        let mut request = Vec::new();
        ClientHandshake {
            host: "localhost",
            target: PATH,
            key: encode_key([7; 16]),
            subprotocols: &[],
            origin: None,
            extra_headers: &[],
        }
        .encode(&mut request);
        wire.write(&request);
        while reactor.turn(network.take_events(), Tick(0)) == Next::Now || network.has_events() {}
        assert!(wire.read().starts_with(b"HTTP/1.1 101"));
        let handle = handles.lock().unwrap().take().expect("a connection");
        Self {
            reactor,
            network,
            wire,
            poll,
            inbox,
            stats,
            handle,
        }
    }

    fn turn(&mut self) -> Next {
        let next = self.reactor.turn(self.network.take_events(), Tick(0));
        match self.network.has_events() {
            true => Next::Now,
            false => next,
        }
    }

    /// What the client has received once it ends with `end`. The reactor sleeps whenever its
    /// turn says so, and time stands still.
    fn receive_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut received = Vec::new();
        loop {
            let next = self.turn();
            received.extend(self.wire.read());
            if received.ends_with(end) {
                return received;
            }
            if next != Next::Now {
                self.poll.sleep();
            }
        }
    }

    fn rest(&mut self) {
        while self.turn() == Next::Now {}
    }
}

#[test]
fn what_a_handle_sends_is_not_slept_over() {
    check(|| {
        let mut server = Server::new(1 << 20);
        let handle = server.handle.clone();
        let sender = thread::spawn(move || {
            handle.send("one").unwrap();
            handle.close(CloseCode::NORMAL, "").unwrap();
        });
        let received = server.receive_until(b"\x88\x02\x03\xe8");
        assert_eq!(received, b"\x81\x03one\x88\x02\x03\xe8");
        sender.join().unwrap();
    });
}

#[test]
fn a_stop_is_not_slept_over() {
    check(|| {
        let mut server = Server::new(1 << 20);
        let (handle, inbox) = (server.handle.clone(), Arc::clone(&server.inbox));
        let sender = thread::spawn(move || {
            handle.send("one").unwrap();
            inbox.stop();
        });
        let received = server.receive_until(b"server shutting down");
        assert!(received.starts_with(b"\x81\x03one"));
        sender.join().unwrap();
    });
}

/// A peer that takes nothing: two threads and the reactor agree on what is waiting, and on
/// nothing once the connection has ended.
#[test]
fn handles_keep_to_the_limit_and_learn_of_the_end() {
    check(|| {
        let mut server = Server::new(1);
        server.wire.set_window(0);
        let senders = ["a", "b"].map(|text| {
            let handle = server.handle.clone();
            thread::spawn(move || handle.send(text).is_ok())
        });
        server.turn();
        let accepted = senders.map(|sender| sender.join().unwrap());
        let accepted = accepted.iter().filter(|&&accepted| accepted).count();
        assert_eq!(
            accepted, 1,
            "an empty queue takes one message, a full one none"
        );
        server.rest();
        assert_eq!(server.handle.buffered_amount(), 3);
        assert_eq!(server.handle.send("c"), Err(SendError::Full));
        server.wire.set_window(WINDOW);
        server.rest();
        assert_eq!(server.wire.read().len(), 3);
        assert_eq!(server.handle.buffered_amount(), 0);
    });
}

#[test]
fn a_handle_that_races_with_the_end_leaves_nothing() {
    check(|| {
        let mut server = Server::new(1 << 20);
        server.wire.set_window(0);
        let handle = server.handle.clone();
        let sender = thread::spawn(move || {
            let sent = [handle.send("a"), handle.send("b")];
            // Once gone, it stays gone.
            assert!(sent != [Err(SendError::Gone), Ok(())]);
        });
        server.turn();
        server.wire.reset();
        server.turn();
        assert!(!server.handle.is_open());
        assert_eq!(server.handle.send("c"), Err(SendError::Gone));
        sender.join().unwrap();
        server.rest();
        assert_eq!(server.handle.buffered_amount(), 0);
        let memory = &server.stats.memory;
        assert_eq!(memory.load(std::sync::atomic::Ordering::Relaxed), 0);
    });
}
