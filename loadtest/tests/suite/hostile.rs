//! Attackers against servers that write down what they see, bear it, stall or die.

use std::collections::BTreeSet;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use loadtest::engine::Plan;
use loadtest::report::Report;
use loadtest::run::Title;
use loadtest::run::hostile::{Assault, STEP, hostile};
use loadtest::scenario::hostile::{Attack, Orders};
use tungstenite::{HandshakeError, Message};

use super::command::{loadtest, said};
use super::load::{echo, plan};
use super::server::Server;

type Seen = Arc<Mutex<BTreeSet<String>>>;

/// How long the server waits for bytes, and for room to write.
const PATIENCE: Duration = Duration::from_millis(600);

fn assault(attacks: &[Attack], each: u32) -> Assault {
    Assault {
        orders: Orders {
            attacks: attacks.into(),
            rate: 50.0,
            bytes: 32 << 20,
            overstay: Duration::from_millis(1500),
            seed: 3,
        },
        attackers: each * attacks.len() as u32,
        threads: 1,
        newcomers: Some(20.0),
    }
}

fn attack(server: &Server, assault: &Assault, time: Duration) -> Report {
    attack_with(plan(server), assault, time)
}

fn attack_with(mut plan: Plan, assault: &Assault, time: Duration) -> Report {
    let baseline = Duration::from_millis(300);
    plan.steps = vec![(baseline, STEP)];
    plan.duration = baseline + time;
    let stop = AtomicBool::new(false);
    let title = Title::default();
    hostile(&title, plan, assault, echo(1), &mut (), &stop)
        .unwrap()
        .report
}

/// Serves one connection as long as it does nothing wrong; what it did, in one word or a few.
fn serve(stream: TcpStream, seen: &Seen) -> String {
    let note = |what: &str| {
        seen.lock().unwrap().insert(what.into());
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    // The kernel's own choice takes megabytes before a write has to wait.
    socket2::SockRef::from(&stream)
        .set_send_buffer_size(16 << 10)
        .unwrap();
    let mut socket = match tungstenite::accept(stream) {
        Ok(socket) => socket,
        Err(HandshakeError::Interrupted(_)) => return "no whole request".into(),
        Err(HandshakeError::Failure(error)) => return format!("request: {error}"),
    };
    let mut pings = 0;
    loop {
        match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                if let Err(error) = socket.send(message) {
                    return format!("writing: {error}");
                }
            }
            Ok(Message::Ping(_)) => {
                pings += 1;
                if pings > 100 {
                    note("many pings");
                }
            }
            Ok(_) => {}
            Err(error) => return format!("frames: {error}"),
        }
    }
}

/// A server that ends whoever does something wrong, and writes down what.
fn recorder() -> (Server, Seen) {
    let seen = Seen::default();
    let writes = seen.clone();
    let server = Server::raw(move |stream| {
        let what = serve(stream, &writes);
        writes.lock().unwrap().insert(what);
    });
    (server, seen)
}

#[test]
fn each_attack_is_seen_for_what_it_is() {
    for (attack_made, words) in [
        (Attack::Silent, "no whole request"),
        (Attack::GarbageRequest, "request: "),
        (
            Attack::StalledFrame,
            "frames: IO error: Resource temporarily",
        ),
        (Attack::NeverRead, "writing: IO error: Resource temporarily"),
        (Attack::PingFlood, "many pings"),
        (Attack::ResetFrame, "frames: IO error: Connection reset"),
        (Attack::GarbageFrames, "frames: WebSocket protocol error"),
        (Attack::OversizedLength, "frames: Space limit exceeded"),
        (Attack::OversizedControl, "Control frame too big"),
        (Attack::Unmasked, "unmasked frame"),
    ] {
        let (server, seen) = recorder();
        // Until it is seen: a busy machine takes longer.
        let begun = Instant::now();
        let mut report = None;
        while begun.elapsed() < Duration::from_secs(20) {
            report = Some(attack(&server, &assault(&[attack_made], 3), 2 * PATIENCE));
            if seen.lock().unwrap().iter().any(|what| what.contains(words)) {
                break;
            }
        }
        let seen = seen.lock().unwrap();
        assert!(
            seen.iter().any(|what| what.contains(words)),
            "{attack_made}: {seen:?}"
        );
        let report = report.unwrap();
        assert!(report.is_faultless(), "{attack_made}: {:?}", report.faults);
        let detail = |name: &str| report.details[&format!("{attack_made}.{name}")];
        assert!(detail("opened") >= 3.0, "{attack_made}");
        let done = detail("ended") + detail("left");
        assert_eq!(
            done > 0.0,
            attack_made != Attack::PingFlood,
            "{attack_made}"
        );
    }
}

#[test]
fn all_at_once_leave_a_sound_server_and_its_clients_alone() {
    let (server, seen) = recorder();
    let assault = assault(&Attack::ALL, 2);
    let report = attack(&server, &assault, Duration::from_secs(3));
    assert!(report.is_faultless(), "{:?} {seen:?}", report.faults);
    for attack in Attack::ALL {
        let detail = |name: &str| report.details[&format!("{attack}.{name}")];
        // Each attack has its part, whether or not others free theirs at once.
        assert!(detail("opened") >= 2.0, "{attack}");
        // None is left out: whatever was opened ended, left, or is still there.
        let known = detail("ended") + detail("left") + detail("still_open");
        assert_eq!(detail("opened"), known, "{attack}: {:?}", report.details);
        assert!(detail("bytes") > 0.0 || matches!(attack, Attack::Silent | Attack::ResetConnect));
    }
    let bytes: f64 = Attack::ALL
        .iter()
        .map(|attack| report.details[&format!("{attack}.bytes")])
        .sum();
    assert!(bytes <= assault.orders.bytes as f64, "{bytes}");
    for name in [
        "baseline_p99_us",
        "attack_p99_us",
        "ratio",
        "baseline_per_second",
    ] {
        assert!(report.details[name] > 0.0, "{name}");
    }
    let table = &report.tables[0];
    assert_eq!(table.title, "latency of well-behaved clients");
    let rows: Vec<_> = table.rows.iter().map(|row| &row[0][..]).collect();
    assert_eq!(rows, ["baseline", "attack"]);
    assert!(report.details["newcomers_opened"] > 5.0);
    assert_eq!(
        report.connections.opened, 6,
        "the attackers are not counted"
    );
    // A byte now and then keeps this server waiting for ever: that is noted.
    assert!(report.details["slowloris.overstayed"] > 0.0);
    assert!(report.details["slowloris.oldest_s"] > 1.5);
    assert!(report.notes.iter().any(|note| note.contains("slowloris")));
    assert_eq!(
        report.details["silent.overstayed"], 0.0,
        "{:?}",
        report.notes
    );
}

/// Has room for the well-behaved that are there first, and lets all others wait.
fn crammed() -> Server {
    let served = Arc::new(AtomicUsize::new(0));
    Server::raw(move |stream| {
        if served.fetch_add(1, Ordering::SeqCst) >= 6 {
            std::thread::sleep(Duration::from_secs(20));
        }
        serve(stream, &Seen::default());
        served.fetch_sub(1, Ordering::SeqCst);
    })
}

#[test]
fn newcomers_that_are_shut_out_are_a_fault() {
    for (patience, words) in [(600, "no response in time"), (9_000, "none was answered")] {
        let server = crammed();
        let mut plan = plan(&server);
        plan.connect_timeout = Duration::from_millis(patience);
        let assault = assault(&[Attack::Slowloris], 4);
        let report = attack_with(plan, &assault, Duration::from_secs(2));
        let faults: Vec<_> = report.faults.iter().map(|fault| &fault.what[..]).collect();
        assert!(faults.len() == 1, "{faults:?}");
        assert!(
            faults[0].contains("of the newcomers") && faults[0].contains(words),
            "{faults:?}"
        );
        assert_eq!(report.messages.lost, 0);
    }
}

/// What happens to everybody once somebody sends an unmasked frame.
fn fragile(calamity: fn(&TcpStream)) -> Server {
    let struck = Arc::new(AtomicBool::new(false));
    Server::raw(move |stream| {
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let raw = stream.try_clone().unwrap();
        let Ok(mut socket) = tungstenite::accept(stream) else {
            return;
        };
        loop {
            if struck.load(Ordering::Relaxed) {
                return calamity(&raw);
            }
            match socket.read() {
                Ok(message) if message.is_text() => {
                    let _ = socket.send(message);
                }
                Err(tungstenite::Error::Protocol(_)) => struck.store(true, Ordering::Relaxed),
                Err(tungstenite::Error::Io(error))
                    if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
                Ok(_) => {}
            }
        }
    })
}

const SHORT_ATTACK: [&str; 7] = [
    "--attack=unmasked",
    "--attackers=2",
    "--baseline=300ms",
    "--duration=700ms",
    "--grace=300ms",
    "--warmup=0",
    "--newcomers=0",
];

#[test]
fn a_server_that_dies_under_attack_is_exit_code_1() {
    let server = fragile(|stream| {
        let _ = stream.shutdown(Shutdown::Both);
    });
    let url = server.url();
    let output = loadtest(&[&["hostile", &url][..], &SHORT_ATTACK].concat());
    let (code, said) = said(&output);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("a connection was lost"), "{said}");
}

#[test]
fn a_server_that_stalls_under_attack_is_exit_code_1() {
    let server = fragile(|_| std::thread::sleep(Duration::from_secs(20)));
    let url = server.url();
    let output = loadtest(&[&["hostile", &url][..], &SHORT_ATTACK].concat());
    let (code, said) = said(&output);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("a message never came back"), "{said}");
}

#[test]
fn thresholds_and_bad_flags() {
    let (server, _) = recorder();
    let url = server.url();
    let run = |more: &[&str]| {
        let output = loadtest(&[&["hostile", &url][..], &SHORT_ATTACK, more].concat());
        said(&output)
    };
    let (code, text) = run(&[
        "--require=details.ratio>0",
        "--require=details.unmasked.closed_1002<1",
    ]);
    assert_eq!(code, 1, "{text}");
    assert!(!text.contains("details.ratio>0:"), "{text}");
    assert!(
        text.contains("requirement failed: details.unmasked.closed_1002<1"),
        "{text}"
    );
    let output = loadtest(&["hostile", &url, "--attackers=3"]);
    let (code, text) = said(&output);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("too few"), "{text}");
}

#[test]
fn a_dead_server_bears_nobody() {
    let bears = |life: Duration| {
        // The attackers hear nothing of its death, like those that no server has accepted yet.
        let server = Server::mortal(life, 6);
        let mut assault = assault(&[Attack::Silent], 3);
        assault.orders.overstay = Duration::from_millis(600);
        assault.newcomers = None;
        attack(&server, &assault, Duration::from_millis(1500))
    };
    let alive = bears(Duration::from_secs(60));
    assert_eq!(alive.details["overstayed"], 3.0, "{:?}", alive.notes);
    let dead = bears(Duration::from_millis(700));
    assert_eq!(dead.details["overstayed"], 0.0, "{:?}", dead.notes);
    assert_eq!(dead.details["silent.overstayed"], 0.0);
    assert!(
        !dead.notes.iter().any(|note| note.contains("bore")),
        "{:?}",
        dead.notes
    );
    assert!(!dead.is_faultless());
}
