//! What the handlers of one executor are subscribed to.

use std::sync::Arc;

use crate::topics::{Member, Subscription, Topic};

/// The topics of one handler, each with the ticket of its subscription. Most have one, if any.
#[derive(Default)]
enum Set {
    #[default]
    None,
    One(u32, Arc<Topic>),
    // Boxed, so that a set takes no more than one topic does.
    #[expect(clippy::box_collection)]
    Many(Box<Vec<(u32, Arc<Topic>)>>),
}

impl Set {
    fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Topic>)> {
        let (one, many) = match self {
            Set::None => (None, &[][..]),
            Set::One(ticket, topic) => (Some((*ticket, topic)), &[][..]),
            Set::Many(many) => (None, &many[..]),
        };
        let many = many.iter().map(|(ticket, topic)| (*ticket, topic));
        one.into_iter().chain(many)
    }
}

/// By the handler's slot; owns no memory until one subscribes.
#[derive(Default)]
pub(super) struct Subscriptions(Vec<Set>);

impl Subscriptions {
    fn of(&self, slot: u32) -> impl Iterator<Item = (u32, &Arc<Topic>)> {
        self.0.get(slot as usize).into_iter().flat_map(Set::iter)
    }

    pub(super) fn len(&self, slot: u32) -> usize {
        self.of(slot).count()
    }

    pub(super) fn contains(&self, slot: u32, name: &str) -> bool {
        self.of(slot).any(|(_, topic)| topic.name() == name)
    }

    /// Whether the handler still wants to hear of this.
    pub(super) fn is_current(&self, slot: u32, subscription: &Subscription) -> bool {
        self.of(slot).any(|(ticket, topic)| {
            ticket == subscription.ticket && Arc::ptr_eq(topic, &subscription.topic)
        })
    }

    pub(super) fn add(&mut self, slot: u32, ticket: u32, topic: Arc<Topic>) {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, Set::default);
        }
        let set = &mut self.0[slot];
        *set = match std::mem::take(set) {
            Set::None => Set::One(ticket, topic),
            Set::One(first, other) => Set::Many(Box::new(vec![(first, other), (ticket, topic)])),
            Set::Many(mut many) => {
                many.push((ticket, topic));
                Set::Many(many)
            }
        };
    }

    /// The topic, if the handler was subscribed to it.
    pub(super) fn remove(&mut self, slot: u32, name: &str) -> Option<Arc<Topic>> {
        let set = self.0.get_mut(slot as usize)?;
        match set {
            Set::One(_, topic) if topic.name() == name => match std::mem::take(set) {
                Set::One(_, topic) => Some(topic),
                _ => None,
            },
            Set::Many(many) => {
                let at = many.iter().position(|(_, topic)| topic.name() == name)?;
                Some(many.swap_remove(at).1)
            }
            _ => None,
        }
    }

    /// The handler has gone.
    pub(super) fn leave_all(&mut self, slot: u32, member: Member<'_>) {
        if let Some(set) = self.0.get_mut(slot as usize) {
            for (_, topic) in std::mem::take(set).iter() {
                topic.leave(member);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_small() {
        assert_eq!(size_of::<Set>(), 16);
    }
}
