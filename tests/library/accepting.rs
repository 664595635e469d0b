//! When a connection becomes the server's business.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, request};
use crate::patience::eventually;
use crate::site::{Site, in_both_modes};

/// The kernel keeps a client that says nothing for a second.
const KEPT: Duration = Duration::from_secs(1);

#[test]
fn who_says_nothing_is_accepted_late_and_then_has_its_deadline() {
    in_both_modes(|mode| {
        let live = Site::new(mode)
            .config(|config| config.timeouts.handshake = Some(Duration::from_millis(300)))
            .serve();
        let start = Instant::now();
        let mut silent: Vec<_> = (0..20).map(|_| Client::connect(live.address)).collect();
        // Others are served meanwhile.
        live.open("/echo").finish();
        while start.elapsed() < KEPT / 2 {
            assert!(live.stats().connections <= 1);
            thread::sleep(Duration::from_millis(10));
        }
        eventually("they are accepted", || live.stats().accepted == 21);
        for client in &mut silent {
            client.expect_eof();
        }
        eventually("nobody is left", || live.stats().connections == 0);
    });
}

#[test]
fn a_single_byte_is_enough_and_what_follows_is_not_lost() {
    in_both_modes(|mode| {
        let live = Site::new(mode).serve();
        let mut client = Client::connect(live.address);
        let request = request("/echo");
        let (first, rest) = request.as_bytes().split_at(1);
        client.send(first);
        eventually("it is accepted", || live.stats().connections == 1);
        client.send(rest);
        client.expect_upgrade();
        client.echo("hello");
        client.finish();
    });
}
