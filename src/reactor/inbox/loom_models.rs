//! Every interleaving of producers with a reactor that sleeps when it sees nothing to do. A
//! wake-up that is lost is a deadlock, which loom reports.

use loom::sync::Condvar;
use loom::thread::{self, JoinHandle};

use super::*;
use crate::topics::{Memory, TopicLimits};
use crate::transport::Token;

/// A reactor's poll: one sleeper, and wake-ups that are kept until it sleeps.
#[derive(Default)]
pub(crate) struct Poll {
    woken: Mutex<bool>,
    condition: Condvar,
}

impl Poll {
    pub(crate) fn wake(&self) {
        *self.woken.lock().unwrap() = true;
        self.condition.notify_one();
    }

    pub(crate) fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.condition.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// All interleavings in which threads are made to wait at most three times where they could have
/// gone on; without that bound they are too many.
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn inbox(batches: usize) -> (Arc<Inbox>, Arc<Poll>) {
    let poll = Arc::new(Poll::default());
    let waker = Arc::clone(&poll);
    let wake = Box::new(move || waker.wake());
    (Arc::new(Inbox::new(batches, wake)), poll)
}

fn close(reason: &str) -> Item {
    let token = Token::new(0, 0);
    Item::Close {
        link: Arc::new(Link::new(token)),
        code: CloseCode::NORMAL,
        reason: reason.to_owned(),
    }
}

fn reason(item: Item) -> String {
    match item {
        Item::Close { reason, .. } => reason,
        _ => panic!("only these are sent here"),
    }
}

fn producer(inbox: &Arc<Inbox>, work: impl FnOnce(&Inbox) + 'static) -> JoinHandle<()> {
    let inbox = Arc::clone(inbox);
    thread::spawn(move || work(&inbox))
}

/// All that is promised about wake-ups rests on the order alone: this reactor does not look
/// again before it sleeps.
#[test]
fn no_item_is_slept_over() {
    check(|| {
        let (inbox, poll) = inbox(0);
        let producers =
            ["a", "b"].map(|name| producer(&inbox, move |inbox| inbox.push(close(name)).unwrap()));
        let mut seen = Vec::new();
        while seen.len() < 2 {
            poll.sleep();
            if inbox.acknowledge() {
                while let Some(item) = inbox.pop() {
                    seen.push(reason(item));
                }
            }
        }
        seen.sort();
        assert_eq!(seen, ["a", "b"]);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

/// The same for topics with news, which have a list of their own.
#[test]
fn no_news_is_slept_over() {
    check(|| {
        let hub = Memory::new(TopicLimits {
            topics: 2,
            history: 0,
            history_bytes: 0,
            history_total: usize::MAX,
            log: 0,
        });
        let (inbox, poll) = inbox(0);
        let producers = ["a", "b"].map(|name| {
            let topic = hub.topic_of(name);
            producer(&inbox, move |inbox| assert!(Mailbox::news(inbox, topic)))
        });
        let mut seen = Vec::new();
        while seen.len() < 2 {
            poll.sleep();
            inbox.acknowledge();
            if inbox.has_news() {
                let mut topics = Vec::new();
                inbox.take_news(&mut topics);
                seen.extend(topics.iter().map(|topic| topic.name().to_owned()));
            }
        }
        seen.sort();
        assert_eq!(seen, ["a", "b"]);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn one_producer_keeps_its_order() {
    check(|| {
        let (inbox, poll) = inbox(0);
        let producer = producer(&inbox, |inbox| {
            inbox.push(close("a")).unwrap();
            inbox.push(close("b")).unwrap();
        });
        let mut seen = Vec::new();
        while seen.len() < 2 {
            poll.sleep();
            if inbox.acknowledge() {
                while let Some(item) = inbox.pop() {
                    seen.push(reason(item));
                }
            }
        }
        assert_eq!(seen, ["a", "b"]);
        producer.join().unwrap();
    });
}

/// A reactor that stops at its budget looks again without sleeping.
#[test]
fn what_the_budget_leaves_is_not_slept_over() {
    check(|| {
        let (inbox, poll) = inbox(0);
        let producers =
            ["a", "b"].map(|name| producer(&inbox, move |inbox| inbox.push(close(name)).unwrap()));
        let mut seen = 0;
        let mut left = false;
        while seen < 2 {
            if !left {
                poll.sleep();
            }
            if inbox.acknowledge() || left {
                left = inbox.pop().is_some();
                seen += usize::from(left);
            }
        }
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn a_stop_is_not_slept_over() {
    check(|| {
        let (inbox, poll) = inbox(0);
        let push = producer(&inbox, |inbox| inbox.push(close("a")).unwrap());
        let stop = producer(&inbox, Inbox::stop);
        let mut seen = 0;
        let mut stopping = false;
        while seen < 1 || !stopping {
            poll.sleep();
            if inbox.acknowledge() {
                stopping = inbox.is_stopping();
                while inbox.pop().is_some() {
                    seen += 1;
                }
            }
        }
        push.join().unwrap();
        stop.join().unwrap();
    });
}

/// Whoever is refused has left nothing behind, and there is always room for a batch.
#[test]
fn a_full_inbox_counts_right() {
    check(|| {
        let (inbox, _poll) = inbox(1);
        inbox.push(close("first")).unwrap();
        let pushes = ["a", "b"].map(|name| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || inbox.push(close(name)).is_ok())
        });
        inbox.give_back(Box::default());
        let accepted = pushes.map(|push| push.join().unwrap());
        let accepted = 2 + accepted.iter().filter(|&&accepted| accepted).count();
        assert!(accepted <= ITEMS + 1);
        let mut taken = 0;
        while inbox.pop().is_some() {
            taken += 1;
        }
        assert_eq!(taken, accepted);
        assert_eq!(inbox.items.load(Ordering::Acquire), 0);
        assert_eq!(inbox.bytes.load(Ordering::Acquire), 0);
        assert!(inbox.push(close("again")).is_ok());
    });
}
