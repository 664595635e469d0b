//! Holds handlers until a test lets them go.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::patience::{PATIENCE, eventually};

#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    open: bool,
    held: usize,
}

impl Gate {
    /// Blocks the calling handler, as one does that computes or waits for something else.
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.held += 1;
        // A test that fails leaves the gate shut: its threads must end some day all the same.
        let limit = 3 * PATIENCE;
        let (mut state, _) = changed
            .wait_timeout_while(state, limit, |state| !state.open)
            .unwrap();
        state.held -= 1;
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    pub(crate) fn held(&self) -> usize {
        self.0.0.lock().unwrap().held
    }

    /// Waits until so many handlers are held.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) {
        eventually("handlers are held", || self.held() == count);
    }

    /// Opens after some time, from another thread.
    pub(crate) fn open_after(&self, delay: Duration) {
        let gate = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            gate.open();
        });
    }
}
