//! Which figures a run can have, known before it.

use super::details::{self, Need};

/// What is to be run: a scenario, with those of its flags that decide which figures it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// `echo`
    Echo,
    /// `rate`
    Rate,
    /// `idle`
    Idle {
        /// Whether connections are pinged.
        pings: bool,
        /// Whether each echoes a message.
        echoes: bool,
    },
    /// `handshake`
    Handshake,
    /// `churn`
    Churn {
        /// Whether connections exchange any.
        messages: bool,
    },
    /// `broadcast`
    Broadcast {
        /// Whether it follows a schedule.
        scheduled: bool,
    },
    /// `hostile`
    Hostile {
        /// Whether the well-behaved clients follow a schedule.
        scheduled: bool,
        /// Whether there are any.
        newcomers: bool,
        /// The names of its attacks.
        attacks: Vec<String>,
    },
    /// `search`
    Search {
        /// Whether its tries follow a schedule.
        scheduled: bool,
        /// How many there are at most.
        tries: u32,
    },
}

/// Nothing if runs can have a figure, else why not.
pub type Can = Result<(), &'static str>;

const NO_MESSAGES: &str = "`handshake` exchanges no messages";

impl Workload {
    /// The subcommand.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Rate => "rate",
            Self::Idle { .. } => "idle",
            Self::Handshake => "handshake",
            Self::Churn { .. } => "churn",
            Self::Broadcast { .. } => "broadcast",
            Self::Hostile { .. } => "hostile",
            Self::Search { .. } => "search",
        }
    }

    /// Whether messages come back.
    pub(super) fn messages(&self) -> Can {
        match self {
            Self::Handshake => Err(NO_MESSAGES),
            Self::Idle { echoes: false, .. } => Err("`idle` needs --echo-once for it"),
            Self::Churn { messages: false } => Err("`churn` needs --messages for it, more than 0"),
            _ => Ok(()),
        }
    }

    /// Whether there is a latency: of messages or of pings.
    pub(super) fn latency(&self) -> Can {
        match self {
            Self::Handshake => {
                Err("`handshake` exchanges no messages; it has handshake.p99 and so on")
            }
            Self::Idle { pings: true, .. } => Ok(()),
            Self::Idle { echoes: false, .. } => {
                Err("`idle` needs --echo-once or --ping-every for it")
            }
            _ => self.messages(),
        }
    }

    /// Whether there is a histogram to write: of the latency, or of the opening handshakes.
    pub fn percentiles(&self) -> Can {
        match self {
            Self::Handshake => Ok(()),
            _ => self.latency(),
        }
    }

    /// Whether there is a corrected latency.
    pub(super) fn corrected(&self) -> Can {
        match self {
            Self::Rate
            | Self::Broadcast { scheduled: true }
            | Self::Hostile {
                scheduled: true, ..
            }
            | Self::Search {
                scheduled: true, ..
            } => Ok(()),
            Self::Broadcast { .. } => Err("`broadcast` needs --rate for it"),
            Self::Hostile { .. } => Err("`hostile` needs --rate for it"),
            Self::Search { .. } => Err("a search with --in-flight has no schedule"),
            Self::Echo | Self::Idle { .. } | Self::Handshake | Self::Churn { .. } => {
                Err("only an open loop measures it, such as `rate`")
            }
        }
    }

    /// Whether CPU time is shared out among messages, or handshakes.
    pub(super) fn cpu_per_message(&self, watched: bool) -> Can {
        self.memory(watched)?;
        match self {
            Self::Handshake => Ok(()),
            _ => self.messages(),
        }
    }

    /// Whether the server's memory is known.
    pub(super) fn memory(&self, watched: bool) -> Can {
        if watched {
            Ok(())
        } else {
            Err("it needs --server-pid")
        }
    }

    /// Whether it is shared out among connections.
    pub(super) fn bytes_per_connection(&self, watched: bool) -> Can {
        match self {
            Self::Handshake => Err("`handshake` ends each connection as soon as it is open"),
            Self::Hostile { .. } => Err(
                "`hostile` cannot tell memory of the well-behaved connections from that of attackers",
            ),
            _ => self.memory(watched),
        }
    }

    /// The names of the details that such a run may have.
    pub(super) fn details(&self, watched: bool) -> Vec<&'static str> {
        let has = |need: &Need| match need {
            Need::Messages => self.messages().is_ok(),
            Need::Schedule => self.corrected().is_ok(),
            Need::ClosedLoop => self.corrected().is_err(),
            Need::Pings => matches!(self, Self::Idle { pings: true, .. }),
            Need::Newcomers => matches!(
                self,
                Self::Hostile {
                    newcomers: true,
                    ..
                }
            ),
            Need::ServerPid => watched,
        };
        details::of(self.name())
            .filter(|detail| detail.needs.iter().all(has))
            .map(|detail| detail.name)
            .collect()
    }

    /// Whether such a run may have a detail of this name.
    pub fn has_detail(&self, name: &str, watched: bool) -> bool {
        let general = self.general(name);
        let general = general.as_deref().unwrap_or(name);
        self.details(watched).contains(&general)
    }

    /// What stands in the list for a name with a part that depends on the run.
    fn general(&self, name: &str) -> Option<String> {
        let (first, rest) = name.split_once('.')?;
        match self {
            Self::Hostile { attacks, .. } if attacks.iter().any(|attack| attack == first) => {
                let number = |kind: &str| rest.strip_prefix(kind)?.parse::<u16>().ok();
                Some(match (number("closed_"), number("http_")) {
                    (Some(_), _) => "ATTACK.closed_CODE".into(),
                    (_, Some(_)) => "ATTACK.http_STATUS".into(),
                    _ => format!("ATTACK.{rest}"),
                })
            }
            Self::Search { tries, .. } if first == "try" => {
                let (number, met) = match rest.strip_suffix(".met") {
                    Some(number) => (number, ".met"),
                    None => (rest, ""),
                };
                let number: u32 = number.parse().ok()?;
                (1..=*tries)
                    .contains(&number)
                    .then(|| format!("try.N{met}"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::require::Requirement;

    const IDLE: Workload = Workload::Idle {
        pings: false,
        echoes: false,
    };

    fn check(text: &str, workload: &Workload, watched: bool) -> Result<(), String> {
        let requirement: Requirement = text.parse().expect(text);
        requirement.check_before(workload, watched)
    }

    fn hostile(scheduled: bool) -> Workload {
        Workload::Hostile {
            scheduled,
            newcomers: false,
            attacks: vec!["slowloris".into()],
        }
    }

    fn search(scheduled: bool) -> Workload {
        Workload::Search {
            scheduled,
            tries: 9,
        }
    }

    #[test]
    fn what_a_workload_cannot_have_is_refused_and_said_why() {
        let closed = Workload::Broadcast { scheduled: false };
        let mute = Workload::Churn { messages: false };
        for (workload, text, why) in [
            (&Workload::Echo, "corrected.p99<1s", "open loop"),
            (
                &Workload::Churn { messages: true },
                "corrected.p50<1s",
                "open loop",
            ),
            (&closed, "corrected.p99<1s", "--rate"),
            (&closed, "details.received_late<1", "no detail"),
            (&hostile(false), "corrected.p99<1s", "--rate"),
            (&search(false), "corrected.p99<1s", "--in-flight"),
            (&Workload::Handshake, "p99<1s", "handshake.p99"),
            (&Workload::Handshake, "raw.p99<1s", "handshake.p99"),
            (&Workload::Handshake, "rate>1", "no messages"),
            (&Workload::Handshake, "messages-lost<1", "no messages"),
            (
                &Workload::Handshake,
                "bytes-per-connection<1",
                "as soon as it is open",
            ),
            (&hostile(true), "bytes-per-connection<1", "attackers"),
            (&IDLE, "p99<1s", "--echo-once or --ping-every"),
            (&IDLE, "rate>1", "--echo-once"),
            (&IDLE, "cpu-per-message<1s", "--echo-once"),
            (&IDLE, "details.pings>0", "no detail `pings`: there are"),
            (
                &IDLE,
                "details.memory_per_connection_before_echo<9",
                "no detail",
            ),
            (&mute, "rate>1", "--messages"),
            (&mute, "cpu-per-message<1s", "--messages"),
            (&hostile(true), "details.unmasked.opened>1", "no detail"),
            (&hostile(true), "details.slowloris.foo>1", "no detail"),
            (&hostile(true), "details.newcomers_opened>1", "no detail"),
            (&search(true), "details.try.10>1", "no detail"),
        ] {
            let error = check(text, workload, true).expect_err(text);
            assert!(error.starts_with(&format!("{text}: ")), "{error}");
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_a_workload_can_have_is_not_refused() {
        let pings = Workload::Idle {
            pings: true,
            echoes: false,
        };
        let echoes = Workload::Idle {
            pings: false,
            echoes: true,
        };
        for (workload, text) in [
            (&Workload::Rate, "corrected.p99<1s"),
            (&Workload::Rate, "details.received_late<1"),
            (&Workload::Broadcast { scheduled: true }, "corrected.p99<1s"),
            (
                &Workload::Broadcast { scheduled: false },
                "details.given_up<1",
            ),
            (&hostile(true), "corrected.p99<1s"),
            (&search(true), "corrected.p99<1s"),
            (&search(true), "details.try.9.met>0"),
            (&search(false), "details.at_least<1"),
            (&Workload::Handshake, "handshake.p99<1s"),
            (&Workload::Handshake, "cpu-per-message<1s"),
            (&Workload::Handshake, "details.connections_per_second>1"),
            (&pings, "p99<1s"),
            (&pings, "details.pongs>0"),
            (&echoes, "rate>1"),
            (&echoes, "details.memory_per_connection_before_echo<9"),
            (&IDLE, "bytes-per-connection<99"),
            (&hostile(false), "details.slowloris.closed_1002>0"),
            (&hostile(false), "details.slowloris.http_408>0"),
            (&hostile(false), "details.slowloris.bytes>0"),
            (&hostile(false), "details.memory_peak<9"),
        ] {
            assert_eq!(check(text, workload, true), Ok(()), "{text}");
        }
    }

    #[test]
    fn figures_of_the_server_need_its_pid() {
        for text in [
            "memory<1GiB",
            "cpu-per-message<1s",
            "bytes-per-connection<9",
        ] {
            let error = check(text, &Workload::Echo, false).expect_err(text);
            assert_eq!(error, format!("{text}: it needs --server-pid"));
        }
        assert!(check("details.memory_peak<9", &hostile(true), false).is_err());
    }
}
