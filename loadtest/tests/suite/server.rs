//! An echo server on tungstenite, one thread for each connection, with the faults a test asks for.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket};

/// What the server does with the messages of a connection.
pub(crate) type Behaviour = fn(&mut WebSocket<TcpStream>) -> tungstenite::Result<()>;

/// A server; its threads end with the connections, and with the test's process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
}

impl Server {
    /// A WebSocket server of this behaviour.
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::raw(serve(behaviour))
    }

    /// A server that does anything with its connections.
    pub(crate) fn raw(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serve = serve.clone();
                let stream = stream.unwrap();
                stream
                    .set_read_timeout(Some(Duration::from_secs(20)))
                    .unwrap();
                thread::spawn(move || serve(stream));
            }
        });
        Self { address }
    }

    /// A server that echoes for so long from its first connection on: then nobody listens any more,
    /// and its first `heard` connections end; the others hear nothing of it.
    pub(crate) fn mortal(life: Duration, heard: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut streams = Vec::new();
            let mut death = None;
            while death.is_none_or(|death| Instant::now() < death) {
                let (stream, _) = listener.accept().unwrap();
                streams.push(stream.try_clone().unwrap());
                thread::spawn(move || serve(echo)(stream));
                if death.is_none() {
                    death = Some(Instant::now() + life);
                    thread::spawn(move || {
                        thread::sleep(life);
                        // For the listener to look up.
                        TcpStream::connect(address)
                    });
                }
            }
            drop(listener);
            for stream in streams.iter().take(heard) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        Self { address }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }
}

/// Serves a WebSocket connection.
pub(crate) fn serve(behaviour: Behaviour) -> impl Fn(TcpStream) + Clone + Send + 'static {
    move |stream| {
        stream.set_nodelay(true).unwrap();
        if let Ok(mut socket) = tungstenite::accept(stream) {
            // Its errors are the client's leaving.
            let _ = behaviour(&mut socket);
            let _ = finish(&mut socket);
        }
    }
}

/// Reads until the closing handshake is complete.
fn finish(socket: &mut WebSocket<TcpStream>) -> tungstenite::Result<()> {
    loop {
        socket.read()?;
    }
}

/// The next message.
pub(crate) fn next(socket: &mut WebSocket<TcpStream>) -> tungstenite::Result<Message> {
    loop {
        let message = socket.read()?;
        if message.is_text() || message.is_binary() {
            return Ok(message);
        }
    }
}

/// Echoes everything.
pub(crate) fn echo(socket: &mut WebSocket<TcpStream>) -> tungstenite::Result<()> {
    loop {
        let message = next(socket)?;
        socket.send(message)?;
    }
}

/// Echoes this many messages.
pub(crate) fn echo_some(
    socket: &mut WebSocket<TcpStream>,
    count: usize,
) -> tungstenite::Result<()> {
    for _ in 0..count {
        let message = next(socket)?;
        socket.send(message)?;
    }
    Ok(())
}

/// Answers every request with these bytes, and reads on.
pub(crate) fn answer(bytes: &'static [u8]) -> Server {
    Server::raw(move |mut stream| {
        let mut request = [0; 1024];
        if stream.read(&mut request).is_ok() && stream.write_all(bytes).is_ok() {
            while stream.read(&mut request).is_ok_and(|read| read > 0) {}
        }
    })
}
