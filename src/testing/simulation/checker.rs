//! What must hold in every turn, at every rest and in the end.

use super::clients::{Asks, Client, End, Ending};
use super::handlers::{Moment, Temper};
use super::ledger::Record;
use super::world::World;
use crate::connection::{IN_FLIGHT, Inspection};
use crate::{Cause, CloseCode};

/// Bytes one read may bring.
const READ: usize = 64 * 1024;
/// The longest message there is in a run, and more than any small one weighs.
const LARGEST: usize = 256 * 1024;

impl World {
    fn fault(&self, what: impl Into<String>) {
        let what = what.into();
        let mut ledger = self.ledger();
        ledger.note(|| format!("FAULT {what}"));
        ledger.faults.push(what);
    }

    /// After every turn: nothing is over its limit.
    pub(super) fn check_limits(&self, reactor: usize) {
        let Some(inspection) = self.engine.inspect(reactor, self.now) else {
            return;
        };
        let outbox = 2 * self.config.limits.outbox + IN_FLIGHT as usize + 3 * READ + 3 * LARGEST;
        let mut charged = 0;
        for connection in &inspection.connections {
            charged += connection.charged;
            if connection.outbox > outbox {
                self.fault(format!("an outbox of {}", connection.outbox));
            }
            if connection.in_flight as usize > IN_FLIGHT as usize + 3 * READ + LARGEST {
                self.fault(format!("{} in flight", connection.in_flight));
            }
            if connection.state == "gone" {
                self.fault("a connection that has gone is kept");
            }
        }
        charged += inspection.spares;
        if charged != inspection.memory {
            self.fault(format!("{charged} charged, {} held", inspection.memory));
        }
        if inspection.lanes_full {
            self.ledger().cover("turns with a full worker");
        }
    }

    /// When nothing more can happen by itself: nobody was forgotten.
    pub(super) fn check_rest(&mut self) {
        let stuck = (0..self.frozen_workers()).any(|worker| self.engine.has_work(worker));
        self.ledger().cover("rests");
        for reactor in 0..self.config.reactors {
            let Some(inspection) = self.engine.inspect(reactor, self.now) else {
                continue;
            };
            if inspection.has_inbox {
                self.fault(format!("reactor {reactor} was not woken for its inbox"));
            }
            if stuck {
                self.ledger().cover("rests with a stuck worker");
                continue;
            }
            if !inspection.lanes_rest {
                self.fault(format!("reactor {reactor} keeps events from its workers"));
            }
            if inspection.waiting > 0 {
                self.fault("a connection waits for a worker that has nothing to do");
            }
            for connection in &inspection.connections {
                self.check_resting(connection);
            }
            for client in self.clients.iter().filter(|it| it.reactor == reactor) {
                self.check_client(client, &inspection.connections);
            }
        }
        if stuck {
            return;
        }
        let now = self.now;
        let mut ledger = self.ledger();
        for record in &mut ledger.records {
            if let Some((_, _, known @ None)) = &mut record.timer {
                *known = Some(now);
            }
        }
    }

    fn check_resting(&self, connection: &Inspection) {
        let say = |what: &str| self.fault(format!("at rest: {what}: {connection:?}"));
        if connection.is_overdue {
            say("a deadline has passed");
        }
        if matches!(connection.state, "opening" | "ending") {
            say("its handler was asked and has not answered");
        }
        // Once it closes, nobody asks for it any more.
        if connection.in_flight > 0 && connection.state == "open" {
            say("messages are in flight");
        }
        if connection.outbox > 0 && !connection.is_blocked {
            say("output waits for nothing");
        }
    }

    fn check_client(&self, client: &Client, connections: &[Inspection]) {
        let number = client.number;
        let Some(token) = client.wire.token() else {
            return;
        };
        let found = connections.iter().find(|it| it.token == token);
        let Some(connection) = found else {
            return self.fault(format!("connection {number} is registered, but not known"));
        };
        let say = |what: &str| {
            self.fault(format!(
                "connection {number}, at rest: {what}: {connection:?}"
            ));
        };
        if connection.is_blocked && connection.outbox > 0 && client.wire.room() > 0 {
            say("output waits, but there is room");
        }
        let low_water = self.config.limits.outbox / 2;
        if client.wire.unread() > 0 {
            if connection.outbox <= low_water {
                return say("input waits, but its answers do not");
            }
            self.ledger().cover("pauses for a slow reader");
        }
        let delivered = client.delivered();
        let ledger = self.ledger();
        let record = &ledger.records[number];
        let is_open = connection.state == "open";
        let is_live = is_open && record.is_live() && !record.is_closing();
        let mut complaint = None;
        if is_live && client.wire.unread() == 0 && record.heard != delivered {
            complaint = Some(format!("{} of {delivered} messages heard", record.heard));
        }
        if is_live && record.awaits_drain && connection.outbox <= low_water {
            complaint = Some("it waits for on_drain".into());
        }
        if is_open
            && let Some((_, after, Some(known))) = record.timer
            && !self.now.is_before(known.after(after))
        {
            complaint = Some("its timer was forgotten".into());
        }
        let is_asking = client.habits.asks == Asks::Upgrade && client.is_idle();
        if is_asking && connection.state == "handshake" && client.wire.unread() == 0 {
            complaint = Some("its request was forgotten".into());
        }
        let reads_all = connection.outbox == 0 && client.wire.waiting() == 0;
        if is_live && reads_all && client.habits.reads && !client.is_gone {
            let (queued, outside) = (record.queued.len(), record.outside.len());
            if client.got != queued {
                complaint = Some(format!("{} of {queued} answers heard", client.got));
            }
            if client.got_outside != outside && record.closing_outside.is_none() {
                let got = client.got_outside;
                complaint = Some(format!("{got} of {outside} from handles heard"));
            }
            if record.closing_outside.is_none() {
                complaint = complaint.or(record.misses(number, &ledger.board));
            }
        }
        if connection.outbox == 0 {
            let behind = ledger
                .handles
                .iter()
                .find(|(of, handle)| *of == number && handle.buffered_amount() > 0);
            if behind.is_some() {
                complaint = Some("a handle sees output that has left".into());
            }
        }
        drop(ledger);
        if let Some(complaint) = complaint {
            say(&complaint);
        }
    }

    /// After everything: each connection ended as it had to.
    pub(super) fn check_ends(&mut self) {
        if !self.is_over() {
            return self.fault("the server has not ended");
        }
        let stats = self.engine.handle().stats();
        if stats.connections != 0 || stats.memory != 0 {
            self.fault(format!("left behind: {stats:?}"));
        }
        self.engine.end_workers();
        let stats = self.engine.handle().stats();
        if stats.workers.iter().any(|worker| worker.connections != 0) {
            self.fault(format!("workers keep connections: {stats:?}"));
        }
        for client in &self.clients {
            if let Err(what) = self.check_end(client) {
                self.fault(format!("connection {}, in the end: {what}", client.number));
            }
        }
    }

    fn check_end(&self, client: &Client) -> Result<(), String> {
        let mut ledger = self.ledger();
        let ledger = &mut *ledger;
        let record = &ledger.records[client.number];
        if record.opened && !record.dropped {
            return Err("its handler was not dropped".into());
        }
        if record.opened && !record.panicked && record.closed.is_none() {
            return Err("on_close did not come".into());
        }
        if !record.opened {
            return self.check_refusal(client, record);
        }
        if let Some((_, handle)) = ledger.handles.iter().find(|(of, _)| *of == client.number)
            && handle.is_open()
        {
            return Err("its handle is open".into());
        }
        let is_late = self.is_drained(client.ended_at.unwrap_or(self.now));
        let is_broken = client.is_cut || client.wire.has_failed() || is_late;
        self.check_cause(client, record, is_broken)?;
        self.check_words(client, record, is_broken)?;
        let echoed = record.plan.temper == Temper::Echo && client.got == client_messages(record);
        if echoed && client.said_all && !is_broken && client.got > 0 {
            ledger.cover("orderly conversations");
        }
        Ok(())
    }

    fn check_refusal(&self, client: &Client, record: &Record) -> Result<(), String> {
        let expected = match client.habits.asks {
            Asks::Other(414 | 431) if client.status == Some(414) => Some(414),
            Asks::Other(status) => Some(status),
            Asks::Half => Some(408),
            Asks::Nothing => None,
            Asks::Upgrade => match (record.plan.refuses, &record.plan.panics) {
                (_, Some((Moment::Factory, _))) => Some(500),
                (Some(status), _) => Some(status),
                _ if self.config.timeouts.handshake.is_some() => Some(408),
                _ => None,
            },
        };
        let is_late = client.status == Some(408) && self.config.timeouts.handshake.is_some();
        if client.status.is_some() && client.status != expected && !is_late {
            return Err(format!("answered {:?}, not {expected:?}", client.status));
        }
        Ok(())
    }

    /// The reason the handler was given is the true one.
    fn check_cause(&self, client: &Client, record: &Record, broken: bool) -> Result<(), String> {
        let Some(closed) = &record.closed else {
            return Ok(());
        };
        let timeouts = &self.config.timeouts;
        let ending = client.habits.ending;
        let says_close = matches!(ending, Ending::Close | Ending::CloseEarly);
        let fits = match &closed.cause {
            Cause::Peer => client.said_all && says_close && closed.code == CloseCode::NORMAL,
            Cause::Handler => record.closing.is_some() || record.closing_outside.is_some(),
            Cause::Fault(_) => matches!(
                ending,
                Ending::Fault(fault) if u16::from(closed.code) == fault.code()
            ),
            Cause::Idle => timeouts.idle.is_some(),
            Cause::PongTimeout => timeouts.pong.is_some() && timeouts.ping_interval.is_some(),
            Cause::WriteTimeout => timeouts.write.is_some(),
            Cause::SlowConsumer => self.has_topics,
            Cause::Shutdown => self.stopped.is_some(),
            Cause::EndOfStream => client.has_ended,
            // The worker took longer over its request than a handshake may take.
            Cause::Lost(std::io::ErrorKind::NotConnected) => timeouts.handshake.is_some(),
            Cause::Lost(_) => broken,
        };
        if !fits {
            return Err(format!("{:?} has no reason", closed.cause));
        }
        let ordered = matches!(
            closed.cause,
            Cause::Peer | Cause::Fault(_) | Cause::EndOfStream
        );
        if ordered && client.said_all && !client.is_cut {
            let said = client_messages(record);
            if record.heard != said {
                return Err(format!("{} of {said} messages were heard", record.heard));
            }
        }
        Ok(())
    }

    /// The client heard what it had to.
    fn check_words(&self, client: &Client, record: &Record, broken: bool) -> Result<(), String> {
        if broken || !client.habits.reads {
            return Ok(());
        }
        let Some(end) = client.end else {
            return Err("the client saw no end".into());
        };
        let cause = record.closed.as_ref().map(|closed| &closed.cause);
        let code = client.close.map(|code| code.map(u16::from));
        let mut expected = match cause {
            // After a panic the code is fixed.
            None => Some(vec![1011]),
            Some(Cause::Peer) => Some(vec![1000]),
            Some(Cause::Fault(fault)) => Some(vec![u16::from(fault.close_code())]),
            Some(Cause::Idle | Cause::Shutdown) => Some(vec![1001]),
            Some(Cause::SlowConsumer) => Some(vec![1008]),
            Some(Cause::Handler) => {
                let codes = record.closing.iter().chain(&record.closing_outside);
                Some(codes.copied().collect())
            }
            Some(_) => None,
        };
        // Before the panic, somebody else may have closed.
        if record.panicked
            && let Some(expected) = &mut expected
        {
            expected.extend(record.closing.iter().chain(&record.closing_outside));
        }
        match (&expected, code) {
            (Some(codes), Some(Some(code))) if codes.contains(&code) => {}
            (None, None) => {}
            // Before its handler, or a deadline, had it end for another reason.
            (_, Some(Some(1008))) if client.fell_behind && self.has_topics => {}
            // Its request took longer than a handshake may; its handler heard of it at the end.
            (_, None) if client.status.is_none() && self.config.timeouts.handshake.is_some() => {}
            // The end may be cut off after the Close frame was due by a deadline of its own.
            (Some(_), None) if self.may_abort(cause, end) => {}
            _ => {
                return Err(format!(
                    "{cause:?} was answered with {code:?}, not {expected:?}"
                ));
            }
        }
        let gives_up = matches!(cause, Some(Cause::PongTimeout | Cause::WriteTimeout));
        if client.is_torn && !gives_up && !self.may_abort(cause, end) {
            return Err("the stream ended within a frame".into());
        }
        if matches!(cause, Some(Cause::EndOfStream))
            && end == End::Stream
            && client.got != record.queued.len()
            && self.config.timeouts.write.is_none()
        {
            let (got, queued) = (client.got, record.queued.len());
            return Err(format!("{got} of {queued} answers came before the end"));
        }
        Ok(())
    }

    /// Whether the server may have given up before its last words had left.
    fn may_abort(&self, cause: Option<&Cause>, end: End) -> bool {
        let timeouts = &self.config.timeouts;
        // The handler had closed, or panicked, when a pong was found missing.
        let unheard = matches!(cause, None | Some(Cause::Handler))
            && timeouts.pong.is_some()
            && timeouts.ping_interval.is_some();
        unheard || timeouts.write.is_some() || (end == End::Reset && timeouts.close.is_some())
    }

    fn frozen_workers(&self) -> usize {
        self.config.workers.unwrap_or(0)
    }
}

fn client_messages(record: &Record) -> usize {
    record.spoken.len()
}
