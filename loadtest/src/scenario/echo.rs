//! Closed loop: each active connection keeps the same number of messages in flight.

use crate::engine::{Context, Link, Links, Scenario};

/// The scenario `echo`.
#[derive(Clone, Copy, Debug)]
pub struct Echo {
    /// Messages in flight on each active connection.
    pub in_flight: u32,
    /// The part of the connections that send, 0 to 1, spread evenly; the others stay idle.
    pub active: f64,
}

impl Echo {
    /// Whether this connection sends.
    fn is_active(&self, id: u32) -> bool {
        let before = (f64::from(id) * self.active).floor();
        ((f64::from(id) + 1.0) * self.active).floor() > before
    }

    #[inline]
    fn fill(&self, link: &mut Link, active: bool) {
        if active {
            link.queue(self.in_flight.saturating_sub(link.in_flight()));
        }
    }
}

impl Scenario for Echo {
    /// Whether the connection sends.
    type Local = bool;

    fn opened(&mut self, link: &mut Link, active: &mut bool, _: &mut Context) {
        *active = self.is_active(link.id());
    }

    #[inline]
    fn answered(&mut self, link: &mut Link, active: &mut bool, context: &mut Context) {
        if context.phase.has_load() {
            self.fill(link, *active);
        }
    }

    fn phase(&mut self, links: &mut Links<bool>, context: &mut Context) {
        if context.phase.has_load() {
            for (_, slot) in links.iter_mut() {
                self.fill(&mut slot.link, slot.local);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_ones_are_spread() {
        for (active, count) in [(0.0, 0), (0.1, 10), (0.5, 50), (0.33, 33), (1.0, 100)] {
            let echo = Echo {
                in_flight: 1,
                active,
            };
            let are = |range: std::ops::Range<u32>| range.filter(|&id| echo.is_active(id)).count();
            assert_eq!(are(0..100), count, "{active}");
            let half = are(0..50) as f64;
            assert!((half - count as f64 / 2.0).abs() <= 1.0);
        }
    }
}
