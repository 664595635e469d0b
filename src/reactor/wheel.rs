//! A hierarchical timer wheel (Varghese and Lauck, scheme 7): one timer per connection slot,
//! arming, moving and cancelling in constant time, 12 bytes each.
//!
//! A timer is a hint to look at the connection, not a verdict: deadlines that only ever move
//! later (any byte from the peer moves the next ping) are not moved here. When the old entry
//! comes up, the connection says what its next deadline is.

use crate::connection::Tick;

const LEVELS: usize = 6;
const SLOTS: usize = 64;
const SLOT_BITS: u32 = 6;
const NIL: u32 = u32::MAX;
/// Set in `prev` of a list's first node: the rest is the number of the list.
const HEAD: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct Node {
    prev: u32,
    next: u32,
    when: u32,
}

impl Node {
    const UNARMED: Node = Node {
        prev: NIL,
        next: NIL,
        when: 0,
    };
}

pub(super) struct TimerWheel {
    nodes: Vec<Node>,
    heads: [u32; LEVELS * SLOTS],
    occupied: [u64; LEVELS],
    /// All ticks before this one have been looked at.
    elapsed: u64,
}

impl TimerWheel {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            nodes: Vec::new(),
            heads: [NIL; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            elapsed: u64::from(now.0),
        }
    }

    /// Reserves address space (not memory) for timers below `count`.
    pub(super) fn reserve(&mut self, count: usize) {
        self.nodes.reserve_exact(count);
    }

    /// Makes the timer of `index` fire at `at` or before: an earlier timer stays.
    pub(super) fn arm(&mut self, index: u32, at: Tick) {
        let slot = index as usize;
        if slot >= self.nodes.len() {
            self.nodes.resize(slot + 1, Node::UNARMED);
        }
        let node = self.nodes[slot];
        if node.prev != NIL {
            if !at.is_before(Tick(node.when)) {
                return;
            }
            self.unlink(index);
        }
        self.link(index, at.0);
    }

    pub(super) fn cancel(&mut self, index: u32) {
        if self.nodes.get(index as usize).is_some_and(|node| node.prev != NIL) {
            self.unlink(index);
        }
    }

    /// Takes one timer that is due at `now`; `None` once all are taken.
    pub(super) fn pop(&mut self, now: Tick) -> Option<u32> {
        let now = self.expand(now.0);
        loop {
            let Some((level, slot, start)) = self.earliest() else {
                self.elapsed = self.elapsed.max(now);
                return None;
            };
            if start > now {
                self.elapsed = self.elapsed.max(now);
                return None;
            }
            self.elapsed = self.elapsed.max(start);
            let list = level * SLOTS + slot;
            let index = self.heads[list];
            self.unlink(index);
            let when = self.nodes[index as usize].when;
            if self.expand(when) <= self.elapsed {
                return Some(index);
            }
            // It was filed by its high digits; now that these are reached, the next digit counts.
            self.link(index, when);
        }
    }

    /// When to look again: the start of the next occupied slot, at or before the next timer.
    pub(super) fn next(&self) -> Option<Tick> {
        self.earliest().map(|(_, _, start)| Tick(start as u32))
    }

    /// A tick's full number: ticks are never 2^31 or more away from `elapsed`.
    fn expand(&self, when: u32) -> u64 {
        let ahead = when.wrapping_sub(self.elapsed as u32) as i32;
        self.elapsed.saturating_add_signed(i64::from(ahead))
    }

    /// Level, slot and first tick of the occupied slot that comes up next.
    fn earliest(&self) -> Option<(usize, usize, u64)> {
        let mut best: Option<(usize, usize, u64)> = None;
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let current = (self.elapsed >> shift) & (SLOTS as u64 - 1);
            let distance = u64::from(self.occupied[level].rotate_right(current as u32).trailing_zeros());
            let slot = (current + distance) as usize % SLOTS;
            let start = (((self.elapsed >> shift) + distance) << shift).max(self.elapsed);
            if best.is_none_or(|(_, _, earliest)| start < earliest) {
                best = Some((level, slot, start));
            }
        }
        best
    }

    fn link(&mut self, index: u32, when: u32) {
        let at = self.expand(when).max(self.elapsed);
        // The level is the highest digit (base 64) in which the deadline differs from now.
        let differing = (self.elapsed ^ at) | (SLOTS as u64 - 1);
        let level = ((63 - differing.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1);
        let slot = (at >> (SLOT_BITS * level)) as usize % SLOTS;
        let list = level as usize * SLOTS + slot;
        let first = self.heads[list];
        if first != NIL {
            self.nodes[first as usize].prev = index;
        }
        self.nodes[index as usize] = Node {
            prev: HEAD | list as u32,
            next: first,
            when,
        };
        self.heads[list] = index;
        self.occupied[level as usize] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Node { prev, next, when } = self.nodes[index as usize];
        if next != NIL {
            self.nodes[next as usize].prev = prev;
        }
        if prev & HEAD != 0 {
            let list = (prev & !HEAD) as usize;
            self.heads[list] = next;
            if next == NIL {
                self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
            }
        } else {
            self.nodes[prev as usize].next = next;
        }
        self.nodes[index as usize] = Node {
            when,
            ..Node::UNARMED
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_later_deadline_keeps_the_entry_and_an_earlier_one_moves_it() {
        let mut wheel = TimerWheel::new(Tick(0));
        wheel.arm(3, Tick(500));
        wheel.arm(3, Tick(900));
        assert_eq!(wheel.pop(Tick(499)), None);
        assert_eq!(wheel.pop(Tick(500)), Some(3));
        wheel.arm(3, Tick(900));
        wheel.arm(3, Tick(600));
        assert_eq!(wheel.pop(Tick(600)), Some(3));
        assert_eq!(wheel.pop(Tick(100_000)), None);
    }

    #[test]
    fn an_empty_wheel_has_no_next_tick_and_may_jump() {
        let mut wheel = TimerWheel::new(Tick(u32::MAX - 10));
        assert_eq!(wheel.next(), None);
        assert_eq!(wheel.pop(Tick(5)), None);
        wheel.arm(0, Tick(7));
        assert_eq!(wheel.next(), Some(Tick(7)));
        assert_eq!(wheel.pop(Tick(7)), Some(0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u32, u32),
        Cancel(u32),
        Advance(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let delay = prop_oneof![0..70u32, 0..5_000u32, 0..2_000_000_000u32];
        let step = prop_oneof![
            (0..24u32, delay.clone()).prop_map(|(index, delay)| Step::Arm(index, delay)),
            (0..24u32).prop_map(Step::Cancel),
            delay.prop_map(Step::Advance),
        ];
        prop::collection::vec(step, 1..120)
    }

    proptest! {
        /// Against a plain list: the same timers fire, each in the advance that reaches it, and
        /// `next` never sleeps past one. The clock starts near its wrap-around.
        #[test]
        fn behaves_as_a_list_of_deadlines(start in any::<u32>(), steps in steps()) {
            let mut wheel = TimerWheel::new(Tick(start));
            let mut model: Vec<Option<u64>> = vec![None; 24];
            let mut now = u64::from(start);
            for step in steps {
                match step {
                    Step::Arm(index, delay) => {
                        let at = now + u64::from(delay);
                        wheel.arm(index, Tick(at as u32));
                        let entry = &mut model[index as usize];
                        *entry = Some(entry.map_or(at, |old| old.min(at)));
                    }
                    Step::Cancel(index) => {
                        wheel.cancel(index);
                        model[index as usize] = None;
                    }
                    Step::Advance(by) => {
                        // Only as far as the contract allows: no timer may fall 2^31 behind.
                        now += u64::from(by);
                        let mut fired = Vec::new();
                        while let Some(index) = wheel.pop(Tick(now as u32)) {
                            fired.push(index);
                        }
                        fired.sort_unstable();
                        let mut expected = Vec::new();
                        for (index, entry) in model.iter_mut().enumerate() {
                            if entry.is_some_and(|at| at <= now) {
                                expected.push(index as u32);
                                *entry = None;
                            }
                        }
                        prop_assert_eq!(fired, expected);
                    }
                }
                let earliest = model.iter().flatten().min();
                match (wheel.next(), earliest) {
                    (None, None) => {}
                    (Some(next), Some(&at)) => {
                        let ahead = next.0.wrapping_sub(now as u32);
                        prop_assert!(u64::from(ahead) <= at.saturating_sub(now));
                    }
                    (next, earliest) => prop_assert!(false, "{:?} but {:?}", next, earliest),
                }
            }
        }
    }
}
