//! The `sockeye` binary: flags, signals, and the server with its built-in endpoints.

mod cli;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use sockeye::{Config, Folder, Running, Server, services};

use cli::flags::{self, Flags};
use cli::signals::{self, StopSwitch};
use cli::{descriptors, logger};

/// The server ended by itself with an error.
const FAILED: u8 = 1;
/// The server could not start: what clap exits with for a bad flag.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    let flags = match Flags::read() {
        Ok(flags) => flags,
        Err(error) => return explain(&error),
    };
    logger::init(flags.log);
    for name in flags::unknown(std::env::vars_os().map(|(name, _)| name)) {
        log::warn!("{name} in the environment is no variable of this program (see --help)");
    }
    let pages = flags.pages.clone();
    let config = flags.into_config();

    let running = match start(config, pages.as_deref()) {
        Ok(Some(running)) => running,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => return fail(&*error, CANNOT_START),
    };
    match running.join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FAILED),
    }
}

/// Starts the server and says where it listens; `None` when a signal asked it to stop before it
/// could start.
fn start(
    config: Config,
    pages: Option<&Path>,
) -> Result<Option<Running>, Box<dyn std::error::Error>> {
    // Before anything that may take time, such as a name look-up: from here on a signal ends the
    // server in an orderly way.
    let stop = StopSwitch::default();
    signals::watch(stop.clone()).map_err(|error| format!("cannot handle signals: {error}"))?;

    // The server derives its connection limit from the descriptor limit, so this comes first.
    if let Err(error) = descriptors::raise_limit() {
        log::warn!("cannot raise the descriptor limit: {error}");
    }

    let server = services::install(Server::with_config(config)?);
    let server = match pages {
        None => services::install_pages(server),
        Some(path) => {
            let folder = Folder::open(path)
                .map_err(|error| format!("cannot serve pages from {}: {error}", path.display()))?;
            server.pages(folder)
        }
    };
    if stop.is_requested() {
        return Ok(None);
    }
    let addrs = server.local_addrs().to_vec();
    let running = server.spawn()?;
    stop.attach(running.handle());

    let ready: String = addrs
        .iter()
        .map(|addr| format!("listening on ws://{addr}\n"))
        .collect();
    // Whoever started us may have closed our standard output; we serve all the same.
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(ready.as_bytes())
        .and_then(|()| stdout.flush());
    Ok(Some(running))
}

/// Prints help as it is asked for, and of an error the line that says what is wrong.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let line = flags::explain(error, &arguments);
    let _ = writeln!(std::io::stderr(), "sockeye: {line} (see --help)");
    ExitCode::from(CANNOT_START)
}

/// Says in one line why the program ends. Not `eprintln!`, which panics when standard error is
/// closed.
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "sockeye: {error}");
    ExitCode::from(code)
}
