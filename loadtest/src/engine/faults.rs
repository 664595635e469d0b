//! What went wrong, counted by kind.

use std::collections::BTreeMap;

use crate::report::Fault;

/// Kinds that are told apart; more than that are counted together.
const MOST_KINDS: usize = 100;

/// Counts of what went wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    kinds: BTreeMap<String, Kind>,
}

#[derive(Clone, Debug)]
struct Kind {
    first: String,
    count: u64,
}

impl Faults {
    /// Counts one fault; `case` says on which connection, and is only kept for the first of its kind.
    pub fn add(&mut self, what: &str, case: impl FnOnce() -> String) {
        self.add_many(what, 1, case);
    }

    /// Counts `count` faults of the same kind.
    pub fn add_many(&mut self, what: &str, count: u64, case: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        if let Some(kind) = self.kinds.get_mut(what) {
            kind.count += count;
            return;
        }
        let what = if self.kinds.len() < MOST_KINDS {
            what
        } else {
            "other faults"
        };
        let kind = self.kinds.entry(what.into()).or_insert_with(|| Kind {
            first: case(),
            count: 0,
        });
        kind.count += count;
    }

    /// Takes those of another thread in.
    pub fn merge(&mut self, other: Self) {
        for (what, kind) in other.kinds {
            self.add_many(&what, kind.count, || kind.first);
        }
    }

    /// As they are reported.
    pub fn report(&self) -> Vec<Fault> {
        self.kinds
            .iter()
            .map(|(what, kind)| Fault {
                what: match &kind.first[..] {
                    "" => what.clone(),
                    first => format!("{what} (first: {first})"),
                },
                count: kind.count,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_and_bounded() {
        let mut faults = Faults::default();
        faults.add("a", || "1".into());
        faults.add("a", || "2".into());
        let mut others = Faults::default();
        for i in 0..2 * MOST_KINDS {
            others.add(&format!("kind {i}"), String::new);
        }
        faults.merge(others);
        let report = faults.report();
        assert_eq!(report[0].what, "a (first: 1)");
        assert_eq!(report[0].count, 2);
        assert!(report.len() <= MOST_KINDS + 1);
        let all: u64 = report.iter().map(|fault| fault.count).sum();
        assert_eq!(all, 2 + 2 * MOST_KINDS as u64);
    }
}
