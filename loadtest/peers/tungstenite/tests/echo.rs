//! Starts the server and has it echo, and broadcast.

use std::process::Command;

fn start(mode: &str, threads: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tungstenite-peer"));
    command.args(["--mode", mode, "--threads", threads]);
    command
}

#[test]
fn echoes_one_by_one() {
    smoke::check(start("idiomatic", "1"));
}

#[test]
fn echoes_in_batches() {
    smoke::check(start("batched", "1"));
}

#[test]
fn echoes_with_a_small_read_buffer() {
    let mut command = start("batched", "1");
    command.args(["--read-buffer", "16384"]);
    smoke::check(command);
}

#[test]
fn echoes_on_two_threads() {
    smoke::check(start("idiomatic", "2"));
    smoke::check(start("batched", "2"));
}

#[test]
fn broadcasts_in_both_modes() {
    smoke::check_broadcast(start("idiomatic", "1"));
    smoke::check_broadcast(start("batched", "1"));
    smoke::check_broadcast(start("batched", "2"));
}
