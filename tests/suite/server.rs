//! The server under test, as a child process.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};

use crate::client::Client;
pub(crate) use crate::patience::{PATIENCE, eventually};

/// Raises this process's soft descriptor limit to the hard one, and checks that it is enough.
#[track_caller]
pub(crate) fn need_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("raise the soft descriptor limit");
    let hard = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        hard >= count,
        "this test needs {count} descriptors; the hard limit here is {hard}"
    );
}

/// A server about to be started.
pub(crate) struct Launch {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    ulimit: Option<String>,
    common: bool,
}

impl Launch {
    /// With these arguments and the common ones of `SOCKEYE_TEST_ARGS`.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self {
            common: true,
            ..Self::bare(arguments)
        }
    }

    /// With these arguments only, for tests about the flags themselves.
    pub(crate) fn bare(arguments: &[&str]) -> Self {
        Self {
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            ulimit: None,
            common: false,
        }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs `ulimit` with these words (`-n 64`, or `-Sn 64` for the soft limit alone) first.
    pub(crate) fn ulimit(mut self, words: &str) -> Self {
        self.ulimit = Some(words.into());
        self
    }

    fn spawn(&self) -> Child {
        let binary = std::env::var("SOCKEYE_TEST_BINARY")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_sockeye").into());
        let mut command = match &self.ulimit {
            None => Command::new(&binary),
            Some(words) => {
                let mut shell = Command::new("sh");
                shell
                    .arg("-c")
                    .arg(format!("ulimit {words}; exec \"$0\" \"$@\""))
                    .arg(&binary);
                shell
            }
        };
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("SOCKEYE_") || name_text == "RUST_LOG" {
                command.env_remove(&name);
            }
        }
        command.args(&self.arguments);
        if self.common {
            let common = std::env::var("SOCKEYE_TEST_ARGS").unwrap_or_default();
            command.args(common.split_whitespace());
        }
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {binary}: {error}"))
    }

    /// Starts it and waits for `count` lines `listening on ws://ADDRESS`.
    #[track_caller]
    pub(crate) fn serve(self, count: usize) -> Server {
        let mut child = self.spawn();
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut server = Server {
            child,
            addresses: Vec::new(),
            lines,
            log: Some(drain(stderr)),
            ended: false,
        };
        while server.addresses.len() < count {
            match server.lines.recv_timeout(PATIENCE) {
                Ok(line) => server.addresses.push(address(&line)),
                Err(RecvTimeoutError::Timeout) => {
                    let seen = server.addresses.len();
                    panic!("{seen} of {count} `listening on` lines within {PATIENCE:?}");
                }
                Err(RecvTimeoutError::Disconnected) => {
                    server.ended = true;
                    panic!("the server ended before it listened");
                }
            }
        }
        server
    }

    /// Starts it and waits for it to end by itself.
    #[track_caller]
    pub(crate) fn run(self) -> Ended {
        let mut child = self.spawn();
        let stdout = drain(child.stdout.take().expect("stdout is piped"));
        let stderr = drain(child.stderr.take().expect("stderr is piped"));
        let status = wait(&mut child, PATIENCE);
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let stdout = stdout.join().expect("stdout is read");
        let stderr = stderr.join().expect("stderr is read");
        let Some(status) = status else {
            panic!(
                "{:?} still runs after {PATIENCE:?}; stdout: {stdout}stderr: {stderr}",
                self.arguments
            );
        };
        Ended {
            arguments: self.arguments,
            status,
            stdout,
            stderr,
        }
    }
}

/// What a server that ended by itself left behind.
pub(crate) struct Ended {
    pub(crate) arguments: Vec<String>,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Checks for exit code 2 with one line on stderr that contains one of `words`, and nothing
    /// else.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) {
        let Self {
            arguments,
            status,
            stdout,
            stderr,
        } = self;
        assert_eq!(
            status.code(),
            Some(2),
            "{arguments:?}: exit code 2; stderr: {stderr}"
        );
        assert!(
            !stderr.contains("panicked"),
            "{arguments:?}: a panic: {stderr}"
        );
        let lines = stderr
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        assert_eq!(lines, 1, "{arguments:?}: one clear line, not: {stderr}");
        let named = words.iter().any(|word| stderr.contains(word));
        assert!(
            named,
            "{arguments:?}: the line names one of {words:?}: {stderr}"
        );
        assert!(
            stdout.is_empty(),
            "{arguments:?}: nothing on stdout: {stdout}"
        );
    }
}

/// A running server. Dropped, it is killed; a test that ends well also fails here if the server
/// ended early or a thread of it panicked.
pub(crate) struct Server {
    child: Child,
    addresses: Vec<SocketAddr>,
    lines: Receiver<String>,
    log: Option<JoinHandle<String>>,
    ended: bool,
}

impl Server {
    /// A server on a free port of 127.0.0.1.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend(arguments);
        Launch::new(&all).serve(1)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A TCP connection without a handshake.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// A WebSocket connection to `path`.
    #[track_caller]
    pub(crate) fn open(&self, path: &str) -> Client {
        Client::open(self.address(), path)
    }

    /// The next line on stdout after the `listening on` lines, `None` at its end.
    pub(crate) fn next_line(&self) -> Option<String> {
        self.lines.recv_timeout(PATIENCE).ok()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("signal the server");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child's state").is_none()
    }

    /// Waits for the server to end by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = wait(&mut self.child, PATIENCE);
        let status = status.unwrap_or_else(|| panic!("the server runs on after {PATIENCE:?}"));
        self.ended = true;
        status
    }

    /// What the ended server wrote to stderr.
    pub(crate) fn log(&mut self) -> String {
        assert!(self.ended, "the log of a server that ended");
        self.log
            .take()
            .map(|log| log.join().expect("stderr is read"))
            .unwrap_or_default()
    }

    /// Sets the soft descriptor limit of the running server so that `room` more can be opened.
    /// The limit is on the numbers: those in use above it do not count.
    pub(crate) fn leave_descriptors(&self, room: usize) {
        let used: Vec<u64> = fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("the server's fd")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        let last = (0..).filter(|number| !used.contains(number)).nth(room - 1);
        let soft = last.expect("descriptors are endless") + 1;
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(
            Some(self.pid()),
            Resource::Nofile,
            Rlimit {
                current: Some(soft),
                maximum,
            },
        )
        .expect("set the server's descriptor limit");
    }

    /// Whether the server has a thread with this name.
    pub(crate) fn has_thread(&self, name: &str) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        threads.expect("the server's threads").any(|thread| {
            let comm = thread.map(|it| fs::read_to_string(it.path().join("comm")));
            // It may just have ended.
            comm.is_ok_and(|comm| comm.is_ok_and(|comm| comm.trim_end() == name))
        })
    }

    /// Open descriptors of the server.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("the server's fd")
            .count()
    }

    /// Resident bytes of the server.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("the server's status");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("a VmRSS line");
        let kilobytes: u64 = line
            .split_whitespace()
            .nth(1)
            .expect("a number")
            .parse()
            .expect("a number");
        kilobytes * 1024
    }

    /// Processor time the server has used, user and system.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("stat");
        // The command's name, in parentheses, may contain anything; fields are counted after it.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .expect("a name")
            .1
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // USER_HZ is 100 on every Linux this runs on.
        Duration::from_millis(ticks * 10)
    }

    /// The number of open descriptors once it no longer changes.
    pub(crate) fn settled_descriptors(&self) -> usize {
        let mut count = self.descriptors();
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_millis(200) {
            thread::sleep(Duration::from_millis(5));
            let now = self.descriptors();
            if now != count {
                (count, since) = (now, Instant::now());
            }
        }
        count
    }

    /// Waits until the server has `count` descriptors again.
    #[track_caller]
    pub(crate) fn back_to(&self, count: usize) {
        let mut now = 0;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            now = self.descriptors();
            if now == count {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the server holds {now} descriptors, not {count}, after {PATIENCE:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut complaint = String::new();
        if !self.ended
            && let Ok(Some(status)) = self.child.try_wait()
        {
            let _ = write!(complaint, "the server ended during the test ({status}); ");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self
            .log
            .take()
            .and_then(|log| log.join().ok())
            .unwrap_or_default();
        if log.contains("panicked at") {
            complaint.push_str("a thread of the server panicked; ");
        }
        if thread::panicking() {
            eprintln!("{complaint}the server's stderr:\n{log}");
        } else {
            assert!(complaint.is_empty(), "{complaint}its stderr:\n{log}");
        }
    }
}

/// Whether the IPv6 loopback address exists here.
pub(crate) fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

/// Whether `address` refuses connections.
pub(crate) fn refuses(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the child's state") {
            return Some(status);
        }
        if start.elapsed() > patience {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn address(line: &str) -> SocketAddr {
    line.strip_prefix("listening on ws://")
        .and_then(|address| address.parse().ok())
        .unwrap_or_else(|| panic!("not a `listening on ws://ADDRESS` line: {line:?}"))
}
