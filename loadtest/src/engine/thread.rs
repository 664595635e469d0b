//! A load thread: its event loop and its connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::alarm::Alarm;
use super::control::Gauges;
use super::link::State;
use super::links::Slot;
use super::open::Opener;
use super::stats::Interval;
use super::{Cause, Context, Leave, Link, Links, Nanos, Phase, Scenario, Stats, now};
use crate::net;
use crate::wire::{self, Opcode};

/// Bytes of one read; shared by all connections of the thread.
const READ: usize = 256 << 10;
/// Reads of one connection in one turn, after which others come first.
const MOST_READS: u32 = 16;
/// Events of one poll.
const EVENTS: usize = 1024;

pub(super) const WAKER: Token = Token(usize::MAX);
pub(super) const ALARM: Token = Token(usize::MAX - 1);

/// Slab key and generation of a connection: an event that comes late must not meet another one.
#[inline]
pub(super) fn token(key: usize, generation: u32) -> Token {
    Token(key | (generation as usize) << 32)
}

/// Why a connection ends.
pub(super) enum End {
    /// It was wanted to.
    Wanted,
    /// Something went wrong; its words do not depend on the connection.
    Wrong(Cause),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Wrong(error.into())
    }
}

/// A load thread.
pub(super) struct Thread<S: Scenario> {
    pub(super) poll: Poll,
    pub(super) scenario: S,
    pub(super) links: Links<S::Local>,
    pub(super) context: Context,
    pub(super) gauges: Arc<Gauges>,
    pub(super) opener: Opener,
    pub(super) open: u64,
    pub(super) buffer: Vec<u8>,
    /// Connections that were not read to the end, because others were to come first.
    again: Vec<Token>,
    alarm: Alarm,
    sample: u32,
    step: u32,
    samples: Sender<Interval>,
}

impl<S: Scenario> Thread<S> {
    pub(super) fn new(
        poll: Poll,
        scenario: S,
        context: Context,
        gauges: Arc<Gauges>,
        samples: Sender<Interval>,
    ) -> io::Result<Self> {
        let alarm = Alarm::new(&poll, S::EXACT)?;
        let opener = Opener::new(&context.plan, context.thread, S::STAYS);
        Ok(Self {
            poll,
            scenario,
            links: Links::new(),
            context,
            gauges,
            opener,
            open: 0,
            buffer: vec![0; READ],
            again: Vec::new(),
            alarm,
            sample: 0,
            step: 0,
            samples,
        })
    }

    /// Runs until the leader says it is done; what was counted.
    pub(super) fn run(mut self) -> io::Result<Stats> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.context.now = now();
            self.follow();
            if self.context.phase == Phase::Done {
                break;
            }
            let due = self.timers();
            self.sweep();
            self.show();
            let timeout = if self.again.is_empty() {
                self.alarm.timeout(due)?
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            // What comes from now on no longer counts, if the measured part has ended.
            self.context.stats.end = self.context.shared.end();
            for event in &events {
                self.event(event);
            }
            for token in std::mem::take(&mut self.again) {
                self.readable(token, false);
            }
        }
        self.context.stats.take_interval();
        // Whoever has not answered our Close frame by now never will.
        let closing = |(_, slot): &(_, &Slot<_>)| matches!(slot.link.state, State::Closing);
        let unclosed = self.links.slab.iter().filter(closing).count();
        if unclosed > 0 {
            self.context.stats.count("unclosed", unclosed as f64);
        }
        Ok(self.context.stats)
    }

    /// Follows the leader to the next phase, step or sample.
    fn follow(&mut self) {
        let (phase, step) = (self.context.shared.phase(), self.context.shared.step());
        if phase != self.context.phase || step != self.step {
            if step != self.step {
                self.step = step;
                self.context.stats.mark();
            }
            if phase != self.context.phase {
                self.context.phase = phase;
                self.enter(phase);
            }
            self.scenario.phase(&mut self.links, &mut self.context);
            let keys: Vec<_> = self.links.slab.iter().map(|(key, _)| key).collect();
            for key in keys {
                self.context.now = now();
                self.links.flush(key, &mut self.context);
                self.part(key);
            }
        }
        let sample = self.context.shared.sample();
        if sample != self.sample {
            self.sample = sample;
            // The leader no longer listens if it gave up.
            let _ = self.samples.send(self.context.stats.take_interval());
        }
    }

    /// What the engine itself does when a phase begins.
    fn enter(&mut self, phase: Phase) {
        self.gauges.idle.store(false, Ordering::Release);
        match phase {
            Phase::Measure => self.context.stats.begin = now(),
            Phase::Grace => self.context.stats.end = self.context.shared.end(),
            Phase::Close => {
                for (_, slot) in &mut self.links.slab {
                    let unsent = slot.link.unqueue();
                    if unsent > 0 {
                        self.context.stats.count("unsent", f64::from(unsent));
                    }
                    slot.link.leave.get_or_insert(Leave::Close);
                }
            }
            _ => {}
        }
    }

    /// Does what is due; when to look again.
    fn timers(&mut self) -> Option<Nanos> {
        let opening = self.open_more();
        let scenario = self.scenario.timers(&mut self.links, &mut self.context);
        match (opening, scenario) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Ends the connections whose sockets failed outside of their own events.
    fn sweep(&mut self) {
        while let Some((key, error)) = self.links.broken.pop() {
            if self.links.slab.contains(key) {
                self.end(key, error.into());
            }
        }
        while let Some(key) = self.links.left.pop() {
            self.part(key);
        }
    }

    /// Shows the leader how far this thread is.
    fn show(&mut self) {
        let stats = &self.context.stats;
        self.gauges.open.store(self.open, Ordering::Relaxed);
        self.gauges.opened.store(stats.opened, Ordering::Relaxed);
        self.gauges.failed.store(stats.failed, Ordering::Relaxed);
        self.gauges.done.store(self.context.done, Ordering::Relaxed);
        let idle = match self.context.phase {
            Phase::Open => {
                let complete = !S::STAYS || self.opener.is_complete();
                complete && self.scenario.is_settled(&self.context)
            }
            Phase::Grace if S::STAYS => {
                let flushed = |(_, slot): (_, &Slot<_>)| slot.link.is_flushed();
                self.context.outstanding == 0
                    && self.links.slab.iter().all(flushed)
                    && self.scenario.is_settled(&self.context)
            }
            Phase::Grace | Phase::Close => self.links.is_empty(),
            _ => false,
        };
        if idle {
            self.gauges.idle.store(true, Ordering::Release);
        }
    }

    fn event(&mut self, event: &Event) {
        let token = event.token();
        if token == WAKER || token == ALARM {
            return;
        }
        let Some(key) = self.find(token) else { return };
        if event.is_writable() {
            let link = &mut self.links.slab[key].link;
            link.writable();
            if matches!(link.state, State::Connecting { .. }) {
                if let Err(end) = self.request(key) {
                    self.end(key, end);
                    return;
                }
                self.part(key);
            } else if link.has_output() {
                self.context.now = now();
                if let Err(error) = link.flush(&mut self.context) {
                    self.end(key, error.into());
                    return;
                }
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.readable(token, event.is_read_closed() || event.is_error());
        }
    }

    fn find(&self, token: Token) -> Option<usize> {
        let (key, generation) = (token.0 & 0xffff_ffff, (token.0 >> 32) as u32);
        let slot = self.links.slab.get(key)?;
        (slot.link.generation == generation).then_some(key)
    }

    /// Reads a connection: once, unless that filled the buffer or the stream has ended.
    fn readable(&mut self, token: Token, to_the_end: bool) {
        let Some(key) = self.find(token) else { return };
        if self.links.slab[key].link.deaf {
            if to_the_end {
                let error = self.links.slab[key].link.socket.take_error();
                let end = match error {
                    Ok(None) => self.stream_ended(key),
                    Ok(Some(error)) | Err(error) => error.into(),
                };
                self.end(key, end);
            }
            return;
        }
        for _ in 0..MOST_READS {
            let slot = &mut self.links.slab[key];
            let read = match net::read(&slot.link.socket, &mut self.buffer) {
                Ok(0) => {
                    let end = self.stream_ended(key);
                    return self.end(key, end);
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.end(key, error.into()),
            };
            self.context.now = now();
            if let Err(end) = self.received(key, read) {
                return self.end(key, end);
            }
            if read < self.buffer.len() && !to_the_end {
                return;
            }
            if self.links.slab.get(key).is_none_or(|slot| slot.link.deaf) {
                return;
            }
        }
        self.again.push(token);
    }

    /// What the end of the stream means.
    fn stream_ended(&self, key: usize) -> End {
        match self.links.slab[key].link.state {
            State::Closing => End::Wanted,
            State::Open => End::Wrong(Cause::Finished(
                "the server ended a connection without a closing handshake",
            )),
            _ => End::Wrong(Cause::Finished(
                "the server ended the connection instead of answering",
            )),
        }
    }

    /// Handles `read` bytes of the buffer, and writes what may be sent now.
    fn received(&mut self, key: usize, read: usize) -> Result<(), End> {
        let slot = &mut self.links.slab[key];
        if matches!(slot.link.state, State::Raw) {
            let bytes = &self.buffer[..read];
            self.scenario
                .raw(&mut slot.link, &mut slot.local, bytes, &mut self.context);
            slot.link.flush(&mut self.context)?;
            self.part(key);
            return Ok(());
        }
        let mut start = 0;
        if !matches!(slot.link.state, State::Open | State::Closing) {
            match self.response(key, read)? {
                Some(end) => start = end,
                None => return Ok(()),
            }
        }
        let Slot {
            link,
            local,
            parser,
        } = &mut self.links.slab[key];
        let mut input = &self.buffer[start..read];
        let context = &mut self.context;
        loop {
            if S::ECHOES && parser.is_between_messages() {
                while let Some((rest, sequence)) = context.strip(link, input) {
                    input = rest;
                    self.scenario.echoed(link, local, sequence, context);
                }
            }
            if input.is_empty() {
                break;
            }
            match parser.next(&mut input) {
                Ok(None) => break,
                Ok(Some(wire::Event::Data(data))) => {
                    self.scenario.data(link, local, &data, context);
                }
                Ok(Some(event)) => {
                    if let Some(end) = control(&mut self.scenario, link, local, event, context) {
                        context.count_right(link);
                        let _ = link.flush(context);
                        return Err(end);
                    }
                }
                Err(violation) => {
                    context.count_right(link);
                    let why = format!("RFC 6455 broken: {violation}");
                    return Err(End::Wrong(why.into()));
                }
            }
        }
        context.count_right(link);
        self.scenario.answered(link, local, context);
        if link.has_output() {
            link.flush(context)?;
        }
        if link.leave.is_some() {
            self.part(key);
        }
        Ok(())
    }

    /// Ends a connection as the scenario wished, if it did.
    fn part(&mut self, key: usize) {
        let Some(slot) = self.links.slab.get_mut(key) else {
            return;
        };
        let link = &mut slot.link;
        let Some(leave) = link.leave else { return };
        match (&link.state, leave) {
            (State::Closing, _) => {}
            (State::Open, Leave::Close) => {
                account_for_lost(link, &mut self.context);
                let key = self.context.pattern.key();
                link.control(Opcode::Close, &1000u16.to_be_bytes(), key);
                link.state = State::Closing;
            }
            (State::Open | State::Raw, Leave::Reset) => {
                account_for_lost(link, &mut self.context);
                // Without it the connection only ends in the common way.
                let _ = net::reset_on_close(&link.socket);
                return self.end(key, End::Wanted);
            }
            _ => return self.end(key, End::Wanted),
        }
        if let Err(error) = link.flush(&mut self.context) {
            self.end(key, error.into());
        }
    }

    /// Removes a connection.
    pub(super) fn end(&mut self, key: usize, end: End) {
        let Slot {
            mut link,
            mut local,
            ..
        } = self.links.slab.remove(key);
        let context = &mut self.context;
        match link.state {
            State::Connecting { .. } | State::Opening { .. } => {
                match end {
                    // The run ended first.
                    End::Wanted => context.stats.count("unopened", 1.0),
                    End::Wrong(why) => {
                        context.stats.failed += 1;
                        if !self.scenario.ended(&mut link, &mut local, &why, context) {
                            let what = format!("a connection could not be opened: {why}");
                            let case = || format!("connection {}", link.id());
                            context.stats.faults.add(&what, case);
                        }
                    }
                }
                self.opener.failed(context.now);
            }
            State::Closing => {
                self.open -= 1;
                if let End::Wrong(_) = end {
                    context.stats.count("unclean_closes", 1.0);
                }
            }
            State::Open | State::Raw => {
                self.open -= 1;
                if let End::Wrong(why) = end {
                    if !self.scenario.ended(&mut link, &mut local, &why, context) {
                        context.stats.dropped += 1;
                        let what = format!("a connection was lost: {why}");
                        let case = || format!("connection {}", link.id());
                        context.stats.faults.add(&what, case);
                    }
                    // That the connection was lost is the fault.
                    context.stats.lost += link.ledger.lost();
                }
            }
        }
        let outstanding = u64::from(link.ledger.outstanding());
        context.outstanding = context.outstanding.wrapping_sub(outstanding);
        self.scenario.gone(&local);
    }
}

/// Handles a control frame; the end of the connection if it closes it.
#[cold]
fn control<S: Scenario>(
    scenario: &mut S,
    link: &mut Link,
    local: &mut S::Local,
    event: wire::Event<'_>,
    context: &mut Context,
) -> Option<End> {
    let key = context.pattern.key();
    match event {
        wire::Event::Ping(_) if !S::ANSWERS_PINGS => {}
        wire::Event::Ping(payload) => link.pong(payload, key),
        wire::Event::Pong(payload) => scenario.pong(link, local, payload, context),
        wire::Event::Close(_) if matches!(link.state, State::Closing) => {}
        wire::Event::Close(close) => {
            let code = close.map(|(code, _)| code.to_be_bytes());
            let payload = code.as_ref().map_or(&[][..], |code| &code[..]);
            link.control(Opcode::Close, payload, key);
            let why = match close {
                Some((code, reason)) => format!("the server closed it with {code} {reason}"),
                None => "the server closed it without a code".into(),
            };
            let code = close.map(|(code, _)| code);
            let why = why.trim_end().into();
            return Some(End::Wrong(Cause::Closed(code, why)));
        }
        wire::Event::Data(_) => {}
    }
    None
}

/// Counts the messages that did not come back on a connection that is left.
fn account_for_lost(link: &Link, context: &mut Context) {
    let lost = link.ledger.lost();
    context.stats.lost += lost;
    let case = || format!("connection {}", link.id());
    let what = "a message never came back";
    context.stats.faults.add_many(what, lost, case);
}
