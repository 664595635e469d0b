//! Servers that do something wrong: each kind of wrong is told from the others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use loadtest::report::Report;
use loadtest::scenario::{Churn, Rate};
use tungstenite::{Message, WebSocket};

use super::load::{echo, plan, run};
use super::server::{self, Behaviour, Server};

type Result = tungstenite::Result<()>;

/// A short run, four messages in flight on one connection.
fn against(behaviour: Behaviour) -> Report {
    let server = Server::start(behaviour);
    let mut plan = plan(&server);
    (plan.connections, plan.threads) = (1, 1);
    plan.grace = Duration::from_millis(300);
    run(plan, echo(4))
}

fn assert_only(report: &Report, what: &str) {
    let faults: Vec<_> = report.faults.iter().map(|fault| &fault.what[..]).collect();
    assert!(faults.len() == 1 && faults[0].contains(what), "{faults:?}");
}

/// Text with one byte changed into another letter.
fn spoil(message: &Message, at: usize) -> Message {
    let mut bytes = message.clone().into_data().to_vec();
    bytes[at] ^= 2;
    Message::text(String::from_utf8(bytes).unwrap())
}

#[test]
fn a_dropped_message_is_lost() {
    let report = against(|socket| {
        server::echo_some(socket, 10)?;
        server::next(socket)?;
        server::echo(socket)
    });
    assert_only(&report, "a message never came back");
    let messages = report.messages;
    assert_eq!((messages.lost, messages.duplicated), (1, 0));
    assert_eq!((messages.reordered, messages.corrupted), (0, 0));
    assert!(messages.received > 10);
}

#[test]
fn a_doubled_message_is_a_duplicate() {
    let report = against(|socket| {
        server::echo_some(socket, 10)?;
        let message = server::next(socket)?;
        socket.send(message.clone())?;
        socket.send(message)?;
        server::echo(socket)
    });
    assert_only(&report, "a message came back twice");
    let messages = report.messages;
    assert_eq!((messages.lost, messages.duplicated), (0, 1));
    assert_eq!((messages.reordered, messages.corrupted), (0, 0));
}

#[test]
fn swapped_messages_are_reordered() {
    let report = against(|socket| {
        server::echo_some(socket, 10)?;
        let (first, second) = (server::next(socket)?, server::next(socket)?);
        socket.send(second)?;
        socket.send(first)?;
        server::echo(socket)
    });
    assert_only(&report, "after one that was sent later");
    let messages = report.messages;
    assert_eq!((messages.lost, messages.duplicated), (0, 0));
    assert_eq!((messages.reordered, messages.corrupted), (1, 0));
}

/// What the server makes of the eleventh message comes back as corrupt, in this way.
fn assert_corrupted(behaviour: Behaviour, what: &str) {
    let report = against(behaviour);
    assert_only(&report, what);
    let messages = report.messages;
    assert_eq!((messages.lost, messages.duplicated), (0, 0));
    assert_eq!((messages.reordered, messages.corrupted), (0, 1));
    assert!(messages.received > 10);
}

/// Changes the eleventh message.
fn change(socket: &mut WebSocket<TcpStream>, how: fn(Message) -> Message) -> Result {
    server::echo_some(socket, 10)?;
    let message = server::next(socket)?;
    socket.send(how(message))?;
    server::echo(socket)
}

#[test]
fn changed_messages_are_corrupt() {
    let content = "other content";
    assert_corrupted(
        |socket| change(socket, |message| spoil(&message, 124)),
        content,
    );
    assert_corrupted(
        |socket| change(socket, |message| spoil(&message, 16)),
        content,
    );
    let connection = "another connection";
    assert_corrupted(
        |socket| change(socket, |message| spoil(&message, 1)),
        connection,
    );
    let length = "another length";
    assert_corrupted(|socket| change(socket, |_| Message::text("")), length);
    let server: Behaviour = |socket| change(socket, |message| Message::text(format!("{message}x")));
    assert_corrupted(server, length);
    let server: Behaviour = |socket| change(socket, |message| Message::binary(message.into_data()));
    assert_corrupted(server, "binary as text");
}

#[test]
fn a_lost_connection_is_a_fault() {
    let closes: Behaviour = |socket| {
        server::echo_some(socket, 10)?;
        let frame = tungstenite::protocol::CloseFrame {
            code: 1001.into(),
            reason: "enough".into(),
        };
        socket.close(Some(frame))
    };
    let report = against(closes);
    assert_only(&report, "the server closed it with 1001 enough");
    assert_eq!(report.connections.lost, 1);
    let drops: Behaviour = |socket| {
        server::echo_some(socket, 10)?;
        socket.get_mut().shutdown(std::net::Shutdown::Write)?;
        Ok(())
    };
    let report = against(drops);
    assert_only(&report, "without a closing handshake");
    assert_eq!(report.connections.lost, 1);
}

#[test]
fn what_is_in_flight_on_a_lost_connection_is_lost() {
    // Four are always in flight: the fourteenth is there once the tenth echo has come.
    let closes: Behaviour = |socket| {
        server::echo_some(socket, 10)?;
        for _ in 0..4 {
            server::next(socket)?;
        }
        socket.close(None)
    };
    assert_eq!(against(closes).messages.lost, 4);

    let dies: Behaviour = |socket| {
        server::echo_some(socket, 3)?;
        server::next(socket)?;
        socket.get_mut().shutdown(std::net::Shutdown::Both)?;
        Ok(())
    };
    let server = Server::start(dies);
    let report = run(plan(&server), |_| Churn { messages: 10 });
    assert!(report.connections.lost > 0);
    assert_eq!(report.messages.lost, report.connections.lost);

    // All that is not echoed of a schedule was sent for nothing, whenever it was due.
    let mut plan = plan(&server);
    (plan.connections, plan.threads) = (1, 1);
    let report = run(plan, |_| Rate::new(200.0, 1, 1));
    assert_eq!(report.connections.lost, 1);
    assert!(report.messages.lost > 0, "{:?}", report.messages);
}

#[test]
fn an_echo_that_comes_with_a_broken_frame_has_come() {
    let breaks: Behaviour = |socket| {
        // Until the measured part has begun.
        std::thread::sleep(Duration::from_millis(200));
        server::echo_some(socket, 10)?;
        let mut bytes = vec![0x81, 125];
        bytes.extend(server::next(socket)?.into_data());
        bytes.extend([0x83, 0]);
        socket.get_mut().write_all(&bytes)?;
        Ok(())
    };
    let server = Server::start(breaks);
    let mut plan = plan(&server);
    (plan.connections, plan.threads) = (1, 1);
    plan.duration = Duration::from_secs(1);
    let report = run(plan, echo(1));
    assert_only(&report, "RFC 6455 broken");
    let messages = report.messages;
    assert_eq!((messages.received, messages.lost), (11, 0));
}

#[test]
fn broken_frames_are_a_fault() {
    let masks: Behaviour = |socket| {
        server::echo_some(socket, 10)?;
        socket.get_mut().write_all(&[0x81, 0x80, 1, 2, 3, 4])?;
        Ok(())
    };
    assert_only(&against(masks), "a frame from the server is masked");
}

#[test]
fn fragments_and_pings_are_no_fault() {
    let fragments: Behaviour = |socket| {
        loop {
            let message = server::next(socket)?.into_data();
            let stream = socket.get_mut();
            stream.write_all(&[0x01, 20])?;
            stream.write_all(&message[..20])?;
            stream.write_all(&[0x89, 2, b'h', b'i', 0x80, 105])?;
            stream.write_all(&message[20..])?;
        }
    };
    let report = against(fragments);
    assert!(report.is_faultless(), "{:?}", report.faults);
    assert!(report.messages.received > 0);
}

#[test]
fn pings_are_answered() {
    let server = Server::start(|socket| {
        socket.send(Message::Ping(b"there?".as_slice().into()))?;
        // Nothing is echoed before the pong has come.
        let mut waiting = Vec::new();
        loop {
            match socket.read()? {
                Message::Pong(payload) if payload == b"there?".as_slice() => break,
                message => waiting.push(message),
            }
        }
        for message in waiting {
            socket.send(message)?;
        }
        server::echo(socket)
    });
    let report = run(plan(&server), echo(1));
    assert!(report.is_faultless(), "{:?}", report.faults);
    assert!(report.messages.received > 0);
}

#[test]
fn connections_that_fail_are_faults_if_others_do_not() {
    // The first connection is refused, the others are not.
    let server = Server::raw({
        let count = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        move |mut stream| {
            if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
            } else if let Ok(mut socket) = tungstenite::accept(stream) {
                let _ = server::echo(&mut socket);
            }
        }
    });
    let report = run(plan(&server), echo(1));
    assert_only(&report, "the server answered 503 Service Unavailable");
    let connections = report.connections;
    assert_eq!((connections.wanted, connections.opened), (6, 5));
    assert_eq!((connections.failed, connections.lost), (1, 0));
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let server = server::answer(b"HTTP/1.1 101 Switching");
    let mut plan = plan(&server);
    plan.connect_timeout = Duration::from_millis(200);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let title = loadtest::run::Title::default();
    let error = loadtest::run::run(&title, plan, echo(1), &mut (), &stop).unwrap_err();
    assert!(error.to_string().contains("no response in time"), "{error}");
}

#[test]
fn a_server_that_does_not_answer_a_close_leaves_a_trace() {
    let server = Server::raw(|mut stream| {
        if tungstenite::accept(stream.try_clone().unwrap()).is_ok() {
            while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {}
        }
    });
    let mut plan = plan(&server);
    plan.connections = 2;
    plan.close_timeout = Duration::from_millis(200);
    let report = run(plan, echo(0));
    assert_eq!(report.details.get("unclosed"), Some(&2.0), "{report:?}");
}

#[test]
fn a_server_that_never_answers_is_no_run_without_faults() {
    // All attempts are still under way when the run ends.
    let server =
        Server::raw(|mut stream| while stream.read(&mut [0; 1024]).is_ok_and(|n| n > 0) {});
    let mut plan = plan(&server);
    plan.grace = Duration::from_millis(100);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let title = loadtest::run::Title::default();
    let make = |_| loadtest::scenario::Handshake;
    let error = loadtest::run::run(&title, plan, make, &mut (), &stop).unwrap_err();
    assert!(
        error.to_string().contains("no connection was opened"),
        "{error}"
    );
}
