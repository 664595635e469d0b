//! Starts a compared server, has it echo through an independent client, and ends it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Bytes, Message, WebSocket};

/// How long a server may take to do anything it is asked for.
const PATIENCE: Duration = Duration::from_secs(20);
/// What `compare` keeps in flight at most, several times over.
const PIPELINED: usize = 16;
const LARGEST: usize = 16 << 20;

/// Checks the whole contract with `compare` on the server that `command` starts.
///
/// # Panics
///
/// If the server does not keep it.
pub fn check(command: Command) {
    let server = Server::start(command);
    echoes(&mut server.connect());
    pipelines(&mut server.connect());
    answers_pings(&mut server.connect());
    many_at_once(&server);
    closes(server.connect());
    server.end();
}

/// Checks that each message on `/broadcast` goes to everyone else there, in order and once.
///
/// # Panics
///
/// If it does not.
pub fn check_broadcast(command: Command) {
    let server = Server::start(command);
    let mut sockets: Vec<_> = (0..10).map(|_| server.connect_to("/broadcast")).collect();
    // Whoever answers has subscribed before.
    sockets.iter_mut().for_each(answers_pings);
    let messages: Vec<Message> = [1, 125, 126, 65_536, 1 << 20]
        .into_iter()
        .map(|length| binary(length, length))
        .chain((0..100).map(|i| Message::text(format!("Füße {i}"))))
        .collect();
    for from in [0, 4, 9] {
        for message in &messages {
            sockets[from].send(message.clone()).expect("it is sent");
        }
        for (_, socket) in sockets.iter_mut().enumerate().filter(|&(i, _)| i != from) {
            for message in &messages {
                expect(socket, message);
            }
        }
        // What comes next, from another, shows that nobody had more than that.
        let (other, end) = ((from + 1) % 10, binary(10, from));
        sockets[other].send(end.clone()).expect("it is sent");
        for (_, socket) in sockets.iter_mut().enumerate().filter(|&(i, _)| i != other) {
            expect(socket, &end);
        }
    }
    echoes(&mut server.connect());
    server.end();
}

struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let line = receiver
            .recv_timeout(PATIENCE)
            .expect("the server is ready");
        let addr = line.strip_prefix("listening on ws://");
        let addr = addr.expect("the line says where it listens").to_owned();
        Self { child, addr }
    }

    fn connect(&self) -> WebSocket<TcpStream> {
        self.connect_to("/echo")
    }

    fn connect_to(&self, path: &str) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(&self.addr).expect("the server listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("timeouts are known");
        stream.set_nodelay(true).expect("TCP has this option");
        let url = format!("ws://{}{path}", self.addr);
        let config = WebSocketConfig::default()
            .max_frame_size(None)
            .max_message_size(None)
            .max_write_buffer_size(usize::MAX);
        let (socket, response) = tungstenite::client::client_with_config(url, stream, Some(config))
            .expect("the opening handshake succeeds");
        // With an extension the comparison would not be of the same work.
        assert!(response.headers().get("Sec-WebSocket-Extensions").is_none());
        socket
    }

    fn end(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("the server still runs");
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().expect("it is our child").is_none() {
            assert!(Instant::now() < deadline, "the server ends on SIGTERM");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a failed check it still runs.
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Bytes that differ from place to place, and from `seed` to `seed`.
fn binary(length: usize, seed: usize) -> Message {
    let bytes = (0..length).map(|i| (i * 7 + i / 251 + seed * 31) as u8);
    Message::Binary(bytes.collect::<Bytes>())
}

fn echoes(socket: &mut WebSocket<TcpStream>) {
    // Each length at which the header changes, and where copying in blocks does.
    for length in [
        0,
        1,
        3,
        4,
        31,
        32,
        63,
        64,
        125,
        126,
        127,
        65_535,
        65_536,
        1 << 20,
        LARGEST,
    ] {
        let message = binary(length, length);
        socket.send(message.clone()).expect("it is sent");
        expect(socket, &message);
    }
    for text in ["", "h", "Füße, 東京, 🧦", &"é".repeat(70_000)] {
        let message = Message::text(text);
        socket.send(message.clone()).expect("it is sent");
        expect(socket, &message);
    }
}

fn pipelines(socket: &mut WebSocket<TcpStream>) {
    for length in [0, 1, 5, 31, 33, 125, 126, 1000, 4096, 16_384, 100_000] {
        let messages: Vec<Message> = (0..PIPELINED).map(|i| binary(length + i, i)).collect();
        for message in &messages {
            socket.write(message.clone()).expect("it is queued");
        }
        socket.flush().expect("they are sent");
        for message in &messages {
            expect(socket, message);
        }
    }
}

fn answers_pings(socket: &mut WebSocket<TcpStream>) {
    socket
        .send(Message::Ping("still there?".into()))
        .expect("it is sent");
    expect(socket, &Message::Pong("still there?".into()));
}

fn many_at_once(server: &Server) {
    let mut sockets: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for (i, socket) in sockets.iter_mut().enumerate() {
        socket.send(binary(20_000, i)).expect("it is sent");
    }
    for (i, socket) in sockets.iter_mut().enumerate() {
        expect(socket, &binary(20_000, i));
    }
}

fn closes(mut socket: WebSocket<TcpStream>) {
    socket.close(None).expect("the close frame is sent");
    let answer = socket.read().expect("it is answered");
    assert!(answer.is_close(), "{answer:?}");
    let end = socket.read().expect_err("the connection ends");
    assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");
}

fn expect(socket: &mut WebSocket<TcpStream>, expected: &Message) {
    let echo = socket.read().expect("an answer comes");
    // Printed whole, a megabyte hides the reason.
    assert!(
        echo == *expected,
        "{} bytes came for {}",
        echo.len(),
        expected.len()
    );
}
