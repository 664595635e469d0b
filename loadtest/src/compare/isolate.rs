//! A network of one's own: no other traffic, and a congestion control that does not pace
//! loopback.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use serde::{Deserialize, Serialize};

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// The network the servers were measured on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Whether it was a network namespace made for this run.
    pub private: bool,
    /// The congestion control in use.
    pub congestion_control: String,
    /// Why it is not a private namespace with reno, if it is not.
    pub note: Option<String>,
}

/// Moves this thread, and what it starts from now on, into a new network namespace with reno; if
/// that cannot be, stays where it is and says so.
pub(crate) fn isolate(wanted: bool) -> Network {
    let entered = if wanted {
        enter()
    } else {
        Err("switched off".to_owned())
    };
    let mut note = entered
        .as_ref()
        .err()
        .map(|why| format!("no network namespace of its own: {why}"));
    if entered.is_ok()
        && let Err(error) = fs::write(CONGESTION_CONTROL, "reno")
    {
        note = Some(format!("cannot set reno: {error}"));
    }
    let congestion_control = fs::read_to_string(CONGESTION_CONTROL)
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned());
    Network {
        private: entered.is_ok(),
        congestion_control,
        note,
    }
}

fn enter() -> Result<(), String> {
    let cannot = |what: &str, error: io::Error| format!("{what}: {error}");
    let before = File::open("/proc/thread-self/ns/net").map_err(|error| cannot("/proc", error))?;
    // SAFETY: only UnshareFlags::FILES can make descriptors vanish for other threads, and it is
    // not given.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|error| cannot("unshare", error.into()))?;
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .output();
    let failed = match up {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => cannot("ip", error),
    };
    rustix::thread::move_into_link_name_space(before.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| {
            cannot(
                "cannot go back from a namespace without loopback",
                error.into(),
            )
        })?;
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_private_or_says_why_not() {
        // In a thread of its own: only that thread moves.
        let network = std::thread::spawn(|| {
            let network = isolate(true);
            if network.private {
                assert_eq!(
                    fs::read_to_string("/proc/thread-self/net/tcp")
                        .unwrap()
                        .lines()
                        .count(),
                    1
                );
                let listener = std::net::TcpListener::bind("127.0.0.7:0").unwrap();
                std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            }
            network
        });
        let network = network.join().unwrap();
        assert!(
            network.note.is_some() || (network.private && network.congestion_control == "reno")
        );
    }

    #[test]
    fn where_it_is_switched_off_the_congestion_control_is_named() {
        let network = isolate(false);
        assert!(!network.private && !network.congestion_control.is_empty());
        assert!(network.note.unwrap().contains("switched off"));
    }
}
