//! Time.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock.
pub type Nanos = u64;

/// The monotonic clock, which costs no system call.
#[inline]
pub fn now() -> Nanos {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
