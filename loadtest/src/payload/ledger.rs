//! Which messages of one connection came back, and how.

use super::{Cursor, Pattern};
use crate::wire::Data;

/// Skipped messages that are remembered, in case they come late; older ones are lost for good.
const MOST_SKIPPED: usize = 1024;

/// What became of one message that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next one, or a later one if some were skipped, with every byte right.
    Right,
    /// It came before.
    Duplicated,
    /// It was skipped, and came after one that was sent later.
    Reordered,
    /// It is not what was sent.
    Corrupted(Corruption),
}

/// In what way a message is not what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// Text for binary or the other way round.
    Type,
    /// Shorter or longer.
    Length,
    /// It belongs to another connection.
    Connection,
    /// Its sequence number was never sent.
    Sequence,
    /// Some byte is wrong.
    Content,
}

impl Corruption {
    /// In words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Type => "text came back as binary or binary as text",
            Self::Length => "a message came back with another length",
            Self::Connection => "a message came back on another connection",
            Self::Sequence => "a message came that was never sent",
            Self::Content => "a message came back with other content",
        }
    }
}

/// The account of one connection's messages. In a message that comes in pieces each piece is checked
/// as it comes; none is kept.
#[derive(Debug)]
pub struct Ledger {
    connection: u32,
    /// Messages whose sending has begun.
    sent: u32,
    /// The sequence number that ought to come next.
    next: u32,
    /// The messages of these two.
    to_send: Cursor,
    expected: Cursor,
    skipped: Vec<u32>,
    lost_for_good: u64,
    incoming: Incoming,
}

/// A message of which not every piece has come.
#[derive(Debug, Default)]
struct Incoming {
    prefix: [u8; 16],
    prefix_len: usize,
    len: u64,
    /// Known when the prefix is whole.
    sequence: Option<u32>,
    wrong: Option<Corruption>,
}

impl Ledger {
    /// The account of a connection with this number.
    pub fn new(connection: u32, pattern: &Pattern) -> Self {
        Self {
            connection,
            sent: 0,
            next: 0,
            to_send: pattern.cursor(connection, 0),
            expected: pattern.cursor(connection, 0),
            skipped: Vec::new(),
            lost_for_good: 0,
            incoming: Incoming::default(),
        }
    }

    /// The number of the connection.
    pub fn connection(&self) -> u32 {
        self.connection
    }

    /// The sequence number of the message to send next; also how many were sent.
    #[inline]
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// The sequence number that ought to come back next.
    #[inline]
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Messages sent whose echo has not come, those skipped apart.
    #[inline]
    pub fn outstanding(&self) -> u32 {
        self.sent.wrapping_sub(self.next)
    }

    /// Messages sent whose echo has not come at all.
    pub fn lost(&self) -> u64 {
        u64::from(self.outstanding()) + self.skipped.len() as u64 + self.lost_for_good
    }

    /// The message to send next.
    #[inline]
    pub fn to_send(&self) -> Cursor {
        self.to_send
    }

    /// Notes that sending of `count` more messages has begun, after which `to_send` is the next.
    #[inline]
    pub fn begin(&mut self, count: u32, to_send: Cursor) {
        self.sent = self.sent.wrapping_add(count);
        self.to_send = to_send;
    }

    /// Waits for nothing of what was sent so far: how many messages that was.
    pub fn expect_nothing(&mut self) -> u32 {
        let outstanding = self.outstanding();
        self.next = self.sent;
        self.expected = self.to_send;
        outstanding
    }

    /// Whether this is the message that is waited for, whole and right, as nearly all are. If not,
    /// [`receive`](Self::receive) must have it.
    #[inline]
    pub fn receive_next(&mut self, pattern: &Pattern, data: &Data<'_>) -> bool {
        let right = data.last
            && data.offset == 0
            && data.piece.len() == pattern.payload_len()
            && data.opcode == pattern.opcode()
            && self.sent != self.next
            && pattern.is(self.expected, data.piece);
        if right {
            self.next = self.next.wrapping_add(1);
            self.expected = pattern.after(self.expected);
        }
        right
    }

    /// Takes the message that is waited for off the start of `input`, if its frame is there, whole
    /// and right: what follows. If not, `input` must be parsed.
    #[inline(always)]
    pub fn strip_next<'a>(&mut self, pattern: &Pattern, input: &'a [u8]) -> Option<&'a [u8]> {
        if self.sent == self.next {
            return None;
        }
        let rest = pattern.strip(self.expected, input)?;
        self.next = self.next.wrapping_add(1);
        self.expected = pattern.after(self.expected);
        Some(rest)
    }

    /// Takes a piece of a message; says what became of the message once it is whole.
    ///
    /// With [`Verdict::Right`] and [`Verdict::Corrupted`], [`next`](Self::next) may have moved on.
    #[cold]
    pub fn receive(&mut self, pattern: &Pattern, data: &Data<'_>) -> Option<Verdict> {
        let verdict = self.receive_piece(pattern, data);
        self.expected = pattern.cursor(self.connection, self.next);
        verdict
    }

    fn receive_piece(&mut self, pattern: &Pattern, data: &Data<'_>) -> Option<Verdict> {
        if data.offset == 0 {
            self.incoming = Incoming::default();
            if data.opcode != pattern.opcode() {
                self.incoming.wrong = Some(Corruption::Type);
            }
        }
        self.incoming.len = data.offset + data.piece.len() as u64;
        if self.incoming.wrong.is_none() {
            self.incoming.wrong = self.check(pattern, data).err();
        }
        data.last.then(|| self.settle(pattern))
    }

    /// Checks the bytes of one piece.
    fn check(&mut self, pattern: &Pattern, data: &Data<'_>) -> Result<(), Corruption> {
        let message = &mut self.incoming;
        if message.len > pattern.payload_len() as u64 {
            return Err(Corruption::Length);
        }
        let missing = pattern.prefix_len() - message.prefix_len;
        let (prefix, body) = data.piece.split_at(missing.min(data.piece.len()));
        message.prefix[message.prefix_len..][..prefix.len()].copy_from_slice(prefix);
        message.prefix_len += prefix.len();
        if message.prefix_len < pattern.prefix_len() {
            return Ok(());
        }
        let sequence = match message.sequence {
            Some(sequence) => sequence,
            None => {
                let prefix = message.prefix;
                let sequence = self.identify(pattern, &prefix[..pattern.prefix_len()])?;
                self.incoming.sequence = Some(sequence);
                sequence
            }
        };
        let at = self.incoming.len as usize - body.len() - pattern.prefix_len();
        let expected = &pattern.body(pattern.cursor(self.connection, sequence))[at..][..body.len()];
        if body == expected {
            Ok(())
        } else {
            Err(Corruption::Content)
        }
    }

    /// The sequence number a prefix tells; of those it may mean, the one that is waited for, else
    /// the latest that was sent.
    fn identify(&self, pattern: &Pattern, prefix: &[u8]) -> Result<u32, Corruption> {
        let ((sequence, bits), (connection, connection_bits)) =
            pattern.read_prefix(prefix).ok_or(Corruption::Content)?;
        let low = |value: u32, bits: u32| u64::from(value) & ((1u64 << bits) - 1);
        if u64::from(connection) != low(self.connection, connection_bits) {
            return Err(Corruption::Connection);
        }
        let ahead = low(sequence.wrapping_sub(self.next), bits);
        if ahead < u64::from(self.outstanding()) {
            return Ok(self.next.wrapping_add(ahead as u32));
        }
        // It came before, then: as far back as the bits that are told can mean.
        let back = (1u64 << bits) - ahead;
        if back <= u64::from(self.next) && back < 1 << 31 {
            Ok(self.next - back as u32)
        } else {
            Err(Corruption::Sequence)
        }
    }

    /// The whole message has come.
    fn settle(&mut self, pattern: &Pattern) -> Verdict {
        let message = std::mem::take(&mut self.incoming);
        let short = message.len != pattern.payload_len() as u64;
        let verdict = match (message.wrong, message.sequence) {
            (Some(wrong), _) => Err(wrong),
            (None, _) if short => Err(Corruption::Length),
            (None, Some(sequence)) => Ok(sequence),
            // An empty message tells nothing.
            (None, None) => self.identify(pattern, &[]),
        };
        match verdict {
            Err(wrong) => {
                // It takes the place of the one that was waited for, or that would count as lost too.
                if self.outstanding() > 0 {
                    self.next = self.next.wrapping_add(1);
                }
                Verdict::Corrupted(wrong)
            }
            Ok(sequence) if sequence.wrapping_sub(self.next) < self.outstanding() => {
                self.skip_to(sequence);
                self.next = sequence.wrapping_add(1);
                Verdict::Right
            }
            Ok(sequence) => match self.skipped.iter().position(|&skipped| skipped == sequence) {
                Some(i) => {
                    self.skipped.remove(i);
                    Verdict::Reordered
                }
                None => Verdict::Duplicated,
            },
        }
    }

    /// The messages from the next one up to `sequence` did not come.
    fn skip_to(&mut self, sequence: u32) {
        while self.next != sequence {
            if self.skipped.len() == MOST_SKIPPED {
                self.skipped.remove(0);
                self.lost_for_good += 1;
            }
            self.skipped.push(self.next);
            self.next = self.next.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
