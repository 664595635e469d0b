//! The command line. Every default comes from [`Config::default`].

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, PossibleValuesParser, Resettable, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser};
use log::LevelFilter;
use sockeye::Config;

use super::values::{self, Bytes, Timeout, bytes_from};

/// A request's head shorter than this cannot hold an opening handshake with a long path.
const MIN_HEADERS: usize = 256;

const AFTER_HELP: &str = "\
Every flag can also be set in the environment; the command line comes first, and an empty \
variable counts as none. BYTES are whole \
numbers with an optional suffix: KiB or k (1024), MiB or m, GiB or g. DURATION is such as 300ms, \
30s or 1m30s, at most 12 days; 0 switches the deadline off.";

/// A WebSocket server on per-core event loops
///
/// Serves ws://HOST:PORT/echo, /chat, /questions, /ticker, /relay/NAME, /close and /bench, pages that
/// show them in a browser at http://HOST:PORT/, and prints one line per address on standard output
/// when it is ready; the log goes to standard error. SIGTERM or SIGINT stops it gracefully,
/// a second one at once.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, after_help = AFTER_HELP)]
pub(crate) struct Flags {
    /// Address to listen on; repeatable, or several with commas. A name binds every address it
    /// resolves to, port 0 picks a free one
    #[arg(
        long,
        env = "SOCKEYE_LISTEN",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    #[arg(value_parser = values::listen, default_values_t = Config::default().listen)]
    listen: Vec<String>,

    /// Event loop threads; 0 = one per core, less one if there are workers
    #[arg(long, env = "SOCKEYE_REACTORS", value_name = "N")]
    #[arg(value_parser = values::threads, default_value_t = Config::default().reactors)]
    reactors: usize,

    /// Handler threads; 0 = handlers run on the event loops [default: one per core]
    #[arg(long, env = "SOCKEYE_WORKERS", value_name = "N")]
    #[arg(value_parser = values::threads)]
    workers: Option<usize>,

    /// Pin event loop i to core i [default: off]
    #[arg(long, env = "SOCKEYE_PIN", value_parser = BoolishValueParser::new())]
    pin: bool,

    /// Share the port with a server that already listens on it, instead of failing [default: off]
    #[arg(long, env = "SOCKEYE_TAKEOVER", value_parser = BoolishValueParser::new())]
    takeover: bool,

    /// Serve the files of this folder as pages, instead of the built-in ones [default: off]
    #[arg(long, env = "SOCKEYE_PAGES", value_name = "DIR")]
    pub(crate) pages: Option<PathBuf>,

    /// Least severe level that is logged, to standard error
    #[arg(long, env = "SOCKEYE_LOG", value_name = "LEVEL", ignore_case = true)]
    #[arg(value_parser = log_level(), default_value = "info")]
    pub(crate) log: LevelFilter,

    #[command(flatten)]
    access: AccessFlags,

    #[command(flatten)]
    limits: LimitFlags,

    #[command(flatten)]
    timeouts: TimeoutFlags,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Access")]
struct AccessFlags {
    /// Allow requests from pages of this origin, scheme://host[:port] or null, and refuse others;
    /// repeatable, or several with commas [default: any]
    #[arg(
        long = "origin",
        env = "SOCKEYE_ORIGIN",
        value_name = "URL",
        value_delimiter = ','
    )]
    #[arg(value_parser = values::origin)]
    origins: Vec<String>,

    /// Allow requests to this host, a name (any port) or name:port, and refuse others; repeatable,
    /// or several with commas [default: any]
    #[arg(
        long = "host",
        env = "SOCKEYE_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    #[arg(value_parser = values::host)]
    hosts: Vec<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
struct LimitFlags {
    /// Largest message; a larger one closes its connection with 1009
    #[arg(long, env = "SOCKEYE_MAX_MESSAGE", value_name = "BYTES", value_parser = bytes_from(1))]
    #[arg(default_value_t = Bytes(Config::default().limits.max_message))]
    max_message: Bytes,

    /// Most connections at once; more wait unaccepted [default: what the hard limit on open
    /// descriptors allows]
    #[arg(long, env = "SOCKEYE_MAX_CONNECTIONS", value_name = "N", value_parser = values::count)]
    max_connections: Option<usize>,

    /// Largest head of a request; a larger one is answered 431
    #[arg(long, env = "SOCKEYE_MAX_HEADERS", value_name = "BYTES")]
    #[arg(value_parser = bytes_from(MIN_HEADERS))]
    #[arg(default_value_t = Bytes(Config::default().limits.max_headers))]
    max_headers: Bytes,

    /// Replies queued for a connection above which the server stops reading from it
    #[arg(long, env = "SOCKEYE_OUTBOX_LIMIT", value_name = "BYTES", value_parser = bytes_from(1))]
    #[arg(default_value_t = Bytes(Config::default().limits.outbox))]
    outbox_limit: Bytes,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Deadlines")]
struct TimeoutFlags {
    /// From accept (a client that sends nothing is accepted after a second) to the end of the
    /// request's head, and again to its route's decision; 0 = off
    #[arg(long, env = "SOCKEYE_HANDSHAKE_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = Timeout(Config::default().timeouts.handshake))]
    handshake_timeout: Timeout,

    /// Without a message from the peer, before its connection is closed with 1001; 0 = off
    #[arg(long, env = "SOCKEYE_IDLE_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = Timeout(Config::default().timeouts.idle))]
    idle_timeout: Timeout,

    /// Without any byte from the peer, before it is sent a ping; 0 = off
    #[arg(long, env = "SOCKEYE_PING_INTERVAL", value_name = "DURATION")]
    #[arg(default_value_t = Timeout(Config::default().timeouts.ping_interval))]
    ping_interval: Timeout,

    /// From a ping to the next byte from the peer, else its connection ends; 0 = off
    #[arg(long, env = "SOCKEYE_PONG_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = Timeout(Config::default().timeouts.pong))]
    pong_timeout: Timeout,

    /// From the server's Close frame to the peer's, and again to the end of its stream; 0 = off
    #[arg(long, env = "SOCKEYE_CLOSE_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = Timeout(Config::default().timeouts.close))]
    close_timeout: Timeout,

    /// Without the peer taking a byte of what is queued for it, before its connection is dropped;
    /// 0 = off
    #[arg(long, env = "SOCKEYE_WRITE_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = Timeout(Config::default().timeouts.write))]
    write_timeout: Timeout,

    /// From SIGTERM or SIGINT to the end of the last connection; 0 = wait for ever
    #[arg(long, env = "SOCKEYE_DRAIN_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = Timeout(Config::default().timeouts.drain))]
    drain_timeout: Timeout,
}

impl Flags {
    /// Reads the command line and the environment.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::from_arg_matches(&command().try_get_matches()?)
    }

    /// The configuration these flags describe.
    pub(crate) fn into_config(self) -> Config {
        let mut config = Config::default();
        config.listen = self.listen;
        config.reactors = self.reactors;
        config.workers = self.workers;
        config.pin = self.pin;
        config.takeover = self.takeover;
        config.origins = self.access.origins;
        config.hosts = self.access.hosts;

        let limits = &mut config.limits;
        limits.max_message = self.limits.max_message.0;
        limits.max_connections = self.limits.max_connections;
        limits.max_headers = self.limits.max_headers.0;
        limits.outbox = self.limits.outbox_limit.0;

        let timeouts = &mut config.timeouts;
        timeouts.handshake = self.timeouts.handshake_timeout.0;
        timeouts.idle = self.timeouts.idle_timeout.0;
        timeouts.ping_interval = self.timeouts.ping_interval.0;
        timeouts.pong = self.timeouts.pong_timeout.0;
        timeouts.close = self.timeouts.close_timeout.0;
        timeouts.write = self.timeouts.write_timeout.0;
        timeouts.drain = self.timeouts.drain_timeout.0;
        config
    }
}

/// The flags, which take negative numbers so that each can say what it wants instead. A variable
/// that is empty is not there.
fn command() -> Command {
    Flags::command().mut_args(|arg| {
        let takes_value = arg.get_action().takes_values();
        let arg = arg.allow_negative_numbers(takes_value);
        match arg.get_env().and_then(env::var_os) {
            Some(value) if value.is_empty() => arg.env(Resettable::Reset),
            _ => arg,
        }
    })
}

/// In one line, what is wrong with these arguments or, for what they do not say, the environment.
pub(crate) fn explain(error: &clap::Error, arguments: &[OsString]) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim);
    let line = lines.next().unwrap_or("bad flags");
    let mut line = line.trim_start_matches("error: ").to_owned();
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && let Some(variable) = variable(flag, arguments)
    {
        line = line.replacen(&format!("for '{flag}'"), &format!("in {variable}"), 1);
    }
    for hint in lines.filter(|line| line.starts_with("[possible") || line.starts_with("tip: a ")) {
        line = format!("{line} {}", hint.replace("tip: ", "- "));
    }
    line
}

/// The variable that a flag, as errors call it, has its value from.
fn variable(flag: &str, arguments: &[OsString]) -> Option<String> {
    let name = flag.split_whitespace().next()?;
    let is_given = arguments.iter().any(|argument| {
        let rest = argument.to_str().and_then(|text| text.strip_prefix(name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    let command = Flags::command();
    let mut flags = command.get_arguments();
    let flag = flags.find(|arg| arg.get_long() == name.strip_prefix("--"))?;
    let variable = flag.get_env()?.to_str()?.to_owned();
    (!is_given).then_some(variable)
}

/// Those of these variables that look like the program's and are not.
pub(crate) fn unknown(variables: impl Iterator<Item = OsString>) -> Vec<String> {
    let command = Flags::command();
    let ours: Vec<_> = command.get_arguments().map(|arg| arg.get_env()).collect();
    variables
        .filter(|name| !ours.contains(&Some(name)))
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("SOCKEYE_"))
        .collect()
}

fn log_level() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(args: &[&str]) -> Result<Flags, clap::Error> {
        let args = [&["sockeye"], args].concat();
        Flags::from_arg_matches(&command().try_get_matches_from(args)?)
    }

    fn config(args: &[&str]) -> Config {
        parse(args).unwrap().into_config()
    }

    #[test]
    fn the_command_is_well_formed() {
        Flags::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        for arg in Flags::command().get_arguments() {
            let flag = arg.get_long().unwrap();
            let variable = format!("SOCKEYE_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env(), Some(variable.as_ref()), "--{flag}");
        }
    }

    #[test]
    fn every_flag_has_help_with_its_default() {
        for arg in Flags::command().get_arguments() {
            let help = arg.get_help().unwrap().to_string();
            let shown = arg.get_action().takes_values() && !arg.get_default_values().is_empty();
            assert!(
                shown || help.contains("[default: "),
                "--{}",
                arg.get_long().unwrap()
            );
        }
    }

    #[test]
    fn without_flags_it_is_the_default() {
        let ours = format!("{:?}", config(&[]));
        assert_eq!(ours, format!("{:?}", Config::default()));
        assert_eq!(parse(&[]).unwrap().log, LevelFilter::Info);
    }

    #[test]
    fn each_flag_sets_its_field() {
        type Field = fn(&Config) -> String;
        let cases: [(&str, &str, Field, &str); 19] = [
            ("--reactors", "3", |c| c.reactors.to_string(), "3"),
            ("--workers", "4", |c| format!("{:?}", c.workers), "Some(4)"),
            (
                "--max-message",
                "64KiB",
                |c| c.limits.max_message.to_string(),
                "65536",
            ),
            (
                "--max-connections",
                "7",
                |c| format!("{:?}", c.limits.max_connections),
                "Some(7)",
            ),
            (
                "--max-headers",
                "256",
                |c| c.limits.max_headers.to_string(),
                "256",
            ),
            (
                "--outbox-limit",
                "2m",
                |c| c.limits.outbox.to_string(),
                "2097152",
            ),
            (
                "--handshake-timeout",
                "1s",
                |c| format!("{:?}", c.timeouts.handshake),
                "Some(1s)",
            ),
            (
                "--idle-timeout",
                "2s",
                |c| format!("{:?}", c.timeouts.idle),
                "Some(2s)",
            ),
            (
                "--ping-interval",
                "3s",
                |c| format!("{:?}", c.timeouts.ping_interval),
                "Some(3s)",
            ),
            (
                "--pong-timeout",
                "4s",
                |c| format!("{:?}", c.timeouts.pong),
                "Some(4s)",
            ),
            (
                "--close-timeout",
                "6s",
                |c| format!("{:?}", c.timeouts.close),
                "Some(6s)",
            ),
            (
                "--write-timeout",
                "7s",
                |c| format!("{:?}", c.timeouts.write),
                "Some(7s)",
            ),
            (
                "--drain-timeout",
                "8s",
                |c| format!("{:?}", c.timeouts.drain),
                "Some(8s)",
            ),
            (
                "--drain-timeout",
                "0",
                |c| format!("{:?}", c.timeouts.drain),
                "None",
            ),
            ("--listen", "[::1]:0", |c| c.listen.join(" "), "[::1]:0"),
            ("--listen", "a:1,b:2", |c| c.listen.join(" "), "a:1 b:2"),
            (
                "--origin",
                "null,http://a",
                |c| c.origins.join(" "),
                "null http://a",
            ),
            ("--host", "a,b:1", |c| c.hosts.join(" "), "a b:1"),
            ("--log", "TRACE", |_| String::new(), ""),
        ];
        let default = format!("{:?}", Config::default());
        for (flag, value, field, expected) in cases {
            let config = config(&[flag, value]);
            assert_eq!(field(&config), expected, "{flag}");
            assert_eq!(format!("{config:?}") == default, flag == "--log", "{flag}");
        }
        assert!(config(&["--pin"]).pin);
        assert!(config(&["--takeover"]).takeover);
        assert_eq!(parse(&["--log", "off"]).unwrap().log, LevelFilter::Off);
        assert_eq!(
            config(&["--ping-interval", "300ms"]).timeouts.ping_interval,
            Some(Duration::from_millis(300))
        );
    }

    #[test]
    fn lists_grow_with_each_use() {
        let config = config(&[
            "--listen", "a:1", "--listen", "b:2", "--origin", "http://a", "--origin", "http://b",
            "--host", "a", "--host", "b",
        ]);
        assert_eq!(config.listen, ["a:1", "b:2"]);
        assert_eq!(config.origins, ["http://a", "http://b"]);
        assert_eq!(config.hosts, ["a", "b"]);
    }

    #[test]
    fn bad_values_are_refused_with_exit_code_2() {
        for (flag, value, reason) in [
            ("--listen", "localhost", "port is missing"),
            ("--listen", "", "expected HOST:PORT"),
            ("--listen", "localhost:99999", "not a port"),
            ("--reactors", "-1", "expected a whole number from 0 to 1024"),
            (
                "--reactors",
                "1025",
                "expected a whole number from 0 to 1024",
            ),
            (
                "--workers",
                "many",
                "expected a whole number from 0 to 1024",
            ),
            ("--max-message", "0", "at least 1"),
            ("--max-message", "1.5m", "whole number"),
            ("--max-connections", "0", "at least 1"),
            ("--max-connections", "lots", "whole number"),
            ("--max-headers", "255", "at least 256"),
            ("--outbox-limit", "0", "at least 1"),
            ("--handshake-timeout", "30", "time unit needed"),
            ("--idle-timeout", "13d", "at most 12 days"),
            ("--ping-interval", "10us", "at least 1ms"),
            ("--pong-timeout", "-1s", ""),
            ("--origin", "http://example.com/", "no path"),
            ("--host", "http://example.com", ""),
            ("--log", "loud", "possible values"),
            ("--no-such-flag", "1", "unexpected argument"),
        ] {
            let error = parse(&[&format!("{flag}={value}")]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{flag} {value}");
            let text = error.to_string();
            assert!(text.contains(flag), "{flag} {value}: {text}");
            assert!(text.contains(reason), "{flag} {value}: {text}");
        }
        assert_eq!(parse(&["stray"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn an_error_is_one_line_that_says_all() {
        for (args, line) in [
            (
                &["--log", "loud"][..],
                "invalid value 'loud' for '--log <LEVEL>' [possible values: off, error, warn, info, debug, trace]",
            ),
            (
                &["--workers", "-1"],
                "invalid value '-1' for '--workers <N>': expected a whole number from 0 to 1024",
            ),
            (
                &["--max-mesage=1"],
                "unexpected argument '--max-mesage' found - a similar argument exists: '--max-message'",
            ),
        ] {
            let arguments: Vec<_> = args.iter().map(OsString::from).collect();
            assert_eq!(explain(&parse(args).unwrap_err(), &arguments), line);
        }
    }

    #[test]
    fn a_value_of_the_environment_is_told_by_its_variable() {
        let error = parse(&["--max-message=abc"]).unwrap_err();
        let wanted = "expected a whole number of bytes, KiB, MiB or GiB";
        let given = ["--max-message-not", "--max-headers=1"].map(OsString::from);
        assert_eq!(
            explain(&error, &given),
            format!("invalid value 'abc' in SOCKEYE_MAX_MESSAGE: {wanted}")
        );
        for given in ["--max-message", "--max-message=abc"] {
            assert_eq!(
                explain(&error, &[given.into()]),
                format!("invalid value 'abc' for '--max-message <BYTES>': {wanted}")
            );
        }
    }

    #[test]
    fn unknown_variables_are_those_of_no_flag() {
        let names = ["PATH", "SOCKEYE_PIN", "SOCKEYE_MAX_MESAGE", "SOCKEYE"];
        let found = unknown(names.into_iter().map(OsString::from));
        assert_eq!(found, ["SOCKEYE_MAX_MESAGE"]);
    }
}
