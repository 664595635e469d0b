//! Ten thousand clients in a process of their own, because one cannot have that many descriptors
//! twice. All of them must be sent the same bytes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::request;

const CROWD: &str = "SOCKEYE_TEST_CROWD";
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets this process have as many descriptors as it may.
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("raise the soft descriptor limit");
}

/// The crowd, as the server's process sees it.
pub(crate) struct Crowd {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Crowd {
    /// Starts the clients and waits until all are connected. `test` is the full name of the test
    /// that calls this, which has to call [`be_crowd`] first.
    pub(crate) fn start(test: &str, address: SocketAddr, clients: usize, bytes: usize) -> Self {
        let executable = std::env::current_exe().expect("the name of this executable");
        let mut child = Command::new(executable)
            .args([test, "--exact", "--nocapture"])
            .env(CROWD, format!("{address} {clients} {bytes}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start this executable again");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut crowd = Self { child, lines };
        crowd.wait_for("connected");
        crowd
    }

    /// The rest of the line that begins so.
    fn wait_for(&mut self, word: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let count = self.lines.read_line(&mut line).expect("the crowd's output");
            assert!(count > 0, "the crowd has failed: {seen}");
            // The test harness begins a line before.
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
            seen.push_str(&line);
        }
    }

    /// What every client was sent.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let hex = self.wait_for("all got");
        assert!(self.child.wait().expect("its end").success());
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(digit).collect()
    }
}

/// In the crowd's process: does what the crowd does. Says whether this is that process.
pub(crate) fn be_crowd() -> bool {
    let Ok(orders) = std::env::var(CROWD) else {
        return false;
    };
    let mut words = orders.split(' ');
    let address = words.next().unwrap().parse().unwrap();
    let mut numbers = words.map(|word| word.parse::<usize>().unwrap());
    let (clients, bytes) = (numbers.next().unwrap(), numbers.next().unwrap());
    raise_descriptors();
    let streams: Vec<TcpStream> = (0..clients).map(|_| connect(address)).collect();
    println!("connected");
    let all = receive(streams, bytes);
    let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("all got {hex}");
    true
}

fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
        .write_all(request("/crowd").as_bytes())
        .expect("send");
    let mut head = [0; 256];
    let mut length = 0;
    // The server says nothing before it publishes, and that begins when all are connected.
    while !head[..length].ends_with(b"\r\n\r\n") {
        let count = match stream.read(&mut head[length..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.expect("a response"),
        };
        assert!(count > 0, "the server closed a connection");
        length += count;
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

/// Reads so many bytes from each stream and compares them.
fn receive(streams: Vec<TcpStream>, bytes: usize) -> Vec<u8> {
    let mut poll = Poll::new().expect("a poll");
    let mut streams: Vec<(mio::net::TcpStream, usize)> = streams
        .into_iter()
        .map(|stream| {
            stream.set_nonblocking(true).expect("a socket");
            (mio::net::TcpStream::from_std(stream), 0)
        })
        .collect();
    for (at, (stream, _)) in streams.iter_mut().enumerate() {
        let registry = poll.registry();
        registry
            .register(stream, Token(at), Interest::READABLE)
            .expect("a socket");
    }
    let mut all: Vec<u8> = Vec::with_capacity(bytes);
    let mut buffer = vec![0; 64 << 10];
    let mut events = Events::with_capacity(1024);
    let mut done = 0;
    while done < streams.len() {
        let start = Instant::now();
        match poll.poll(&mut events, Some(PATIENCE)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.expect("a poll"),
        }
        let waited = start.elapsed();
        assert!(
            !events.is_empty(),
            "{done} have everything; nothing for {waited:?}"
        );
        for event in &events {
            let (stream, got) = &mut streams[event.token().0];
            loop {
                let count = match stream.read(&mut buffer) {
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("a client that has {got} bytes: {error}"),
                };
                assert!(count > 0, "the server closed a client that has {got} bytes");
                let known = count.min(all.len() - *got);
                assert!(
                    all[*got..*got + known] == buffer[..known],
                    "two clients differ"
                );
                all.extend_from_slice(&buffer[known..count]);
                *got += count;
                assert!(*got <= bytes, "{got} bytes instead of {bytes}");
                if *got == bytes {
                    done += 1;
                }
            }
        }
    }
    all
}
