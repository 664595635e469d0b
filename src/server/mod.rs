//! What a library user sees.

mod config;

pub use config::{Config, Limits, Timeouts};
