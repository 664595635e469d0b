//! A handler that panics ends its own connection, and nothing else.

use std::panic::panic_any;
use std::sync::Once;
use std::thread;
use std::time::Duration;

use sockeye::{CloseCode, Handler, Message, Peer, Sent};

use crate::client::{Client, FIN, PING, PONG, close, frame, request, text};
use crate::gate::Gate;
use crate::site::{Live, Mode, On, Site, echo, here, in_both_modes};

/// What these tests panic with. Their hook keeps the output quiet about it.
const BANG: &str = "a panic on purpose";

fn quiet() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            if payload.downcast_ref::<&str>() != Some(&BANG) && !payload.is::<Charged>() {
                loud(info);
            }
        }));
    });
}

fn bang() -> ! {
    panic_any(BANG)
}

/// What is thrown may panic again while it is dropped.
struct Charged;

impl Drop for Charged {
    fn drop(&mut self) {
        if !thread::panicking() {
            bang();
        }
    }
}

/// Panics when it is dropped, and before that if it gets a message.
struct Bomb;

impl Handler for Bomb {
    fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {
        bang();
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            bang();
        }
    }
}

/// `/bang` panics where its messages say; `/bang/...` by itself.
fn site(mode: Mode, gate: &Gate) -> Site {
    quiet();
    let gate = gate.clone();
    let mut at_end = false;
    Site::new(mode)
        .on("/bang", move |peer, on| match on {
            On::Open => {
                peer.send(here());
            }
            On::Message(message) => {
                let text = message.as_text().expect("a text").to_owned();
                peer.send(message);
                match &*text {
                    "message" => bang(),
                    "charged" => panic_any(Charged),
                    "timer" => peer.set_timer(Duration::from_millis(1)),
                    "drain" => while peer.send(vec![0; 100_000]) == Sent::Queued {},
                    "after close" => {
                        peer.close(CloseCode::NORMAL, "");
                        bang();
                    }
                    "end" => at_end = true,
                    "gate" => gate.pass(),
                    _ => {}
                }
            }
            On::Timer | On::Drain => bang(),
            On::Close(_) if at_end => bang(),
            On::Subscribed(_) | On::Close(_) => {}
        })
        .on("/bang/open", |_, on| match on {
            On::Open => bang(),
            on => drop(on),
        })
        .route("/bang/drop", |_| Bomb)
        .route("/bang/route", |_| -> Bomb { bang() })
        .route("/bang/charged", |_| -> Bomb { panic_any(Charged) })
}

/// Others on both threads, before and after.
struct Bystanders(Vec<(Client, String)>);

impl Bystanders {
    fn new(live: &Live) -> Self {
        let mut peers: Vec<(Client, String)> = Vec::new();
        while peers.len() < 4 || peers.iter().all(|(_, name)| *name == peers[0].1) {
            peers.push(live.open_named("/bang"));
        }
        Self(peers)
    }

    #[track_caller]
    fn are_well(&mut self) {
        for (client, _) in &mut self.0 {
            client.echo("still here");
        }
    }
}

/// Reads up to the Close frame.
#[track_caller]
fn expect_1011(client: &mut Client) {
    loop {
        let frame = client.next().expect("a frame");
        if frame.first == FIN | crate::client::CLOSE {
            assert_eq!(crate::client::close_parts(&frame).0, Some(1011));
            break;
        }
    }
    client.send(&close(1011, b""));
    client.expect_eof();
}

#[test]
fn in_every_callback() {
    in_both_modes(|mode| {
        let live = site(mode, &Gate::default()).serve();
        let mut bystanders = Bystanders::new(&live);
        for _ in 0..5 {
            for place in ["message", "timer", "drain", "charged"] {
                let (mut client, _) = live.open_named("/bang");
                client.send(&[text(place), text("lost"), frame(FIN | PING, b"?")].concat());
                let first = client.next().expect("a frame");
                if first.first == FIN | PONG {
                    client.expect_text(place);
                } else {
                    assert_eq!(first.payload, place.as_bytes());
                }
                expect_1011(&mut client);
                bystanders.are_well();
            }
            expect_1011(&mut live.open("/bang/open"));
            let (mut client, _) = live.open_named("/bang");
            client.echo("end");
            client.finish();
            let (mut client, _) = live.open_named("/bang");
            client.echo("after close");
            client.finish();
            live.open("/bang/drop").finish();
            let mut client = live.open("/bang/drop");
            client.send(&text("both"));
            expect_1011(&mut client);
            bystanders.are_well();
        }
        if mode == Mode::Workers {
            let loads = live.loads();
            assert_eq!(loads.iter().sum::<usize>(), bystanders.0.len(), "{loads:?}");
        }
    });
}

#[test]
fn in_the_route() {
    in_both_modes(|mode| {
        let live = site(mode, &Gate::default()).serve();
        let mut bystanders = Bystanders::new(&live);
        for path in ["/bang/route", "/bang/charged"] {
            for _ in 0..10 {
                let mut client = Client::connect(live.address);
                client.send(&[request(path).into_bytes(), text("early")].concat());
                assert_eq!(client.response().status, 500);
                client.until_end();
            }
            bystanders.are_well();
        }
    });
}

/// The events after it in its batch reach their handlers.
#[test]
fn in_the_middle_of_a_batch() {
    let gate = Gate::default();
    let live = site(Mode::Workers, &gate).serve();
    let mut peers = Bystanders::new(&live).0;
    peers.extend((0..28).map(|_| live.open_named("/bang")));
    peers.sort_by(|(_, one), (_, other)| one.cmp(other));
    let (mut holder, name) = peers.swap_remove(0);
    let mut same: Vec<Client> = peers
        .into_iter()
        .filter(|(_, other)| *other == name)
        .map(|(client, _)| client)
        .collect();
    holder.send(&text("gate"));
    gate.wait_for(1);
    for (at, client) in same.iter_mut().enumerate() {
        let middle = if at % 3 == 1 { "message" } else { "nothing" };
        client.send(&[text("before"), text(middle), text("after")].concat());
        // Not before all of it has been read.
        client.send(&frame(FIN | PING, b""));
        client.expect_frame(FIN | PONG, b"");
    }
    gate.open();
    for (at, client) in same.iter_mut().enumerate() {
        client.expect_text("before");
        if at % 3 == 1 {
            client.expect_text("message");
            expect_1011(client);
        } else {
            client.expect_text("nothing");
            client.expect_text("after");
            client.echo("well");
        }
    }
    assert!(same.len() >= 12);
}

/// Panics and ordinary work at once, from several threads.
#[test]
fn under_load() {
    in_both_modes(|mode| {
        let live = site(mode, &Gate::default()).on("/echo", echo).serve();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let (mut client, _) = live.open_named("/bang");
                        client.send(&text("message"));
                        expect_1011(&mut client);
                    }
                });
                scope.spawn(|| {
                    let mut client = live.open("/echo");
                    for at in 0..500 {
                        client.echo(&at.to_string());
                    }
                    client.finish();
                });
            }
        });
    });
}
