//! The servers that npm installs. `PEERS` says where they were installed, see the README.

use std::path::PathBuf;
use std::process::Command;

fn installed(name: &str) -> PathBuf {
    let all = std::env::var_os("PEERS").expect("PEERS is the folder with bun/ and ws/");
    PathBuf::from(all).join(name)
}

#[test]
#[ignore = "npm has to install it first"]
fn bun_echoes() {
    smoke::check(bun());
}

#[test]
#[ignore = "npm has to install it first"]
fn bun_broadcasts() {
    smoke::check_broadcast(bun());
}

fn bun() -> Command {
    let folder = installed("bun");
    let mut command = Command::new(folder.join("node_modules/.bin/bun"));
    command.arg(folder.join("server.js"));
    command
}

#[test]
#[ignore = "npm has to install it first"]
fn ws_echoes() {
    let mut command = Command::new("node");
    command.arg(installed("ws").join("server.js"));
    smoke::check(command);
}
