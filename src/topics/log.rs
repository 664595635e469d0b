//! The publications of a topic that somebody may still want.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::{Batch, Frame, Mailbox, Member, Offset, Publication, Since};
use crate::transport::Token;

struct Entry {
    frame: Frame,
    /// The subscriber that does not get it, and its reader.
    except: Option<(Weak<dyn Mailbox>, Token)>,
    /// Bytes of all publications up to this one.
    end: u64,
}

/// Publications with consecutive numbers: the history, and what readers have not taken yet.
pub(super) struct Log {
    epoch: u64,
    /// The number of the next publication.
    next: u64,
    entries: VecDeque<Entry>,
    /// Bytes of all publications there ever were.
    total: u64,
    /// The number of the oldest publication in the history; `next` if it is empty.
    window: u64,
    /// The history, once somebody has asked for it.
    snapshot: Option<Arc<[Publication]>>,
    keep: Keep,
}

/// How much is remembered.
#[derive(Debug)]
pub(super) struct Keep {
    /// Publications in the history at most, and bytes of them.
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// Bytes in the histories of all topics of a hub.
    pub(super) total: Arc<AtomicUsize>,
}

impl Log {
    pub(super) fn new(epoch: u64, keep: Keep) -> Self {
        Self {
            epoch,
            next: 1,
            entries: VecDeque::new(),
            total: 0,
            window: 1,
            snapshot: None,
            keep,
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The last publication.
    pub(super) fn offset(&self) -> Offset {
        Offset {
            epoch: self.epoch,
            number: self.next - 1,
        }
    }

    /// The next publication.
    pub(super) fn next_offset(&self) -> Offset {
        Offset {
            epoch: self.epoch,
            number: self.next,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of the oldest publication there is.
    fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    fn entry(&self, number: u64) -> &Entry {
        &self.entries[(number - self.first()) as usize]
    }

    /// Bytes from this publication on.
    pub(super) fn bytes_from(&self, number: u64) -> u64 {
        if number >= self.next {
            return 0;
        }
        let entry = self.entry(number);
        self.total - (entry.end - entry.frame.len() as u64)
    }

    /// Appends a publication. `needed` is the oldest that some reader has not taken.
    pub(super) fn push(&mut self, frame: Frame, except: Option<Member<'_>>, needed: u64) -> Offset {
        let before = self.remembered();
        self.total += frame.len() as u64;
        self.entries.push_back(Entry {
            frame,
            except: except.map(|member| (Weak::clone(member.mailbox), member.token)),
            end: self.total,
        });
        self.next += 1;
        self.snapshot = None;
        while self.next - self.window > self.keep.messages as u64
            || self.remembered() > self.keep.bytes
        {
            self.window += 1;
        }
        self.account(before);
        self.trim(needed);
        self.offset()
    }

    /// Bytes in the history.
    fn remembered(&self) -> usize {
        self.bytes_from(self.window) as usize
    }

    /// Accounts for a history that had `before` bytes.
    fn account(&self, before: usize) {
        let now = self.remembered();
        if now != before {
            let grown = now.wrapping_sub(before);
            self.keep.total.fetch_add(grown, Ordering::Relaxed);
        }
    }

    /// Forgets the oldest publications in the history, until that makes up for `bytes` or none is left.
    pub(super) fn forget(&mut self, bytes: usize, needed: u64) {
        let before = self.remembered();
        while self.window < self.next && before - self.remembered() < bytes {
            self.window += 1;
        }
        self.snapshot = None;
        self.account(before);
        self.trim(needed);
    }

    /// Forgets what is neither history nor needed by a reader.
    pub(super) fn trim(&mut self, needed: u64) {
        let oldest = self.window.min(needed);
        while self.first() < oldest && !self.entries.is_empty() {
            self.entries.pop_front();
        }
    }

    /// Appends publications with these numbers to `batch`, as one reader gets them: at most as many
    /// and, beyond the first, as many bytes as asked for. Says how many.
    pub(super) fn read(
        &self,
        mailbox: &Weak<dyn Mailbox>,
        Range { start: number, end }: Range<u64>,
        (frames, bytes): (usize, usize),
        batch: &mut Batch,
    ) -> u64 {
        let end = end.min(self.next).min(number + frames as u64);
        let mut room = bytes;
        let mut at = number;
        while at < end {
            let Entry { frame, except, .. } = self.entry(at);
            if at > number && frame.len() > room {
                break;
            }
            room = room.saturating_sub(frame.len());
            if let Some((reader, token)) = except
                && Weak::ptr_eq(reader, mailbox)
            {
                batch.excepted.push((batch.frames.len(), *token));
            }
            batch.frames.push(frame.clone());
            at += 1;
        }
        at - number
    }

    /// The replay for a new subscriber, where it begins, and whether it is what was asked for.
    pub(super) fn replay(&mut self, since: Since) -> (Arc<[Publication]>, usize, bool) {
        match (self.whole_replay(since), since) {
            (Some((replay, start)), _) => (replay, start, true),
            (None, Since::AfterOrHistory(_)) => (self.snapshot(), 0, false),
            (None, _) => (Arc::default(), 0, false),
        }
    }

    /// `None` if it would not be whole.
    fn whole_replay(&mut self, since: Since) -> Option<(Arc<[Publication]>, usize)> {
        match since {
            Since::New => Some((Arc::default(), 0)),
            Since::History => Some((self.snapshot(), 0)),
            Since::After(offset) | Since::AfterOrHistory(offset) => {
                let Offset { epoch, number } = offset;
                let known = epoch == self.epoch && number < self.next;
                let skip = number.wrapping_add(1).checked_sub(self.window);
                let skip = skip.filter(|_| known)?;
                if number + 1 == self.next {
                    return Some((Arc::default(), 0));
                }
                Some((self.snapshot(), skip as usize))
            }
        }
    }

    fn snapshot(&mut self) -> Arc<[Publication]> {
        if let Some(snapshot) = &self.snapshot {
            return Arc::clone(snapshot);
        }
        let publication = |number| Publication {
            offset: Offset {
                epoch: self.epoch,
                number,
            },
            frame: self.entry(number).frame.clone(),
        };
        let snapshot: Arc<[Publication]> = (self.window..self.next).map(publication).collect();
        self.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let remembered = self.remembered();
        self.keep.total.fetch_sub(remembered, Ordering::Relaxed);
    }
}
