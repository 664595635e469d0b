//! What a run's report looks like in each of its shapes, and what is read of processes.

mod page;
mod sample;
mod schema;
mod table;
mod watch;
