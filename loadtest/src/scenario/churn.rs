//! Connections that come, talk and leave.

use crate::engine::{Context, Leave, Link, Scenario};

/// The scenario `churn`: each connection exchanges some messages, one after the other, and leaves with
/// the closing handshake; another one takes its place.
#[derive(Clone, Copy, Debug)]
pub struct Churn {
    /// Messages of each connection; may be none.
    pub messages: u32,
}

impl Scenario for Churn {
    type Local = ();

    const STAYS: bool = false;

    fn answered(&mut self, link: &mut Link, (): &mut (), context: &mut Context) {
        if !link.is_open() || link.in_flight() > 0 {
            return;
        }
        if link.ledger.sent() >= self.messages || !context.phase.has_load() {
            link.leave(Leave::Close);
        } else {
            link.queue(1);
        }
    }
}
