//! Sockets that connect without waiting.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::net::TcpStream;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Begins to connect to `target`, from `source` if there is one, with a receive buffer of so many
/// bytes if it says so; `TCP_NODELAY` is set.
///
/// # Errors
///
/// Those of the system calls; a refusal usually comes later, with the first write.
pub fn connect(
    target: SocketAddr,
    source: Option<IpAddr>,
    receive_buffer: Option<u32>,
) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(source) = source {
        bind_address_no_port(&socket)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Reads what is there. Like [`write()`], it is the bare system call: that of the standard library is
/// a point where threads may be cancelled, which costs more than the rest of a load thread's turn.
///
/// # Errors
///
/// Those of `recv`.
#[inline]
pub fn read(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (read, _) = rustix::net::recv(socket, buffer, RecvFlags::empty())?;
    Ok(read)
}

/// Writes as much as the kernel takes.
///
/// # Errors
///
/// Those of `send`; a connection that is gone raises no signal.
#[inline]
pub fn write(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)
}

/// Makes closing the socket reset the connection, which leaves nothing in `TIME_WAIT`.
///
/// # Errors
///
/// Those of `setsockopt`.
pub fn reset_on_close(socket: &TcpStream) -> io::Result<()> {
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

/// Leaves the choice of the port to `connect`, which knows the whole tuple: a port used to another
/// address is not in the way, so each source address gives all of its ports.
fn bind_address_no_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option's value is an int that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_connects_from_the_source_it_is_given() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let source = IpAddr::from([127, 0, 0, 9]);
        let socket = connect(listener.local_addr().unwrap(), Some(source), None).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), source);
        assert!(socket.nodelay().unwrap());
    }

    #[test]
    fn a_reset_is_what_the_other_side_sees() {
        use std::io::Read;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = connect(listener.local_addr().unwrap(), None, None).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        reset_on_close(&socket).unwrap();
        drop(socket);
        let error = peer.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
