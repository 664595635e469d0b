//! Responses whose bytes have to be fetched where waiting is allowed: a reactor never reads files.

use bytes::Bytes;

use crate::transport::Token;

/// Errands of one server that may be under way at once, over all its reactors.
pub(crate) const MAX_ERRANDS: usize = 128;

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

/// Sends errands out. What one brings comes back through the reactor's inbox. Never blocks: there
/// is room for [`MAX_ERRANDS`], and whoever makes one has counted it.
pub(crate) trait Errands: Send {
    fn send(&self, token: Token, errand: Box<dyn Errand>);
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
