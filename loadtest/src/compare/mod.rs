//! Several servers in one run: started in turn, over rounds, with medians and ratios.
//!
//! | module | what it is |
//! |---|---|
//! | `cell` | what is measured |
//! | `stats` | medians, paired ratios, when to refuse one |
//! | `order` | which server comes when |
//! | `servers` | what is compared |
//! | `process` | starting, pinning, ending |
//! | `isolate` | the network namespace |
//! | `build` | cargo and npm |
//! | `sample` | one server, one run against it |
//! | `results` | all samples |
//! | `machine`, `table`, `plot`, `require` | what is made of them |
//! | `run` | the rounds |

mod build;
mod cell;
mod flags;
mod isolate;
mod machine;
mod order;
mod plot;
mod process;
mod require;
mod results;
mod run;
mod sample;
mod servers;
mod stats;
mod table;

pub use cell::{Cell, Load, Metric, Placement};
pub use flags::Flags;
pub use isolate::Network;
pub use machine::Machine;
pub use require::Requirement;
pub use results::{CellResult, Comparison, ServerInfo, ServerSamples};
pub use run::run;
pub use sample::{Figures, Sample};
pub use servers::Extra;
pub use stats::{Ratio, Spread};
