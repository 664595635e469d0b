//! What the connections do: one file for each subcommand.

pub mod broadcast;
mod churn;
mod echo;
mod handshake;
pub mod hostile;
mod idle;
mod rate;

pub use broadcast::Broadcast;
pub use churn::Churn;
pub use echo::Echo;
pub use handshake::Handshake;
pub use hostile::Hostile;
pub use idle::Idle;
pub use rate::Rate;
