//! What a scenario has to say.

use super::{Context, Link, Links, Nanos};
use crate::wire::Data;

/// What the connections of a load thread do. Each thread has one, and calls it; what a scenario
/// queues is written when the call returns.
pub trait Scenario: Send {
    /// What it keeps for each connection.
    type Local: Default + Send;

    /// Whether connections stay for the whole run: they are opened before the load begins, and none
    /// is replaced. Otherwise each that ends makes room for a new one while there is load.
    const STAYS: bool = true;

    /// Whether [`timers`](Self::timers) are to be exact to much less than a millisecond, which
    /// costs a system call each.
    const EXACT: bool = false;

    /// Whether messages are echoes. Otherwise [`data`](Self::data) must say what they are.
    const ECHOES: bool = true;

    /// A connection's opening handshake is complete.
    fn opened(&mut self, _link: &mut Link, _local: &mut Self::Local, _context: &mut Context) {}

    /// A piece of a message came; unless overridden, it must be an echo. With
    /// [`ECHOES`](Self::ECHOES) most of those that are right do not come here.
    #[inline]
    fn data(
        &mut self,
        link: &mut Link,
        local: &mut Self::Local,
        data: &Data<'_>,
        context: &mut Context,
    ) {
        if let Some(sequence) = context.check(link, data) {
            self.echoed(link, local, sequence, context);
        }
    }

    /// An echo came whole and right.
    #[inline]
    fn echoed(
        &mut self,
        _link: &mut Link,
        _local: &mut Self::Local,
        _sequence: u32,
        _context: &mut Context,
    ) {
    }

    /// A pong came.
    fn pong(
        &mut self,
        _link: &mut Link,
        _local: &mut Self::Local,
        _payload: &[u8],
        _context: &mut Context,
    ) {
    }

    /// Everything that one read brought has been handed over.
    #[inline]
    fn answered(&mut self, _link: &mut Link, _local: &mut Self::Local, _context: &mut Context) {}

    /// An open connection ended though nobody here wanted it to. Returns whether that was to be
    /// expected and is no fault.
    fn ended(
        &mut self,
        _link: &mut Link,
        _local: &mut Self::Local,
        _why: &str,
        _context: &mut Context,
    ) -> bool {
        false
    }

    /// A phase, or a step of the measured part, begins.
    fn phase(&mut self, _links: &mut Links<Self::Local>, _context: &mut Context) {}

    /// Called in every turn: does what is due, and says when to be called again at the latest.
    #[inline]
    fn timers(&mut self, _links: &mut Links<Self::Local>, _context: &mut Context) -> Option<Nanos> {
        None
    }
}
