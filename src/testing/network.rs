//! A network in memory behind [`Sys`], with the edges a real poll would report.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;

use crate::transport::{Readiness, Sys, Token};

/// The system calls a reactor makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Accept,
    PeerAddr,
    Register,
    Read,
    Write,
    Shutdown,
}

/// What a call is made to do.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "only tests of this crate decide about calls")
)]
pub(crate) enum Fate {
    /// Proceed, with at most so many bytes.
    Proceed(usize),
    Fail(rustix::io::Errno),
}

type Fates = Box<dyn FnMut(Call) -> Fate>;

#[derive(Default)]
struct State {
    backlog: VecDeque<Wire>,
    events: Vec<Readiness>,
    fates: Option<Fates>,
    /// Edges of one socket that nobody has taken yet become one, as they do in epoll.
    coalesces: bool,
    /// Grows with every byte or connection that moves.
    moved: u64,
    /// Calls and what was made of them, for a trace.
    #[cfg(test)]
    calls: Option<String>,
}

/// The network: listeners share its backlog, sockets its event queue.
#[derive(Clone, Default)]
pub(crate) struct Network(Rc<RefCell<State>>);

impl Network {
    /// Connects a client whose receive window is `window` bytes.
    pub(crate) fn connect(&self, remote: SocketAddr, window: usize) -> Wire {
        let wire = Wire {
            network: self.clone(),
            ends: Rc::new(RefCell::new(Ends::new(remote, window))),
        };
        self.0.borrow_mut().backlog.push_back(wire.clone());
        self.knock();
        wire
    }

    /// The edge of a listener that has a connection waiting.
    fn knock(&self) {
        self.push(Readiness {
            token: Token::listener(0),
            readable: true,
            writable: false,
            read_closed: false,
        });
    }

    /// Whether edges of one socket become one until they are taken.
    #[cfg(test)]
    pub(crate) fn set_coalescing(&self, coalesces: bool) {
        self.0.borrow_mut().coalesces = coalesces;
    }

    /// A number that grows with every byte or connection that moves.
    #[cfg(test)]
    pub(crate) fn moved(&self) -> u64 {
        self.0.borrow().moved
    }

    /// The calls since the last time this was asked, and what was made of them.
    #[cfg(test)]
    pub(crate) fn take_calls(&self) -> String {
        self.0
            .borrow_mut()
            .calls
            .replace(String::new())
            .unwrap_or_default()
    }

    fn push(&self, edge: Readiness) {
        let mut state = self.0.borrow_mut();
        if state.coalesces
            && let Some(earlier) = state.events.iter_mut().find(|it| it.token == edge.token)
        {
            earlier.readable |= edge.readable;
            earlier.writable |= edge.writable;
            earlier.read_closed |= edge.read_closed;
            return;
        }
        state.events.push(edge);
    }

    /// The edges since the last call.
    pub(crate) fn take_events(&self) -> Vec<Readiness> {
        std::mem::take(&mut self.0.borrow_mut().events)
    }

    pub(crate) fn has_events(&self) -> bool {
        !self.0.borrow().events.is_empty()
    }

    /// Decides about every call from now on.
    #[cfg(test)]
    pub(crate) fn set_fates(&self, fates: impl FnMut(Call) -> Fate + 'static) {
        self.0.borrow_mut().fates = Some(Box::new(fates));
    }

    /// What is to become of a call. One that would block is followed by its edge, `ready`, as if
    /// what it waits for had come just then.
    fn fate(&self, call: Call, ready: impl FnOnce()) -> io::Result<usize> {
        // Taken out while it runs, because it may look at the network.
        let fates = self.0.borrow_mut().fates.take();
        let Some(mut fates) = fates else {
            return Ok(usize::MAX);
        };
        let fate = fates(call);
        #[cfg(test)]
        if let Some(calls) = &mut self.0.borrow_mut().calls {
            calls.push_str(&match &fate {
                Fate::Proceed(usize::MAX) => format!(" {call:?}"),
                Fate::Proceed(most) => format!(" {call:?} {most}"),
                Fate::Fail(errno) => format!(" {call:?} {errno}"),
            });
        }
        self.0.borrow_mut().fates = Some(fates);
        match fate {
            Fate::Proceed(most) => Ok(most.max(1)),
            Fate::Fail(errno) => {
                if errno == rustix::io::Errno::AGAIN {
                    ready();
                }
                Err(errno.into())
            }
        }
    }

    /// The same for a call on a socket, which notes that it was broken.
    fn fate_of(&self, call: Call, socket: &Socket, ready: impl FnOnce()) -> io::Result<usize> {
        let fate = self.fate(call, ready);
        if let Err(error) = &fate {
            let harmless = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
            if !harmless.contains(&error.kind()) {
                socket.0.ends.borrow_mut().failed = true;
            }
        }
        fate
    }
}

/// The two directions of a connection, between a test and a reactor.
struct Ends {
    remote: SocketAddr,
    token: Option<Token>,
    /// From the client, not yet read by the server.
    input: VecDeque<u8>,
    input_ended: bool,
    /// From the server, not yet read by the client; at most `window` bytes.
    output: VecDeque<u8>,
    window: usize,
    output_ended: bool,
    /// The server was refused and is owed an edge.
    starved: bool,
    reset: bool,
    /// The server has closed its socket.
    closed: bool,
    /// It did so with input unread: TCP resets the stream then.
    aborted: bool,
    /// A call on this socket was made to fail for good.
    failed: bool,
}

impl Ends {
    fn new(remote: SocketAddr, window: usize) -> Self {
        Self {
            remote,
            token: None,
            input: VecDeque::new(),
            input_ended: false,
            output: VecDeque::new(),
            window,
            output_ended: false,
            starved: false,
            reset: false,
            closed: false,
            aborted: false,
            failed: false,
        }
    }

    fn room(&self) -> usize {
        self.window.saturating_sub(self.output.len())
    }
}

/// A client's view of its connection.
#[derive(Clone)]
pub(crate) struct Wire {
    network: Network,
    ends: Rc<RefCell<Ends>>,
}

impl Wire {
    fn edge(&self, readable: bool, writable: bool) {
        let ends = self.ends.borrow();
        if let Some(token) = ends.token {
            let read_closed = readable && (ends.input_ended || ends.reset);
            self.network.push(Readiness {
                token,
                readable,
                writable,
                read_closed,
            });
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        {
            let mut ends = self.ends.borrow_mut();
            if ends.closed || ends.reset || ends.input_ended {
                return;
            }
            ends.input.extend(bytes);
        }
        self.edge(true, false);
    }

    /// Everything the server has written so far.
    pub(crate) fn read(&self) -> Vec<u8> {
        self.read_most(usize::MAX)
    }

    /// The same, but at most so many bytes.
    pub(crate) fn read_most(&self, most: usize) -> Vec<u8> {
        let (bytes, starved) = {
            let mut ends = self.ends.borrow_mut();
            let count = most.min(ends.output.len());
            let bytes: Vec<u8> = ends.output.drain(..count).collect();
            let starved = ends.starved && ends.room() > 0 && !bytes.is_empty();
            if starved {
                ends.starved = false;
            }
            (bytes, starved)
        };
        if starved {
            self.edge(false, true);
        }
        bytes
    }

    /// Changes what fits between server and client.
    #[cfg(test)]
    pub(crate) fn set_window(&self, window: usize) {
        let starved = {
            let mut ends = self.ends.borrow_mut();
            ends.window = window;
            let starved = ends.starved && ends.room() > 0;
            if starved {
                ends.starved = false;
            }
            starved
        };
        if starved {
            self.edge(false, true);
        }
    }

    /// Bytes the server has not read yet.
    #[cfg(test)]
    pub(crate) fn unread(&self) -> usize {
        self.ends.borrow().input.len()
    }

    /// Bytes the server has written that were not read yet.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.ends.borrow().output.len()
    }

    /// Bytes the server could write.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.ends.borrow().room()
    }

    /// The server's name for the connection, while it is registered.
    #[cfg(test)]
    pub(crate) fn token(&self) -> Option<Token> {
        self.ends.borrow().token
    }

    /// Whether the server closed its socket with input unread, so that its last words may be lost.
    #[cfg(test)]
    pub(crate) fn is_aborted(&self) -> bool {
        self.ends.borrow().aborted
    }

    /// Whether a call on the server's socket was made to fail for good.
    #[cfg(test)]
    pub(crate) fn has_failed(&self) -> bool {
        self.ends.borrow().failed
    }

    /// Ends the client's side of the stream.
    pub(crate) fn shutdown(&self) {
        self.ends.borrow_mut().input_ended = true;
        self.edge(true, false);
    }

    pub(crate) fn reset(&self) {
        {
            let mut ends = self.ends.borrow_mut();
            ends.reset = true;
            ends.input.clear();
            ends.output.clear();
        }
        self.edge(true, true);
    }

    /// Whether the server has ended its side of the stream.
    pub(crate) fn is_ended(&self) -> bool {
        let ends = self.ends.borrow();
        ends.output_ended || ends.closed
    }

    /// Whether the server has closed its socket.
    pub(crate) fn is_closed(&self) -> bool {
        self.ends.borrow().closed
    }
}

/// The server's end; dropping it closes it.
pub(crate) struct Socket(Wire);

impl Drop for Socket {
    fn drop(&mut self) {
        let mut ends = self.0.ends.borrow_mut();
        ends.closed = true;
        ends.aborted = !ends.input.is_empty();
        ends.token = None;
    }
}

impl Sys for Network {
    type Listener = ();
    type Socket = Socket;

    fn accept(&mut self, (): &()) -> io::Result<(Socket, Option<SocketAddr>)> {
        if self.0.borrow().backlog.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.fate(Call::Accept, || self.knock())?;
        self.0.borrow_mut().moved += 1;
        let wire = self.0.borrow_mut().backlog.pop_front();
        let wire = wire.ok_or(io::ErrorKind::WouldBlock)?;
        let remote = wire.ends.borrow().remote;
        Ok((Socket(wire), Some(remote)))
    }

    fn peer_addr(&mut self, socket: &Socket) -> io::Result<SocketAddr> {
        self.fate_of(Call::PeerAddr, socket, || ())?;
        Ok(socket.0.ends.borrow().remote)
    }

    fn register(&mut self, socket: &Socket, token: Token) -> io::Result<()> {
        self.fate_of(Call::Register, socket, || ())?;
        let readable = {
            let mut ends = socket.0.ends.borrow_mut();
            ends.token = Some(token);
            !ends.input.is_empty() || ends.input_ended || ends.reset
        };
        socket.0.edge(readable, true);
        Ok(())
    }

    fn read(&mut self, socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.fate_of(Call::Read, socket, || socket.0.edge(true, false))?;
        let most = most.min(buffer.len());
        let mut ends = socket.0.ends.borrow_mut();
        if ends.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if ends.input.is_empty() {
            return match ends.input_ended {
                true => Ok(0),
                false => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let count = most.min(ends.input.len());
        let (front, back) = ends.input.as_slices();
        let cut = count.min(front.len());
        buffer[..cut].copy_from_slice(&front[..cut]);
        buffer[cut..count].copy_from_slice(&back[..count - cut]);
        ends.input.drain(..count);
        self.0.borrow_mut().moved += count as u64;
        let left = !ends.input.is_empty();
        drop(ends);
        // A short read that left something is followed by an edge, as if it had just come.
        if left && count < buffer.len() {
            socket.0.edge(true, false);
        }
        Ok(count)
    }

    fn write(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(socket, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, socket: &Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let most = self.fate_of(Call::Write, socket, || socket.0.edge(false, true))?;
        let offered: usize = parts.iter().map(|part| part.len()).sum();
        let mut ends = socket.0.ends.borrow_mut();
        if ends.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        assert!(
            !ends.output_ended,
            "nothing is written after the end of the stream"
        );
        let count = most.min(ends.room()).min(offered);
        let mut left = count;
        for part in parts {
            let taken = left.min(part.len());
            ends.output.extend(&part[..taken]);
            left -= taken;
        }
        self.0.borrow_mut().moved += count as u64;
        if count < offered {
            ends.starved = true;
        }
        let room = ends.room() > 0;
        drop(ends);
        // The same for a short write that the window does not explain.
        if count < offered && room {
            socket.0.ends.borrow_mut().starved = false;
            socket.0.edge(false, true);
        }
        match count {
            0 if offered > 0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn shutdown_write(&mut self, socket: &Socket) -> io::Result<()> {
        self.fate_of(Call::Shutdown, socket, || ())?;
        socket.0.ends.borrow_mut().output_ended = true;
        Ok(())
    }
}
