//! The other side of a connection, as its handler sees it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::handle::PeerHandle;
use super::message::Message;
use crate::protocol::{CloseCode, MessageKind};
use crate::topics::{Offset, PublishError, Since, SubscribeError};
use crate::transport::Token;
use crate::worker::{Output, Sending};

/// Names a connection among all that the server has had; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId {
    reactor: u16,
    connection: u64,
}

impl PeerId {
    pub(super) fn new(reactor: u16, token: Token) -> Self {
        Self {
            reactor,
            connection: token.to_u64(),
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.reactor, self.connection)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What became of a message. May be ignored by handlers that answer a message with at most as
/// many bytes as it had: to them nothing is ever refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It will leave, unless the connection ends first.
    Queued,
    /// It was not queued, because more than [`Limits::outbox`](crate::Limits::outbox) (and the
    /// answers to what was already read) wait for this peer. `on_drain` will say when there is
    /// room.
    OverLimit,
    /// It was not queued: the connection is closing.
    Closing,
}

/// The connection whose event is being handled.
pub struct Peer<'a> {
    output: Output<'a>,
}

impl<'a> Peer<'a> {
    #[inline]
    pub(super) fn new(output: Output<'a>) -> Self {
        Self { output }
    }

    /// See [`Output::next_message`].
    #[inline]
    pub(super) fn next_message<'b>(
        &mut self,
        next: &mut impl FnMut() -> Option<(MessageKind, &'b [u8])>,
    ) -> Option<(MessageKind, &'b [u8])> {
        self.output.next_message(next)
    }

    /// Queues a message. It leaves when the handler returns, in one write with everything else
    /// that was queued meanwhile.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        let (kind, body) = message.into().into_parts();
        match self.output.send(kind, body) {
            Sending::Queued => Sent::Queued,
            Sending::OverLimit => Sent::OverLimit,
            Sending::Closing => Sent::Closing,
        }
    }

    /// Sends a Close frame after everything queued before it. The handler receives no further
    /// message; `on_close` follows when the peer has answered, or did not in time. Closing
    /// twice does nothing.
    ///
    /// A code that may not be sent (RFC 6455 section 7.4: below 1000, 1004 to 1006, 1015 to
    /// 2999, from 5000) is replaced by 1011 and logged; a reason is cut to 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.output.close(Some(sendable(code)), reason);
    }

    /// Bytes queued and not yet taken by the kernel, frame headers included: an upper bound.
    pub fn buffered_amount(&self) -> usize {
        self.output.buffered_amount()
    }

    /// Calls `on_timer` once after `delay`, counted in milliseconds from the end of this event;
    /// zero counts as one, and more than 12 days as 12 days.
    /// A connection has one timer: setting it again replaces it.
    pub fn set_timer(&mut self, delay: Duration) {
        self.output.set_timer(Some(delay));
    }

    /// Takes [`set_timer`](Self::set_timer) back.
    pub fn clear_timer(&mut self) {
        self.output.set_timer(None);
    }

    /// Subscribes this connection to a topic: from a certain point on it is sent everything that
    /// is published there, by anybody, itself included, in the order in which all subscribers get
    /// it. What `since` asks for of the publications before that point, and where it lies, comes to
    /// [`Handler::on_subscribed`](crate::Handler::on_subscribed); nothing of the topic reaches the
    /// peer before that. If the connection is subscribed already, nothing happens. Its end ends
    /// its subscriptions.
    ///
    /// A peer that is slow is sent the same as the others until more than
    /// [`Limits::outbox`](crate::Limits::outbox) would wait for it; then it is closed with 1008,
    /// `slow consumer`. The others notice nothing of it.
    ///
    /// ```
    /// use sockeye::testing::{self, Received};
    /// use sockeye::{CloseCode, Handler, Message, Peer, Since};
    ///
    /// struct Room;
    ///
    /// impl Handler for Room {
    ///     fn on_open(&mut self, peer: &mut Peer<'_>) {
    ///         if let Err(error) = peer.subscribe("room", Since::History) {
    ///             peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
    ///         }
    ///     }
    ///
    ///     fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
    ///         if let Err(error) = peer.publish("room", message) {
    ///             peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
    ///         }
    ///     }
    /// }
    ///
    /// let mut ann = testing::pair(|_request| Room);
    /// ann.send("hello");
    /// assert_eq!(ann.receive(), Some(Received::Message("hello".into())));
    ///
    /// // Somebody else on the same topics, who comes later.
    /// let mut ben = testing::Pair::new(|_request| Room).topics_of(&ann).connect()?;
    /// assert_eq!(ben.receive(), Some(Received::Message("hello".into())));
    /// ben.send("hi");
    /// assert_eq!(ann.receive(), Some(Received::Message("hi".into())));
    /// assert_eq!(ben.receive(), Some(Received::Message("hi".into())));
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing was subscribed then, and `on_subscribed` will not be called.
    pub fn subscribe(&mut self, topic: &str, since: Since) -> Result<(), SubscribeError> {
        self.output.subscribe(topic, since)
    }

    /// Ends a subscription: nothing that is published from now on reaches the peer. Says whether
    /// there was one. What was published before may still be sent, unless `on_subscribed` has not
    /// been called yet; then it is not either.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.output.unsubscribe(topic)
    }

    /// Publishes a message to a topic: everybody who is subscribed gets it, on whatever thread his
    /// handler runs. The peer itself needs no subscription to publish, and gets the message only
    /// with one. Never blocks.
    ///
    /// # Errors
    /// [`PublishError`]; nobody gets the message then.
    pub fn publish<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<Offset, PublishError> {
        let frame = message.into().frame();
        self.output.publish(topic, true, &mut |_| frame.clone())
    }

    /// Publishes as [`publish`](Self::publish) does, but not to this connection: the others who are
    /// subscribed get the message. The topic remembers it all the same, and a later subscription
    /// finds it in the history, whoever's that is.
    ///
    /// # Errors
    /// [`PublishError`]; nobody gets the message then.
    pub fn publish_to_others<'m>(
        &mut self,
        topic: &str,
        message: impl Into<Message<'m>>,
    ) -> Result<Offset, PublishError> {
        let frame = message.into().frame();
        self.output.publish(topic, false, &mut |_| frame.clone())
    }

    /// Publishes, as [`publish`](Self::publish) does, a message that knows its own offset, from
    /// which a subscriber can later [resume](Since::After). Nothing is published to the topic while
    /// `make` runs, so it should be short; if the topic cannot take the message, it has run in vain.
    ///
    /// ```
    /// use sockeye::testing::{self, Received};
    /// use sockeye::{CloseCode, Handler, Message, Peer, Since};
    ///
    /// struct Room;
    ///
    /// impl Handler for Room {
    ///     fn on_open(&mut self, peer: &mut Peer<'_>) {
    ///         if let Err(error) = peer.subscribe("room", Since::New) {
    ///             peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
    ///         }
    ///     }
    ///
    ///     fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
    ///         let said = message.as_text().unwrap_or("something");
    ///         let publish = peer.publish_with("room", |offset| format!("{}. {said}", offset.number));
    ///         if let Err(error) = publish {
    ///             peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
    ///         }
    ///     }
    /// }
    ///
    /// let mut peer = testing::pair(|_request| Room);
    /// peer.send("hello");
    /// assert_eq!(peer.receive(), Some(Received::Message("1. hello".into())));
    /// ```
    ///
    /// # Errors
    /// [`PublishError`]; nobody gets the message then.
    ///
    /// # Deadlocks
    /// `make` must not publish to a topic itself.
    pub fn publish_with<'m, M: Into<Message<'m>>>(
        &mut self,
        topic: &str,
        mut make: impl FnMut(Offset) -> M,
    ) -> Result<Offset, PublishError> {
        let mut make = |offset| make(offset).into().frame();
        self.output.publish(topic, true, &mut make)
    }

    /// This connection's name.
    pub fn id(&self) -> PeerId {
        PeerId::new(self.output.outside().reactor, self.output.token())
    }

    /// The peer's address; of an IPv6 address without scope and flow label.
    pub fn remote_addr(&self) -> SocketAddr {
        self.output.remote()
    }

    /// A handle through which any thread can send to this connection at any time.
    pub fn handle(&mut self) -> PeerHandle {
        let link = self.output.link();
        PeerHandle::new(self.id(), link, self.output.outside().clone())
    }
}

/// Replaces a code that must not appear in a Close frame.
pub(super) fn sendable(code: CloseCode) -> CloseCode {
    if code.is_sendable() {
        return code;
    }
    log::error!("close code {} cannot be sent; 1011 is", u16::from(code));
    CloseCode::INTERNAL_ERROR
}
