//! The subscribers of one topic on one reactor: 8 bytes each, and about as much to find them.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use hashbrown::HashTable;

use crate::transport::Token;

/// Spreads tokens, which the reactor itself gives out.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only words are hashed");
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

fn hash(token: Token) -> u64 {
    BuildHasherDefault::<Spread>::default().hash_one(token.to_u64())
}

/// Tokens in the order in which they are served, and how far that has come. Both adding and
/// removing keep everybody on the right side of that mark.
#[derive(Default)]
pub(super) struct Members {
    list: Vec<Token>,
    /// Places in the list, by token.
    places: HashTable<u32>,
    /// Those before it have been served.
    at: usize,
}

impl Members {
    #[cfg(all(test, not(loom)))]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Who is served next.
    #[inline]
    pub(super) fn next(&self) -> Option<Token> {
        self.list.get(self.at).copied()
    }

    /// The next one has been served.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// Everybody is to be served.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    fn place(&self, token: Token) -> Option<u32> {
        let list = &self.list;
        let is_its = |&place: &u32| list[place as usize] == token;
        self.places.find(hash(token), is_its).copied()
    }

    /// Adds one who need not be served before the next [`rewind`](Self::rewind).
    pub(super) fn insert(&mut self, token: Token) {
        if self.place(token).is_some() {
            return;
        }
        let last = self.list.len();
        self.list.push(token);
        let list = &self.list;
        let rehash = |&place: &u32| hash(list[place as usize]);
        self.places.insert_unique(hash(token), last as u32, rehash);
        self.swap(self.at, last);
        self.at += 1;
    }

    /// Says whether the token was there.
    pub(super) fn remove(&mut self, token: Token) -> bool {
        let Some(place) = self.place(token) else {
            return false;
        };
        let mut place = place as usize;
        if place < self.at {
            self.at -= 1;
            self.swap(place, self.at);
            place = self.at;
        }
        let last = self.list.len() - 1;
        self.swap(place, last);
        let list = &self.list;
        let is_its = |&place: &u32| list[place as usize] == token;
        if let Ok(entry) = self.places.find_entry(hash(token), is_its) {
            entry.remove();
        }
        self.list.pop();
        self.shrink();
        true
    }

    fn swap(&mut self, one: usize, other: usize) {
        if one == other {
            return;
        }
        let tokens = [self.list[one], self.list[other]];
        let list = &self.list;
        // Found by the old places before anything moves.
        let mut slots = [None, None];
        for (slot, token) in slots.iter_mut().zip(tokens) {
            let is_its = |&place: &u32| list[place as usize] == token;
            *slot = self.places.find_bucket_index(hash(token), is_its);
        }
        for (slot, place) in slots.into_iter().zip([other, one]) {
            if let Some(entry) = slot.and_then(|slot| self.places.get_bucket_mut(slot)) {
                *entry = place as u32;
            }
        }
        self.list.swap(one, other);
    }

    /// Gives memory back after most have left.
    fn shrink(&mut self) {
        let len = self.list.len();
        if self.list.capacity() > 64 && len < self.list.capacity() / 4 {
            self.list.shrink_to(2 * len);
            let list = &self.list;
            let rehash = |&place: &u32| hash(list[place as usize]);
            self.places.shrink_to(2 * len, rehash);
        }
    }

    /// Heap bytes held.
    #[cfg(all(test, not(loom)))]
    pub(super) fn held(&self) -> usize {
        self.list.capacity() * size_of::<Token>() + self.places.allocation_size()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u32),
        Remove(u32),
        Serve,
        Rewind,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..40u32).prop_map(Step::Insert),
            3 => (0..40u32).prop_map(Step::Remove),
            4 => Just(Step::Serve),
            1 => Just(Step::Rewind),
        ]
    }

    proptest! {
        /// Whoever is there at a rewind is served once before the next, unless he leaves; whoever
        /// comes in between is not.
        #[test]
        fn everybody_is_served_once(steps in vec(step(), 0..400)) {
            let mut members = Members::default();
            let mut there = HashSet::new();
            let mut due = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Insert(index) => {
                        members.insert(Token::new(index, 1));
                        there.insert(index);
                    }
                    Step::Remove(index) => {
                        let was = members.remove(Token::new(index, 1));
                        prop_assert_eq!(was, there.remove(&index));
                        due.remove(&index);
                    }
                    Step::Serve => match members.next() {
                        Some(token) => {
                            members.advance();
                            prop_assert!(due.remove(&token.index()));
                        }
                        None => prop_assert!(due.is_empty()),
                    },
                    Step::Rewind => {
                        members.rewind();
                        due = there.iter().copied().collect();
                    }
                }
                prop_assert_eq!(members.len(), there.len());
            }
        }
    }

    #[test]
    fn a_member_costs_little_and_leaves_nothing() {
        let mut members = Members::default();
        for index in 0..10_000 {
            members.insert(Token::new(index, 7));
        }
        let each = members.held() / 10_000;
        eprintln!("{each} bytes for each of 10,000 members");
        assert!(each <= 24, "{each} bytes");
        for index in 0..10_000 {
            assert!(members.remove(Token::new(index, 7)));
        }
        assert!(members.held() < 4096, "{} bytes left", members.held());
    }
}
