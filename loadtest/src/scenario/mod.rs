//! What the connections do: one file for each subcommand.

mod churn;
mod echo;
mod handshake;
mod idle;
mod rate;

pub use churn::Churn;
pub use echo::Echo;
pub use handshake::Handshake;
pub use idle::Idle;
pub use rate::Rate;
