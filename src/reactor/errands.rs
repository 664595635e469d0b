//! The way of errands: from a reactor to the thread that runs them, and back through the inbox.

use std::collections::VecDeque;
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
    /// Errands that have been sent and whose parts have not been taken from the inbox.
    out: usize,
    /// Those that are sent when others have returned.
    waiting: VecDeque<(Token, Box<dyn Errand>)>,
}

impl Outgoing {
    pub(crate) fn new(jobs: Sender<Job>, inbox: Arc<Inbox>) -> Self {
        Self {
            jobs,
            inbox,
            out: 0,
            waiting: VecDeque::new(),
        }
    }

    fn send_waiting(&mut self) {
        while self.out < MAX_ERRANDS
            && let Some((token, errand)) = self.waiting.pop_front()
        {
            self.out += 1;
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
}

impl Errands for Outgoing {
    fn send(&mut self, token: Token, errand: Box<dyn Errand>) {
        self.waiting.push_back((token, errand));
        self.send_waiting();
    }

    fn returned(&mut self) {
        self.out = self.out.saturating_sub(1);
        self.send_waiting();
    }
}

/// A queue with room for all errands that may be out.
pub(crate) fn errands(reactors: usize) -> (Sender<Job>, Receiver<Job>) {
    bounded(reactors * MAX_ERRANDS)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use bytes::Bytes;

    use super::super::Item;
    use super::*;

    struct Nothing;

    impl Errand for Nothing {
        fn run(self: Box<Self>) -> Part {
            Part::Bytes {
                head: Vec::new(),
                body: Bytes::new(),
                rest: None,
            }
        }
    }

    /// However far the thread for errands is ahead of the reactor.
    #[test]
    fn no_more_are_out_than_the_inbox_has_room_for() {
        let inbox = Arc::new(Inbox::new(0, Box::new(|| {})));
        let (jobs, received) = errands(1);
        let mut outgoing = Outgoing::new(jobs, Arc::clone(&inbox));
        for index in 0..1000 {
            outgoing.send(Token::new(index, 1), Box::new(Nothing));
            received.try_iter().for_each(Job::run);
            assert!(inbox.len() <= MAX_ERRANDS, "{}", inbox.len());
        }
        for index in 0..1000 {
            received.try_iter().for_each(Job::run);
            let Some(Item::Part { token, .. }) = inbox.pop() else {
                panic!("errand {index} was forgotten");
            };
            assert_eq!(token, Token::new(index, 1), "in the order they were sent");
            outgoing.returned();
        }
        assert!(inbox.len() == 0 && outgoing.out == 0);
    }
}
