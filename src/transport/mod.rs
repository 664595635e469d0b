//! Non-blocking byte streams. Every system call a reactor makes on a socket goes through
//! [`Sys`], so that tests can replace the kernel and make any call fail.

mod listen;
mod os;

use std::io::{self, IoSlice};
use std::net::SocketAddr;

pub(crate) use listen::{bind, resolve};
pub(crate) use os::OsSys;

/// Names one registration with the poll: a slot and the generation that occupied it, so that
/// an event for a connection that has gone misses instead of hitting the slot's next owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token(u64);

impl Token {
    /// Generations from here on name listeners and wakers, never connections.
    const RESERVED: u32 = u32::MAX - 1;
    pub(crate) const WAKER: Token = Token::new(0, u32::MAX);

    pub(crate) const fn new(index: u32, generation: u32) -> Token {
        Token((generation as u64) << 32 | index as u64)
    }

    pub(crate) fn listener(index: usize) -> Token {
        Token::new(index as u32, Self::RESERVED)
    }

    pub(crate) fn index(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn is_listener(self) -> bool {
        self.generation() == Self::RESERVED
    }

    /// The generation after `generation`, skipping the reserved ones.
    pub(crate) fn next_generation(generation: u32) -> u32 {
        let next = generation.wrapping_add(1);
        if next >= Self::RESERVED { 0 } else { next }
    }

    pub(crate) fn to_u64(self) -> u64 {
        self.0
    }

    pub(crate) fn from_u64(raw: u64) -> Token {
        Token(raw)
    }
}

/// What became possible on a registered socket. Edge-triggered: it is said once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer's end of stream (or an error) is waiting behind whatever can still be read.
    pub(crate) read_closed: bool,
}

/// The kernel, as far as a reactor knows it. All sockets are non-blocking: a call that cannot
/// proceed fails with [`io::ErrorKind::WouldBlock`].
pub(crate) trait Sys {
    type Listener;
    /// Dropping it closes the socket and ends its registration.
    type Socket;

    /// The next connection and its peer's address, if the kernel tells it along the way.
    fn accept(
        &mut self,
        listener: &Self::Listener,
    ) -> io::Result<(Self::Socket, Option<SocketAddr>)>;
    fn peer_addr(&mut self, socket: &Self::Socket) -> io::Result<SocketAddr>;
    /// Registers for both directions, edge-triggered; called once per socket.
    fn register(&mut self, socket: &Self::Socket, token: Token) -> io::Result<()>;
    fn read(&mut self, socket: &Self::Socket, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;
    fn write_vectored(&mut self, socket: &Self::Socket, parts: &[IoSlice<'_>])
    -> io::Result<usize>;
    fn shutdown_write(&mut self, socket: &Self::Socket) -> io::Result<()>;
}
