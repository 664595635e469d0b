//! What messages say, and whether what came back is the same.
//!
//! A message begins with its sequence number and its connection, interleaved from their low ends so
//! that even a short message tells most of both; a pattern that depends on both follows, so that
//! shifted, swapped or foreign bytes are seen.

mod ledger;
mod pattern;

pub use ledger::{Corruption, Ledger, Verdict};
pub use pattern::{Cursor, Front, Pattern};
