//! Before the load: finds out who is subscribed, and whether publishers hear themselves.

use std::sync::atomic::Ordering;

use super::{Broadcast, LOOK, Listener, MILLISECOND, Mine};
use crate::engine::{Context, Links, Nanos};

/// Between two messages that find out who is subscribed.
const PROBE: Nanos = 50 * MILLISECOND;
/// How long after everyone else a publisher may get its own message.
const ECHO: Nanos = 200 * MILLISECOND;

impl Broadcast {
    /// Finds out who is subscribed, while connections are opened.
    pub(super) fn probe(
        &mut self,
        links: &mut Links<Listener>,
        context: &mut Context,
    ) -> Option<Nanos> {
        if self.settled {
            return None;
        }
        if !self.hub.is_assembled() {
            return Some(context.now + LOOK);
        }
        let publishers = self.hub.settings.publishers;
        let (before, since) = *self.heard.get_or_insert_with(|| {
            let own = links.iter_mut().filter(|(_, slot)| slot.link.is_open());
            let own = own.map(|(key, slot)| (key, slot.link.id()));
            let own = own.filter(|&(_, id)| id < publishers);
            self.mine = own.map(|(key, id)| Mine::new(key, id)).collect();
            (0, context.now)
        });
        let heard = self.mine.iter().map(|mine| self.hub.heard(mine.id)).sum();
        if heard > before {
            self.heard = Some((heard, context.now));
        } else if context.now > since + self.hub.settings.join_timeout.as_nanos() as Nanos {
            if self.hub.reaches_nobody() {
                context.give_up(no_hub(context));
                return Some(context.now + LOOK);
            }
            self.settled = true;
            self.report_absent(context);
            return None;
        }
        let mut waiting = false;
        for i in 0..self.mine.len() {
            let heard = self.is_heard_by_others(&self.mine[i]);
            if heard && self.mine[i].last_probe.is_none() {
                // One more: by now this publisher is surely subscribed itself.
                self.mine[i].last_probe = Some(context.now);
                self.mine[i].next_probe = 0;
            } else if heard && self.is_heard(&self.mine[i], context.now) {
                continue;
            }
            waiting = true;
            if self.mine[i].next_probe <= context.now {
                let pause = if heard { ECHO } else { PROBE };
                self.mine[i].next_probe = context.now + pause;
                self.publish(i, 1, None, links, context);
            }
        }
        self.settled = !waiting;
        Some(context.now + LOOK)
    }

    /// Whether everyone else has had a message of this publisher.
    fn is_heard_by_others(&self, mine: &Mine) -> bool {
        let publisher = &self.hub.publishers[mine.id as usize];
        publisher.joined.load(Ordering::Acquire) >= self.hub.others()
    }

    /// Whether it has had one itself, or is to have none.
    fn is_heard(&self, mine: &Mine, now: Nanos) -> bool {
        let publisher = &self.hub.publishers[mine.id as usize];
        let itself = publisher.heard_itself.load(Ordering::Acquire);
        let waited = mine.last_probe.is_some_and(|probe| now >= probe + ECHO);
        if self.hub.echoes().is_none() && !itself && waited {
            self.hub.found(false);
        }
        itself || self.hub.echoes() == Some(false)
    }

    fn report_absent(&self, context: &mut Context) {
        for mine in &self.mine {
            let joined = &self.hub.publishers[mine.id as usize].joined;
            let (joined, others) = (joined.load(Ordering::Acquire), self.hub.others());
            if !self.is_heard_by_others(mine) || !self.is_heard(mine, context.now) {
                let what = "not everyone had a message of a publisher before the load began";
                let case = || format!("publisher {}, {joined} of {others} others", mine.id);
                context.stats.faults.add(what, case);
            }
        }
    }
}

/// Why there is nothing to measure when no message of ours has reached anybody.
fn no_hub(context: &Context) -> String {
    if context.stats.corrupted > 0 {
        return "what comes back is not what was published".into();
    }
    let path = &context.plan.path;
    format!("{path} does not pass messages on to others: not a hub?")
}
