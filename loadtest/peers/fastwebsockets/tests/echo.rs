//! Starts the server and has it echo.

use std::process::Command;

#[test]
fn echoes() {
    smoke::check(Command::new(env!("CARGO_BIN_EXE_fastwebsockets-peer")));
}

#[test]
fn echoes_on_two_threads() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fastwebsockets-peer"));
    command.args(["--threads", "2"]);
    smoke::check(command);
}
