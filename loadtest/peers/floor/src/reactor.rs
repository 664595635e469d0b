//! The event loop of one thread.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::connection::{Buffers, Connection, Progress};

/// Events taken from the kernel at once.
const EVENTS: usize = 512;
/// How long to wait when a connection cannot be accepted, most likely for lack of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// One thread's listener and connections.
pub(crate) struct Reactor {
    epoll: OwnedFd,
    listener: TcpListener,
    /// By descriptor, which is also the events' data.
    connections: Vec<Option<Connection>>,
    buffers: Buffers,
    raw: bool,
}

impl Reactor {
    /// A reactor that accepts from `listener`; `raw` connections are echoed byte by byte.
    pub(crate) fn new(listener: TcpListener, raw: bool) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, data_of(&listener), EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            connections: Vec::new(),
            buffers: Buffers::new(),
            raw,
        })
    }

    /// Serves until waiting for events fails.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let listener = self.listener.as_raw_fd() as usize;
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let fd = event.data.u64() as usize;
                if fd == listener {
                    self.accept()?;
                } else {
                    self.progress(fd, event.flags)?;
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => self.add(socket)?,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => {
                    eprintln!("cannot accept a connection: {error}");
                    thread::sleep(ACCEPT_AGAIN);
                    return Ok(());
                }
            }
        }
    }

    fn add(&mut self, socket: OwnedFd) -> io::Result<()> {
        let fd = socket.as_raw_fd() as usize;
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &socket, data_of(&socket), flags)?;
        if self.connections.len() <= fd {
            self.connections.resize_with(fd + 1, || None);
        }
        self.connections[fd] = Some(Connection::new(socket, self.raw));
        Ok(())
    }

    #[inline]
    fn progress(&mut self, fd: usize, flags: EventFlags) -> io::Result<()> {
        let Some(connection) = &mut self.connections[fd] else {
            return Ok(());
        };
        match connection.progress(flags, &mut self.buffers) {
            Progress::Idle => {}
            Progress::Blocked => {
                // Only connections that ever have to wait for the peer to read are told when they
                // can write. Changing the registration reports what is ready now, so nothing is missed.
                let all = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                epoll::modify(
                    &self.epoll,
                    &connection.socket,
                    data_of(&connection.socket),
                    all,
                )?;
            }
            // Dropping the socket closes it.
            Progress::Ended => self.connections[fd] = None,
        }
        Ok(())
    }
}

fn data_of(socket: &impl AsRawFd) -> EventData {
    EventData::new_u64(socket.as_raw_fd() as u64)
}
