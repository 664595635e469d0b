//! What all load threads of a broadcast share: who is there, and what was published when.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::Nanos;

/// Messages of all publishers whose times are kept.
const TIMES: usize = 1 << 20;
/// Of each publisher, at most and at least.
const MOST_TIMES: usize = 1 << 16;
const LEAST_TIMES: usize = 1 << 10;
/// No sequence number.
const NEVER: u32 = u32::MAX;

/// Whether a publisher gets its own messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EchoesSender {
    /// They must not come back.
    No,
    /// They must come back as to any other.
    Yes,
    /// Found out before the load begins.
    Auto,
}

impl FromStr for EchoesSender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "no" => Ok(Self::No),
            "yes" => Ok(Self::Yes),
            "auto" => Ok(Self::Auto),
            _ => Err("expected yes, no or auto".into()),
        }
    }
}

/// How a broadcast is done.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The first connections of the run, which send; the others only receive.
    pub publishers: u32,
    /// Messages per second of all publishers; `None` for a closed loop.
    pub rate: Option<f64>,
    /// In the closed loop, messages of each publisher that not everyone has got yet.
    pub in_flight: u32,
    /// Whether publishers get their own messages.
    pub echoes_sender: EchoesSender,
    /// How long, once all connections are open, it is waited for one more of them to have a first
    /// message of a publisher.
    pub join_timeout: Duration,
}

/// What all load threads share. One is made for each run.
#[derive(Debug)]
pub struct Hub {
    pub(super) settings: Settings,
    /// Connections of the run, publishers and others.
    pub(super) connections: u32,
    pub(super) publishers: Vec<Publisher>,
    pub(super) threads: u32,
    /// Threads that may still publish.
    pub(super) publishing: AtomicU32,
    /// Connections open now; opened or failed so far.
    open: AtomicU32,
    tried: AtomicU32,
    echoes: AtomicU8,
    /// When the schedule begins; 0 before.
    start: AtomicU64,
}

impl Hub {
    /// For a run of so many connections, publishers among them, on so many load threads.
    pub fn new(settings: Settings, connections: u32, threads: u32) -> Self {
        let times = TIMES / settings.publishers.max(1) as usize;
        let times = times.clamp(LEAST_TIMES, MOST_TIMES).next_power_of_two();
        Self {
            settings,
            connections,
            publishers: (0..settings.publishers)
                .map(|_| Publisher::new(times))
                .collect(),
            threads,
            publishing: AtomicU32::new(threads),
            open: AtomicU32::new(0),
            tried: AtomicU32::new(0),
            echoes: AtomicU8::new(settings.echoes_sender as u8),
            start: AtomicU64::new(0),
        }
    }

    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.tried.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn gone(&self, opened: bool) {
        if opened {
            self.open.fetch_sub(1, Ordering::AcqRel);
        } else {
            self.tried.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether every connection is open or has failed.
    pub(super) fn is_assembled(&self) -> bool {
        self.tried.load(Ordering::Acquire) >= self.connections
    }

    /// Connections that are there beside a publisher.
    pub(super) fn others(&self) -> u32 {
        self.open.load(Ordering::Acquire).saturating_sub(1)
    }

    /// How many connections have had a message of this publisher.
    pub(super) fn heard(&self, publisher: u32) -> u64 {
        let publisher = &self.publishers[publisher as usize];
        let itself = publisher.heard_itself.load(Ordering::Acquire);
        u64::from(publisher.joined.load(Ordering::Acquire)) + u64::from(itself)
    }

    /// Whether there are others, and no message has reached any of them.
    pub(super) fn reaches_nobody(&self) -> bool {
        let mut publishers = self.publishers.iter();
        self.others() > 0 && publishers.all(|one| one.joined.load(Ordering::Acquire) == 0)
    }

    /// Whether publishers get their own messages, if that is known.
    #[inline]
    pub(super) fn echoes(&self) -> Option<bool> {
        match self.echoes.load(Ordering::Acquire) {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Decides that, if it is not known.
    pub(super) fn found(&self, echoes: bool) {
        let unknown = EchoesSender::Auto as u8;
        let _ = self.echoes.compare_exchange(
            unknown,
            u8::from(echoes),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// Deliveries of one message if all goes well: to every connection the run was to have.
    pub(super) fn receivers(&self) -> u32 {
        self.connections - u32::from(self.echoes() != Some(true))
    }

    /// Deliveries after which a message has reached everyone who is there.
    #[inline]
    pub(super) fn present(&self) -> u32 {
        self.others() + u32::from(self.echoes() == Some(true))
    }

    /// Nanoseconds between two messages of one publisher, in the open loop.
    pub(super) fn interval(&self) -> Option<f64> {
        let rate = self.settings.rate?;
        Some(1e9 * f64::from(self.settings.publishers) / rate)
    }

    /// Begins the schedule, unless another thread has.
    pub(super) fn begin(&self, now: Nanos) {
        let begun = (Ordering::AcqRel, Ordering::Acquire);
        let _ = self.start.compare_exchange(0, now, begun.0, begun.1);
    }

    /// When message `i` of the schedule of this publisher is due: publishers take turns.
    pub(super) fn due(&self, publisher: u32, i: u64) -> Nanos {
        let interval = self.interval().unwrap_or_default();
        let turn = f64::from(publisher) / f64::from(self.settings.publishers);
        self.start.load(Ordering::Acquire) + ((i as f64 + turn) * interval) as Nanos
    }
}

/// What is known of a publisher. Only its own thread publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Messages published; the next has this sequence number.
    published: AtomicU32,
    /// The first message of the load, and of its measured part.
    loaded: AtomicU32,
    measured: AtomicU32,
    /// Messages of the load that have reached everyone.
    completed: AtomicU32,
    /// Others that have had a message of it; whether it has had one itself.
    pub(super) joined: AtomicU32,
    pub(super) heard_itself: AtomicBool,
    times: Box<[Time]>,
}

/// When a message was sent, and how many have it. There is room for the latest of them only.
#[derive(Debug)]
struct Time {
    sequence: AtomicU32,
    deliveries: AtomicU32,
    sent: AtomicU64,
    intended: AtomicU64,
}

impl Publisher {
    fn new(times: usize) -> Self {
        let time = || Time {
            sequence: AtomicU32::new(NEVER),
            deliveries: AtomicU32::new(0),
            sent: AtomicU64::new(0),
            intended: AtomicU64::new(0),
        };
        Self {
            published: AtomicU32::new(0),
            loaded: AtomicU32::new(NEVER),
            measured: AtomicU32::new(NEVER),
            completed: AtomicU32::new(0),
            joined: AtomicU32::new(0),
            heard_itself: AtomicBool::new(false),
            times: (0..times).map(|_| time()).collect(),
        }
    }

    #[inline]
    fn time(&self, sequence: u32) -> &Time {
        &self.times[sequence as usize & (self.times.len() - 1)]
    }

    /// Messages published.
    #[inline]
    pub(super) fn published(&self) -> u32 {
        self.published.load(Ordering::Acquire)
    }

    /// From the next message on they are load.
    pub(super) fn begin_load(&self) {
        self.loaded.store(self.published(), Ordering::Release);
    }

    /// Whether the measured part has begun.
    pub(super) fn is_measured(&self) -> bool {
        self.measured.load(Ordering::Relaxed) != NEVER
    }

    /// From the next message on they are of the measured part.
    pub(super) fn begin_measured(&self) {
        self.measured.store(self.published(), Ordering::Release);
    }

    /// Notes the next message, before it is sent.
    pub(super) fn publish(&self, sent: Nanos, intended: Nanos) {
        let sequence = self.published.load(Ordering::Relaxed);
        let time = self.time(sequence);
        // Whoever reads it meanwhile, for an older message, must see that it is another.
        time.sequence.store(NEVER, Ordering::SeqCst);
        time.sent.store(sent, Ordering::SeqCst);
        time.intended.store(intended, Ordering::SeqCst);
        time.deliveries.store(0, Ordering::SeqCst);
        time.sequence.store(sequence, Ordering::SeqCst);
        self.published.store(sequence + 1, Ordering::Release);
    }

    /// When this message was sent, and was to be sent; `None` if so many followed that it is forgotten.
    #[inline]
    pub(super) fn times(&self, sequence: u32) -> Option<(Nanos, Nanos)> {
        let time = self.time(sequence);
        let sent = time.sent.load(Ordering::SeqCst);
        let intended = time.intended.load(Ordering::SeqCst);
        (time.sequence.load(Ordering::SeqCst) == sequence).then_some((sent, intended))
    }

    /// Whether this message is of the measured part.
    #[inline]
    pub(super) fn counts(&self, sequence: u32) -> bool {
        sequence >= self.measured.load(Ordering::Acquire)
    }

    /// Notes one more delivery of a message; whether all of the load `present` have it now.
    #[inline]
    pub(super) fn deliver(&self, sequence: u32, present: u32) -> bool {
        let time = self.time(sequence);
        if sequence < self.loaded.load(Ordering::Acquire)
            || time.sequence.load(Ordering::SeqCst) != sequence
            || time.deliveries.fetch_add(1, Ordering::AcqRel) + 1 != present
        {
            return false;
        }
        self.completed.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Messages of the load that have reached everyone.
    pub(super) fn completed(&self) -> u32 {
        self.completed.load(Ordering::Acquire)
    }

    /// Messages of the load that have not reached everyone.
    pub(super) fn in_flight(&self) -> u32 {
        let load = self.published() - self.loaded.load(Ordering::Acquire).min(self.published());
        load.saturating_sub(self.completed())
    }

    /// Waits no longer for what has not reached everyone.
    pub(super) fn give_up(&self) {
        self.completed.fetch_add(self.in_flight(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(publishers: u32, rate: Option<f64>, echoes_sender: EchoesSender) -> Hub {
        let settings = Settings {
            publishers,
            rate,
            in_flight: 1,
            echoes_sender,
            join_timeout: Duration::ZERO,
        };
        Hub::new(settings, 10, 1)
    }

    #[test]
    fn publishers_take_turns() {
        let hub = hub(4, Some(1000.0), EchoesSender::No);
        hub.begin(5_000);
        hub.begin(6_000);
        assert_eq!(hub.due(0, 0), 5_000);
        assert_eq!(hub.due(1, 0), 1_005_000);
        assert_eq!(hub.due(3, 2), 11_005_000);
    }

    #[test]
    fn who_receives_depends_on_whether_senders_do() {
        for (echoes, receivers) in [(EchoesSender::No, 9), (EchoesSender::Yes, 10)] {
            assert_eq!(hub(2, None, echoes).receivers(), receivers);
        }
        let auto = hub(2, None, EchoesSender::Auto);
        assert_eq!(auto.echoes(), None);
        auto.found(true);
        auto.found(false);
        assert_eq!((auto.echoes(), auto.receivers()), (Some(true), 10));
    }

    #[test]
    fn a_message_is_complete_once_everyone_has_it() {
        let hub = hub(1, None, EchoesSender::No);
        let publisher = &hub.publishers[0];
        publisher.publish(1, 1);
        assert!(!publisher.deliver(0, 1), "it is no load");
        publisher.begin_load();
        publisher.publish(20, 10);
        publisher.publish(30, 30);
        assert_eq!(publisher.in_flight(), 2);
        assert!(!publisher.deliver(1, 2));
        assert!(publisher.deliver(1, 2));
        assert!(!publisher.deliver(2, 2));
        assert_eq!(publisher.in_flight(), 1);
        assert_eq!(publisher.times(1), Some((20, 10)));
        publisher.give_up();
        assert_eq!(publisher.in_flight(), 0);
    }

    #[test]
    fn old_times_are_forgotten_not_mistaken() {
        let hub = hub(1, None, EchoesSender::No);
        let publisher = &hub.publishers[0];
        for i in 0..=publisher.times.len() as u64 {
            publisher.publish(i, i);
        }
        assert_eq!(publisher.times(0), None);
        assert_eq!(publisher.times(1), Some((1, 1)));
    }
}
