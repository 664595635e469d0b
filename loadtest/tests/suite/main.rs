//! The load generator against servers that do what a test tells them.

mod command;
mod faults;
mod load;
mod python;
mod server;
