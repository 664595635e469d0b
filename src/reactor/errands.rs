//! The way of errands: from a reactor to the thread that runs them, and back through the inbox.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Inbox;
use crate::connection::{Errand, Errands, MAX_ERRANDS, Part};
use crate::transport::Token;

/// An errand on its way to be run.
pub(crate) struct Job {
    inbox: Arc<Inbox>,
    token: Token,
    errand: Box<dyn Errand>,
}

impl Job {
    /// Runs it, which may block, and brings its reactor what it brought.
    pub(crate) fn run(self) {
        let Job {
            inbox,
            token,
            errand,
        } = self;
        // What it brings comes from a library user's code.
        let part = catch_unwind(AssertUnwindSafe(|| errand.run()));
        inbox.bring(token, part.unwrap_or(Part::Broken));
    }
}

/// Where the errands of one reactor are sent from.
pub(crate) struct Outgoing {
    jobs: Sender<Job>,
    inbox: Arc<Inbox>,
}

impl Outgoing {
    pub(crate) fn new(jobs: Sender<Job>, inbox: Arc<Inbox>) -> Self {
        Self { jobs, inbox }
    }
}

impl Errands for Outgoing {
    fn send(&self, token: Token, errand: Box<dyn Errand>) {
        let job = Job {
            inbox: Arc::clone(&self.inbox),
            token,
            errand,
        };
        if let Err(error) = self.jobs.try_send(job) {
            debug_assert!(false, "there is room for every errand that was counted");
            let job = error.into_inner();
            job.inbox.bring(job.token, Part::Broken);
        }
    }
}

/// A queue with room for all errands there may be.
pub(crate) fn errands() -> (Sender<Job>, Receiver<Job>) {
    bounded(MAX_ERRANDS)
}
