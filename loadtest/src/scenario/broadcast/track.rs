//! What one connection has received of one publisher, and what a message in pieces says.

use crate::payload::{Corruption, Pattern};
use crate::wire::Data;

/// Messages left out that are remembered, in case they come late; older ones are lost for good.
const MOST_SKIPPED: usize = 1024;

/// What became of a message that came whole and with the right content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The first of this publisher: from here on each one counts.
    First,
    /// The next one, or a later one if some were left out.
    Next,
    /// It came before.
    Duplicated,
    /// It came after one that was published later.
    Reordered,
    /// It was never published.
    Unknown,
}

/// The account of one publisher's messages on one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// The first message that counts, once there is one.
    base: Option<u32>,
    /// The sequence number that ought to come next.
    next: u32,
    skipped: Vec<u32>,
    lost_for_good: u64,
}

impl Track {
    /// From message `base` on each one counts, if none does yet.
    pub(super) fn begin(&mut self, base: u32) {
        if self.base.is_none() {
            self.base = Some(base);
            self.next = base;
        }
    }

    /// A message came; the publisher has published `published`.
    pub(super) fn receive(&mut self, sequence: u32, published: u32) -> Place {
        if sequence >= published {
            return Place::Unknown;
        }
        let Some(base) = self.base else {
            self.begin(sequence);
            self.next += 1;
            return Place::First;
        };
        if sequence >= self.next {
            self.skip_to(sequence);
            self.next = sequence + 1;
            return Place::Next;
        }
        match self.skipped.iter().position(|&one| one == sequence) {
            Some(i) => {
                self.skipped.remove(i);
                Place::Reordered
            }
            None if sequence < base => Place::Reordered,
            None => Place::Duplicated,
        }
    }

    /// The messages from the next one up to `sequence` did not come.
    fn skip_to(&mut self, sequence: u32) {
        let missing = sequence - self.next;
        let kept = missing.min(MOST_SKIPPED as u32);
        let room = MOST_SKIPPED - kept as usize;
        let dropped = self.skipped.len().saturating_sub(room);
        self.skipped.drain(..dropped);
        self.lost_for_good += dropped as u64 + u64::from(missing - kept);
        self.skipped.extend(sequence - kept..sequence);
    }

    /// Whether the last of so many has come.
    pub(super) fn is_at(&self, published: u32) -> bool {
        self.next >= published
    }

    /// Messages of those published that never came.
    pub(super) fn lost(&self, published: u32) -> u64 {
        match self.base {
            None => 0,
            Some(_) => {
                let behind = u64::from(published.saturating_sub(self.next));
                behind + self.skipped.len() as u64 + self.lost_for_good
            }
        }
    }
}

/// Publisher and sequence number of a message.
pub(super) type Origin = (u32, u32);

/// A message of which not every piece has come: each is checked as it comes.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    prefix: [u8; 16],
    prefix_len: usize,
    origin: Option<Origin>,
    wrong: Option<Corruption>,
}

impl Incoming {
    /// Takes a piece; says where the message is from once it is whole, or what is wrong with it.
    /// Messages must be long enough to tell all of it.
    #[inline]
    pub(super) fn take(
        &mut self,
        pattern: &Pattern,
        data: &Data<'_>,
    ) -> Option<Result<Origin, Corruption>> {
        if data.last
            && data.offset == 0
            && data.opcode == pattern.opcode()
            && data.piece.len() == pattern.payload_len()
        {
            let Some(origin) = origin(pattern, &data.piece[..pattern.prefix_len()]) else {
                return Some(Err(Corruption::Content));
            };
            let right = pattern.is(pattern.cursor(origin.0, origin.1), data.piece);
            return Some(if right {
                Ok(origin)
            } else {
                Err(Corruption::Content)
            });
        }
        self.take_piece(pattern, data)
    }

    fn take_piece(
        &mut self,
        pattern: &Pattern,
        data: &Data<'_>,
    ) -> Option<Result<Origin, Corruption>> {
        if data.offset == 0 {
            *self = Self::default();
            if data.opcode != pattern.opcode() {
                self.wrong = Some(Corruption::Type);
            }
        }
        if self.wrong.is_none() {
            self.wrong = self.check(pattern, data).err();
        }
        if !data.last {
            return None;
        }
        let short = data.offset + (data.piece.len() as u64) < pattern.payload_len() as u64;
        Some(match (self.wrong, self.origin) {
            (Some(wrong), _) => Err(wrong),
            (None, Some(origin)) if !short => Ok(origin),
            (None, _) => Err(Corruption::Length),
        })
    }

    /// Checks the bytes of one piece.
    fn check(&mut self, pattern: &Pattern, data: &Data<'_>) -> Result<(), Corruption> {
        let end = data.offset + data.piece.len() as u64;
        if end > pattern.payload_len() as u64 {
            return Err(Corruption::Length);
        }
        let missing = pattern.prefix_len() - self.prefix_len;
        let (prefix, body) = data.piece.split_at(missing.min(data.piece.len()));
        self.prefix[self.prefix_len..][..prefix.len()].copy_from_slice(prefix);
        self.prefix_len += prefix.len();
        if self.prefix_len < pattern.prefix_len() {
            return Ok(());
        }
        let prefix = &self.prefix[..self.prefix_len];
        let known = self.origin.or_else(|| origin(pattern, prefix));
        let (publisher, sequence) = known.ok_or(Corruption::Content)?;
        self.origin = known;
        let at = end as usize - body.len() - pattern.prefix_len();
        let expected = &pattern.body(pattern.cursor(publisher, sequence))[at..][..body.len()];
        if body == expected {
            Ok(())
        } else {
            Err(Corruption::Content)
        }
    }
}

/// Who sent the message with this prefix, and which one it is.
fn origin(pattern: &Pattern, prefix: &[u8]) -> Option<Origin> {
    let ((sequence, _), (publisher, _)) = pattern.read_prefix(prefix)?;
    Some((publisher, sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Opcode;

    #[test]
    fn what_came_is_told_from_what_did_not() {
        let mut track = Track::default();
        assert_eq!(track.lost(3), 0);
        assert_eq!(track.receive(3, 10), Place::First);
        assert_eq!(track.receive(4, 10), Place::Next);
        assert_eq!(track.receive(7, 10), Place::Next);
        assert_eq!(track.receive(6, 10), Place::Reordered);
        assert_eq!(track.receive(6, 10), Place::Duplicated);
        assert_eq!(track.receive(2, 10), Place::Reordered);
        assert_eq!(track.receive(10, 10), Place::Unknown);
        // 5, 8 and 9.
        assert_eq!(track.lost(10), 3);
        assert!(track.is_at(8) && !track.is_at(9));
    }

    #[test]
    fn many_losses_are_counted_in_bounded_room() {
        let mut track = Track::default();
        track.receive(0, u32::MAX);
        track.receive(1_000_000, u32::MAX);
        track.receive(1_000_500, u32::MAX);
        assert_eq!(track.lost(1_000_501), 999_999 + 499);
        assert!(track.skipped.len() <= MOST_SKIPPED);
        assert_eq!(track.receive(1_000_499, u32::MAX), Place::Reordered);
        assert_eq!(track.lost(1_000_501), 999_999 + 498);
    }

    /// Takes a payload in pieces of `step` bytes.
    fn take(
        pattern: &Pattern,
        opcode: Opcode,
        payload: &[u8],
        step: usize,
    ) -> Result<Origin, Corruption> {
        let mut incoming = Incoming::default();
        for at in (0..payload.len()).step_by(step) {
            let end = (at + step).min(payload.len());
            let data = Data {
                opcode,
                offset: at as u64,
                piece: &payload[at..end],
                last: end == payload.len(),
            };
            if let Some(result) = incoming.take(pattern, &data) {
                return result;
            }
        }
        panic!("the message never ended");
    }

    #[test]
    fn a_message_says_the_same_in_any_pieces() {
        for (text, opcode) in [(true, Opcode::Text), (false, Opcode::Binary)] {
            let pattern = Pattern::new(100, text);
            let cursor = pattern.cursor(77, 0x1234_5678);
            let mut payload = pattern.prefix(cursor);
            payload.extend_from_slice(pattern.body(cursor));
            for step in [1, 7, 16, 17, 99, 100] {
                let of = |payload: &[u8]| take(&pattern, opcode, payload, step);
                assert_eq!(of(&payload), Ok((77, 0x1234_5678)));
                assert_eq!(of(&payload[..99]), Err(Corruption::Length));
                assert_eq!(of(&payload[..3]), Err(Corruption::Length));
                let longer = [&payload[..], b"x"].concat();
                assert_eq!(of(&longer), Err(Corruption::Length));
                let mut other = payload.clone();
                other[60] ^= 1;
                assert_eq!(of(&other), Err(Corruption::Content));
                let wrong = if text { Opcode::Binary } else { Opcode::Text };
                let result = take(&pattern, wrong, &payload, step);
                assert_eq!(result, Err(Corruption::Type));
            }
        }
    }
}
