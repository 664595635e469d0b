//! Processes this one starts: pinned, with a deadline, and never left behind.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use rustix::thread::CpuSet;

/// What is kept of a process's standard error.
const TAIL: usize = 4096;
/// The longest line a server may print before it is ready.
const LONGEST_LINE: u64 = 4096;
/// How often a wait looks whether it was interrupted.
const LOOK: Duration = Duration::from_millis(100);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// Set by SIGINT and SIGTERM.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over both signals.
    ///
    /// # Errors
    ///
    /// If a signal cannot be handled.
    pub(crate) fn watch() -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A process in a group of its own, killed with its group when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    errors: Arc<Mutex<Vec<u8>>>,
    /// Reads `errors`.
    reader: JoinHandle<()>,
    reaped: bool,
}

impl Process {
    /// Starts it on this core, or where this thread may run.
    fn spawn(command: &mut Command, core: Option<usize>) -> io::Result<(Process, ChildStdout)> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches this process only, which then ends the others.
            .process_group(0);
        let mut child = on_core(core, || command.spawn())?;
        let output = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        let errors = Arc::default();
        let reader = keep_tail(stderr, Arc::clone(&errors));
        let process = Process {
            child,
            errors,
            reader,
            reaped: false,
        };
        Ok((process, output))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn as_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The last line of its standard error that begins with an error, else the last one.
    fn last_words(&self) -> Option<String> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&errors);
        let mut lines = text
            .lines()
            .rev()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let last = lines.clone().next();
        let line = lines.find(|line| begins_with_error(line)).or(last)?;
        Some(line.chars().take(200).collect())
    }

    /// Whether it ended, without reaping it: so long its pid and group are nobody else's.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(
            rustix::process::waitid(WaitId::Pid(self.as_pid()), options),
            Ok(None)
        )
    }

    fn wait_until_ended(&self, deadline: Instant) -> bool {
        while !self.has_ended() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Kills what is left of the group and reaps the process.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if !self.reaped {
            // The process has not been waited for, so its group is still this one's.
            let _ = rustix::process::kill_process_group(self.as_pid(), Signal::KILL);
            self.reaped = true;
        }
        self.child.wait()
    }

    /// How it ended, in words.
    fn epitaph(&mut self) -> String {
        let status = self
            .reap()
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        // It has ended, but what it said may still be on its way.
        let patience = Instant::now() + 10 * LOOK;
        while !self.reader.is_finished() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        match self.last_words() {
            Some(words) => format!("{status}: {words}"),
            None => status,
        }
    }
}

/// `error: no such flag`, `error[E0425]: ...`, `Error: Cannot find module`, `TypeError: ...`
fn begins_with_error(line: &str) -> bool {
    let word = line.split([' ', ':', '[']).next().unwrap_or_default();
    word.to_ascii_lowercase().ends_with("error")
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.reap();
    }
}

/// A server that is ready.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    /// What it said it listens on.
    pub(crate) url: String,
}

impl Server {
    /// Starts a server and waits until it prints that it listens.
    ///
    /// # Errors
    ///
    /// In words: it cannot be started, it ended, it said nothing until the deadline, or this
    /// process was interrupted.
    pub(crate) fn start(
        command: &mut Command,
        core: Option<usize>,
        deadline: Instant,
        interrupt: &Interrupt,
    ) -> Result<Server, String> {
        let (mut process, output) =
            Process::spawn(command, core).map_err(|error| format!("cannot be started: {error}"))?;
        match wait(&listening(output), deadline, interrupt) {
            Ok(url) => Ok(Server { process, url }),
            Err(Wait::Ended) if process.wait_until_ended(Instant::now() + LOOK) => {
                Err(format!("ended before it was ready, {}", process.epitaph()))
            }
            Err(Wait::Ended) => Err("closed its standard output before it was ready".to_owned()),
            Err(Wait::Late) => Err("was not ready in time".to_owned()),
            Err(Wait::Interrupted) => Err("interrupted".to_owned()),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Asks it to end, and kills it if it does not.
    ///
    /// # Errors
    ///
    /// If it had ended before it was asked to.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        if self.process.has_ended() {
            return Err(format!("the server ended, {}", self.process.epitaph()));
        }
        let _ = rustix::process::kill_process(self.process.as_pid(), Signal::TERM);
        self.process.wait_until_ended(Instant::now() + GRACE);
        Ok(())
    }
}

/// What a finished command printed, at most `limit` bytes of it.
///
/// # Errors
///
/// In words: it cannot be started, printed more than `limit`, took until the deadline, or this
/// process was interrupted.
pub(crate) fn output(
    command: &mut Command,
    core: Option<usize>,
    limit: u64,
    deadline: Instant,
    interrupt: &Interrupt,
) -> Result<Output, String> {
    let (mut process, stdout) =
        Process::spawn(command, core).map_err(|error| format!("cannot be started: {error}"))?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(limit + 1).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    let stdout = match wait(&receiver, deadline, interrupt) {
        Ok(Ok(bytes)) if bytes.len() as u64 > limit => return Err("printed too much".to_owned()),
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(Wait::Interrupted) => return Err("interrupted".to_owned()),
        Err(Wait::Late | Wait::Ended) => return Err("took too long".to_owned()),
    };
    if !process.wait_until_ended(deadline.max(Instant::now() + LOOK)) {
        return Err("took too long".to_owned());
    }
    let status = process.reap().map_err(|error| error.to_string())?;
    Ok(Output {
        status,
        stdout,
        epitaph: process.epitaph(),
    })
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// Its status and the last line of its standard error.
    pub(crate) epitaph: String,
}

/// Why there is nothing to read.
enum Wait {
    Ended,
    Late,
    Interrupted,
}

fn wait<T>(receiver: &Receiver<T>, deadline: Instant, interrupt: &Interrupt) -> Result<T, Wait> {
    loop {
        if interrupt.is_set() {
            return Err(Wait::Interrupted);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Wait::Late);
        }
        match receiver.recv_timeout(left.min(LOOK)) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Disconnected) => return Err(Wait::Ended),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Sends the URL of the first `listening on` line, and reads on so that the server never waits
/// for its output to be taken.
fn listening(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        loop {
            line.clear();
            match stdout
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)
            {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            if let Some(url) = text.trim().strip_prefix("listening on ") {
                let _ = sender.send(url.to_owned());
                break;
            }
        }
        let _ = io::copy(&mut stdout, &mut io::sink());
    });
    receiver
}

fn keep_tail(mut stderr: ChildStderr, tail: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut piece = [0; 1024];
        while let Ok(n @ 1..) = stderr.read(&mut piece) {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend_from_slice(&piece[..n]);
            let excess = tail.len().saturating_sub(TAIL);
            tail.drain(..excess);
        }
    })
}

/// The cores this thread may run on.
///
/// # Errors
///
/// Those of `sched_getaffinity`.
pub(crate) fn cores() -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// Does this with the calling thread on one core; what it starts stays there.
fn on_core<T>(core: Option<usize>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(core) = core else {
        return act();
    };
    let before = rustix::thread::sched_getaffinity(None)?;
    let mut only = CpuSet::new();
    only.set(core);
    rustix::thread::sched_setaffinity(None, &only)?;
    let result = act();
    rustix::thread::sched_setaffinity(None, &before)?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn start(script: &str, deadline: Instant) -> Result<Server, String> {
        Server::start(&mut shell(script), None, deadline, &Interrupt::default())
    }

    fn is_alive(pid: u32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_server_is_ready_when_it_says_so_and_ends_when_told() {
        let server = start(
            "echo warming up; echo listening on ws://127.0.0.1:7; exec sleep 60",
            soon(),
        );
        let server = server.unwrap();
        assert_eq!(server.url, "ws://127.0.0.1:7");
        let pid = server.pid();
        assert!(is_alive(pid));
        server.stop().unwrap();
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_server_that_ends_says_why() {
        let error = start("echo hm >&2; echo port in use >&2; exit 3", soon()).unwrap_err();
        assert!(error.contains("exit status: 3: port in use"), "{error}");
        let script = "echo error: no such flag >&2; echo usage: server >&2; exit 2";
        let error = start(script, soon()).unwrap_err();
        assert!(
            error.ends_with("exit status: 2: error: no such flag"),
            "{error}"
        );
        // As Node says it.
        let script = "echo '  throw err;' >&2; echo \"Error: Cannot find module 'ws'\" >&2; \
                      echo Require stack: >&2; echo >&2; echo Node.js v20.20.2 >&2; exit 1";
        let error = start(script, soon()).unwrap_err();
        assert!(
            error.ends_with("exit status: 1: Error: Cannot find module 'ws'"),
            "{error}"
        );
    }

    #[test]
    fn a_server_that_is_never_ready_is_not_waited_for() {
        let started = Instant::now();
        let error = start("exec sleep 60", started + Duration::from_millis(200)).unwrap_err();
        assert_eq!(error, "was not ready in time");
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_server_that_died_is_noticed_when_stopped() {
        let server = start("echo listening on ws://x; exit 9", soon()).unwrap();
        server.process.wait_until_ended(soon());
        let error = server.stop().unwrap_err();
        assert!(error.contains("exit status: 9"), "{error}");
    }

    #[test]
    fn what_a_server_started_ends_with_it() {
        let script = "sleep 60 & echo listening on ws://$!; wait";
        let server = start(script, soon()).unwrap();
        let grandchild: u32 = server.url["ws://".len()..].parse().unwrap();
        assert!(is_alive(grandchild));
        drop(server);
        let deadline = soon();
        // Whoever inherits orphans reaps it in its own time; a zombie runs no more.
        let runs = || {
            std::fs::read_to_string(format!("/proc/{grandchild}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z "))
        };
        while runs() {
            assert!(Instant::now() < deadline, "it still runs");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn output_is_bounded_in_time_and_size() {
        let run = |script, limit, deadline| {
            output(
                &mut shell(script),
                None,
                limit,
                deadline,
                &Interrupt::default(),
            )
        };
        let done = run("echo hello; echo oh >&2; exit 1", 100, soon()).unwrap();
        assert_eq!(
            (done.stdout.as_slice(), done.status.code()),
            (&b"hello\n"[..], Some(1))
        );
        assert_eq!(
            run("echo hello", 3, soon()).unwrap_err(),
            "printed too much"
        );
        let short = Instant::now() + Duration::from_millis(100);
        assert_eq!(run("exec sleep 60", 3, short).unwrap_err(), "took too long");
    }

    #[test]
    fn an_interrupt_ends_a_wait() {
        let interrupt = Interrupt::default();
        interrupt.0.store(true, Ordering::Relaxed);
        let error = Server::start(&mut shell("exec sleep 60"), None, soon(), &interrupt);
        assert_eq!(error.unwrap_err(), "interrupted");
    }

    #[test]
    fn a_process_runs_on_its_core_and_this_thread_where_it_was() {
        let before = cores().unwrap();
        let core = *before.last().unwrap();
        let allowed = output(
            &mut shell("grep Cpus_allowed_list /proc/self/status"),
            Some(core),
            1000,
            soon(),
            &Interrupt::default(),
        );
        let allowed = String::from_utf8(allowed.unwrap().stdout).unwrap();
        assert_eq!(
            allowed.split_whitespace().last(),
            Some(core.to_string().as_str())
        );
        assert_eq!(cores().unwrap(), before);
    }
}
