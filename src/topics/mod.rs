//! Topics: what is published by name reaches every subscriber, in one order.
//!
//! A [`Topic`] numbers its publications, keeps the last of them as its history, and knows which
//! reactors have subscribers. It never pushes a publication anywhere: a reactor is told once that
//! there is news, and takes it from the topic's log when it comes to it. Publications that came
//! meanwhile leave together, and no inbox has to have room for them. Subscriptions are in the same
//! log, between the publications they came between: that is what makes them atomic.
//!
//! Who numbers publications and knows their history is the business of a [`Hub`]. The one there
//! is, [`Memory`], does it in this process.

mod error;
mod log;
mod memory;
mod publication;
#[cfg(all(test, not(loom)))]
mod tests;
mod topic;

use std::sync::Arc;

pub use error::{PublishError, SubscribeError};
pub(crate) use memory::{Memory, TopicLimits, is_topic_name};
pub(crate) use publication::Frame;
pub use publication::{Offset, ParseOffsetError, Publication, Since, Subscription};
pub(crate) use topic::{Batch, Change, Mailbox, Member, Topic};

/// Longest name of a topic, in bytes.
pub(crate) const MAX_NAME: usize = 255;

/// What topics take of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) topics: usize,
    /// Bytes of their histories.
    pub(crate) history: usize,
}

/// Who decides the order of a topic's publications and remembers them. Handlers learn of the
/// outcome of [`subscribe`](Self::subscribe) later, by an event, so a hub may ask other machines
/// first: it calls [`Topic::join`] when it knows.
pub(crate) trait Hub: Send + Sync {
    /// Publishes what `make` makes for the publication's number. It is called with the topic
    /// locked, and may be called in vain. `except`, if it subscribes, does not get it.
    fn publish(
        &self,
        topic: &str,
        except: Option<Member<'_>>,
        make: &mut dyn FnMut(Offset) -> Frame,
    ) -> Result<Offset, PublishError>;
    /// The topic, and what names this subscription among its others.
    fn subscribe(
        &self,
        topic: &str,
        since: Since,
        member: Member<'_>,
    ) -> Result<(Arc<Topic>, u32), SubscribeError>;
    /// What is held here at the moment.
    fn held(&self) -> Held;
    /// Nobody subscribes to the topic any more; it may still have a history.
    fn abandoned(&self, topic: &Topic);
}
