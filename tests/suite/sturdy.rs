//! Many connections, peers that vanish, and too few descriptors.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{
    BINARY, CLOSE, Client, End, FIN, PING, TEXT, binary, close, frame, header, request, text,
};
use crate::server::{Launch, Server, eventually, need_descriptors};

#[test]
fn five_thousand_connections() {
    const CONNECTIONS: usize = 5000;
    need_descriptors(CONNECTIONS as u64 + 1000);
    let server = Server::start(&[]);
    server.open("/echo").finish();
    let before = server.settled_descriptors();
    let mut clients: Vec<Client> = Vec::with_capacity(CONNECTIONS);
    while clients.len() < CONNECTIONS {
        let mut batch: Vec<Client> = (0..250).map(|_| server.connect()).collect();
        batch
            .iter_mut()
            .for_each(|client| client.send(request("/echo").as_bytes()));
        for client in &mut batch {
            client.expect_upgrade();
        }
        clients.append(&mut batch);
    }
    assert!(
        server.descriptors() >= before + CONNECTIONS,
        "all are open at once"
    );
    for round in 0..2 {
        for (i, client) in clients.iter_mut().enumerate() {
            client.send(&text(&format!("{i} in round {round}")));
        }
        for (i, client) in clients.iter_mut().enumerate() {
            client.expect_text(&format!("{i} in round {round}"));
        }
    }
    clients
        .iter_mut()
        .for_each(|client| client.send(&close(1000, b"")));
    for client in &mut clients {
        client.expect_close(1000);
        client.expect_eof();
    }
    drop(clients);
    server.back_to(before);
}

#[test]
fn half_close_after_sending() {
    let server = Server::start(&[]);
    server.open("/echo").finish();
    let before = server.settled_descriptors();
    for size in [10, 5_000] {
        let mut client = server.open("/echo");
        let payload = vec![b'h'; size];
        let burst: Vec<u8> = (0..50).flat_map(|_| binary(&payload)).collect();
        client.send(&burst);
        client.finish_sending();
        for _ in 0..50 {
            client.expect_binary(&payload);
        }
        expect_end_without_data(&mut client);
    }
    server.back_to(before);
}

#[test]
fn half_close_with_the_request() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(&[request("/echo").into_bytes(), text("all at once")].concat());
    client.finish_sending();
    client.expect_upgrade();
    client.expect_text("all at once");
    expect_end_without_data(&mut client);
}

/// More echoes than the buffers on the way hold, all sent before the peer reads any.
#[test]
fn half_close_with_a_full_outbox() {
    let server = Server::start(&[]);
    let mut client = server.open("/echo");
    let payload: Vec<u8> = (0..12usize << 20).map(|i| (i ^ (i >> 7)) as u8).collect();
    client.send(&binary(&payload));
    client.finish_sending();
    thread::sleep(Duration::from_millis(200));
    client.expect_binary(&payload);
    expect_end_without_data(&mut client);
}

#[test]
fn half_close_before_anything_is_complete() {
    let server = Server::start(&[]);
    server.open("/echo").finish();
    let before = server.settled_descriptors();
    let mut clients = [
        server.connect(),
        server.connect(),
        server.open("/echo"),
        server.open("/echo"),
    ];
    clients[1].send(b"GET /echo HTTP/1.1\r\nHo");
    clients[2].send(&header(FIN | BINARY, 1000)[..5]);
    clients[3].send(&[frame(TEXT, b"fragment"), header(FIN, 5)].concat());
    for client in &mut clients {
        client.finish_sending();
        client.until_end();
    }
    server.back_to(before);
}

/// The end of the stream without a Close frame: the server may still send one, but no data.
#[track_caller]
fn expect_end_without_data(client: &mut Client) {
    match client.next() {
        Ok(frame) => {
            assert_eq!(
                frame.first,
                FIN | CLOSE,
                "no data after the last echo: {frame:?}"
            );
            client.expect_eof();
        }
        Err(end) => assert_eq!(end, End::Eof, "an orderly end"),
    }
}

#[test]
fn resets_at_any_moment() {
    const RESETS: usize = 2000;
    // Without help from deadlines: a reset must be noticed when it happens.
    let server = Server::start(&["--handshake-timeout", "60s", "--close-timeout", "60s"]);
    for _ in 0..20 {
        server.open("/echo").finish();
    }
    let descriptors = server.settled_descriptors();
    let resident = server.resident();
    let request = request("/echo");
    let large = binary(&vec![0x3c; 300_000]);
    let mut state: u32 = 0x9e37_79b9;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize % below
    };
    for _ in 0..RESETS {
        let mut client = server.connect();
        // Writes may fail: a peer that resets does not care.
        match random(9) {
            0 => {}
            1 => drop(client.try_send(&request.as_bytes()[..random(request.len())])),
            2 => drop(client.try_send(request.as_bytes())),
            3 => drop(client.try_send(&[request.as_bytes(), &text("unread").repeat(50)].concat())),
            stage => {
                client.send(request.as_bytes());
                client.expect_upgrade();
                let bytes = match stage {
                    4 => header(FIN | BINARY, 5_000_000)[..random(14)].to_vec(),
                    5 => large[..random(large.len())].to_vec(),
                    6 => text("some").repeat(1 + random(200)),
                    7 => frame(FIN | PING, &[b'p'; 125]).repeat(1 + random(50)),
                    _ => [text("Goodbye"), close(1000, b"")][random(2)].clone(),
                };
                drop(client.try_send(&bytes));
                if random(4) == 0 {
                    thread::sleep(Duration::from_micros(random(500) as u64));
                }
            }
        }
        client.reset();
    }
    server.back_to(descriptors);
    let grown = server.resident().saturating_sub(resident);
    assert!(grown < 24 << 20, "{grown} bytes more after {RESETS} resets");
    server.open("/echo").finish();
}

/// Connects `count` clients that all ask for an upgrade and returns those answered, once their
/// number has settled, and those that wait.
fn crowd(server: &Server, count: usize) -> (Vec<Client>, Vec<Client>) {
    let mut waiting: Vec<Client> = (0..count)
        .map(|_| {
            let mut client = server.connect();
            client.send(request("/echo").as_bytes());
            client
        })
        .collect();
    let mut served: Vec<Client> = Vec::new();
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_millis(500) {
        let (mut ready, rest) = split_readable(waiting);
        waiting = rest;
        if !ready.is_empty() {
            since = Instant::now();
        }
        ready.iter_mut().for_each(|client| {
            client.expect_upgrade();
        });
        served.append(&mut ready);
        thread::sleep(Duration::from_millis(5));
    }
    (served, waiting)
}

/// Splits clients into those with something to read and the others.
fn split_readable(clients: Vec<Client>) -> (Vec<Client>, Vec<Client>) {
    let (mut readable, mut others) = (Vec::new(), Vec::new());
    for mut client in clients {
        if client.is_readable() {
            readable.push(client)
        } else {
            others.push(client)
        }
    }
    (readable, others)
}

/// The server serves those it has room for, does not spin over the others, and serves them when
/// room is made.
fn overcrowded(server: &Server, count: usize, room: std::ops::RangeInclusive<usize>) {
    let (mut served, mut waiting) = crowd(server, count);
    let number = served.len();
    assert!(
        room.contains(&number),
        "{number} of {count} served, not {room:?}"
    );

    let used = server.processor_time();
    thread::sleep(Duration::from_secs(1));
    let used = server.processor_time() - used;
    assert!(
        used < Duration::from_millis(250),
        "{used:?} of processor time in an idle second"
    );

    for client in &mut served {
        client.echo("served");
    }
    // Those that leave make room for as many others, until all were served.
    let mut left = waiting.len();
    while left > 0 {
        let leaving = served.len().clamp(1, 5);
        let expected = leaving.min(left);
        served.drain(..leaving).for_each(Client::finish);
        let mut ready = Vec::new();
        eventually("those that waited are served when others leave", || {
            let (mut now, rest) = split_readable(std::mem::take(&mut waiting));
            waiting = rest;
            ready.append(&mut now);
            ready.len() >= expected
        });
        for mut client in ready {
            client.expect_upgrade();
            client.echo("served at last");
            served.push(client);
        }
        assert!(served.len() <= *room.end(), "{} at once", served.len());
        left = waiting.len();
    }
    served.into_iter().for_each(Client::finish);
    server.open("/echo").finish();
}

#[test]
fn more_connections_than_max_connections() {
    let server = Server::start(&["--max-connections", "10"]);
    overcrowded(&server, 25, 10..=10);
}

#[test]
fn more_connections_than_descriptors_from_the_start() {
    let server = Launch::new(&["--listen", "127.0.0.1:0"])
        .ulimit("-n 64")
        .serve(1);
    overcrowded(&server, 100, 20..=63);
}

/// The limit shrinks under the running server: `accept` itself fails with EMFILE.
#[test]
fn descriptors_run_out() {
    let server = Server::start(&[]);
    server.open("/echo").finish();
    let open = server.settled_descriptors();
    server.leave_descriptors(20);
    overcrowded(&server, 60, 10..=20);
    server.back_to(open);
}

#[test]
fn the_soft_descriptor_limit_is_raised() {
    need_descriptors(1000);
    let server = Launch::new(&["--listen", "127.0.0.1:0"])
        .ulimit("-Sn 64")
        .serve(1);
    let (served, waiting) = crowd(&server, 200);
    assert_eq!(
        (served.len(), waiting.len()),
        (200, 0),
        "served and waiting"
    );
}
