//! Opening connections.

use std::collections::VecDeque;
use std::io;

use mio::{Interest, Token};

use super::link::State;
use super::thread::{End, Thread, token};
use super::{Cause, Link, Nanos, Phase, Plan, Scenario, Slot, now};
use crate::net;
use crate::payload::Ledger;
use crate::wire::{self, Key};

/// How long a thread waits after a failed attempt before the next, where connections are replaced.
const PAUSE: Nanos = 10_000_000;

/// Which attempts a thread has made and may make.
#[derive(Debug)]
pub(super) struct Opener {
    stays: bool,
    /// Connections this thread is to hold.
    wanted: u32,
    started: u32,
    connecting: u32,
    most_connecting: u32,
    /// Between two attempts; 0 without a ramp.
    interval: Nanos,
    /// Before this no attempt is made.
    next: Nanos,
    /// When each attempt must be complete, oldest first.
    deadlines: VecDeque<(Nanos, Token)>,
    timeout: Nanos,
}

impl Opener {
    pub(super) fn new(plan: &Plan, thread: u32, stays: bool) -> Self {
        let threads = plan.threads;
        let interval = plan
            .ramp
            .map_or(0, |ramp| (1e9 * f64::from(threads) / ramp) as Nanos);
        Self {
            stays,
            wanted: plan.share(thread),
            started: 0,
            connecting: 0,
            most_connecting: plan.most_connecting.div_ceil(threads),
            interval,
            next: now() + interval * Nanos::from(thread) / Nanos::from(threads),
            deadlines: VecDeque::new(),
            timeout: plan.connect_timeout.as_nanos() as Nanos,
        }
    }

    /// Whether every connection is open or has failed.
    pub(super) fn is_complete(&self) -> bool {
        self.started == self.wanted && self.connecting == 0
    }

    /// Notes that an attempt failed.
    pub(super) fn failed(&mut self, now: Nanos) {
        self.connecting -= 1;
        if !self.stays {
            self.next = self.next.max(now + PAUSE);
        }
    }

    /// Notes that an attempt is made.
    fn advance(&mut self, now: Nanos) {
        self.next += self.interval;
        if !self.stays {
            // What a full house left out is not made up for in a burst.
            self.next = self.next.max(now.saturating_sub(PAUSE));
        }
    }

    /// Whether an attempt may be made now, with so many connections there.
    fn may_start(&self, links: usize, phase: Phase, now: Nanos) -> bool {
        let room = if self.stays {
            self.started < self.wanted && phase == Phase::Open
        } else {
            links < self.wanted as usize && phase.has_load()
        };
        room && self.connecting < self.most_connecting && self.next <= now
    }

    /// When to look again.
    fn due(&self, links: usize, phase: Phase) -> Option<Nanos> {
        let deadline = self.deadlines.front().map(|&(deadline, _)| deadline);
        if self.may_start(links, phase, Nanos::MAX) {
            Some(deadline.map_or(self.next, |deadline| deadline.min(self.next)))
        } else {
            deadline
        }
    }
}

impl<S: Scenario> Thread<S> {
    /// Makes the attempts that may be made and gives those up that took too long; when to look again.
    pub(super) fn open_more(&mut self) -> Option<Nanos> {
        let phase = self.context.phase;
        while let Some(&(deadline, token)) = self.opener.deadlines.front() {
            match self.opening(token) {
                Some(_) if deadline > self.context.now => break,
                Some(key) => self.end(key, End::Wrong(Cause::from("no response in time"))),
                None => {}
            }
            self.opener.deadlines.pop_front();
        }
        while self
            .opener
            .may_start(self.links.len(), phase, self.context.now)
        {
            self.opener.advance(self.context.now);
            if let Err(error) = self.start() {
                self.context.stats.failed += 1;
                let what = format!("a connection could not be opened: {error}");
                self.context.stats.faults.add(&what, String::new);
                self.opener.failed(self.context.now);
            }
        }
        self.opener.due(self.links.len(), phase)
    }

    /// The connection of this token if it is still being opened.
    fn opening(&mut self, token: Token) -> Option<usize> {
        let key = token.0 & 0xffff_ffff;
        let link = &self.links.at(key)?.link;
        let opening = matches!(link.state, State::Connecting { .. } | State::Opening { .. });
        (opening && link.generation == (token.0 >> 32) as u32).then_some(key)
    }

    /// Begins to connect.
    fn start(&mut self) -> io::Result<()> {
        let context = &mut self.context;
        let plan = context.plan.clone();
        let id = context
            .thread
            .wrapping_add(self.opener.started.wrapping_mul(plan.threads));
        self.opener.started = self.opener.started.wrapping_add(1);
        self.opener.connecting += 1;
        context.stats.started += 1;
        let started = now();
        let mut local = S::Local::default();
        let setup = self.scenario.connect(&mut local, context);
        let (key, generation) = self.links.vacancy();
        let token = token(key, generation);
        let connected = net::connect(plan.address, plan.sources.of(id), setup.receive_buffer);
        let socket = connected.and_then(|mut socket| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = self.poll.registry();
            registry.register(&mut socket, token, interest)?;
            Ok(socket)
        });
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                self.scenario.gone(&local);
                return Err(error);
            }
        };
        let mut nonce = [0; 16];
        fastrand::fill(&mut nonce);
        let state = State::Connecting {
            key: Key::new(nonce),
            started,
            handshake: setup.handshake,
        };
        let ledger = Ledger::new(id, &self.context.pattern);
        let link = Link::new(socket, ledger, generation, state);
        self.links.insert(link, local);
        if !S::STAYS {
            // Those that leave as soon as they are open are never open together.
            let stats = &mut self.context.stats;
            stats.peak = stats.peak.max(self.links.len() as u64);
        }
        self.opener
            .deadlines
            .push_back((started + self.opener.timeout, token));
        Ok(())
    }

    /// Writes the request once the connection is there; where there is to be none, the scenario has
    /// the connection to itself.
    pub(super) fn request(&mut self, key: usize) -> Result<(), End> {
        let Some(slot) = self.links.at(key) else {
            return Ok(());
        };
        let link = &mut slot.link;
        let State::Connecting {
            key,
            started,
            handshake,
        } = link.state
        else {
            return Ok(());
        };
        if !handshake {
            if let Some(error) = link.socket.take_error()? {
                return Err(error.into());
            }
            link.state = State::Raw;
            self.open += 1;
            self.opener.connecting -= 1;
            self.context.now = now();
            self.context.stats.opened += 1;
            self.context.stats.peak = self.context.stats.peak.max(self.open);
            self.scenario
                .opened(link, &mut slot.local, &mut self.context);
            return Ok(link.flush(&mut self.context)?);
        }
        let mut bytes = Vec::with_capacity(256);
        wire::request(
            &mut bytes,
            &self.context.plan.host,
            &self.context.plan.path,
            &key,
        );
        link.raw(&bytes);
        link.state = State::Opening {
            key,
            started,
            response: Vec::new(),
        };
        Ok(link.flush(&mut self.context)?)
    }

    /// Reads the response in `read` bytes of the buffer: where it ends, if it does. The connection is
    /// open then.
    pub(super) fn response(&mut self, at: usize, read: usize) -> Result<Option<usize>, End> {
        let input = &self.buffer[..read];
        let Some(Slot { link, local, .. }) = self.links.at(at) else {
            return Ok(None);
        };
        let State::Opening {
            key,
            started,
            response,
        } = &mut link.state
        else {
            return Err(End::Wrong(Cause::from(
                "the server spoke before it was asked",
            )));
        };
        let before = response.len();
        let parsed = if before == 0 {
            wire::response(input, key)
        } else {
            response.extend_from_slice(input);
            wire::response(response, key)
        };
        let Some(len) = parsed.map_err(|refused| End::Wrong(refused.to_string().into()))? else {
            if before == 0 {
                response.extend_from_slice(input);
            }
            return Ok(None);
        };
        let took = self.context.now - *started;
        link.state = State::Open;
        self.open += 1;
        self.opener.connecting -= 1;
        let stats = &mut self.context.stats;
        stats.opened += 1;
        stats.peak = stats.peak.max(self.open);
        let measured = stats.measures(self.context.now);
        stats.opened_measured += u64::from(measured);
        if S::STAYS || measured {
            stats.handshake.saturating_record(took);
        }
        self.scenario.opened(link, local, &mut self.context);
        Ok(Some(len - before))
    }
}
