//! Opening handshakes, as many as the server takes.

use crate::engine::{Context, Leave, Link, Scenario};

/// The scenario `handshake`: a connection ends as soon as it is open, with a reset so that none is
/// left in `TIME_WAIT`, which would run out of ports in a second.
#[derive(Clone, Copy, Debug)]
pub struct Handshake;

impl Scenario for Handshake {
    type Local = ();

    const STAYS: bool = false;

    fn opened(&mut self, link: &mut Link, (): &mut (), context: &mut Context) {
        context.did(1);
        link.leave(Leave::Reset);
    }
}
