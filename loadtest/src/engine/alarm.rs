//! When a thread wakes up though nothing came.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::thread::ALARM;
use super::{Nanos, now};

/// Wakes a poll: by its timeout, which is exact to a millisecond, or by a timer, which is exact.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Option<OwnedFd>,
    set: Nanos,
}

impl Alarm {
    pub(super) fn new(poll: &Poll, exact: bool) -> io::Result<Self> {
        let mut timer = None;
        if exact {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            let source = fd.as_raw_fd();
            // Edge-triggered: each expiry is a new edge, so the timer is never read.
            poll.registry()
                .register(&mut SourceFd(&source), ALARM, Interest::READABLE)?;
            timer = Some(fd);
        }
        Ok(Self { timer, set: 0 })
    }

    /// The timeout of a poll that is to end at `due`.
    pub(super) fn timeout(&mut self, due: Option<Nanos>) -> io::Result<Option<Duration>> {
        let Some(due) = due else { return Ok(None) };
        let left = due.saturating_sub(now());
        if left == 0 {
            return Ok(Some(Duration::ZERO));
        }
        let Some(timer) = &self.timer else {
            return Ok(Some(Duration::from_nanos(left)));
        };
        if self.set != due {
            let time = Itimerspec {
                it_interval: timespec(0),
                it_value: timespec(left),
            };
            timerfd_settime(timer, TimerfdTimerFlags::empty(), &time)?;
            self.set = due;
        }
        Ok(None)
    }
}

fn timespec(time: Nanos) -> Timespec {
    Timespec {
        tv_sec: (time / 1_000_000_000) as i64,
        tv_nsec: (time % 1_000_000_000) as i64,
    }
}
