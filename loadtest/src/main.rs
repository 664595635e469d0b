//! The `loadtest` binary.

use std::process::ExitCode;

use clap::Parser;

/// A load generator for WebSocket servers that checks every message it gets back.
#[derive(Parser)]
#[command(version)]
enum Cli {
    Compare(loadtest::compare::Flags),
}

fn main() -> ExitCode {
    match Cli::parse() {
        Cli::Compare(flags) => loadtest::compare::run(&flags),
    }
}
