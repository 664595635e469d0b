//! What the simulation may know of a connection.

use super::deadline::{Earliest, heard};
use super::{Connection, Context, Flags, State, Tick};
use crate::transport::Token;

/// A connection at one moment.
#[derive(Debug)]
#[expect(dead_code, reason = "what is not compared is printed")]
pub(crate) struct Inspection {
    pub(crate) token: Token,
    pub(crate) state: &'static str,
    /// Bytes waiting to be written.
    pub(crate) outbox: usize,
    /// The kernel took less than was offered.
    pub(crate) is_blocked: bool,
    pub(crate) in_flight: u32,
    /// What the memory account was charged for it.
    pub(crate) charged: usize,
    /// A deadline has passed, and nothing happened.
    pub(crate) is_overdue: bool,
    /// The next deadline.
    pub(crate) due: Option<Tick>,
    pub(crate) flags: u16,
}

impl<T> Connection<T> {
    pub(crate) fn inspect<S, D>(&self, token: Token, cx: &Context<S, D>, now: Tick) -> Inspection {
        let settings = &cx.settings;
        let mut earliest = Earliest(None);
        if let Some(cold) = &self.cold
            && !cold.outbox.is_empty()
        {
            earliest.add(cold.stalled, settings.write);
        }
        let state = match self.state {
            State::Handshake { since, .. } => {
                earliest.add(since, settings.handshake);
                "handshake"
            }
            State::Opening { since } => {
                earliest.add(since, settings.handshake);
                "opening"
            }
            State::Fetching { since, .. } => {
                if self.outbox_len() == 0 {
                    earliest.add(since, settings.handshake);
                }
                "fetching"
            }
            State::Open { seen, .. } => {
                earliest.add(seen, self.liveness(cx));
                earliest.add(heard(token, cx), settings.idle);
                if let Some((timer, _)) = self.cold.as_ref().and_then(|cold| cold.timer) {
                    earliest.add(timer, Some(0));
                }
                "open"
            }
            State::Ending(_) => "ending",
            State::Closing { since, .. } => {
                if self.outbox_len() == 0 {
                    earliest.add(since, settings.close);
                }
                "closing"
            }
            State::Lingering { since, .. } => {
                if self.outbox_len() == 0 {
                    earliest.add(since, settings.close);
                }
                "lingering"
            }
            State::Gone => "gone",
        };
        Inspection {
            token,
            state,
            outbox: self.outbox_len(),
            is_blocked: self.flags.has(Flags::BLOCKED),
            in_flight: self.in_flight,
            charged: self.cold.as_ref().map_or(0, |cold| cold.charged),
            due: earliest.0,
            flags: self.flags.0,
            is_overdue: earliest.0.is_some_and(|at| !now.is_before(at)),
        }
    }
}
