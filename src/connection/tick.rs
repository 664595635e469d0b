//! Time as the lower layers know it.

use std::time::Duration;

/// A moment in milliseconds since some start, modulo 2^32. Two ticks that are compared are
/// never 2^31 ms (24 days) or more apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tick(pub(crate) u32);

/// The longest time a tick can be compared over.
///
/// Half of what could be told apart, because the wheel may be behind by as much.
pub(crate) const MAX_TICKS: u32 = i32::MAX as u32 / 2;

impl Tick {
    pub(crate) fn after(self, ticks: u32) -> Tick {
        Tick(self.0.wrapping_add(ticks))
    }

    pub(crate) fn is_before(self, other: Tick) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Ticks from `earlier` to this; 0 if it is later.
    pub(crate) fn since(self, earlier: Tick) -> u32 {
        (self.0.wrapping_sub(earlier.0) as i32).max(0) as u32
    }

    pub(crate) fn earlier(self, other: Option<Tick>) -> Tick {
        match other {
            Some(other) if other.is_before(self) => other,
            _ => self,
        }
    }
}

/// A duration in ticks, rounded up so that nothing ends before its time.
pub(crate) fn ticks(duration: Duration) -> u32 {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    u32::try_from(millis).unwrap_or(MAX_TICKS).min(MAX_TICKS)
}
