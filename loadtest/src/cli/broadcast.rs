//! The flags of `broadcast`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use super::flags::{Common, Content, Times};
use super::run_and;
use super::values::{period, rate, rate_or_none};
use crate::report::Report;
use crate::report::figures::Workload;
use crate::report::quantity::whole;
use crate::scenario::Broadcast;
use crate::scenario::broadcast::{EchoesSender, Hub, Settings, complete};

/// The most pairs of a publisher and a connection, each of which has an account.
const MOST_PAIRS: u64 = 4_000_000;

/// The help of `--payload`, which other scenarios take as short as they like.
const PAYLOAD: &str = "Bytes of each message, such as 125 or 16KiB; up to 64MiB, and at least 16, or 8 with \
                       --binary, to tell who sent it";

#[derive(Clone, Debug, Args)]
#[command(mut_arg("payload", |arg| arg.help(PAYLOAD)))]
pub(super) struct BroadcastFlags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    content: Content,
    /// Connections that only receive
    #[arg(short, long, value_name = "N", default_value_t = 1000, value_parser = whole(1..=1_000_000))]
    subscribers: u32,
    /// Connections that publish, and receive what the others publish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1..=10_000))]
    publishers: u32,
    /// Open at most so many connections per second
    #[arg(long, value_name = "RATE", value_parser = rate)]
    ramp: Option<f64>,
    /// Messages per second of all publishers, on a schedule; 0 as fast as everyone gets them
    #[arg(long, value_name = "MESSAGES", default_value = "0", value_parser = rate_or_none)]
    rate: f64,
    /// Without --rate, messages of each publisher that not everyone has got yet [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    in_flight: Option<u32>,
    /// Whether publishers get their own messages, too: yes, no, or auto to find out
    #[arg(long, value_name = "WHETHER", default_value = "auto")]
    echoes_sender: EchoesSender,
    /// Before the load, wait that long for one more connection to get its first message of a
    /// publisher; if none at all got one, the URL is no hub (exit code 2)
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = period)]
    join_timeout: Duration,
}

impl BroadcastFlags {
    pub(super) fn run(
        self,
        settings: BTreeMap<String, String>,
        stop: &AtomicBool,
    ) -> Result<Report, String> {
        self.content.tell_origin()?;
        if self.rate > 0.0 && self.in_flight.is_some() {
            return Err("--in-flight is for broadcasts without --rate".into());
        }
        let connections = self.subscribers + self.publishers;
        if u64::from(connections) * u64::from(self.publishers) > MOST_PAIRS {
            return Err(format!(
                "{} publishers are too many for {connections} connections",
                self.publishers
            ));
        }
        let mut plan = self.common.plan(connections)?;
        plan.ramp = self.ramp;
        self.times.apply(&mut plan);
        self.content.apply(&mut plan);
        let how = Settings {
            publishers: self.publishers,
            rate: (self.rate > 0.0).then_some(self.rate),
            in_flight: self.in_flight.unwrap_or(1),
            echoes_sender: self.echoes_sender,
            join_timeout: self.join_timeout,
        };
        let hub = Arc::new(Hub::new(how, connections, plan.threads));
        let make = |_| Broadcast::new(hub.clone());
        let workload = Workload::Broadcast {
            scheduled: self.rate > 0.0,
        };
        let what = (workload, settings);
        run_and(&self.common, what, plan, make, stop, complete)
    }
}
