//! Input: bytes to requests, to messages, to the handler.

use std::io;
use std::ops::Range;

use super::reply::weight;
use super::spares::Spares;
use super::{Body, Cause, CloseReason, Connection, Context, Delivery, Flags, State, Tick, Verdict};
use crate::protocol::{
    Decoder, DecoderSettings, Event, Opcode, Payload, Request, Role, encode_frame, find_head_end,
    header_storage,
};
use crate::transport::{Sys, Token};

/// Input that is discarded after the end before patience ends too: several of the largest
/// messages of the default limit, because a peer that writes one reads nothing meanwhile.
const DISCARD_LIMIT: u32 = 64 << 20;

/// What may be with one connection's handler before reading pauses, by [`weight`]. What one read
/// brings, or one larger message, may come on top.
pub(crate) const IN_FLIGHT: u32 = 64 * 1024;

/// What one call to the kernel brought.
enum Input {
    Bytes(usize),
    Nothing,
    End,
    Broken(io::ErrorKind),
}

fn input(result: io::Result<usize>) -> Input {
    match result {
        Ok(0) => Input::End,
        Ok(count) => Input::Bytes(count),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Input::Nothing,
            kind => Input::Broken(kind),
        },
    }
}

impl<T> Connection<T> {
    #[inline(always)]
    pub(super) fn may_read<D: Delivery>(&self, cx: &Context<impl Sized, D>) -> bool {
        let reads = if self.is_open() {
            self.in_flight < IN_FLIGHT && cx.delivery.has_room(self.worker)
        } else {
            self.reads_else(cx)
        };
        reads && !self.flags.has(Flags::EOF) && (self.cold.is_none() || self.takes_answers(cx))
    }

    /// Whether a connection that is not open reads.
    #[inline(never)]
    fn reads_else<D: Delivery>(&self, cx: &Context<impl Sized, D>) -> bool {
        match self.state {
            State::Handshake { .. } => cx.delivery.takes_openings(),
            State::Closing { .. } | State::Lingering { .. } => true,
            State::Open { .. }
            | State::Opening { .. }
            | State::Fetching { .. }
            | State::Ending(_)
            | State::Gone => false,
        }
    }

    #[inline(never)]
    fn takes_answers<D>(&self, cx: &Context<impl Sized, D>) -> bool {
        // Once it was over the limit, most of the outbox has to leave first.
        let limit = if self.flags.has(Flags::DRAIN_OWED) {
            cx.settings.low_water()
        } else {
            cx.settings.outbox
        };
        self.outbox_len() <= limit
    }

    /// Reads once, if there may be input and the peer takes its answers, and delivers what came.
    /// Says how many bytes that was.
    pub(crate) fn read<S, D>(&mut self, token: Token, cx: &mut Context<S, D>) -> usize
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        if !self.flags.has(Flags::READABLE) || !self.may_read(cx) {
            return 0;
        }
        if self.cold.is_some()
            && let Some(count) = self.read_directly(token, cx)
        {
            return count;
        }
        let buffer = &mut cx.buffer;
        let room = buffer.len();
        match input(retry(|| cx.sys.read(&self.socket, buffer))) {
            Input::Bytes(count) => {
                self.note_input(count < room);
                self.received(token, count, cx);
                count
            }
            other => self.no_input(token, other, cx),
        }
    }

    /// The same into the buffer of an unfinished large message, if there is one.
    #[inline(never)]
    fn read_directly<S, D>(&mut self, token: Token, cx: &mut Context<S, D>) -> Option<usize>
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        let (spares, held, now) = (&mut cx.spares, cx.account.held(), cx.now);
        let spare = |least, most| spares.take(least, most, held, now);
        let buffer = self.cold.as_mut()?.decoder.direct_buffer(spare)?;
        let room = buffer.len();
        let count = match input(retry(|| cx.sys.read(&self.socket, buffer))) {
            Input::Bytes(count) => {
                self.note_input(count < room);
                self.received_directly(token, count, cx);
                count
            }
            other => self.no_input(token, other, cx),
        };
        Some(count)
    }

    /// After a read: a short one emptied the socket; the next bytes bring their own edge.
    fn note_input(&mut self, short: bool) {
        let emptied = short && !self.flags.has(Flags::READ_CLOSED);
        let readable = if emptied { Flags::READABLE } else { 0 };
        self.flags.clear(readable);
        self.flags.answered();
    }

    #[inline(never)]
    fn no_input<S, D: Delivery>(
        &mut self,
        token: Token,
        input: Input,
        cx: &mut Context<S, D>,
    ) -> usize {
        self.flags.clear(Flags::READABLE);
        match input {
            Input::End => {
                self.flags.set(Flags::EOF);
                self.end_of_stream(token, cx);
            }
            Input::Broken(kind) => self.lost(token, kind, cx),
            Input::Bytes(_) | Input::Nothing => {}
        }
        0
    }

    /// Starts what a connection does from its handshake on, and does what came while that was
    /// being decided. A handler that closed at once still has to hear the peer's Close frame.
    #[inline(never)]
    pub(crate) fn opened<S, D>(&mut self, token: Token, cx: &mut Context<S, D>)
    where
        D: Delivery,
    {
        if self.is_open() {
            self.start_idle(token, cx);
        }
        self.catch_up(token, cx);
        let Some(cold) = &mut self.cold else { return };
        if cold.input.is_empty()
            || !matches!(self.state, State::Open { .. } | State::Closing { .. })
        {
            return;
        }
        let mut early = std::mem::take(&mut cold.input);
        let range = 0..early.len();
        self.decode(token, Some(&mut early), range, cx);
    }

    #[inline(never)]
    fn end_of_stream<S, D: Delivery>(&mut self, token: Token, cx: &mut Context<S, D>) {
        match self.state {
            State::Open { .. } | State::Closing { .. } => {
                self.end(token, CloseReason::new(Cause::EndOfStream), cx);
            }
            State::Handshake { .. } => self.state = State::Gone,
            // Goes once everything has been written.
            _ => {}
        }
    }

    #[inline(never)]
    pub(super) fn lost<S, D: Delivery>(
        &mut self,
        token: Token,
        kind: io::ErrorKind,
        cx: &mut Context<S, D>,
    ) {
        match self.state {
            State::Open { .. } | State::Closing { .. } => {
                self.end(token, CloseReason::new(Cause::Lost(kind)), cx);
            }
            _ => self.state = State::Gone,
        }
    }

    fn received<S, D>(&mut self, token: Token, count: usize, cx: &mut Context<S, D>)
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        if let State::Open { slot, seen } = &mut self.state {
            *seen = cx.now;
            let slot = *slot;
            self.received_open(token, slot, count, cx);
        } else {
            self.received_else(token, count, cx);
        }
    }

    // What the path of an open connection does not need is kept out of its code.
    #[inline(never)]
    fn received_else<S, D>(&mut self, token: Token, count: usize, cx: &mut Context<S, D>)
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        match &mut self.state {
            State::Closing { .. } => self.decode(token, None, 0..count, cx),
            State::Handshake { .. } => self.read_head(token, count, cx),
            State::Lingering { discarded, .. } => {
                *discarded = discarded.saturating_add(count as u32);
                if *discarded > DISCARD_LIMIT {
                    self.state = State::Gone;
                }
            }
            State::Open { .. }
            | State::Opening { .. }
            | State::Fetching { .. }
            | State::Ending(_)
            | State::Gone => {}
        }
    }

    #[inline(never)]
    fn received_directly<S, D: Delivery>(
        &mut self,
        token: Token,
        count: usize,
        cx: &mut Context<S, D>,
    ) {
        if let State::Open { seen, .. } = &mut self.state {
            *seen = cx.now;
        }
        let target = self.target(token);
        let open = self.is_open();
        let Some(cold) = &mut self.cold else { return };
        match cold.decoder.received(&cx.settings.decoder, count) {
            Ok(Some(Event::Message { kind, payload })) => {
                if let Some(target) = target.filter(|_| open) {
                    self.in_flight += weight(payload.len()) as u32;
                    let body = body(payload, &mut cx.spares, cx.now);
                    cx.delivery.message(&target, kind, body);
                    cx.note_messages(token, 1);
                }
            }
            // Only the payload of a data frame is received like this.
            Ok(_) => cx.note_heard(token),
            Err(fault) => self.end(token, CloseReason::new(Cause::Fault(fault)), cx),
        }
    }

    /// Delivers the whole messages at the front of the shared buffer, which is what nearly all
    /// input is, without any state. From the first byte that is something else the decoder goes on.
    fn received_open<S, D: Delivery>(
        &mut self,
        token: Token,
        slot: u32,
        count: usize,
        cx: &mut Context<S, D>,
    ) {
        if self.cold.is_some() {
            return self.decode(token, None, 0..count, cx);
        }
        let to = self.target_of(token, slot);
        // Our role is said again so that the compiler knows it.
        let settings = DecoderSettings {
            role: Role::Server,
            ..cx.settings.decoder
        };
        let mut rest = &mut cx.buffer[..count];
        let in_flight = &mut self.in_flight;
        let messages = &mut cx.totals.messages;
        let mut fault = None;
        cx.delivery
            .messages(&to, || match Decoder::whole_message(&settings, &mut rest) {
                Ok(message) => {
                    if let Some((_, bytes)) = &message {
                        *messages += 1;
                        *in_flight += weight(bytes.len()) as u32;
                    }
                    message
                }
                Err(error) => {
                    fault = Some(error);
                    None
                }
            });
        let at = count - rest.len();
        if at > 0 {
            cx.note_heard(token);
        }
        match fault {
            Some(fault) => self.end(token, CloseReason::new(Cause::Fault(fault)), cx),
            None if at < count => self.decode(token, None, at..count, cx),
            None => {}
        }
    }

    /// Decodes a range of `early`, or else of the shared buffer.
    #[inline(never)]
    fn decode<S, D: Delivery>(
        &mut self,
        token: Token,
        early: Option<&mut Vec<u8>>,
        range: Range<usize>,
        cx: &mut Context<S, D>,
    ) {
        let open = self.is_open();
        // After our Close frame data frames are dropped.
        let target = self.target(token).filter(|_| open);
        let mut messages = 0;
        let mut decoder = match &mut self.cold {
            Some(cold) => std::mem::take(&mut cold.decoder),
            None => Decoder::default(),
        };
        let input = match early {
            Some(early) => &mut early[range],
            None => &mut cx.buffer[range],
        };
        let mut end = None;
        let mut in_flight = self.in_flight;
        let unfinished = decoder.message_bytes();
        let mut at = 0;
        while at < input.len() {
            let (used, event) = match decoder.next(&cx.settings.decoder, &mut input[at..]) {
                Ok(decoded) => decoded,
                Err(fault) => {
                    end = Some(CloseReason::new(Cause::Fault(fault)));
                    break;
                }
            };
            at += used;
            match event {
                Some(Event::Message { kind, payload }) => {
                    if let Some(target) = &target {
                        messages += 1;
                        in_flight += weight(payload.len()) as u32;
                        let body = body(payload, &mut cx.spares, cx.now);
                        cx.delivery.message(target, kind, body);
                    }
                }
                // After our Close frame nothing else may be sent.
                Some(Event::Ping(payload)) if open => {
                    encode_frame(&mut cx.control, Opcode::Pong, None, payload);
                }
                Some(Event::Ping(_) | Event::Pong(_)) => {}
                Some(Event::Close(frame)) => {
                    end = Some(CloseReason::received(frame.code, frame.reason));
                    break;
                }
                None => break,
            }
        }
        cx.note_messages(token, messages);
        if !cx.control.is_empty() {
            let mut control = std::mem::take(&mut cx.control);
            self.push_bytes(&control, cx);
            control.clear();
            cx.control = control;
        }
        self.in_flight = in_flight;
        // The idle deadline counts data, not only whole messages.
        if decoder.message_bytes() > unfinished {
            cx.note_heard(token);
        }
        // A control frame that came in pieces is let go by the call after it.
        if end.is_none() && !decoder.is_idle() {
            let rest = decoder.next(&cx.settings.decoder, &mut []);
            debug_assert!(matches!(rest, Ok((0, None))));
        }
        match end {
            Some(reason) => self.end(token, reason, cx),
            None if !decoder.is_idle() => self.cold().decoder = decoder,
            None => {}
        }
    }

    /// Takes `count` more bytes of the request's head from the shared buffer (RFC 6455 section
    /// 4.2.1), and once the head is complete, decides on the request.
    #[inline(never)]
    fn read_head<S, D>(&mut self, token: Token, count: usize, cx: &mut Context<S, D>)
    where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        let mut saved = match &mut self.cold {
            Some(cold) => std::mem::take(&mut cold.input),
            None => Vec::new(),
        };
        let scanned = saved.len();
        let buffer = std::mem::take(&mut cx.buffer);
        if scanned > 0 {
            saved.extend_from_slice(&buffer[..count]);
        }
        let input = if scanned > 0 {
            &saved[..]
        } else {
            &buffer[..count]
        };
        // Known before the head is complete or understood. An empty line may come first (RFC 9112
        // section 2.2).
        let line = input.strip_prefix(b"\r\n").unwrap_or(input);
        if line.starts_with(b"HEAD ") {
            self.flags.set(Flags::HEAD);
        }
        let limit = cx.settings.max_headers;
        match find_head_end(input, scanned) {
            Some(end) if end <= limit => self.read_request(token, &input[..end], &input[end..], cx),
            // TLS, for one: a client that says wss: would otherwise wait for the deadline.
            None if input
                .first()
                .is_some_and(|&byte| !byte.is_ascii() || byte < b'\n') =>
            {
                self.refuse(400, "this is not HTTP", cx);
            }
            None if input.len() <= limit => {
                if scanned == 0 {
                    saved = input.to_vec();
                }
                self.cold().input = saved;
            }
            _ => {
                let in_request_line =
                    memchr::memchr(b'\n', &input[..limit.min(input.len())]).is_none();
                if in_request_line {
                    self.refuse(414, "request line too long", cx);
                } else {
                    self.refuse(431, "request header too long", cx);
                }
            }
        }
        cx.buffer = buffer;
    }

    fn read_request<S, D>(
        &mut self,
        token: Token,
        head: &[u8],
        early: &[u8],
        cx: &mut Context<S, D>,
    ) where
        S: Sys<Socket = T>,
        D: Delivery,
    {
        let mut storage = header_storage();
        let request = match Request::parse(head, &mut storage) {
            Ok(request) => request,
            Err(error) => return self.refuse(error.status(), &error.to_string(), cx),
        };
        let upgrade = match request.upgrade() {
            Ok(upgrade) => upgrade,
            Err(error) => return self.refuse(error.status(), &error.to_string(), cx),
        };
        match cx.front.decide(&request, upgrade.as_ref()) {
            Verdict::Upgrade => {}
            Verdict::Respond { head, body } => {
                self.push_response(&head, body, cx);
                return self.responded(cx);
            }
            Verdict::Fetch(errand) => return self.fetch(token, errand, cx),
        }
        let told = match self.state {
            State::Handshake { from, .. } => from.addr(),
            _ => None,
        };
        let remote = told.map_or_else(|| cx.sys.peer_addr(&self.socket), Ok);
        // Only what upgrades gets this far, and it has no address if it was reset already.
        let (Some(upgrade), Ok(remote)) = (upgrade, remote) else {
            self.state = State::Gone;
            return;
        };
        if !early.is_empty() {
            self.cold().input = early.to_vec();
        }
        self.state = State::Opening { since: cx.now };
        self.worker = cx.delivery.place();
        let to = self.target_of(token, 0);
        cx.delivery.open(to, head, &request, &upgrade, remote);
    }

    /// Answers a request of which no more is to be known; nothing of a response has been queued.
    pub(super) fn refuse<S, D>(&mut self, status: u16, reason: &str, cx: &mut Context<S, D>) {
        let with_body = !self.flags.has(Flags::HEAD);
        let response = cx.front.refuse(status, reason, with_body);
        self.push_bytes(&response, cx);
        self.responded(cx);
    }

    /// After the last that this connection sends was queued.
    fn responded<S, D>(&mut self, cx: &mut Context<S, D>) {
        self.state = State::lingering(cx.now);
        self.flags.set(Flags::REARM);
    }
}

/// A message as it is delivered.
fn body<'b>(payload: Payload<'b>, spares: &mut Spares, now: Tick) -> Body<'b> {
    match payload {
        Payload::Borrowed(bytes) => Body::Borrowed(bytes),
        Payload::Owned(bytes) => Body::Owned(spares.lend(bytes, now)),
    }
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
