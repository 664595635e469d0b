//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps for us between two accepts; it cuts this to `somaxconn`.
const BACKLOG: i32 = 4096;

/// The addresses `HOST:PORT` names, without repeats, in the resolver's order.
pub(crate) fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    // The hosts file decides what `localhost` means, and on many machines it forgets one of
    // the two loopback addresses; browsers try both.
    let expanded: Vec<SocketAddr> = match name.strip_prefix("localhost:") {
        Some(port) => {
            let port = port.parse::<u16>().map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidInput, "invalid port value")
            })?;
            vec![
                SocketAddr::from(([127, 0, 0, 1], port)),
                SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
            ]
        }
        None => name.to_socket_addrs()?.collect(),
    };
    let mut addrs = Vec::with_capacity(expanded.len());
    for addr in expanded {
        if !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    Ok(addrs)
}

/// Binds without listening, or with `listen` set starts to accept.
///
/// `share` sets `SO_REUSEPORT`, so that each reactor can have a listener of its own on the
/// same address. A second program would then bind silently as well: whoever must notice it
/// binds once without `share` first.
pub(crate) fn bind(addr: SocketAddr, share: bool, listen: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    if listen {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}
