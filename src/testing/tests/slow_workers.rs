//! Whatever a worker does or fails to do, connections, order and memory stay as promised.

use super::*;
use crate::PeerHandle;

fn workers(count: usize) -> Config {
    config(|config| config.workers = Some(count))
}

#[test]
fn the_longest_timer_does_not_hang_the_reactor() {
    for count in [0, 1] {
        let mut setup = workers(count);
        setup.timeouts.ping_interval = None;
        setup.timeouts.handshake = None;
        let pair = probe(&Log::default(), |peer, on| {
            if let On::Message(_) = on {
                peer.set_timer(Duration::MAX);
            }
        });
        let mut peer = pair.config(setup).connect().unwrap();
        peer.advance(Duration::from_secs(60));
        // The reactor sleeps, as it may with no timer armed, until the message wakes it.
        peer.now = peer.now.after(5);
        peer.send("x");
    }
}

#[test]
fn a_timer_that_was_taken_back_does_not_fire() {
    for count in [0, 1] {
        for what in ["clear", "timer 30000"] {
            let log = Log::default();
            let mut peer = probe(&log, obey).config(workers(count)).connect().unwrap();
            peer.send("timer 1000");
            log.take();
            peer.now = peer.now.after(1000);
            peer.send(what);
            assert_eq!(log.take(), [format!("message {what}")], "workers {count}");
        }
    }
}

fn unread_after(payload: &[u8]) -> usize {
    let mut setup = workers(1);
    setup.limits.max_connections = Some(400);
    let mut peer = probe(&Log::default(), |_, _| ())
        .config(setup)
        .connect()
        .unwrap();
    let wires: Vec<Wire> = (0..200).map(|_| another(&mut peer, &request())).collect();
    peer.run();
    let burst = frame(true, Opcode::Binary, payload).repeat(9000);
    for wire in &wires {
        wire.write(&burst);
    }
    for _ in 0..200 {
        // The worker is busy.
        peer.turn();
    }
    wires.iter().map(Wire::unread).sum()
}

#[test]
fn empty_messages_fill_a_batch_too() {
    let one = unread_after(b"x");
    let none = unread_after(b"");
    assert!(one > 0, "with one byte {one}");
    assert!(none > 0, "with none {none}");
}

#[test]
fn a_client_that_leaves_while_the_factory_is_slow_is_let_go() {
    let mut peer = probe(&Log::default(), |_, _| ())
        .config(workers(1))
        .start()
        .unwrap();
    peer.wire.write(&request());
    for _ in 0..5 {
        peer.turn();
    }
    assert_eq!(peer.wire.unread(), 0);
    peer.wire.reset();
    for _ in 0..1000 {
        peer.now = peer.now.after(3600);
        peer.turn();
    }
    assert_eq!(peer.stats().connections, 0, "an hour later");
}

#[test]
fn a_client_that_resets_while_its_handler_is_slow_is_let_go() {
    let mut peer = probe(&Log::default(), |_, _| ())
        .config(workers(1))
        .connect()
        .unwrap();
    peer.wire.reset();
    for _ in 0..1000 {
        peer.now = peer.now.after(3600);
        peer.turn();
    }
    assert!(peer.is_closed(), "an hour later");
}

struct Capture(Mutex<Vec<String>>);
impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }
    fn flush(&self) {}
}
static CAPTURE: Capture = Capture(Mutex::new(Vec::new()));

#[test]
fn no_worker_is_called_stuck_that_was_just_given_something() {
    let _ = log::set_logger(&CAPTURE);
    log::set_max_level(log::LevelFilter::Warn);
    let mut peer = probe(&Log::default(), |_, _| ())
        .config(workers(1))
        .connect()
        .unwrap();
    let wires: Vec<Wire> = (0..8).map(|_| another(&mut peer, &request())).collect();
    peer.advance(Duration::from_secs(13));
    CAPTURE.0.lock().unwrap().clear();
    // Asleep for 8 s; no deadline of its own lies between.
    assert!(
        matches!(peer.next, Next::At(at) if peer.now.after(6500).is_before(at)),
        "{:?} {:?}",
        peer.next,
        peer.now
    );
    peer.now = peer.now.after(6500);
    for wire in &wires {
        wire.write(&frame(true, Opcode::Binary, &[0; 60_000]));
    }
    peer.turn();
    let lines = CAPTURE.0.lock().unwrap().clone();
    assert!(
        !lines.iter().any(|line| line.contains("stuck")),
        "{lines:?}"
    );
}

#[test]
fn small_frames_of_handles_take_about_their_size() {
    let handles: Arc<Mutex<Vec<PeerHandle>>> = Arc::default();
    let list = Arc::clone(&handles);
    let pair = probe(&Log::default(), move |peer, on| {
        if let On::Open = on {
            list.lock().unwrap().push(peer.handle());
        }
    });
    let mut peer = pair.config(workers(0)).window(100).connect().unwrap();
    peer.stop_reading();
    let handle = handles.lock().unwrap()[0].clone();
    let mut sent = 0usize;
    loop {
        if handle.send("x").is_err() {
            peer.turn();
            if handle.send("x").is_err() {
                break;
            }
        }
        sent += 1;
        if sent.is_multiple_of(1000) {
            peer.turn();
        }
    }
    peer.run();
    let memory = peer.stats().memory;
    assert!(
        memory < 4 << 20,
        "{sent} messages of one byte hold {memory}"
    );
}

#[test]
fn a_frame_cut_by_the_shutdown_is_not_read_as_frames() {
    let mut peer = probe(&Log::default(), obey)
        .config(workers(0))
        .connect()
        .unwrap();
    let whole = frame(true, Opcode::Binary, &[0xff; 1000]);
    peer.send_raw(&whole[..500]);
    peer.server().stop();
    peer.run();
    assert_eq!(
        receive_all(&mut peer),
        [close(1001, "server shutting down")]
    );
    peer.send_raw(&whole[500..]);
    // The client has not answered the Close frame.
    assert_eq!(receive_all(&mut peer), []);
    peer.close(Some(CloseCode::GOING_AWAY), "");
    assert_eq!(receive_all(&mut peer), [Received::End]);
}

#[test]
fn early_messages_are_answered_behind_a_large_welcome() {
    for count in [0, 1] {
        let pair = probe(&Log::default(), |peer, on| match on {
            On::Open => {
                peer.send(vec![0; 3 << 20]);
            }
            On::Message(message) => {
                peer.send(message);
            }
            _ => {}
        });
        let mut peer = pair.config(workers(count)).window(1000).start().unwrap();
        let mut bytes = request();
        bytes.extend(frame(true, Opcode::Text, b"early"));
        peer.wire.write(&bytes);
        peer.run();
        let end = crate::protocol::find_head_end(&peer.input, 0).unwrap();
        peer.input.drain(..end);
        peer.is_open = true;
        let got = receive_all(&mut peer);
        assert_eq!(got.len(), 2, "workers {count}");
    }
}

#[test]
fn messages_are_answered_behind_a_large_timer() {
    for count in [0, 1] {
        let pair = probe(&Log::default(), |peer, on| match on {
            On::Open => peer.set_timer(millis(1000)),
            On::Timer => {
                peer.send(vec![0; 3 << 20]);
            }
            On::Message(message) => {
                peer.send(message);
            }
            _ => {}
        });
        let mut peer = pair.config(workers(count)).window(1000).connect().unwrap();
        peer.now = peer.now.after(1000);
        peer.turn();
        // The worker is busy; the next turn brings a message.
        peer.wire.write(&frame(true, Opcode::Text, b"hello"));
        peer.turn();
        peer.run();
        let got = receive_all(&mut peer);
        assert_eq!(got.len(), 2, "workers {count}");
    }
}
