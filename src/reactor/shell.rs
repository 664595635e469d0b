//! The poll around a reactor's turns.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Waker};

use super::{Handoff, Next, Reactor, Wake};
use crate::connection::Tick;
use crate::transport::{OsSys, Readiness, Token};

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

pub(crate) struct Shell {
    poll: Poll,
    start: Instant,
}

impl Shell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            start: Instant::now(),
        })
    }

    /// The system calls of this thread's reactor.
    pub(crate) fn sys(&self) -> io::Result<OsSys> {
        Ok(OsSys::new(self.poll.registry().try_clone()?))
    }

    pub(crate) fn wake(&self) -> io::Result<Wake> {
        let token = mio::Token(Token::WAKER.to_u64() as usize);
        let waker = Arc::new(Waker::new(self.poll.registry(), token)?);
        Ok(Box::new(move || {
            if let Err(error) = waker.wake() {
                log::error!("cannot wake a reactor: {error}");
            }
        }))
    }

    pub(crate) fn now(&self) -> Tick {
        Tick(self.start.elapsed().as_millis() as u32)
    }

    /// Runs the reactor until it wants no further turn.
    pub(crate) fn run<D: Handoff>(&mut self, reactor: &mut Reactor<OsSys, D>) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut next = Next::Now;
        loop {
            let timeout = match next {
                Next::Now => Some(Duration::ZERO),
                Next::At(at) => Some(Duration::from_millis(u64::from(at.since(self.now())))),
                Next::WhenReady => None,
                Next::Never => return Ok(()),
            };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            next = reactor.turn(events.iter().map(readiness), self.now());
        }
    }
}

fn readiness(event: &mio::event::Event) -> Readiness {
    // An error or a hang-up is found by the next read, whatever else the event says.
    let broken = event.is_error() || (event.is_read_closed() && event.is_write_closed());
    Readiness {
        token: Token::from_u64(event.token().0 as u64),
        readable: event.is_readable() || broken,
        writable: event.is_writable() || broken,
        read_closed: event.is_read_closed() || broken,
    }
}

/// Pins the calling thread to the `index`-th of the cores it may use, modulo their number.
pub(crate) fn pin(index: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&core| allowed.is_set(core))
        .collect();
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    set.set(cores[index % cores.len()]);
    sched_setaffinity(None, &set)?;
    Ok(())
}
