//! The real kernel behind [`Sys`].

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags};

use super::{Sys, Token};

/// System calls on real sockets; registrations go to the reactor's poll.
pub(crate) struct OsSys {
    registry: Registry,
}

impl OsSys {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Registers the `index`-th listener of a reactor.
    pub(crate) fn register_listener(&self, listener: &TcpListener, index: usize) -> io::Result<()> {
        self.registry.register(
            &mut SourceFd(&listener.as_raw_fd()),
            mio::Token(Token::listener(index).to_u64() as usize),
            Interest::READABLE,
        )
    }
}

impl Sys for OsSys {
    type Listener = TcpListener;
    type Socket = OwnedFd;

    fn accept(&mut self, listener: &TcpListener) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, remote) = rustix::net::acceptfrom_with(listener, flags)?;
        let remote = remote.and_then(|remote| SocketAddr::try_from(remote).ok());
        Ok((socket, remote))
    }

    fn peer_addr(&mut self, socket: &OwnedFd) -> io::Result<SocketAddr> {
        let any = rustix::net::getpeername(socket)?
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(SocketAddr::try_from(any)?)
    }

    fn register(&mut self, socket: &OwnedFd, token: Token) -> io::Result<()> {
        self.registry.register(
            &mut SourceFd(&socket.as_raw_fd()),
            mio::Token(token.to_u64() as usize),
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    // `recv` and `send` reach the socket by a shorter way through the kernel than `read` and `write`.

    fn read(&mut self, socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, received) = rustix::net::recv(socket, buffer, RecvFlags::empty())?;
        Ok(received)
    }

    fn write(&mut self, socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, socket: &OwnedFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::writev(socket, parts)?)
    }

    fn shutdown_write(&mut self, socket: &OwnedFd) -> io::Result<()> {
        Ok(rustix::net::shutdown(socket, Shutdown::Write)?)
    }
}
