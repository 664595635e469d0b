//! The names of a report's details, as far as they are known before a run.

/// Those that any run may have.
const COMMON: [&str; 6] = [
    "interrupted",
    "received_late",
    "unclean_closes",
    "unclosed",
    "unopened",
    "unsent",
];

/// The details that a run of this scenario may have; `None` if their names depend on the run.
pub fn names(scenario: &str) -> Option<Vec<&'static str>> {
    let own: &[&str] = match scenario {
        "echo" | "rate" => &[],
        "broadcast" => &[
            "deliveries",
            "given_up",
            "published",
            "reach_percent",
            "receivers",
            "untimed_deliveries",
        ],
        "churn" | "handshake" => &["connections_per_second"],
        "idle" => &[
            "late_pongs",
            "memory_per_connection_before_echo",
            "pings",
            "pongs",
            "unasked",
            "unsolicited_pongs",
        ],
        _ => return None,
    };
    Some(own.iter().copied().chain(COMMON).collect())
}
