//! What became of attackers.

use std::collections::BTreeMap;

use crate::engine::{Cause, Nanos};

/// Close codes, or statuses, of an attack that are told apart; others are counted as 0.
const MOST_KINDS: usize = 16;

/// What became of the connections of one attack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Connections that got as far as attacking.
    pub opened: u64,
    /// Attempts that the server refused, or did not answer in time.
    pub refused: u64,
    /// Connections the server ended.
    pub ended: u64,
    /// Of these, by the code of the Close frame.
    pub closed: BTreeMap<u16, u64>,
    /// By the status of a response.
    pub answered: BTreeMap<u16, u64>,
    /// With a reset.
    pub resets: u64,
    /// Without a word.
    pub silently: u64,
    /// From opening to the server's ending it: the sum of all and the longest, nanoseconds.
    pub took: (Nanos, Nanos),
    /// Connections this side ended, as the attack has it.
    pub left: u64,
    /// Connections still open at the end.
    pub open: u64,
    /// How long the oldest of these has been open, nanoseconds.
    pub oldest: Nanos,
    /// Connections that the server bore for longer than it should: those that ended.
    pub overstayed: u64,
    /// And those still open at the end.
    pub overstaying: u64,
    /// Bytes sent.
    pub bytes: u64,
}

impl Tally {
    /// Counts a connection the server ended after `took`, having answered with `status` if it did.
    pub(super) fn end(&mut self, why: &Cause, status: Option<u16>, took: Nanos) {
        self.ended += 1;
        self.took.0 += took;
        self.took.1 = self.took.1.max(took);
        match (why, status) {
            (Cause::Closed(code, _), _) => count(&mut self.closed, code.unwrap_or(1005), 1),
            (_, Some(status)) => count(&mut self.answered, status, 1),
            (Cause::Finished(_), _) => self.silently += 1,
            (Cause::Failed(_) | Cause::Other(_), _) => self.resets += 1,
        }
    }

    /// Counts a connection that is open at the end.
    pub(super) fn keep(&mut self, age: Nanos, overstays: bool) {
        self.open += 1;
        self.overstaying += u64::from(overstays);
        self.oldest = self.oldest.max(age);
    }

    /// Adds that of another thread.
    pub(super) fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.refused += other.refused;
        self.ended += other.ended;
        self.resets += other.resets;
        self.silently += other.silently;
        self.took.0 += other.took.0;
        self.took.1 = self.took.1.max(other.took.1);
        self.left += other.left;
        self.open += other.open;
        self.oldest = self.oldest.max(other.oldest);
        self.overstayed += other.overstayed;
        self.overstaying += other.overstaying;
        self.bytes += other.bytes;
        for (&code, &times) in &other.closed {
            count(&mut self.closed, code, times);
        }
        for (&status, &times) in &other.answered {
            count(&mut self.answered, status, times);
        }
    }

    /// Connections, ended or not, that the server bore for longer than it should.
    pub fn borne(&self) -> u64 {
        self.overstayed + self.overstaying
    }

    /// How the server ended them, such as `1002: 3, HTTP 408: 1, reset: 2`.
    pub fn endings(&self) -> String {
        let closed = self.closed.iter();
        let answered = self.answered.iter();
        let others = [("reset", self.resets), ("without a word", self.silently)];
        closed
            .map(|(code, times)| format!("{code}: {times}"))
            .chain(answered.map(|(status, times)| format!("HTTP {status}: {times}")))
            .chain(
                others
                    .iter()
                    .filter(|(_, times)| *times > 0)
                    .map(|(how, times)| format!("{how}: {times}")),
            )
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Its entries in a report's details; times in seconds.
    pub fn details(&self) -> Vec<(String, f64)> {
        let seconds = |nanos: Nanos| nanos as f64 / 1e9;
        let mut details: Vec<(String, f64)> = [
            ("opened", self.opened as f64),
            ("refused", self.refused as f64),
            ("ended", self.ended as f64),
            ("resets", self.resets as f64),
            ("silently", self.silently as f64),
            ("left", self.left as f64),
            ("still_open", self.open as f64),
            ("oldest_s", seconds(self.oldest)),
            ("overstayed", self.borne() as f64),
            ("bytes", self.bytes as f64),
        ]
        .map(|(name, value)| (name.into(), value))
        .into();
        if self.ended > 0 {
            details.push((
                "ended_after_s".into(),
                seconds(self.took.0) / self.ended as f64,
            ));
            details.push(("ended_after_max_s".into(), seconds(self.took.1)));
        }
        for (code, &times) in &self.closed {
            details.push((format!("closed_{code}"), times as f64));
        }
        for (status, &times) in &self.answered {
            details.push((format!("http_{status}"), times as f64));
        }
        details
    }
}

fn count(kinds: &mut BTreeMap<u16, u64>, kind: u16, times: u64) {
    let kind = if kinds.contains_key(&kind) || kinds.len() < MOST_KINDS {
        kind
    } else {
        0
    };
    *kinds.entry(kind).or_default() += times;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_apart_and_bounded() {
        let mut tally = Tally::default();
        tally.end(&Cause::Closed(Some(1002), String::new()), None, 5);
        tally.end(&Cause::Finished("x"), Some(408), 20);
        tally.end(&Cause::Finished("x"), None, 5);
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        tally.end(&Cause::Failed(reset), None, 5);
        let mut both = tally.clone();
        both.merge(&tally);
        assert_eq!(
            both.endings(),
            "1002: 2, HTTP 408: 2, reset: 2, without a word: 2"
        );
        assert_eq!((both.ended, both.took), (8, (70, 20)));
        for code in 1..1000 {
            both.end(&Cause::Closed(Some(code), String::new()), None, 1);
        }
        assert!(both.closed.len() <= MOST_KINDS + 1);
        assert_eq!(both.closed.values().sum::<u64>(), 1001);
    }
}
