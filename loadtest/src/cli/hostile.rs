//! The flags of `hostile`.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use super::flags::{Common, Content};
use super::values::{duration, period, rate, rate_or_none, size};
use crate::engine::{Plan, Scenario};
use crate::report::Report;
use crate::report::figures::Workload;
use crate::report::quantity::whole;
use crate::run::Title;
use crate::run::hostile::{self, Assault, STEP};
use crate::scenario::hostile::{Attack, Orders};
use crate::scenario::{Echo, Rate};

/// Attackers that are borne for longer are noted, unless a flag says otherwise.
const OVERSTAY: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Args)]
pub(super) struct HostileFlags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    content: Content,
    /// What attackers do, several separated by commas; all is everything: silent, slowloris,
    /// endless-headers, garbage-request, reset-connect, stalled-frame, trickled-frame, never-read,
    /// ping-flood, fragment-flood, reset-frame, garbage-frames, oversized-length, oversized-control,
    /// unmasked
    #[arg(long, value_name = "NAME", default_value = "all", value_parser = attacks)]
    attack: Attacks,
    /// Attackers at the same time; each attack has an equal part
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole(1..=100_000))]
    attackers: u32,
    /// What each attacker does per second: bursts of about 4 KiB of a flood, or new connections
    #[arg(long, value_name = "RATE", default_value = "20", value_parser = rate)]
    attack_rate: f64,
    /// Bytes that all attackers together send at most
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = size)]
    attack_bytes: u64,
    /// Load threads of the attackers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    attack_threads: u32,
    /// Note attackers that the server bears for longer than this though it should end them. Where it
    /// defers accepting (TCP_DEFER_ACCEPT, as sockeye does), it sees a silent one, and starts its
    /// deadline, only about a second after the connection [default: half of --duration, at most 30s]
    #[arg(long, value_name = "DURATION", value_parser = period)]
    overstay: Option<Duration>,
    /// Makes the garbage that attackers send
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Well-behaved connections, whose echoes are checked
    #[arg(short, long, value_name = "N", default_value_t = 16, value_parser = whole(1..=100_000))]
    connections: u32,
    /// Messages per second of all well-behaved connections, on a schedule [default: one message in
    /// flight on each]
    #[arg(long, value_name = "MESSAGES", value_parser = rate)]
    rate: Option<f64>,
    /// Let so many well-behaved clients per second connect, exchange a message and leave during the
    /// attack; 0 for none
    #[arg(long, value_name = "RATE", default_value = "5", value_parser = rate_or_none)]
    newcomers: f64,
    /// Load that does not count, first
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    warmup: Duration,
    /// Load without an attack, to compare with
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = period)]
    baseline: Duration,
    /// Load under attack
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = period)]
    duration: Duration,
    /// How long answers are waited for after that
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    grace: Duration,
}

#[derive(Clone, Debug)]
struct Attacks(Vec<Attack>);

fn attacks(text: &str) -> Result<Attacks, String> {
    let mut attacks = Vec::new();
    for name in text.split(',') {
        match name.trim() {
            "all" => attacks.extend(Attack::ALL),
            name => attacks.push(name.parse()?),
        }
    }
    attacks.sort_unstable();
    attacks.dedup();
    Ok(Attacks(attacks))
}

impl HostileFlags {
    pub(super) fn run(
        self,
        settings: BTreeMap<String, String>,
        stop: &AtomicBool,
    ) -> Result<Report, String> {
        let attacks = self.attack.0.len() as u32;
        if self.attackers < attacks * self.attack_threads {
            return Err(format!(
                "{} attackers are too few for {attacks} attacks on {} threads",
                self.attackers, self.attack_threads
            ));
        }
        let mut plan = self.common.plan(self.connections)?;
        self.content.apply(&mut plan);
        plan.warmup = self.warmup;
        plan.duration = self.baseline + self.duration;
        plan.grace = self.grace;
        plan.steps = vec![(self.baseline, STEP)];
        match self.rate {
            None => {
                let echo = Echo {
                    in_flight: 1,
                    active: 1.0,
                };
                self.run_with(settings, plan, |_| echo, stop)
            }
            Some(rate) => {
                let shares: Vec<_> = (0..plan.threads).map(|thread| plan.share(thread)).collect();
                let make = |thread: u32| Rate::new(rate, shares[thread as usize], self.connections);
                self.run_with(settings, plan, make, stop)
            }
        }
    }

    fn run_with<S: Scenario>(
        &self,
        settings: BTreeMap<String, String>,
        plan: Plan,
        make: impl Fn(u32) -> S,
        stop: &AtomicBool,
    ) -> Result<Report, String> {
        let workload = self.workload();
        let title = Title {
            scenario: workload.name(),
            target: self.common.url.to_string(),
            settings,
        };
        let assault = self.assault();
        let total = plan.warmup + plan.duration;
        let mut session = self.common.output.session(&workload, total)?;
        let mut found = hostile::hostile(&title, plan, &assault, make, &mut session, stop)
            .map_err(|error| format!("{}: {error}", self.common.url))?;
        self.common.complete(&mut found, session);
        note_memory(&mut found.report);
        if let Some(server) = &mut found.report.server {
            // It is not the well-behaved connections that have it.
            server.memory_per_connection = None;
        }
        self.common.output.write(&workload, &mut found)?;
        Ok(found.report)
    }

    fn workload(&self) -> Workload {
        Workload::Hostile {
            scheduled: self.rate.is_some(),
            newcomers: self.newcomers > 0.0,
            attacks: self.attack.0.iter().map(Attack::to_string).collect(),
        }
    }

    fn assault(&self) -> Assault {
        Assault {
            orders: Orders {
                attacks: self.attack.0.clone(),
                rate: self.attack_rate,
                bytes: self.attack_bytes,
                overstay: self.overstay.unwrap_or(OVERSTAY.min(self.duration / 2)),
                seed: self.seed,
            },
            attackers: self.attackers,
            threads: self.attack_threads,
            newcomers: (self.newcomers > 0.0).then_some(self.newcomers),
        }
    }
}

/// The most memory the server had, which may be more than it has at the end.
fn note_memory(report: &mut Report) {
    let samples = report.series.iter();
    let most = samples.filter_map(|sample| sample.server_memory).max();
    if let Some(most) = most {
        report.details.insert("memory_peak".into(), most as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_attacks() {
        assert_eq!(attacks("all").unwrap().0, Attack::ALL);
        let two = attacks("unmasked, slowloris,unmasked").unwrap().0;
        assert_eq!(two, [Attack::Slowloris, Attack::Unmasked]);
        assert!(attacks("").is_err() && attacks("all,x").is_err());
    }
}
