//! Peers that send faster than handlers answer, and peers that take no answers. These tests
//! measure their process and have one each.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, binary};
use crate::gate::Gate;
use crate::patience::eventually;
use crate::process::{alone, expect_rest, processor_time, resident};
use crate::site::{Live, Mode, On, Site, in_both_modes};

const SIZE: usize = 16_000;

fn payload(connection: usize, number: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; SIZE];
    payload[..8].copy_from_slice(&connection.to_be_bytes());
    payload[8..16].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Sends all messages of all connections, each from a thread that blocks when the server reads
/// no more.
fn send_all(clients: &[Client], each: usize) -> Vec<thread::JoinHandle<()>> {
    let send = |(connection, client): (usize, &Client)| {
        let mut stream = client.stream().try_clone().unwrap();
        stream.set_write_timeout(None).unwrap();
        thread::spawn(move || {
            for number in 0..each {
                let frame = binary(&payload(connection, number));
                stream.write_all(&frame).expect("send");
            }
        })
    };
    clients.iter().enumerate().map(send).collect()
}

/// Reads all answers to [`send_all`].
fn receive_all(clients: &mut [Client], each: usize) {
    thread::scope(|scope| {
        for (connection, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || {
                for number in 0..each {
                    client.expect_binary(&payload(connection, number));
                }
            });
        }
    });
}

/// Waits until the server has read what it will, because its message counter stands still.
fn settle(live: &Live) {
    let mut last = (0, Instant::now());
    eventually("the server stops reading", || {
        let messages = live.stats().messages;
        if messages != last.0 {
            last = (messages, Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(1)
    });
}

/// What there may be more of at most, in bytes. For each of the four pairs of a reactor and a
/// worker there are five batches, each with up to 256 KiB and what one read brings, and their
/// answers of the same size; client threads and the allocator add to it.
const BATCHES: usize = 4 * 5 * 2 * (320 << 10);
const SLACK: usize = 12 << 20;

/// Handlers that are held for good, and 64 MiB for them: what cannot be handled is not read.
#[test]
fn held_workers_stop_the_reading() {
    alone("pressure::held_workers_stop_the_reading", || {
        const CONNECTIONS: usize = 64;
        const EACH: usize = 64;
        in_both_modes(|mode| {
            let gate = Gate::default();
            let pass = gate.clone();
            let live = Site::new(mode)
                .on("/hold", move |peer, on| {
                    if let On::Message(message) = on {
                        pass.pass();
                        peer.send(message);
                    }
                })
                .serve();
            let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| live.open("/hold")).collect();
            let before = resident();
            let senders = send_all(&clients, EACH);
            gate.wait_for(2);
            settle(&live);
            let grown = resident().saturating_sub(before);
            let read = live.stats().messages as usize * SIZE;
            eprintln!(
                "{} KiB more after {} KiB were read",
                grown >> 10,
                read >> 10
            );
            assert!(grown < BATCHES + SLACK, "{grown} bytes more");
            assert!(read < BATCHES, "{read} bytes were read");
            expect_rest();
            gate.open();
            receive_all(&mut clients, EACH);
            senders.into_iter().for_each(|it| it.join().unwrap());
            eventually("all are counted", || {
                live.stats().messages == (CONNECTIONS * EACH) as u64
            });
            clients.into_iter().for_each(Client::finish);
            eventually("nothing is held", || live.stats().memory == 0);
        });
    });
}

/// Handlers that take a millisecond: everything is answered, and the reactors sleep meanwhile.
#[test]
fn slow_workers_slow_their_peers_down() {
    alone("pressure::slow_workers_slow_their_peers_down", || {
        const CONNECTIONS: usize = 32;
        const EACH: usize = 100;
        in_both_modes(|mode| {
            let live = Site::new(mode)
                .on("/slow", |peer, on| {
                    if let On::Message(message) = on {
                        thread::sleep(Duration::from_millis(1));
                        peer.send(message);
                    }
                })
                .serve();
            let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| live.open("/slow")).collect();
            let before = (resident(), processor_time("reactor-"));
            let start = Instant::now();
            let senders = send_all(&clients, EACH);
            receive_all(&mut clients, EACH);
            senders.into_iter().for_each(|it| it.join().unwrap());
            let elapsed = start.elapsed();
            let spent = processor_time("reactor-") - before.1;
            let grown = resident().saturating_sub(before.0);
            eprintln!(
                "{elapsed:?}, {spent:?} on reactors, {} KiB more",
                grown >> 10
            );
            assert!(grown < BATCHES + SLACK, "{grown} bytes more");
            // Both would be at it all the time if they spun.
            assert!(spent < elapsed, "{spent:?} of {elapsed:?}");
            clients.into_iter().for_each(Client::finish);
        });
    });
}

/// Peers that take nothing are held at the outbox limit, cost no time, and in the end get it all.
#[test]
fn peers_that_never_read() {
    alone("pressure::peers_that_never_read", || {
        const CONNECTIONS: usize = 16;
        const EACH: usize = 1000;
        const OUTBOX: usize = 256 << 10;
        in_both_modes(|mode| {
            let live = Site::new(mode)
                .config(|config| config.limits.outbox = OUTBOX)
                .serve();
            let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| live.open("/echo")).collect();
            let before = resident();
            let senders = send_all(&clients, EACH);
            settle(&live);
            let grown = resident().saturating_sub(before);
            let memory = live.stats().memory as usize;
            eprintln!("{} KiB more, {} KiB accounted", grown >> 10, memory >> 10);
            // The limit, what was in flight when it was reached, and what one read adds to that.
            let each = OUTBOX + 3 * (64 << 10);
            assert!(memory < CONNECTIONS * each, "{memory} bytes accounted");
            assert!(grown < CONNECTIONS * each + SLACK, "{grown} bytes more");
            let mut bystander = live.open("/echo");
            for at in 0..200 {
                bystander.echo(&at.to_string());
            }
            bystander.finish();
            expect_rest();
            receive_all(&mut clients, EACH);
            senders.into_iter().for_each(|it| it.join().unwrap());
            clients.into_iter().for_each(Client::finish);
            eventually("nothing is held", || live.stats().memory == 0);
        });
    });
}

/// The same for peers that are slow rather than dead, on the thread that also serves others.
#[test]
fn a_fast_peer_is_not_kept_waiting_by_others() {
    let live = Site::new(Mode::Workers).serve();
    let flooding: Vec<Client> = (0..8).map(|_| live.open("/echo")).collect();
    let senders = send_all(&flooding, 200);
    let mut bystander = live.open("/echo");
    for at in 0..200 {
        bystander.echo(&at.to_string());
    }
    bystander.finish();
    drop(flooding);
    // Their connections are reset, or were done: either way the threads end.
    senders.into_iter().for_each(|it| _ = it.join());
}

/// Messages without a payload fill no arena, but a batch takes no end of them either.
#[test]
fn empty_messages_are_bounded_too() {
    const CONNECTIONS: usize = 60;
    const EACH: usize = 10_000;
    let gate = Gate::default();
    let pass = gate.clone();
    let live = Site::new(Mode::Workers)
        .config(|config| {
            config.reactors = 1;
            config.workers = Some(1);
        })
        .on("/hold", move |peer, on| {
            if let On::Message(message) = on {
                pass.pass();
                peer.send(message);
            }
        })
        .serve();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| live.open("/hold")).collect();
    let burst = binary(b"").repeat(EACH);
    for client in &mut clients {
        client.send(&burst);
    }
    gate.wait_for(1);
    settle(&live);
    let read = live.stats().messages;
    // Five batches of 256 KiB and one read, at eight bytes for a message.
    assert!(read < 5 * (32 + 11) * 1024, "{read} messages were read");
    gate.open();
    for client in &mut clients {
        (0..EACH).for_each(|_| client.expect_binary(b""));
    }
}

/// Many small messages of handles wait in little more memory than their bytes.
#[test]
fn small_messages_of_handles_are_bounded_too() {
    in_both_modes(|mode| {
        let (handles, given) = crossbeam_channel::unbounded();
        let live = Site::new(mode)
            .on("/handle", move |peer, on| {
                if let On::Open = on {
                    handles.send(peer.handle()).unwrap();
                }
            })
            .serve();
        let mut client = live.open("/handle");
        let handle = given.recv().unwrap();
        let mut sent = 0u32;
        let mut refused = 0;
        // The first of these fill the kernel's buffers.
        while handle.buffered_amount() < 200_000 {
            handle.send(vec![7; 50_000]).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        while refused < 100 {
            match handle.send(&sent.to_be_bytes()[..]) {
                Ok(()) => (sent, refused) = (sent + 1, 0),
                Err(_) => {
                    refused += 1;
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
        let memory = live.stats().memory;
        eprintln!("{sent} messages in {memory} bytes");
        assert!(memory < 3 << 20, "{memory} bytes for {sent} messages");
        let mut received = 0u32;
        while received < sent {
            let frame = client.next().expect("a message");
            if frame.payload.len() == 4 {
                assert_eq!(frame.payload, received.to_be_bytes());
                received += 1;
            }
        }
        client.finish();
    });
}

/// Handles may ask a held connection to close as often as they like.
#[test]
fn asking_to_close_again_costs_nothing() {
    alone("pressure::asking_to_close_again_costs_nothing", || {
        let gate = Gate::default();
        let pass = gate.clone();
        let (handles, given) = crossbeam_channel::unbounded();
        let live = Site::new(Mode::Workers)
            .on("/hold", move |peer, on| match on {
                On::Open => handles.send(peer.handle()).unwrap(),
                On::Message(_) => pass.pass(),
                _ => {}
            })
            .serve();
        let mut client = live.open("/hold");
        let handle = given.recv().unwrap();
        client.send(&binary(b""));
        gate.wait_for(1);
        let before = resident();
        let reason = "x".repeat(100);
        for _ in 0..200_000 {
            while handle.close(4000.into(), &reason).is_err() {
                thread::yield_now();
            }
        }
        let grown = resident().saturating_sub(before);
        eprintln!("{} KiB more", grown >> 10);
        assert!(grown < SLACK, "{grown} bytes more");
        gate.open();
        assert_eq!(client.expect_close(4000), reason);
    });
}

/// What is sent to a connection whose `on_open` takes long waits for it, within its limit, and
/// keeps nobody else waiting.
#[test]
fn sending_to_a_connection_that_opens_slowly() {
    let gate = Gate::default();
    let pass = gate.clone();
    let (handles, given) = crossbeam_channel::unbounded();
    let live = Site::new(Mode::Workers)
        .config(|config| {
            config.reactors = 1;
            config.workers = Some(2);
        })
        .on("/hold", move |peer, on| {
            if let On::Open = on {
                handles.send(peer.handle()).unwrap();
                pass.pass();
            }
        })
        .serve();
    let mut client = Client::connect(live.address);
    client.send(crate::client::request("/hold").as_bytes());
    let handle = given.recv().unwrap();
    let (mut bystander, name) = live.open_named("/who");
    assert_eq!(name, "worker-1");
    let mut sent = 0u32;
    let mut refused = 0;
    let start = Instant::now();
    while refused < 100 {
        match handle.send(&sent.to_be_bytes()[..]) {
            Ok(()) => (sent, refused) = (sent + 1, 0),
            Err(_) => {
                refused += 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    for at in 0..100 {
        bystander.echo(&at.to_string());
    }
    eprintln!("{sent} messages wait, after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5));
    gate.open();
    client.expect_upgrade();
    for at in 0..sent {
        client.expect_binary(&at.to_be_bytes());
    }
    client.finish();
}
