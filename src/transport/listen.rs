//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps for us between two accepts, and as many that have sent nothing yet;
/// it cuts this to `somaxconn`.
const BACKLOG: i32 = 4096;

/// How long a client that sends nothing is kept from us, about, in seconds.
const DEFER: libc::c_int = 1;

/// The addresses `HOST:PORT` names, without repeats, in the resolver's order.
pub(crate) fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    // The hosts file decides what `localhost` means, and on many machines it forgets one of
    // the two loopback addresses; browsers try both.
    let expanded: Vec<SocketAddr> = match name.strip_prefix("localhost:") {
        Some(port) => {
            let port = port
                .parse::<u16>()
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "invalid port value"))?;
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
        if let Err(error) = defer_accept(&socket) {
            log::debug!("{addr}: connections are accepted before anything was sent: {error}");
        }
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

/// Has the kernel keep connections until their first bytes are there (tcp(7), `TCP_DEFER_ACCEPT`):
/// clients of HTTP speak first. A connection and its request then take one event instead of two.
///
/// Whoever sends nothing is ours after the first repeated SYN-ACK. If more than [`BACKLOG`] are kept
/// at once, the kernel logs `Possible SYN flooding` and sends SYN cookies: with these, connections
/// are not deferred. Those that are kept when the listener closes are forgotten, and reset when they
/// send something.
fn defer_accept(socket: &Socket) -> io::Result<()> {
    // SAFETY: the option's value is an int, which `DEFER` is for as long as the call lasts.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            std::ptr::from_ref(&DEFER).cast(),
            size_of_val(&DEFER) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
