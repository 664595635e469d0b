//! When a connection becomes the server's business.

use std::time::{Duration, Instant};

use crate::client::{Client, request};
use crate::patience::eventually;
use crate::site::{Site, in_both_modes};

/// The kernel keeps a client that says nothing for so long, or longer.
const KEPT: Duration = Duration::from_secs(1);

#[test]
fn who_says_nothing_is_accepted_late_and_then_has_its_deadline() {
    const DEADLINE: Duration = Duration::from_millis(300);
    in_both_modes(|mode| {
        let live = Site::new(mode)
            .config(|config| config.timeouts.handshake = Some(DEADLINE))
            .serve();
        let start = Instant::now();
        let mut silent: Vec<_> = (0..20).map(|_| Client::connect(live.address)).collect();
        // Others are served meanwhile.
        live.open("/echo").finish();
        eventually("they are accepted", || {
            let accepted = live.stats().accepted;
            // Asked first, so that a pause of this thread is no failure.
            assert!(accepted == 1 || start.elapsed() >= KEPT, "{accepted}");
            accepted == 21
        });
        for client in &mut silent {
            client.expect_eof();
        }
        // A timer wheel rounds.
        assert!(start.elapsed() >= KEPT + DEADLINE * 2 / 3);
        eventually("nobody is left", || live.stats().connections == 0);
    });
}

#[test]
fn a_single_byte_is_enough_and_what_follows_is_not_lost() {
    in_both_modes(|mode| {
        let live = Site::new(mode).serve();
        let request = request("/echo");
        let (first, rest) = request.as_bytes().split_at(1);
        // On a busy machine a look may come late.
        let soon = (0..10).any(|_| {
            let before = live.stats().accepted;
            let start = Instant::now();
            let mut client = Client::connect(live.address);
            client.send(first);
            eventually("it is accepted", || live.stats().accepted > before);
            let soon = start.elapsed() < KEPT;
            client.send(rest);
            client.expect_upgrade();
            client.echo("hello");
            client.finish();
            soon
        });
        assert!(soon, "it is accepted as if it had said nothing");
    });
}
