//! Time.

use std::sync::LazyLock;
use std::time::Instant;

/// Nanoseconds since a moment early in this process.
pub type Nanos = u64;

/// A little before the process's first reading, so that no time is 0.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The monotonic clock, which costs no system call.
#[inline]
pub fn now() -> Nanos {
    // As 64 bits they last for 584 years.
    START.elapsed().as_nanos() as Nanos + 1
}
