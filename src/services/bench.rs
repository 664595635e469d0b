//! `/bench`: sends a message a number of times, spaced over some seconds, then closes.

use std::time::{Duration, Instant};

use crate::protocol::CloseCode;
use crate::{Handler, Message, Peer, Sent};

/// Longest run, so that a request cannot hold a connection for ever.
const MAX_SECONDS: f64 = 86_400.0;
const MAX_COUNT: u64 = 10_000_000;
/// Messages sent at one call of the timer when many are due, before others get their turn.
const BURST: u64 = 256;
/// Timers count whole milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

const USAGE: &str = "error: send text: <seconds> <count> <msg>, with at most 86400 seconds and \
                     10000000 messages";

/// A run under way: message `i` of `count` is due `i * seconds / count` after the start.
struct Run {
    start: Instant,
    seconds: f64,
    count: u64,
    sent: u64,
    text: String,
}

#[derive(Default)]
pub(super) struct Bench(Option<Box<Run>>);

impl Run {
    fn parse(text: &str) -> Option<Run> {
        let mut words = text.splitn(3, ' ');
        let seconds = words.next()?.parse::<f64>().ok()?;
        let count = words.next()?.parse::<u64>().ok()?;
        let text = words.next()?.to_owned();
        let sane = (0.0..=MAX_SECONDS).contains(&seconds) && count <= MAX_COUNT;
        sane.then(|| Run {
            start: Instant::now(),
            seconds,
            count,
            sent: 0,
            text,
        })
    }

    /// When the next message is due, counted from the start.
    fn due(&self) -> Duration {
        Duration::from_secs_f64(self.seconds * self.sent as f64 / self.count.max(1) as f64)
    }

    /// Sends what is due. `None`: all has been sent; else how long to wait. A peer that is
    /// behind is waited for.
    fn advance(&mut self, peer: &mut Peer<'_>) -> Option<Duration> {
        let mut burst = BURST;
        while self.sent < self.count {
            let wait = self.due().saturating_sub(self.start.elapsed());
            if !wait.is_zero() || burst == 0 {
                return Some(wait.max(SHORTEST));
            }
            if peer.send(&*self.text) == Sent::OverLimit {
                return Some(Duration::MAX);
            }
            self.sent += 1;
            burst -= 1;
        }
        None
    }
}

impl Bench {
    fn go_on(&mut self, peer: &mut Peer<'_>) {
        let Some(run) = &mut self.0 else { return };
        match run.advance(peer) {
            // `on_drain` goes on.
            Some(Duration::MAX) => peer.clear_timer(),
            Some(wait) => peer.set_timer(wait),
            None => peer.close(CloseCode::NORMAL, ""),
        }
    }
}

impl Handler for Bench {
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        match message.as_text().and_then(Run::parse) {
            Some(_) if self.0.is_some() => {
                peer.send("error: a run is under way");
            }
            Some(run) => {
                self.0 = Some(Box::new(run));
                self.go_on(peer);
            }
            None => {
                peer.send(USAGE);
            }
        }
    }

    fn on_timer(&mut self, peer: &mut Peer<'_>) {
        self.go_on(peer);
    }

    fn on_drain(&mut self, peer: &mut Peer<'_>) {
        self.go_on(peer);
    }
}
