//! SIGTERM and SIGINT: the first stops the server gracefully, the second ends the process.

use std::io;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use mio::{Events, Interest, Poll, Token};
use rustix::process::Signal;
use signal_hook_mio::v1_0::Signals;
use sockeye::ServerHandle;

/// Carries a request to stop to the server, whichever of the two comes first.
#[derive(Clone, Default)]
pub(crate) struct StopSwitch(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    requested: bool,
    server: Option<ServerHandle>,
}

impl StopSwitch {
    /// Stops the server, now or as soon as it is attached. Returns whether this was the first
    /// request.
    fn request(&self) -> bool {
        let mut state = self.state();
        let first = !state.requested;
        state.requested = true;
        if let (true, Some(server)) = (first, &state.server) {
            server.stop();
        }
        first
    }

    /// Whether anyone asked to stop.
    pub(crate) fn is_requested(&self) -> bool {
        self.state().requested
    }

    /// Connects the switch to a running server; stops it at once if that was asked before.
    pub(crate) fn attach(&self, server: ServerHandle) {
        let mut state = self.state();
        if state.requested {
            server.stop();
        }
        state.server = Some(server);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes over SIGTERM and SIGINT, and handles them on a thread of its own for the rest of the
/// process's life. The second one exits at once with 128 + its number, as a shell reports a
/// process that a signal ended.
///
/// # Errors
///
/// When the system refuses the descriptors or the thread that this needs.
pub(crate) fn watch(stop: StopSwitch) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut signals = Signals::new([Signal::TERM.as_raw(), Signal::INT.as_raw()])?;
    poll.registry()
        .register(&mut signals, Token(0), Interest::READABLE)?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            // No log line in this loop: with standard error blocked, the second signal is the
            // way out, and must not wait for it.
            while wait(&mut poll).is_ok() {
                for signal in signals.pending() {
                    if !stop.request() {
                        process::exit(128 + signal);
                    }
                }
            }
            // Deaf to signals, a server that goes on could only be killed.
            stop.request();
        })?;
    Ok(())
}

/// Sleeps until a signal may have come.
fn wait(poll: &mut Poll) -> io::Result<()> {
    match poll.poll(&mut Events::with_capacity(1), None) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}
