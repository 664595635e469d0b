//! What a peer sends is answered in the order it was sent, and its end comes last.

use std::thread;

use crate::client::{BINARY, Client, FIN, binary, close, frame, text};
use crate::gate::Gate;
use crate::patience::eventually;
use crate::site::{Mode, On, Site, in_both_modes};

/// `/hold` echoes, but waits at the gate with its first message.
fn held_site(mode: Mode, gate: &Gate) -> Site {
    let gate = gate.clone();
    let mut held = false;
    Site::new(mode).on("/hold", move |peer, on| {
        if let On::Message(message) = on {
            if !std::mem::replace(&mut held, true) {
                gate.pass();
            }
            peer.send(message);
        }
    })
}

/// A message that says which it is, of a size that depends on it.
fn numbered(connection: usize, number: usize) -> Vec<u8> {
    let mut payload = format!("{connection} {number} ").into_bytes();
    payload.resize(payload.len() + number * 37 % 700, b'.');
    payload
}

/// A small generator of numbers that look random (xorshift).
pub(crate) struct Dice(u32);

impl Dice {
    pub(crate) fn new(seed: u32) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % limit
    }
}

#[test]
fn pipelined_messages_on_many_connections() {
    const CONNECTIONS: usize = 64;
    const ROUNDS: usize = 20;
    const DEEP: usize = 16;
    in_both_modes(|mode| {
        let live = Site::new(mode).serve();
        thread::scope(|scope| {
            for who in 0..2 {
                let live = &live;
                scope.spawn(move || {
                    let mut dice = Dice::new(0x9e37_79b9 + who as u32);
                    let mut clients: Vec<Client> =
                        (0..CONNECTIONS / 2).map(|_| live.open("/echo")).collect();
                    for round in 0..ROUNDS {
                        let numbers = round * DEEP..(round + 1) * DEEP;
                        for (connection, client) in clients.iter_mut().enumerate() {
                            let burst: Vec<u8> = numbers
                                .clone()
                                .flat_map(|number| binary(&numbered(connection, number)))
                                .collect();
                            // In pieces that end anywhere.
                            let cut = dice.below(burst.len());
                            client.send(&burst[..cut]);
                            client.send(&burst[cut..]);
                        }
                        for (connection, client) in clients.iter_mut().enumerate() {
                            for number in numbers.clone() {
                                client.expect_binary(&numbered(connection, number));
                            }
                        }
                    }
                    clients.into_iter().for_each(Client::finish);
                });
            }
        });
        let messages = (CONNECTIONS * ROUNDS * DEEP) as u64;
        eventually("all are counted", || live.stats().messages == messages);
    });
}

/// Sends `count` messages and `last` to a handler that is held meanwhile, and lets `end` see the
/// stream after the answers.
fn ends_with(mode: Mode, count: usize, last: &[u8], end: impl Fn(&mut Client)) {
    let gate = Gate::default();
    let live = held_site(mode, &gate).serve();
    for connection in 0..3 {
        let mut client = live.open("/hold");
        let mut burst: Vec<u8> = (0..count)
            .flat_map(|number| binary(&numbered(connection, number)))
            .collect();
        burst.extend(last);
        client.send(&burst);
        if last.is_empty() {
            client.finish_sending();
        }
        if connection == 0 {
            gate.wait_for(1);
            gate.open_after(std::time::Duration::from_millis(50));
        }
        for number in 0..count {
            client.expect_binary(&numbered(connection, number));
        }
        end(&mut client);
    }
}

#[test]
fn messages_before_a_fault_are_answered_first() {
    let faults = [
        (vec![0xff, 0x80, 0, 0, 0, 0], 1002),
        (frame(FIN | crate::client::TEXT, b"\xff"), 1007),
        (crate::client::header(FIN | BINARY, 17 << 20), 1009),
    ];
    in_both_modes(|mode| {
        for (fault, code) in &faults {
            for count in [1, 3, 1000] {
                ends_with(mode, count, fault, |client| {
                    client.expect_close(*code);
                    client.expect_eof();
                });
            }
        }
    });
}

#[test]
fn close_is_echoed_after_all_answers() {
    in_both_modes(|mode| {
        for count in [1, 3, 1000] {
            ends_with(mode, count, &close(4321, b"enough"), |client| {
                client.expect_close(4321);
                client.expect_eof();
            });
        }
    });
}

#[test]
fn a_half_closed_stream_gets_all_answers() {
    in_both_modes(|mode| {
        for count in [1, 3, 1000] {
            ends_with(mode, count, &[], Client::expect_eof);
        }
    });
}

/// Small messages travel in the arena of a batch, large ones beside it: neither overtakes.
#[test]
fn large_and_small_messages_keep_their_order() {
    in_both_modes(|mode| {
        let live = Site::new(mode).serve();
        let mut client = live.open("/echo");
        let payload =
            |at: usize| vec![at as u8; [1, 16_383, 16_384, 100, 300_000, 0, 70_000][at % 7]];
        for round in 0..5 {
            let messages = (0..14).map(|at| payload(at + round));
            let burst: Vec<u8> = messages.clone().flat_map(|it| binary(&it)).collect();
            let mut sender = client.stream().try_clone().unwrap();
            let sending = thread::spawn(move || {
                use std::io::Write;
                sender.write_all(&burst).expect("send");
            });
            messages.for_each(|it| client.expect_binary(&it));
            sending.join().unwrap();
        }
        client.send(&text("end"));
        client.expect_text("end");
        client.finish();
    });
}
