//! Which thread a connection's handler lives on.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockeye::{CloseReason, Handler, Message, Peer};

use crate::client::{Client, text};
use crate::patience::eventually;
use crate::site::{Mode, Site, here, in_both_modes};

#[test]
fn the_least_loaded_worker_is_chosen() {
    let live = Site::new(Mode::Workers).serve();
    let mut peers: Vec<(Client, String)> = Vec::new();
    for count in 1..=40 {
        peers.push(live.open_named("/who"));
        let loads = live.loads();
        assert_eq!(loads.iter().sum::<usize>(), count);
        assert!(loads[0].abs_diff(loads[1]) <= 1, "{loads:?}");
    }
    let (leaving, staying): (Vec<_>, Vec<_>) =
        peers.into_iter().partition(|(_, name)| name == "worker-1");
    assert_eq!((leaving.len(), staying.len()), (20, 20));
    leaving.into_iter().for_each(|(client, _)| client.finish());
    assert_eq!(live.loads(), [20, 0]);
    let arriving: Vec<_> = (0..20).map(|_| live.open_named("/who")).collect();
    assert!(arriving.iter().all(|(_, name)| name == "worker-1"));
    assert_eq!(live.loads(), [20, 20]);
}

#[test]
fn connections_that_end_badly_make_room_too() {
    let live = Site::new(Mode::Workers)
        .config(|config| config.timeouts.close = Some(Duration::from_millis(100)))
        .serve();
    let mut peers: Vec<Client> = (0..20).map(|_| live.open("/echo")).collect();
    for (at, mut client) in peers.drain(..).enumerate() {
        match at % 4 {
            0 => client.reset(),
            1 => drop(client),
            2 => client.send(&[0xff; 6]),
            _ => client.finish_sending(),
        }
    }
    eventually("nobody is left", || live.loads() == [0, 0]);
    // Refused and missing ones never count.
    let mut refused = Client::connect(live.address);
    refused.send(crate::client::request("/nowhere").as_bytes());
    assert_eq!(refused.response().status, 404);
    assert_eq!(live.loads(), [0, 0]);
}

#[test]
fn without_workers_there_are_no_figures_of_them() {
    let live = Site::new(Mode::Inline).serve();
    let (client, name) = live.open_named("/who");
    assert!(name.starts_with("reactor-"), "{name}");
    assert_eq!(live.stats().workers, []);
    client.finish();
}

/// Not `Send`, so that the compiler, too, knows that it stays where it is.
struct Local {
    log: Arc<Mutex<Vec<String>>>,
    _stays: PhantomData<Rc<()>>,
}

impl Local {
    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{what} {}", here()));
    }
}

impl Handler for Local {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        self.note("open");
        peer.set_timer(Duration::from_millis(1));
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, _: Message<'_>) {
        self.note("message");
        // Far above the outbox limit, so that it has to drain.
        while peer.send(vec![7; 100_000]) == sockeye::Sent::Queued {}
    }

    fn on_timer(&mut self, peer: &mut Peer<'_>) {
        self.note("timer");
        peer.send("timer");
    }

    fn on_drain(&mut self, peer: &mut Peer<'_>) {
        self.note("drain");
        peer.send("drained");
    }

    fn on_close(&mut self, _: &mut Peer<'_>, _: &CloseReason) {
        self.note("close");
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.note("drop");
    }
}

#[test]
fn a_handler_has_one_thread_for_life() {
    in_both_modes(|mode| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&log);
        let live = Site::new(mode)
            .route("/local", move |_| {
                let local = Local {
                    log: Arc::clone(&shared),
                    _stays: PhantomData,
                };
                local.note("made");
                local
            })
            .serve();
        for _ in 0..8 {
            log.lock().unwrap().clear();
            let mut client = live.open("/local");
            client.expect_text("timer");
            client.send(&text("fill"));
            while client.next().expect("a frame").payload != b"drained" {}
            client.finish();
            eventually("it is dropped", || log.lock().unwrap().len() == 7);
            let log = log.lock().unwrap();
            let thread = log[0].strip_prefix("made ").expect("made first");
            assert!(thread.starts_with(mode.prefix()), "{thread}");
            let steps = ["made", "open", "timer", "message", "drain", "close", "drop"];
            assert_eq!(*log, steps.map(|step| format!("{step} {thread}")));
        }
    });
}
