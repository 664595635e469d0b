//! A server without threads: whoever holds it decides which reactor or worker goes on when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, bounded};

use super::network::Network;
use crate::connection::{Context, Tick, ticks};
use crate::reactor::{
    BATCHES, Batch, Dispatch, Inbox, Job, Next, Outgoing, Population, Queue, Reactor, Stats,
    errands,
};
use crate::server::{App, WorkerLink, settings};
use crate::topics::Memory;
use crate::worker::{Executor, Inline, Outside, Worker};
use crate::{Config, Result, ServerHandle};

/// Workers of a test that does not say: none, or as many as the environment variable
/// `SOCKEYE_TEST_WORKERS` says when this crate's own tests run.
fn default_workers() -> usize {
    let set = cfg!(test).then(|| std::env::var("SOCKEYE_TEST_WORKERS").ok());
    set.flatten()
        .and_then(|count| count.parse().ok())
        .unwrap_or(0)
}

enum AnyReactor {
    Inline(Reactor<Network, Inline<App>>),
    Workers(Reactor<Network, Dispatch>),
}

struct Loop {
    network: Network,
    /// `None` once it has ended.
    reactor: Option<AnyReactor>,
    inbox: Arc<Inbox>,
    /// Its poll would return.
    woken: Arc<AtomicBool>,
}

struct Hand {
    worker: Worker<App>,
    batches: Receiver<Box<Batch>>,
    /// A batch that was answered and has not been given back.
    answered: Option<Box<Batch>>,
}

pub(super) struct Engine {
    loops: Vec<Loop>,
    hands: Vec<Hand>,
    handle: ServerHandle,
    hub: Arc<Memory>,
    /// Errands that wait to be run.
    #[allow(dead_code, reason = "only the crate's own tests have any")]
    errands: Receiver<Job>,
}

impl Engine {
    /// `config.reactors` and `config.workers` say how many there are; by default one and none.
    pub(super) fn new(config: &Config, app: Arc<App>, hub: Arc<Memory>, now: Tick) -> Result<Self> {
        let reactors = config.reactors.max(1);
        let workers = config.workers.unwrap_or_else(default_workers);
        let settings = settings(config)?;
        let population = Population::new(config.limits.max_connections.unwrap_or(64));
        let drain = config.timeouts.drain.map(ticks);
        let wakes: Vec<Arc<AtomicBool>> = (0..reactors).map(|_| Arc::default()).collect();
        let inbox = |woken: &Arc<AtomicBool>| {
            let woken = Arc::clone(woken);
            let wake = Box::new(move || woken.store(true, Ordering::Relaxed));
            Arc::new(Inbox::new(workers * BATCHES, wake))
        };
        let inboxes: Vec<Arc<Inbox>> = wakes.iter().map(inbox).collect();
        let outside = |(reactor, inbox)| Outside::new(reactor, inbox, hub.clone(), &settings);
        let outsides: Arc<[Outside]> = inboxes.iter().enumerate().map(outside).collect();
        let links: Vec<WorkerLink> = (0..workers).map(|_| WorkerLink::new()).collect();
        let mut lanes = Vec::new();
        let mut hands = Vec::new();
        for link in &links {
            let (sender, batches) = bounded(reactors * BATCHES);
            let queue = Queue::new(sender, std::thread::current());
            lanes.push((queue, Arc::clone(&link.load)));
            let load = Arc::clone(&link.load);
            let executor = Executor::new(Arc::clone(&app), load, 0);
            hands.push(Hand {
                worker: Worker::new(executor, Arc::clone(&outsides)),
                batches,
                answered: None,
            });
        }
        let (jobs, errands) = errands(reactors);
        let mut loops = Vec::new();
        let mut stats = Vec::new();
        for (index, inbox) in inboxes.iter().enumerate() {
            let network = Network::default();
            let figures = Arc::new(Stats::default());
            stats.push(Arc::clone(&figures));
            let (population, front) = (population.clone(), Arc::clone(&app));
            let (sys, own) = (network.clone(), Arc::clone(inbox));
            let outgoing = Box::new(Outgoing::new(jobs.clone(), Arc::clone(inbox)));
            let reactor = if workers == 0 {
                let executor = Executor::new(Arc::clone(&app), Arc::default(), 0);
                let delivery = Inline::new(executor, outsides[index].clone());
                let mut cx = Context::new(sys, delivery, front, settings.clone(), now);
                cx.errands = Some(outgoing);
                AnyReactor::Inline(Reactor::new(vec![()], population, own, figures, drain, cx))
            } else {
                let delivery = Dispatch::new(index as u16, lanes.clone(), Arc::clone(inbox), now);
                let mut cx = Context::new(sys, delivery, front, settings.clone(), now);
                cx.errands = Some(outgoing);
                AnyReactor::Workers(Reactor::new(vec![()], population, own, figures, drain, cx))
            };
            loops.push(Loop {
                network,
                reactor: Some(reactor),
                inbox: Arc::clone(inbox),
                woken: Arc::clone(&wakes[index]),
            });
        }
        let handle = ServerHandle::of(inboxes, stats, links, hub.clone());
        Ok(Self {
            loops,
            hands,
            handle,
            hub,
            errands,
        })
    }

    pub(super) fn hub(&self) -> &Arc<Memory> {
        &self.hub
    }

    pub(super) fn handle(&self) -> &ServerHandle {
        &self.handle
    }

    pub(super) fn network(&self, reactor: usize) -> &Network {
        &self.loops[reactor].network
    }

    /// One turn of a reactor, with the edges since its last.
    pub(super) fn turn(&mut self, reactor: usize, now: Tick) -> Next {
        let Loop {
            network,
            reactor,
            woken,
            ..
        } = &mut self.loops[reactor];
        woken.store(false, Ordering::Relaxed);
        let events = network.take_events();
        match reactor {
            Some(AnyReactor::Inline(reactor)) => reactor.turn(events, now),
            Some(AnyReactor::Workers(reactor)) => reactor.turn(events, now),
            None => Next::Never,
        }
    }

    /// Whether something woke the reactor's poll since its last turn.
    pub(super) fn is_woken(&self, reactor: usize) -> bool {
        self.loops[reactor].woken.load(Ordering::Relaxed)
    }

    /// Lets a worker give back what it has answered, or else answer a batch. Says whether there
    /// was anything to do.
    pub(super) fn work(&mut self, worker: usize) -> bool {
        let hand = &mut self.hands[worker];
        if let Some(batch) = hand.answered.take() {
            self.loops[usize::from(batch.reactor())]
                .inbox
                .give_back(batch);
            return true;
        }
        let Ok(mut batch) = hand.batches.try_recv() else {
            return false;
        };
        hand.worker.handle(&mut batch);
        hand.answered = Some(batch);
        true
    }

    /// Lets all workers finish what they have been given. Says whether that was anything.
    pub(super) fn work_all(&mut self) -> bool {
        let mut worked = false;
        for worker in 0..self.hands.len() {
            while self.work(worker) {
                worked = true;
            }
        }
        worked
    }
}

/// What only the crate's own tests ask for.
#[cfg(all(test, not(loom)))]
impl Engine {
    /// Runs an errand, as the thread for them does. Says whether there was one.
    pub(super) fn run_errand(&mut self) -> bool {
        let job = self.errands.try_recv();
        job.map(Job::run).is_ok()
    }

    /// Items in the inbox of a reactor.
    pub(super) fn inbox_len(&self, reactor: usize) -> usize {
        self.loops[reactor].inbox.len()
    }

    /// Drops a reactor that wants no further turn, as its thread does.
    pub(super) fn end_reactor(&mut self, reactor: usize) {
        self.loops[reactor].reactor = None;
    }

    /// Ends the workers, as their threads do once all reactors have gone.
    pub(super) fn end_workers(&mut self) {
        for hand in self.hands.drain(..) {
            assert!(hand.answered.is_none() && hand.batches.is_empty());
            hand.worker.finish();
        }
    }

    /// Whether a worker has something to answer or to give back.
    pub(super) fn has_work(&self, worker: usize) -> bool {
        let hand = &self.hands[worker];
        hand.answered.is_some() || !hand.batches.is_empty()
    }

    /// What a reactor looks like from inside; `None` once it has ended.
    pub(super) fn inspect(&self, reactor: usize, now: Tick) -> Option<crate::reactor::Inspection> {
        match self.loops[reactor].reactor.as_ref()? {
            AnyReactor::Inline(reactor) => Some(reactor.inspect(now)),
            AnyReactor::Workers(reactor) => {
                let mut inspection = reactor.inspect(now);
                let lanes = reactor.delivery();
                inspection.lanes_rest = lanes.is_at_rest();
                inspection.lanes_full = lanes.is_full();
                Some(inspection)
            }
        }
    }
}
