//! Load threads: one mio event loop each, with thousands of connections, and what leads them
//! through the phases of a run.
//!
//! A turn of the loop reads each ready connection once into a buffer that all share, checks every
//! message where it lies, and answers with one write of everything that may be sent now. Nothing is
//! allocated for a message, and an idle connection owns no buffer.

mod alarm;
mod behaviour;
mod cause;
mod clock;
mod context;
mod control;
mod faults;
mod lead;
mod link;
mod links;
mod open;
mod plan;
mod stats;
mod thread;

pub use behaviour::{Scenario, Setup};
pub use cause::Cause;
pub use clock::{Nanos, now};
pub use context::Context;
pub use control::{Phase, Shared};
pub use faults::Faults;
pub use lead::{Observer, Outcome, Unable, run};
pub use link::{Leave, Link};
pub use links::{Links, Slot};
pub use plan::Plan;
pub use stats::{Stats, histogram};
