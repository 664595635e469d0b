//! Where handlers run: events in, encoded replies out.

mod executor;
mod inline;
mod output;
mod subscriptions;
mod thread;

pub(crate) use executor::{Acceptance, Application, Executor};
pub(crate) use inline::Inline;
pub(crate) use output::{Output, Outside, Sending};
pub(crate) use thread::{Activity, Worker};
