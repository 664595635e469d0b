//! What a user writes for a connection.

use super::message::Message;
use super::peer::{Peer, Sent};
use crate::connection::CloseReason;
use crate::protocol::CloseCode;
use crate::topics::Subscription;

/// The behaviour of one connection. A handler is made, run and dropped on one thread, so it
/// needs no locks for its own state, and it need not be `Send`.
///
/// A handler that panics ends its connection with close code 1011; its `Drop` runs, but
/// `on_close` does not. Other connections are not affected.
pub trait Handler: 'static {
    /// The connection is open. What is sent here leaves together with the handshake's response.
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        let _ = peer;
    }

    /// A whole message has come. Text is valid UTF-8.
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>);

    /// The time given to [`Peer::set_timer`] has passed.
    fn on_timer(&mut self, peer: &mut Peer<'_>) {
        let _ = peer;
    }

    /// The queue of unsent bytes fell below half of [`Limits::outbox`](crate::Limits::outbox)
    /// after it had been above it, or after [`Sent::OverLimit`](crate::Sent::OverLimit).
    fn on_drain(&mut self, peer: &mut Peer<'_>) {
        let _ = peer;
    }

    /// A subscription has begun: [`Peer::subscribe`] was called, and this is what the topic had to
    /// say. Whatever is sent here leaves before the first publication that comes live, which is the
    /// one after [`Subscription::offset`]; none is missing between, and none comes twice.
    ///
    /// By default sends every publication of the [replay](Subscription::replay) as a message of its
    /// own, oldest first, as if it had come live; a peer for whom that is too much is closed with
    /// 1008.
    fn on_subscribed(&mut self, peer: &mut Peer<'_>, subscription: &Subscription) {
        for publication in subscription.replay() {
            if peer.send(publication.message()) == Sent::OverLimit {
                return peer.close(CloseCode::POLICY_VIOLATION, "slow consumer");
            }
        }
    }

    /// The connection has ended; nothing can be sent any more. Comes exactly once for every
    /// `on_open`, unless the handler panicked.
    fn on_close(&mut self, peer: &mut Peer<'_>, reason: &CloseReason) {
        let _ = (peer, reason);
    }
}
