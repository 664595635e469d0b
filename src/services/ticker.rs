//! `/ticker`: prices that the server makes up, once per interval, as long as anybody listens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::protocol::CloseCode;
use crate::{Handler, Message, Peer, PublishError, ServerHandle, Since};

/// The topic of the prices.
pub(super) const TOPIC: &str = "/ticker";
/// From one publication to the next.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// What there is to trade, and where the prices begin.
const SYMBOLS: [(&str, f64); 6] = [
    ("CHUM", 9.31),
    ("COHO", 44.2),
    ("KETA", 17.8),
    ("MASU", 71.05),
    ("PINK", 3.07),
    ("SOCK", 120.5),
];
/// The farthest a price goes in one step, as a part of it.
const STEP: f64 = 0.012;
/// Part of the way back to where it began that a price goes in one step, so that none runs off.
const PULL: f64 = 0.01;

/// The market of one server, and who listens to it. A thread publishes while there are listeners;
/// the interval after the last has left, it ends.
#[derive(Clone)]
pub(super) struct Ticker(Arc<Shared>);

struct Shared {
    server: ServerHandle,
    interval: Duration,
    state: Mutex<State>,
}

struct State {
    listeners: usize,
    has_publisher: bool,
    market: Market,
}

impl Ticker {
    pub(super) fn new(server: ServerHandle, interval: Duration) -> Self {
        let state = State {
            listeners: 0,
            has_publisher: false,
            market: Market::new(),
        };
        Self(Arc::new(Shared {
            server,
            interval,
            state: Mutex::new(state),
        }))
    }

    pub(super) fn handler(&self) -> impl Handler + use<> {
        Listener {
            ticker: self.clone(),
            attendance: None,
        }
    }

    /// Counts a listener, and sees to it that there is a publisher.
    fn attend(&self) -> std::io::Result<Attendance> {
        let mut state = self.state();
        if !state.has_publisher {
            let ticker = self.clone();
            let publisher = thread::Builder::new().name("ticker".to_owned());
            publisher.spawn(move || ticker.publish())?;
            state.has_publisher = true;
        }
        state.listeners += 1;
        Ok(Attendance(self.clone()))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The publisher's thread.
    fn publish(&self) {
        let mut next = Instant::now();
        while let Some(prices) = self.advance() {
            match self.0.server.publish(TOPIC, prices) {
                // Whoever is that far behind needs no more of it.
                Ok(_) | Err(PublishError::Full) => {}
                Err(error) => log::warn!("no prices: {error}"),
            }
            // What was slept through is not made up for.
            next = (next + self.0.interval).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// The next prices; `None` if nobody listens any more, and there is no publisher then.
    fn advance(&self) -> Option<String> {
        let mut state = self.state();
        if state.listeners == 0 {
            state.has_publisher = false;
            return None;
        }
        state.market.advance();
        Some(state.market.encode())
    }
}

/// A listener that counts as long as this lives, however it ends.
struct Attendance(Ticker);

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.state().listeners -= 1;
    }
}

struct Listener {
    ticker: Ticker,
    attendance: Option<Attendance>,
}

impl Handler for Listener {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        // First the subscription, so that the publisher's first prices come here, too.
        if let Err(error) = peer.subscribe(TOPIC, Since::New) {
            return peer.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
        }
        match self.ticker.attend() {
            Ok(attendance) => self.attendance = Some(attendance),
            Err(error) => {
                log::error!("no thread for the ticker: {error}");
                peer.close(CloseCode::TRY_AGAIN_LATER, "no prices");
            }
        }
    }

    /// It has nothing to ask for.
    fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}
}

/// Prices that walk at random.
struct Market {
    prices: [f64; SYMBOLS.len()],
    /// The state of a generator of random numbers (xorshift64*), never 0.
    random: u64,
}

impl Market {
    fn new() -> Self {
        let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self {
            prices: SYMBOLS.map(|(_, price)| price),
            random: since_epoch.as_nanos() as u64 | 1,
        }
    }

    /// Evenly from -1 to 1.
    fn random(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let high = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        high as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn advance(&mut self) {
        for (at, (_, start)) in SYMBOLS.iter().enumerate() {
            let price = self.prices[at];
            let moved = price * (1.0 + STEP * self.random()) + (start - price) * PULL;
            self.prices[at] = (moved * 100.0).round().max(1.0) / 100.0;
        }
    }

    fn encode(&self) -> String {
        let names = SYMBOLS.iter().map(|(name, _)| *name);
        let symbols: BTreeMap<&str, f64> = names.zip(self.prices).collect();
        let time = jiff::Timestamp::now();
        json!({ "time": format!("{time:.3}"), "symbols": symbols }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::Request;
    use crate::testing::{Pair, Received, TestPeer};

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn prices_walk_and_stay_near() {
        let mut market = Market::new();
        let mut before = market.prices;
        for _ in 0..100_000 {
            market.advance();
            for ((price, before), (name, start)) in market.prices.iter().zip(before).zip(SYMBOLS) {
                let step = (price - before).abs();
                assert!(
                    step <= before * (STEP + 2.0 * PULL) + 0.01 + start * PULL,
                    "{name}"
                );
                assert!(
                    (start / 4.0..start * 4.0).contains(price),
                    "{name}: {price}"
                );
            }
            before = market.prices;
        }
    }

    #[test]
    fn random_numbers_fill_their_range() {
        let mut market = Market::new();
        let numbers: Vec<f64> = (0..10_000).map(|_| market.random()).collect();
        assert!(numbers.iter().all(|it| (-1.0..=1.0).contains(it)));
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        assert!(mean.abs() < 0.05, "{mean}");
        assert!(numbers.iter().any(|it| *it < -0.99) && numbers.iter().any(|it| *it > 0.99));
    }

    #[test]
    fn a_publication_has_a_time_and_numbers() {
        let value: Value = serde_json::from_str(&Market::new().encode()).unwrap();
        let time: jiff::Timestamp = value["time"].as_str().unwrap().parse().unwrap();
        assert!(jiff::Timestamp::now().duration_since(time).as_secs() < 60);
        let symbols = value["symbols"].as_object().unwrap();
        assert_eq!(symbols.len(), SYMBOLS.len());
        for (name, price) in SYMBOLS {
            assert_eq!(symbols[name].as_f64(), Some(price));
        }
    }

    fn wait(what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < PATIENCE, "not in time: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn hear(peer: &mut TestPeer) {
        let mut message = None;
        wait("prices", || {
            message = peer.receive();
            message.is_some()
        });
        assert!(matches!(message, Some(Received::Message(_))), "{message:?}");
    }

    /// The publisher is a thread, so this takes real time.
    #[test]
    fn it_publishes_while_anybody_listens() {
        // Handlers need the handle of a server whose topics theirs are.
        let hub = Pair::new(|_: &Request<'_>| Silent).connect().unwrap();
        let ticker = Ticker::new(hub.server(), Duration::from_millis(5));
        let listen = || {
            let ticker = ticker.clone();
            let pair = Pair::new(move |_: &Request<'_>| crate::Upgrade::new(ticker.handler()));
            pair.topics_of(&hub).connect().unwrap()
        };
        let has_publisher = || ticker.state().has_publisher;
        assert!(!has_publisher());
        for _ in 0..2 {
            let (mut ann, mut ben) = (listen(), listen());
            for _ in 0..3 {
                hear(&mut ann);
                hear(&mut ben);
            }
            ann.reset();
            assert_eq!(ticker.state().listeners, 1);
            for _ in 0..3 {
                hear(&mut ben);
            }
            ben.close(Some(CloseCode::NORMAL), "");
            wait("the end of the publisher", || !has_publisher());
            assert_eq!(ticker.state().listeners, 0);
        }
    }

    struct Silent;

    impl Handler for Silent {
        fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}
    }
}
