//! What a scenario has to say.

use super::{Cause, Context, Link, Links, Nanos};
use crate::wire::Data;

/// How a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Whether it begins with the opening handshake. If not, it is open as soon as it is connected,
    /// and the engine neither writes nor reads anything on its own.
    pub handshake: bool,
    /// `SO_RCVBUF` in bytes, set before connecting so that it bounds the window.
    pub receive_buffer: Option<u32>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            handshake: true,
            receive_buffer: None,
        }
    }
}

/// What the connections of a load thread do. Each thread has one, and calls it; what a scenario
/// queues is written when the call returns.
pub trait Scenario: Send {
    /// What it keeps for each connection.
    type Local: Default + Send;

    /// Whether connections stay for the whole run: they are opened before the load begins, and none
    /// is replaced. Otherwise each that ends makes room for a new one while there is load.
    const STAYS: bool = true;

    /// Whether pings are answered (RFC 6455 section 5.5.3).
    const ANSWERS_PINGS: bool = true;

    /// Whether [`timers`](Self::timers) are to be exact to much less than a millisecond, which
    /// costs a system call each.
    const EXACT: bool = false;

    /// Whether messages are echoes. Otherwise [`data`](Self::data) must say what they are.
    const ECHOES: bool = true;

    /// A connection is about to be made: how?
    fn connect(&mut self, _local: &mut Self::Local, _context: &mut Context) -> Setup {
        Setup::default()
    }

    /// A connection's opening handshake is complete; without one, it is connected.
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

    /// Bytes came on a connection without an opening handshake.
    fn raw(
        &mut self,
        _link: &mut Link,
        _local: &mut Self::Local,
        _bytes: &[u8],
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

    /// A connection ended, or could not be opened, though nobody here wanted that. Returns whether
    /// it was to be expected and is no fault.
    fn ended(
        &mut self,
        _link: &mut Link,
        _local: &mut Self::Local,
        _why: &Cause,
        _context: &mut Context,
    ) -> bool {
        false
    }

    /// A connection that was made, or could not be, is gone for whatever reason.
    #[inline]
    fn gone(&mut self, _local: &Self::Local) {}

    /// A phase, or a step of the measured part, begins.
    fn phase(&mut self, _links: &mut Links<Self::Local>, _context: &mut Context) {}

    /// Whether this thread waits for nothing any more in a phase that ends early when nobody waits:
    /// for connections to be of use while they are opened, or for the last messages in the grace
    /// period. Once it said so, it is not asked again in that phase.
    fn is_settled(&self, _context: &Context) -> bool {
        true
    }

    /// Called in every turn: does what is due, and says when to be called again at the latest.
    #[inline]
    fn timers(&mut self, _links: &mut Links<Self::Local>, _context: &mut Context) -> Option<Nanos> {
        None
    }
}
