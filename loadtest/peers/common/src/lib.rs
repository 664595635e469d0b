//! What all compared servers share: the flags, the listening socket, the line that says where it
//! is and, with the feature `tokio`, the accept loop of the servers on tokio.

#[cfg(feature = "tokio")]
pub mod runtime;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps between two accepts; it cuts this to `somaxconn`.
const BACKLOG: i32 = 4096;

/// The largest message that every compared server takes: four times what they have to.
pub const MAX_MESSAGE: usize = 64 << 20;

/// The flags every compared server knows.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Threads that serve connections
    #[arg(long, default_value_t = NonZeroUsize::MIN)]
    pub threads: NonZeroUsize,
}

/// Listens on `port` of 127.0.0.1; with `share`, other sockets of this process may do so too.
///
/// Accepted sockets inherit `TCP_NODELAY`.
pub fn listen(port: u16, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::IPV4,
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Prints the line whoever started the server waits for.
pub fn announce(addr: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on ws://{addr}")?;
    out.flush()
}
