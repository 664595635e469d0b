//! The load generator against servers that do what a test tells them.

mod broadcast;
mod command;
mod faults;
mod hostile;
mod load;
mod python;
mod search;
mod server;
