//! Why a topic could not be used.

use std::fmt;

use super::MAX_NAME;

/// Why nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic's name is empty or longer than 255 bytes.
    Name,
    /// There are as many topics with subscribers as
    /// [`Limits::topics`](crate::Limits::topics) allows.
    Topics,
    /// An event loop is behind by more than [`Limits::topic_log`](crate::Limits::topic_log) with
    /// what was published to this topic. Try again later.
    Full,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::Name => write!(f, "a topic's name has 1 to {MAX_NAME} bytes"),
            PublishError::Topics => f.write_str("there are too many topics"),
            PublishError::Full => f.write_str("too much of this topic is not delivered yet"),
        }
    }
}

impl std::error::Error for PublishError {}

/// Why a connection was not subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The topic's name is empty or longer than 255 bytes.
    Name,
    /// There are as many topics with subscribers as
    /// [`Limits::topics`](crate::Limits::topics) allows.
    Topics,
    /// This connection has as many topics as
    /// [`Limits::subscriptions`](crate::Limits::subscriptions) allows.
    Subscriptions,
    /// The connection's event loop has yet to carry out 65,536 earlier changes of who is subscribed
    /// to this topic. Try again later.
    Full,
    /// The connection is closing.
    Closing,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubscribeError::Name => write!(f, "a topic's name has 1 to {MAX_NAME} bytes"),
            SubscribeError::Topics => f.write_str("there are too many topics"),
            SubscribeError::Subscriptions => f.write_str("this connection has too many topics"),
            SubscribeError::Full => f.write_str("too many come and go on this topic"),
            SubscribeError::Closing => f.write_str("the connection is closing"),
        }
    }
}

impl std::error::Error for SubscribeError {}
