//! The details that runs of each scenario may have: their names, what they need and what they mean.

/// What a run must have, or be, to have a detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Messages that come back.
    Messages,
    /// A schedule.
    Schedule,
    /// None.
    ClosedLoop,
    /// `--ping-every`.
    Pings,
    /// `--newcomers`.
    Newcomers,
    /// `--server-pid`.
    ServerPid,
}

/// An entry of a report's details.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    /// Its name; `ATTACK`, `CODE`, `STATUS` and `N` stand for those of the run.
    pub(super) name: &'static str,
    pub(super) needs: &'static [Need],
    meaning: &'static str,
}

const fn detail(name: &'static str, needs: &'static [Need], meaning: &'static str) -> Detail {
    Detail {
        name,
        needs,
        meaning,
    }
}

use Need::{ClosedLoop, Messages, Newcomers, Pings, Schedule, ServerPid};

/// Those that any run may have.
const COMMON: &[Detail] = &[
    detail(
        "interrupted",
        &[],
        "1 if a signal ended the run before its time",
    ),
    detail(
        "unclean_closes",
        &[],
        "connections that ended otherwise than by the closing handshake",
    ),
    detail(
        "unclosed",
        &[],
        "closing handshakes not answered within --close-timeout",
    ),
    detail(
        "unopened",
        &[],
        "connections still being opened when the run ended, which is no failure",
    ),
    detail(
        "unsent",
        &[Messages],
        "messages that had not begun to leave by the end of --grace",
    ),
    detail(
        "received_late",
        &[Schedule],
        "messages due in the measured part that came back after it; not lost, but not in the rate",
    ),
];

const BROADCAST: &[Detail] = &[
    detail(
        "deliveries",
        &[],
        "messages of the measured part that reached a receiver",
    ),
    detail(
        "given_up",
        &[ClosedLoop],
        "messages that some receiver lacked for 2s, so that the next were published without waiting for it",
    ),
    detail("published", &[], "messages published in the measured part"),
    detail(
        "reach_percent",
        &[],
        "deliveries, of those there ought to have been",
    ),
    detail(
        "receivers",
        &[],
        "connections that each message was to reach",
    ),
    detail(
        "untimed_deliveries",
        &[],
        "deliveries so late that their latency is not known",
    ),
];

const REPLACED: &[Detail] = &[detail(
    "connections_per_second",
    &[],
    "connections opened per second of the measured part",
)];

const IDLE: &[Detail] = &[
    detail(
        "late_pongs",
        &[Pings],
        "pings left out because the last one was not answered yet",
    ),
    detail(
        "memory_per_connection_before_echo",
        &[Messages, ServerPid],
        "bytes of the server's memory per connection, before the echo of --echo-once",
    ),
    detail("pings", &[Pings], "pings sent"),
    detail("pongs", &[Pings], "pongs that answered them"),
    detail(
        "unasked",
        &[],
        "messages that began before anything was sent that they could answer",
    ),
    detail("unsolicited_pongs", &[], "pongs that nobody asked for"),
];

const HOSTILE: &[Detail] = &[
    detail(
        "baseline_p50_us",
        &[],
        "latency of the well-behaved clients before the attack",
    ),
    detail("baseline_p99_us", &[], "the same, 99th percentile"),
    detail("baseline_max_us", &[], "the same, the longest"),
    detail("baseline_per_second", &[], "their messages per second"),
    detail(
        "attack_p50_us",
        &[],
        "latency of the well-behaved clients under attack",
    ),
    detail("attack_p99_us", &[], "the same, 99th percentile"),
    detail("attack_max_us", &[], "the same, the longest"),
    detail("attack_per_second", &[], "their messages per second"),
    detail("ratio", &[], "attack_p99_us to baseline_p99_us"),
    detail(
        "overstayed",
        &[],
        "attackers that the server bore for longer than --overstay",
    ),
    detail(
        "memory_peak",
        &[ServerPid],
        "the most memory the server had, in bytes",
    ),
    detail(
        "newcomers_opened",
        &[Newcomers],
        "connections that newcomers opened",
    ),
    detail("newcomers_failed", &[Newcomers], "those that failed"),
    detail(
        "newcomers_unanswered",
        &[Newcomers],
        "those still being opened when the attack ended",
    ),
    detail(
        "newcomers_received",
        &[Newcomers],
        "messages that came back to them",
    ),
    detail(
        "newcomers_handshake_p99_us",
        &[Newcomers],
        "how long their opening handshakes took",
    ),
    detail(
        "ATTACK.opened",
        &[],
        "connections of an attack that got as far as attacking",
    ),
    detail(
        "ATTACK.refused",
        &[],
        "attempts that the server refused, or did not answer in time",
    ),
    detail("ATTACK.ended", &[], "connections the server ended"),
    detail(
        "ATTACK.ended_after_s",
        &[],
        "after how many seconds, on average",
    ),
    detail("ATTACK.ended_after_max_s", &[], "the same, the longest"),
    detail("ATTACK.resets", &[], "of those ended, with a reset"),
    detail("ATTACK.silently", &[], "without a word"),
    detail("ATTACK.closed_CODE", &[], "with this close code"),
    detail("ATTACK.http_STATUS", &[], "with a response of this status"),
    detail("ATTACK.left", &[], "connections that the attackers ended"),
    detail("ATTACK.still_open", &[], "connections open at the end"),
    detail(
        "ATTACK.oldest_s",
        &[],
        "how many seconds the oldest of these had been",
    ),
    detail(
        "ATTACK.overstayed",
        &[],
        "connections borne for longer than --overstay",
    ),
    detail("ATTACK.bytes", &[], "bytes that the attack sent"),
];

const SEARCH: &[Detail] = &[
    detail("tries", &[], "how often something was tried"),
    detail("most", &[], "the most that met the limit"),
    detail(
        "at_least",
        &[],
        "1 if more than that might meet it, too: the client was the bottleneck, the search ended early or \
         all that was tried met the limit; else 0",
    ),
    detail("try.N", &[], "what the Nth try tried"),
    detail("try.N.met", &[], "1 if it met the limit, else 0"),
];

/// All that runs of a scenario may have, whatever its flags.
pub(super) fn of(scenario: &str) -> impl Iterator<Item = &'static Detail> {
    let own: &[Detail] = match scenario {
        "broadcast" => BROADCAST,
        "churn" | "handshake" => REPLACED,
        "hostile" => HOSTILE,
        "idle" => IDLE,
        "search" => SEARCH,
        _ => &[],
    };
    own.iter().chain(COMMON)
}

/// The details of a scenario and what they mean, a line for each.
pub fn help(scenario: &str) -> String {
    let lines = of(scenario).map(|one| format!("  {}: {}\n", one.name, one.meaning));
    lines.collect()
}
