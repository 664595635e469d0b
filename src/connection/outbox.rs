//! What waits to be written to one peer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

use super::reply::OutFrame;
use crate::protocol::FrameHeader;
use crate::transport::Sys;

/// Small replies that wait are gathered in chunks of about this size.
const GATHER: usize = 64 * 1024;
/// Frames with a smaller payload are gathered as well if something waits already: apart, each
/// would take more memory than its bytes, and a part of a write of its own.
const APART_FROM: usize = 1024;
/// The same for whole frames that are shared: to them it costs only a pointer.
const SHARED_FROM: usize = 64;
/// Parts of one vectored write.
const PARTS: usize = 32;

enum Chunk {
    /// Bytes copied because the kernel, or an earlier chunk, kept them from leaving.
    Leftover(Vec<u8>),
    /// A frame whose payload is owned or shared.
    Frame(OutFrame),
    /// An encoded frame that others hold as well.
    Shared(Bytes),
}

impl Chunk {
    fn parts(&self) -> [&[u8]; 2] {
        match self {
            Chunk::Leftover(bytes) => [bytes, &[]],
            Chunk::Frame(frame) => [frame.header(), &frame.payload],
            Chunk::Shared(bytes) => [bytes, &[]],
        }
    }

    fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// Memory held beyond the queue's own slot. What a handler sent counts in full for each holder;
    /// of what was published, thousands hold the same.
    fn held(&self) -> usize {
        match self {
            Chunk::Leftover(bytes) => bytes.capacity(),
            Chunk::Frame(frame) => frame.payload.len(),
            Chunk::Shared(_) => 0,
        }
    }
}

/// A queue of encoded output. Empty, it owns no memory.
#[derive(Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that the kernel has taken.
    sent: usize,
    /// Bytes waiting.
    bytes: usize,
    /// Bytes of memory the chunks hold.
    held: usize,
}

impl Outbox {
    /// Bytes waiting.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Heap bytes held.
    pub(crate) fn held(&self) -> usize {
        self.held + self.chunks.capacity() * size_of::<Chunk>()
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        if let Some(Chunk::Leftover(last)) = self.chunks.back_mut()
            && last.len() + bytes.len() <= GATHER
        {
            let before = last.capacity();
            last.extend_from_slice(bytes);
            self.held += last.capacity() - before;
            return;
        }
        self.push(Chunk::Leftover(bytes.to_vec()));
    }

    pub(crate) fn push_frame(&mut self, frame: OutFrame) {
        if !self.is_empty() && frame.payload.len() < APART_FROM {
            // In one piece, so that no frame lies in two chunks.
            let mut bytes = [0; FrameHeader::MAX_LEN + APART_FROM];
            let (header, len) = (frame.header(), frame.len());
            bytes[..header.len()].copy_from_slice(header);
            bytes[header.len()..len].copy_from_slice(&frame.payload);
            return self.push_bytes(&bytes[..len]);
        }
        self.bytes += frame.len();
        self.push(Chunk::Frame(frame));
    }

    /// Queues a whole frame that others are sent as well.
    pub(crate) fn push_shared(&mut self, frame: &Bytes) {
        if !self.is_empty() && frame.len() < SHARED_FROM {
            return self.push_bytes(frame);
        }
        self.bytes += frame.len();
        self.push(Chunk::Shared(frame.clone()));
    }

    /// The same for a frame of which the kernel has already taken `sent` bytes.
    pub(crate) fn push_shared_rest(&mut self, frame: &Bytes, sent: usize) {
        debug_assert!(self.is_empty() && sent < frame.len());
        self.push_shared(frame);
        self.sent = sent;
        self.bytes -= sent;
    }

    /// Drops what waits, but not the rest of what has begun to leave: the stream must go on with
    /// that.
    pub(crate) fn drop_unsent(&mut self) {
        let Some(first) = self.chunks.front() else {
            return;
        };
        // A run of bytes may begin within a frame.
        let begun = self.sent > 0 || matches!(first, Chunk::Leftover(_));
        if !begun {
            return self.clear();
        }
        self.bytes = first.len() - self.sent;
        self.held = first.held();
        self.chunks.truncate(1);
        self.chunks.shrink_to_fit();
    }

    /// Queues a frame of which the kernel has already taken `sent` bytes.
    pub(crate) fn push_rest(&mut self, frame: OutFrame, sent: usize) {
        debug_assert!(self.is_empty() && sent < frame.len());
        self.push_frame(frame);
        self.sent = sent;
        self.bytes -= sent;
    }

    fn push(&mut self, chunk: Chunk) {
        self.held += chunk.held();
        self.chunks.push_back(chunk);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes until all has left or the kernel takes no more for now; says how many bytes left.
    pub(crate) fn flush<S: Sys>(&mut self, sys: &mut S, socket: &S::Socket) -> io::Result<usize> {
        let before = self.bytes;
        while self.bytes > 0 {
            let mut parts = [IoSlice::new(&[]); PARTS];
            let mut count = 0;
            let mut offered = 0;
            let mut skip = self.sent;
            for part in self.chunks.iter().flat_map(Chunk::parts) {
                if skip >= part.len() {
                    skip -= part.len();
                    continue;
                }
                if count == PARTS {
                    break;
                }
                parts[count] = IoSlice::new(&part[skip..]);
                offered += part.len() - skip;
                count += 1;
                skip = 0;
            }
            match sys.write_vectored(socket, &parts[..count]) {
                Ok(taken) => {
                    self.consume(taken);
                    // A short write means a full socket buffer; its edge will come.
                    if taken < offered {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(before - self.bytes)
    }

    fn consume(&mut self, taken: usize) {
        self.bytes -= taken;
        self.sent += taken;
        while let Some(first) = self.chunks.front() {
            let len = first.len();
            if self.sent < len {
                return;
            }
            self.sent -= len;
            self.held -= first.held();
            self.chunks.pop_front();
        }
        self.chunks = VecDeque::new();
    }
}

/// Writes one run of bytes, retrying interrupted calls; 0 when the kernel takes nothing now.
#[inline(always)]
pub(crate) fn write_once(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}
