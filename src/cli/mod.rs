//! What only the binary needs: flags, signals, the logger and the descriptor limit.

pub(crate) mod descriptors;
pub(crate) mod flags;
pub(crate) mod logger;
pub(crate) mod signals;
mod values;
