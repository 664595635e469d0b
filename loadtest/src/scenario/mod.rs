//! What the connections do: one file for each subcommand.

mod echo;

pub use echo::Echo;
