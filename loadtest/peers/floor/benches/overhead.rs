//! What the floor takes beyond a raw TCP echo of the same bytes: server CPU time per message.
//!
//! The same masked frames go to the floor and to the floor with `--raw-tcp`. Rounds are
//! interleaved and every sample has a server of its own. Server on core 0, client on core 1.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, Pid, sched_setaffinity};

const ROUNDS: usize = 11;
const SAMPLE: Duration = Duration::from_millis(800);
const WARM_UP: Duration = Duration::from_millis(100);
const PAYLOAD: usize = 64;
/// Connections, and messages in flight on each.
const CELLS: [(usize, usize); 3] = [(1, 1), (64, 1), (64, 16)];
/// Room for a response of the opening handshake.
const RESPONSE: usize = 1024;

fn main() -> io::Result<()> {
    pin(None, 1)?;
    println!("{PAYLOAD} B, {ROUNDS} rounds; server CPU per message in ns: median (min-max)");
    println!("| connections, in flight | raw TCP | floor | floor / raw TCP, paired |");
    println!("|---|---|---|---|");
    for (connections, in_flight) in CELLS {
        let mut raw = Vec::new();
        let mut floor = Vec::new();
        for round in 0..ROUNDS {
            // Neither is always the first.
            for mode in [round % 2 == 0, round % 2 == 1] {
                let times = if mode { &mut raw } else { &mut floor };
                times.push(sample(mode, connections, in_flight)?);
            }
        }
        let ratios = floor
            .iter()
            .zip(&raw)
            .map(|(floor, raw)| floor / raw)
            .collect();
        println!(
            "| {connections}, {in_flight} | {} | {} | {} |",
            summary(raw, 0),
            summary(floor, 0),
            summary(ratios, 3)
        );
    }
    Ok(())
}

fn summary(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (median, last) = (values[values.len() / 2], values[values.len() - 1]);
    format!("{median:.digits$} ({:.digits$}-{last:.digits$})", values[0])
}

/// Server CPU time per message, in nanoseconds.
fn sample(raw: bool, connections: usize, in_flight: usize) -> io::Result<f64> {
    let server = Server::start(raw)?;
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(server.connect(raw)?);
    }
    let request = frame().repeat(in_flight);
    // Answers of the floor have no masking key.
    let answer = request.len() - if raw { 0 } else { 4 * in_flight };
    let mut load = Load {
        streams,
        request,
        buffer: vec![0; answer],
    };
    load.run(WARM_UP)?;
    let before = server.cpu_time()?;
    let turns = load.run(SAMPLE)?;
    let used = server.cpu_time()? - before;
    Ok(used as f64 / (turns * connections * in_flight) as f64)
}

struct Load {
    streams: Vec<TcpStream>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Load {
    /// Has all connections ask and then get their answers, over and over; returns how often.
    fn run(&mut self, time: Duration) -> io::Result<usize> {
        let start = Instant::now();
        let mut turns = 0;
        while start.elapsed() < time {
            for stream in &mut self.streams {
                stream.write_all(&self.request)?;
            }
            for stream in &mut self.streams {
                stream.read_exact(&mut self.buffer)?;
            }
            turns += 1;
        }
        Ok(turns)
    }
}

/// A masked binary frame.
fn frame() -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x82, 0x80 | PAYLOAD as u8];
    frame.extend(key);
    frame.extend((0..PAYLOAD).map(|i| b'a' ^ key[i % 4]));
    frame
}

struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start(raw: bool) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floor"));
        if raw {
            command.arg("--raw-tcp");
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        pin(Some(Pid::from_child(&child)), 0)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let addr = line.trim_end().strip_prefix("listening on ws://");
        let addr = addr
            .ok_or_else(|| io::Error::other("the server did not start"))?
            .to_owned();
        Ok(Self { child, addr })
    }

    fn connect(&self, raw: bool) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.addr)?;
        stream.set_nodelay(true)?;
        if !raw {
            stream.write_all(
                b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )?;
            let mut response = [0; RESPONSE];
            let count = stream.read(&mut response)?;
            if !response[..count].ends_with(b"\r\n\r\n") {
                return Err(io::Error::other("the opening handshake failed"));
            }
        }
        Ok(stream)
    }

    /// Time on a CPU so far, in nanoseconds: the first field of `schedstat`.
    fn cpu_time(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()))?;
        let first = text.split(' ').next().and_then(|first| first.parse().ok());
        first.ok_or_else(|| io::Error::other("schedstat has another form"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn pin(pid: Option<Pid>, cpu: usize) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    Ok(sched_setaffinity(pid, &cpus)?)
}
