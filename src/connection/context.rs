//! What all connections of one reactor share.

use std::sync::Arc;

use super::Tick;
use super::delivery::Front;
use super::errand::Errands;
use super::spares::Spares;
use crate::protocol::DecoderSettings;
use crate::transport::Token;

/// Bytes of the read buffer that a reactor's connections share.
pub(crate) const READ_BUFFER: usize = 64 * 1024;

/// Limits and deadlines (in ticks; `None` is off) of every connection.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) decoder: DecoderSettings,
    pub(crate) max_headers: usize,
    pub(crate) outbox: usize,
    /// Topics of one connection at most.
    pub(crate) subscriptions: usize,
    pub(crate) handshake: Option<u32>,
    pub(crate) idle: Option<u32>,
    pub(crate) ping_interval: Option<u32>,
    pub(crate) pong: Option<u32>,
    pub(crate) close: Option<u32>,
    pub(crate) write: Option<u32>,
}

impl Settings {
    /// Where a connection that was above the outbox limit may read and send again.
    pub(super) fn low_water(&self) -> usize {
        self.outbox / 2
    }
}

/// The memory account: every heap byte that is held on behalf of connections.
#[derive(Debug, Default)]
pub(crate) struct MemoryAccount {
    held: usize,
}

impl MemoryAccount {
    /// Replaces what one connection was charged before by what it holds now.
    pub(super) fn adjust(&mut self, charged: &mut usize, now: usize) {
        self.held = self.held - *charged + now;
        *charged = now;
    }

    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}

/// Running totals of one reactor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) messages: u64,
    /// Publications given to subscribers.
    pub(crate) deliveries: u64,
}

pub(crate) struct Context<S, D> {
    pub(crate) sys: S,
    pub(crate) delivery: D,
    pub(crate) front: Arc<dyn Front>,
    /// `None` if no response has to be fetched.
    pub(crate) errands: Option<Box<dyn Errands>>,
    pub(crate) settings: Settings,
    pub(crate) now: Tick,
    pub(crate) account: MemoryAccount,
    pub(crate) totals: Totals,
    pub(super) spares: Spares,
    pub(super) buffer: Box<[u8]>,
    /// Answers to pings found in one read.
    pub(super) control: Vec<u8>,
    /// When each connection last sent a data frame; empty unless there is an idle deadline.
    pub(super) heard: Vec<Tick>,
}

impl<S, D> Context<S, D> {
    pub(crate) fn new(
        sys: S,
        delivery: D,
        front: Arc<dyn Front>,
        settings: Settings,
        now: Tick,
    ) -> Self {
        Self {
            sys,
            delivery,
            front,
            errands: None,
            settings,
            now,
            account: MemoryAccount::default(),
            totals: Totals::default(),
            spares: Spares::new(),
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            control: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// The end of a turn; `last` if nothing is to be kept for further ones.
    #[inline]
    pub(crate) fn tend(&mut self, last: bool) {
        self.spares.tend(self.now, last, &mut self.account);
    }

    /// When [`tend`](Self::tend) has to be called again, whatever happens.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        self.spares.deadline()
    }

    /// What spare buffers take of the memory account.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn spares(&self) -> usize {
        self.spares.charged()
    }

    /// Counts messages of one connection that were delivered, and notes when.
    #[inline]
    pub(super) fn note_messages(&mut self, token: Token, count: u64) {
        if count == 0 {
            return;
        }
        self.totals.messages += count;
        self.note_heard(token);
    }

    /// Notes that one connection has sent data.
    #[inline]
    pub(super) fn note_heard(&mut self, token: Token) {
        if let Some(heard) = self.heard.get_mut(token.index() as usize) {
            *heard = self.now;
        }
    }
}
