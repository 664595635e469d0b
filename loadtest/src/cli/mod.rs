//! Flags.

mod broadcast;
mod flags;
mod hostile;
mod output;
mod search;
mod values;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::compare;
use crate::engine::{Plan, Scenario};
use crate::report::Report;
use crate::report::details;
use crate::report::figures::Workload;
use crate::run::{self, Title};
use broadcast::BroadcastFlags;
use flags::{ChurnFlags, Common, EchoFlags, HandshakeFlags, IdleFlags, RateFlags};
use hostile::HostileFlags;
use search::SearchFlags;

/// A load generator for WebSocket servers that checks every message it gets back.
///
/// The exit code is 0 if every message came back as it was sent, 1 if something was wrong or a
/// requirement did not hold, 2 if the flags are bad, the server cannot be reached, its URL is no
/// hub (broadcast) or the results cannot be written, 130 if nothing was wrong but SIGINT or SIGTERM
/// ended the run early.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep a number of messages in flight on each connection (closed loop)
    Echo(EchoFlags),
    /// Send messages on a schedule, whether or not the server keeps up (open loop)
    Rate(RateFlags),
    /// Open connections and hold them
    Idle(IdleFlags),
    /// Open connections, as many per second as the server takes, and reset each at once
    Handshake(HandshakeFlags),
    /// Connect, exchange some messages, leave, over and over
    Churn(ChurnFlags),
    /// Let few connections publish what all connections of the URL's topic are to get
    Broadcast(BroadcastFlags),
    /// Attack the server, next to clients that behave well and whose figures are reported
    Hostile(HostileFlags),
    /// Find the most connections or the highest rate that still meets a limit
    Search(SearchFlags),
    Compare(Box<compare::Flags>),
}

/// The exit code of a run that a signal ended: what a shell makes of SIGINT.
const INTERRUPTED: u8 = 130;

/// Reads the flags, runs, reports.
pub fn main() -> ExitCode {
    let mut command = command();
    let matches = command.get_matches_mut();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.format(&mut command).exit(),
    };
    let settings = settings(&command, &matches);
    let result = match cli.command {
        Command::Echo(flags) => flags.run(settings, &stop_on_signals()),
        Command::Rate(flags) => flags.run(settings, &stop_on_signals()),
        Command::Idle(flags) => flags.run(settings, &stop_on_signals()),
        Command::Handshake(flags) => flags.run(settings, &stop_on_signals()),
        Command::Churn(flags) => flags.run(settings, &stop_on_signals()),
        Command::Broadcast(flags) => flags.run(settings, &stop_on_signals()),
        Command::Hostile(flags) => flags.run(settings, &stop_on_signals()),
        Command::Search(flags) => flags.run(settings, &stop_on_signals()),
        Command::Compare(flags) => return compare::run(&flags),
    };
    match result {
        Ok(report) if !(report.is_faultless() && report.failed_requirements.is_empty()) => {
            ExitCode::FAILURE
        }
        Ok(report) if report.details.contains_key("interrupted") => ExitCode::from(INTERRUPTED),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::from(2)
        }
    }
}

/// The flags, which take negative numbers so that each can say what it wants instead, and in the
/// long help of each scenario its details.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        let command = match command.get_name() {
            "compare" => command,
            scenario => {
                let details = details::help(scenario);
                command.after_long_help(format!(
                    "Details (in the summary, in --json and as details.NAME in --require):\n{details}"
                ))
            }
        };
        command.mut_args(|arg| {
            let takes_value = arg.get_long().is_some() && arg.get_action().takes_values();
            arg.allow_negative_numbers(takes_value)
        })
    })
}

/// Set by the first SIGINT or SIGTERM; the second ends the process at once.
fn stop_on_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal must not yet meet the flag it sets.
        signal_hook::flag::register_conditional_default(signal, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .expect("these signals can be handled");
    }
    stop
}

/// All flags of the subcommand with their values.
fn settings(command: &clap::Command, matches: &ArgMatches) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let Some((name, matches)) = matches.subcommand() else {
        return settings;
    };
    let Some(command) = command.find_subcommand(name) else {
        return settings;
    };
    for flag in command
        .get_arguments()
        .filter_map(|arg| arg.get_long().zip(Some(arg.get_id())))
    {
        let (long, id) = flag;
        if let Ok(Some(values)) = matches.try_get_raw(id.as_str()) {
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            settings.insert(long.into(), values.join(","));
        }
    }
    settings
}

/// Runs and writes what is asked for.
fn run<S: Scenario>(
    common: &Common,
    what: (Workload, BTreeMap<String, String>),
    plan: Plan,
    make: impl Fn(u32) -> S,
    stop: &AtomicBool,
) -> Result<Report, String> {
    run_and(common, what, plan, make, stop, |_| {})
}

/// The same, with a report that the scenario completes.
fn run_and<S: Scenario>(
    common: &Common,
    (workload, settings): (Workload, BTreeMap<String, String>),
    plan: Plan,
    make: impl Fn(u32) -> S,
    stop: &AtomicBool,
    complete: impl FnOnce(&mut Report),
) -> Result<Report, String> {
    let title = Title {
        scenario: workload.name(),
        target: common.url.to_string(),
        settings,
    };
    let total = plan.warmup + plan.duration;
    let mut session = common.output.session(&workload, total)?;
    let mut found = run::run(&title, plan, make, &mut session, stop)
        .map_err(|error| format!("{}: {error}", common.url))?;
    complete(&mut found.report);
    common.complete(&mut found, session);
    common.output.write(&workload, &mut found)?;
    Ok(found.report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn each_scenario_has_its_own_flags_among_the_options() {
        for (scenario, flag) in [
            ("echo", "--in-flight"),
            ("rate", "--rate"),
            ("churn", "--messages"),
            ("hostile", "--attackers"),
        ] {
            let mut command = command();
            let command = command.find_subcommand_mut(scenario).expect(scenario);
            let help = command.render_help().to_string();
            let (options, output) = help.split_once("\nOutput:").expect("a heading");
            assert!(options.contains(flag), "{help}");
            assert!(
                output.contains("--json") && !output.contains(flag),
                "{help}"
            );
        }
    }

    #[test]
    fn the_help_of_a_scenario_explains_its_details_and_no_other() {
        for (scenario, detail) in [
            ("broadcast", "given_up"),
            ("search", "at_least"),
            ("idle", "late_pongs"),
            ("hostile", "ATTACK.still_open"),
        ] {
            for other in ["broadcast", "search", "idle", "hostile", "echo"] {
                let mut command = command();
                let command = command.find_subcommand_mut(other).expect(other);
                let help = command.render_long_help().to_string();
                let explains = help.contains(&format!("\n  {detail}: "));
                assert_eq!(explains, scenario == other, "{detail}: {help}");
                assert!(help.contains("\n  unopened: "), "{help}");
            }
        }
        let mut command = command();
        let command = command.find_subcommand_mut("compare").expect("compare");
        assert!(!command.render_long_help().to_string().contains("unopened"));
    }

    #[test]
    fn the_help_says_what_broadcast_refuses_and_shows_no_empty_default() {
        for scenario in ["broadcast", "echo"] {
            let mut command = command();
            let command = command.find_subcommand_mut(scenario).expect(scenario);
            let help = command.render_help().to_string();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(!help.contains("[default: ]"), "{help}");
            assert!(!help.contains("[default: \"\"]"), "{help}");
            let says = help.contains("at least 16, or 8 with --binary");
            assert_eq!(says, scenario == "broadcast", "{help}");
        }
    }

    #[test]
    fn the_settings_tell_what_is_sent() {
        for (flag, text) in [
            (None, "true"),
            (Some("--text"), "true"),
            (Some("--binary"), "false"),
        ] {
            let mut command = command();
            let args = ["loadtest", "echo", "ws://127.0.0.1:1/"];
            let args = args.into_iter().chain(flag);
            let matches = command.try_get_matches_from_mut(args).expect("fine");
            let settings = settings(&command, &matches);
            let sent = (&settings["text"][..], &settings["binary"][..]);
            let binary = if text == "true" { "false" } else { "true" };
            assert_eq!(sent, (text, binary), "{flag:?}");
        }
    }

    #[test]
    fn negative_numbers_are_refused_by_their_flag() {
        let args = ["loadtest", "rate", "ws://127.0.0.1:1/", "--rate", "-5"];
        let error = command().try_get_matches_from(args).expect_err("refused");
        assert!(
            error.to_string().contains("expected a number per second"),
            "{error}"
        );
    }
}
