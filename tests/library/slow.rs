//! Handlers that take their time, or never end.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, FIN, PING, PONG, close, frame, request, text};
use crate::gate::Gate;
use crate::logger;
use crate::patience::eventually;
use crate::site::{Live, Mode, On, Site, echo, here, in_both_modes};

/// What an echo may take while somebody else is held; without the wait for them it takes
/// microseconds.
const SOON: Duration = Duration::from_secs(1);

/// `/hold` is like `/who`, but waits at the gate when it gets `hold` or `hold timer`, or at its
/// end if it got `hold close` before. `/slow` has a slow route.
fn site(mode: Mode, gate: &Gate) -> Site {
    let (handler, route) = (gate.clone(), gate.clone());
    let mut at_close = false;
    Site::new(mode)
        .on("/hold", move |peer, on| match on {
            On::Open => {
                peer.send(here());
            }
            On::Message(message) => {
                match message.as_text() {
                    Some("hold") => handler.pass(),
                    Some("hold timer") => peer.set_timer(Duration::from_millis(1)),
                    Some("hold close") => at_close = true,
                    _ => {}
                }
                peer.send(message);
            }
            On::Timer => {
                handler.pass();
                peer.send("held");
            }
            On::Close(_) if at_close => handler.pass(),
            _ => {}
        })
        .route("/slow", move |_| {
            route.pass();
            crate::site::script(|peer, on| {
                if let On::Open = on {
                    peer.send(here());
                }
                echo(peer, on);
            })
        })
}

/// Connections to `/hold`, until each of the two threads has three or more.
fn crew(live: &Live) -> [Vec<Client>; 2] {
    let mut crew = [Vec::new(), Vec::new()];
    while crew.iter().any(|side| side.len() < 3) {
        let (client, name) = live.open_named("/hold");
        let index = usize::from(name.ends_with('1'));
        crew[index].push(client);
    }
    crew
}

/// Echoes on all of these, one after the other.
#[track_caller]
fn echo_soon(clients: &mut [Client]) {
    let mut worst = Duration::ZERO;
    for round in 0..50 {
        for client in &mut *clients {
            let start = Instant::now();
            client.echo(&format!("round {round}"));
            worst = worst.max(start.elapsed());
        }
    }
    eprintln!("slowest echo beside a held thread: {worst:?}");
    assert!(worst < SOON, "an echo took {worst:?}");
}

/// Pings are answered, though messages are not.
#[track_caller]
fn ping_soon(clients: &mut [Client]) {
    for client in clients {
        let start = Instant::now();
        client.send(&[text("late"), frame(FIN | PING, b"ping")].concat());
        client.expect_frame(FIN | PONG, b"ping");
        assert!(start.elapsed() < SOON);
        client.expect_silence(Duration::from_millis(20));
    }
}

fn held_in(what: &str) {
    let gate = Gate::default();
    let live = site(Mode::Workers, &gate).serve();
    let [mut here, mut there] = crew(&live);
    // Fewer over there: it is where the next connections go.
    there.pop().unwrap().finish();
    there.pop().unwrap().finish();
    let mut held = here.pop().unwrap();
    held.send(&text(what));
    if what != "hold" {
        held.expect_text(what);
    }
    if what == "hold close" {
        held.send(&close(1000, b""));
    }
    gate.wait_for(1);
    let start = Instant::now();
    ping_soon(&mut here);
    echo_soon(&mut there);
    let (newcomer, name) = live.open_named("/who");
    assert_eq!(name, "worker-1");
    newcomer.finish();
    assert!(!held.is_readable());
    let elapsed = start.elapsed();
    let workers = live.stats().workers;
    assert!(workers[0].busy_for + Duration::from_millis(2) >= elapsed);
    assert!(workers[1].busy_for < SOON, "{workers:?}");
    gate.open();
    match what {
        "hold" => held.expect_text("hold"),
        "hold timer" => held.expect_text("held"),
        _ => _ = held.expect_close(1000),
    }
    here.iter_mut()
        .for_each(|client| client.expect_text("late"));
    eventually("it is idle", || live.stats().workers[0].busy_for.is_zero());
}

#[test]
fn a_slow_on_message_delays_only_its_worker() {
    held_in("hold");
}

#[test]
fn a_slow_on_timer_delays_only_its_worker() {
    held_in("hold timer");
}

#[test]
fn a_slow_on_close_delays_only_its_worker() {
    held_in("hold close");
}

#[test]
fn a_slow_route_delays_only_its_worker() {
    let gate = Gate::default();
    let live = site(Mode::Workers, &gate).serve();
    let [mut here, mut there] = crew(&live);
    here.pop().unwrap().finish();
    let mut slow = Client::connect(live.address);
    slow.send(&[request("/slow").into_bytes(), text("early")].concat());
    gate.wait_for(1);
    assert_eq!(live.loads(), [3, 3]);
    ping_soon(&mut here);
    there.pop().unwrap().finish();
    let (newcomer, name) = live.open_named("/who");
    assert_eq!(name, "worker-1");
    newcomer.finish();
    echo_soon(&mut there);
    slow.expect_silence(Duration::from_millis(20));
    gate.open();
    slow.expect_upgrade();
    slow.expect_text("worker-0");
    slow.expect_text("early");
    here.iter_mut()
        .for_each(|client| client.expect_text("late"));
}

/// Without workers it is the reactor that waits; the other one has its own connections.
#[test]
fn a_slow_handler_on_a_reactor_delays_only_that_one() {
    let gate = Gate::default();
    let live = site(Mode::Inline, &gate).serve();
    let [mut here, mut there] = crew(&live);
    here[0].send(&text("hold"));
    gate.wait_for(1);
    here[1].send(&text("late"));
    echo_soon(&mut there);
    assert!(!here[0].is_readable() && !here[1].is_readable());
    gate.open();
    here[0].expect_text("hold");
    here[1].expect_text("late");
}

/// A shutdown waits for what takes long, within reason: it is answered before the Close frame.
#[test]
fn a_slow_handler_ends_in_an_orderly_shutdown() {
    in_both_modes(|mode| {
        let gate = Gate::default();
        let mut live = site(mode, &gate).serve();
        let [mut here, mut there] = crew(&live);
        here[0].send(&text("hold"));
        gate.wait_for(1);
        here[1].send(&text("late"));
        // To be sure that `late` has been read, too; a reactor that is held reads nothing.
        if mode == Mode::Workers {
            here[1].send(&frame(FIN | PING, b""));
            here[1].expect_frame(FIN | PONG, b"");
        }
        gate.open_after(Duration::from_millis(300));
        let goodbyes = thread::spawn(move || {
            here[0].expect_text("hold");
            if mode == Mode::Workers {
                here[1].expect_text("late");
            }
            for client in here.iter_mut().chain(&mut there) {
                loop {
                    let frame = client.next().expect("a Close frame at last");
                    if frame.payload != b"late" {
                        assert_eq!(frame.first, FIN | crate::client::CLOSE);
                        assert_eq!(frame.payload[..2], 1001u16.to_be_bytes());
                        break;
                    }
                }
                client.send(&close(1001, b""));
                client.expect_eof();
            }
        });
        let elapsed = live.join();
        eprintln!("shut down in {elapsed:?}");
        assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
        goodbyes.join().unwrap();
    });
}

/// A turn may begin before the deadline of a shutdown and end close to it: the deadline holds all
/// the same.
#[test]
fn a_slow_end_does_not_move_the_deadline_of_a_shutdown() {
    const DRAIN: Duration = Duration::from_secs(1);
    let mut live = Site::new(Mode::Inline)
        .config(|config| {
            config.reactors = 1;
            config.timeouts.drain = Some(DRAIN);
            config.timeouts.close = Some(Duration::from_secs(60));
        })
        .on("/slow-end", |_, on| {
            if let On::Close(_) = on {
                thread::sleep(DRAIN * 8 / 10);
            }
        })
        .serve();
    // Does not answer the Close frame.
    let mut client = live.open("/slow-end");
    let elapsed = live.join();
    // The clock of deadlines counts whole milliseconds.
    assert!(elapsed >= DRAIN * 9 / 10, "{elapsed:?}");
    assert!(!logger::has_from_here(
        "is stuck in a handler and is left behind"
    ));
    client.until_end();
}

/// A handler that never returns cannot hold a shutdown beyond its deadline, and is named.
#[test]
fn a_stuck_handler_is_left_behind() {
    const DRAIN: Duration = Duration::from_millis(600);
    in_both_modes(|mode| {
        let gate = Gate::default();
        let mut live = site(mode, &gate)
            .config(|config| config.timeouts.drain = Some(DRAIN))
            .serve();
        let [mut here, mut there] = crew(&live);
        here[0].send(&text("hold"));
        gate.wait_for(1);
        if mode == Mode::Workers {
            eventually("it is known to be busy", || {
                live.stats().workers[0].busy_for >= Duration::from_millis(100)
            });
        }
        let goodbyes = thread::spawn(move || {
            for client in &mut there {
                client.expect_close(1001);
                client.send(&close(1001, b""));
                client.expect_eof();
            }
        });
        let elapsed = live.join();
        eprintln!("left behind after {elapsed:?}");
        assert!(elapsed >= DRAIN && elapsed < DRAIN + Duration::from_millis(1500));
        let line = format!(
            "{}0 is stuck in a handler and is left behind",
            mode.prefix()
        );
        assert!(logger::has_from_here(&line));
        goodbyes.join().unwrap();
        // Its end comes when it goes on after all, and so do those of its neighbours.
        gate.open();
        live.tally.check();
        here.iter_mut().for_each(|client| _ = client.until_end());
    });
}

#[test]
fn a_stuck_worker_is_named_while_the_server_runs() {
    let gate = Gate::default();
    let live = site(Mode::Workers, &gate).serve();
    let [_, mut there] = crew(&live);
    there[0].send(&text("hold"));
    eventually("it is in the log", || {
        logger::has("worker 1 is stuck: a handler has been running for 5 s")
    });
    assert!(live.stats().workers[1].busy_for >= Duration::from_secs(5));
    // It is not the end of the world.
    ping_soon(&mut there[1..]);
    gate.open();
    there[0].expect_text("hold");
    eventually("it goes on", || {
        logger::has("a worker that was stuck goes on")
    });
}

/// The deadline runs from the stop, not from when somebody waits for the end.
#[test]
fn waiting_late_is_not_waiting_longer() {
    const DRAIN: Duration = Duration::from_millis(600);
    in_both_modes(|mode| {
        let gate = Gate::default();
        let mut live = site(mode, &gate)
            .config(|config| config.timeouts.drain = Some(DRAIN))
            .serve();
        let (mut held, _) = live.open_named("/hold");
        held.send(&text("hold"));
        gate.wait_for(1);
        live.handle.stop();
        thread::sleep(2 * DRAIN);
        let elapsed = live.join();
        assert!(elapsed < DRAIN, "waited for {elapsed:?} more");
        gate.open();
        live.tally.check();
    });
}

/// `on_close` names the same connection as `on_open`, however late it comes.
#[test]
fn left_behind_connections_keep_their_names() {
    let gate = Gate::default();
    let pass = gate.clone();
    let (ends, told) = crossbeam_channel::unbounded();
    let mut id = None;
    let mut live = Site::new(Mode::Workers)
        .config(|config| {
            config.reactors = 1;
            config.workers = Some(1);
            config.timeouts.drain = Some(Duration::from_millis(300));
        })
        .on("/named", move |peer, on| match on {
            On::Open => id = Some(peer.id()),
            On::Message(_) => pass.pass(),
            On::Close(reason) => {
                let same = id == Some(peer.id());
                ends.send((same, reason.to_string())).unwrap();
            }
            _ => {}
        })
        .serve();
    let mut clients: Vec<Client> = (0..6).map(|_| live.open("/named")).collect();
    clients[0].send(&text("hold"));
    gate.wait_for(1);
    // So many that no batch is left for their ends.
    for client in &mut clients[1..] {
        client.send(&[text("too late"), frame(FIN | PING, b"")].concat());
        client.expect_frame(FIN | PONG, b"");
    }
    live.join();
    gate.open();
    live.tally.check();
    let told: Vec<_> = told.try_iter().collect();
    assert_eq!(told.len(), 6);
    assert!(told.iter().all(|(same, _)| *same), "{told:?}");
}
