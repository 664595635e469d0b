//! Responses whose bytes have to be fetched where waiting is allowed: a reactor never reads files.

use bytes::Bytes;

use crate::transport::Token;

/// Errands of one reactor that may be out at once; the others wait for their turn. One thread runs
/// the errands of all reactors: more would not make it quicker.
pub(crate) const MAX_ERRANDS: usize = 32;

/// Work that may block. It runs on a thread of its own and brings a part of a response.
pub(crate) trait Errand: Send {
    fn run(self: Box<Self>) -> Part;
}

/// What an errand brought.
pub(crate) enum Part {
    /// The next bytes of the response, and what brings those after them; `None` after the last.
    Bytes {
        head: Vec<u8>,
        body: Bytes,
        rest: Option<Box<dyn Errand>>,
    },
    /// There will be no more, although the response is not complete.
    Broken,
}

/// Sends errands out, in the order they are given here. What one brings comes back through the
/// reactor's inbox, which has room for that of [`MAX_ERRANDS`]. Never blocks.
pub(crate) trait Errands: Send {
    /// Sends an errand once fewer than [`MAX_ERRANDS`] are out. A connection has one at most.
    fn send(&mut self, token: Token, errand: Box<dyn Errand>);
    /// What an errand brought was taken from the inbox.
    fn returned(&mut self);
}

/// What becomes of a request.
pub(crate) enum Verdict {
    /// The upgrade goes to its handler.
    Upgrade,
    /// The response is here.
    Respond { head: Vec<u8>, body: Bytes },
    /// The response has to be fetched.
    Fetch(Box<dyn Errand>),
}
