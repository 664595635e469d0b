//! The server's process, by its pid: CPU time, memory; and the kernel's socket memory.
//!
//! Child processes are not followed: what they use is not counted.

use std::fmt;
use std::fs;
use std::io;

use procfs::ProcError;
use procfs::process::Process;

use super::process::Times;

/// Why a process cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchError {
    /// There is none with this pid.
    NoSuchProcess(u32),
    /// Another user's.
    NotPermitted(u32),
    /// It ended while it was watched.
    Gone(u32),
    /// Its entry in `/proc` says nothing useful, as for threads of the kernel; or there is no `/proc`.
    Unreadable(u32, String),
}

impl fmt::Display for WatchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchProcess(pid) => write!(out, "no process has the pid {pid}"),
            Self::NotPermitted(pid) => {
                write!(
                    out,
                    "process {pid} is not ours to read: run as its user, or without --server-pid"
                )
            }
            Self::Gone(pid) => write!(out, "process {pid} ended during the run"),
            Self::Unreadable(pid, reason) => {
                write!(out, "cannot read about process {pid}: {reason}")
            }
        }
    }
}

impl std::error::Error for WatchError {}

/// A process being watched. It keeps the entry in `/proc` open, so that another process that gets the
/// same pid later is never taken for it.
#[derive(Debug)]
pub struct ServerWatch {
    pid: u32,
    process: Process,
}

impl ServerWatch {
    /// Starts to watch a process; everything this needs is read once, so that what is not permitted
    /// shows at once.
    ///
    /// # Errors
    ///
    /// No such process, another user's, or one without memory of its own.
    pub fn new(pid: u32) -> Result<Self, WatchError> {
        let missing = WatchError::NoSuchProcess(pid);
        let id = i32::try_from(pid)
            .ok()
            .filter(|id| *id > 0)
            .ok_or_else(|| missing.clone())?;
        let process = Process::new(id).map_err(|error| match reason(pid, &error) {
            WatchError::Gone(_) => missing.clone(),
            other => other,
        })?;
        let watch = Self { pid, process };
        let readable = watch.times().and_then(|_| watch.private_memory());
        readable.map(|_| watch).map_err(|error| {
            if error == WatchError::Gone(pid) {
                missing
            } else {
                error
            }
        })
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Resident memory in bytes, pages that other processes share counted by their part: the Pss of
    /// `smaps_rollup`. The kernel walks all pages for it: for before and after, not for each second.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn private_memory(&self) -> Result<u64, WatchError> {
        self.alive()?;
        let rollup = self
            .process
            .smaps_rollup()
            .map_err(|error| reason(self.pid, &error))?;
        let map = rollup.memory_map_rollup.into_iter().next();
        map.and_then(|map| map.extension.map.get("Pss").copied())
            .ok_or_else(|| WatchError::Unreadable(self.pid, "it has no memory of its own".into()))
    }

    /// Resident memory in bytes, shared pages in full: cheap, for a series.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn resident_memory(&self) -> Result<u64, WatchError> {
        let pages = self
            .process
            .statm()
            .map_err(|error| reason(self.pid, &error))?
            .resident;
        Ok(pages * procfs::page_size())
    }

    pub(super) fn times(&self) -> Result<Times, WatchError> {
        self.alive()?;
        Times::read(&self.process).map_err(|error| reason(self.pid, &error))
    }

    /// A process that ended keeps its entry until its parent asks for the exit status.
    fn alive(&self) -> Result<(), WatchError> {
        let stat = self
            .process
            .stat()
            .map_err(|error| reason(self.pid, &error))?;
        if matches!(stat.state, 'Z' | 'X' | 'x') {
            Err(WatchError::Gone(self.pid))
        } else {
            Ok(())
        }
    }
}

/// Bytes of kernel memory in TCP's buffers. The kernel counts them for the whole machine, whatever
/// the network namespace, and in steps of pages that sockets reserve ahead.
///
/// # Errors
///
/// `/proc/net/sockstat` cannot be read.
pub fn kernel_socket_memory() -> Result<u64, WatchError> {
    const FILE: &str = "/proc/net/sockstat";
    let own = std::process::id();
    let text = fs::read_to_string(FILE)
        .map_err(|error| WatchError::Unreadable(own, format!("{FILE}: {error}")))?;
    tcp_pages(&text)
        .map(|pages| pages * procfs::page_size())
        .ok_or_else(|| WatchError::Unreadable(own, format!("{FILE} has no memory of TCP")))
}

fn tcp_pages(sockstat: &str) -> Option<u64> {
    let mut words = sockstat
        .lines()
        .find_map(|line| line.strip_prefix("TCP:"))?
        .split_whitespace();
    words.find(|word| *word == "mem")?;
    words.next()?.parse().ok()
}

/// In our words. Reading about a process that has ended gives ESRCH, or ENOENT.
pub(super) fn reason(pid: u32, error: &ProcError) -> WatchError {
    match error {
        ProcError::PermissionDenied(_) => WatchError::NotPermitted(pid),
        ProcError::NotFound(_) => WatchError::Gone(pid),
        ProcError::Io(error, _) if is_gone(error) => WatchError::Gone(pid),
        other => WatchError::Unreadable(pid, other.to_string()),
    }
}

fn is_gone(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.raw_os_error() == Some(ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_memory_is_the_figure_after_mem_on_its_own_line() {
        let text =
            "sockets: used 19\nTCP: inuse 4 orphan 0 tw 7 alloc 5 mem 321\nUDP: inuse 0 mem 9\n";
        assert_eq!(tcp_pages(text), Some(321));
        assert_eq!(tcp_pages("UDP: inuse 0 mem 9\n"), None);
        assert_eq!(tcp_pages("TCP: inuse 4\nUDP: inuse 0 mem 9\n"), None);
        assert!(kernel_socket_memory().is_ok());
    }

    #[test]
    fn pids_that_nobody_has_are_refused() {
        for pid in [0, u32::MAX, i32::MAX as u32] {
            let error = ServerWatch::new(pid).expect_err("nobody's");
            assert_eq!(error, WatchError::NoSuchProcess(pid));
            assert_eq!(error.to_string(), format!("no process has the pid {pid}"));
        }
    }

    #[test]
    fn our_own_memory_grows_with_what_we_touch() {
        let watch = ServerWatch::new(std::process::id()).expect("our own");
        let (private, resident) = (
            watch.private_memory().expect("ours"),
            watch.resident_memory().expect("ours"),
        );
        assert!(
            private > 100_000 && resident >= private / 2,
            "{private} {resident}"
        );
        let block = vec![1u8; 32 << 20];
        let grown = watch
            .private_memory()
            .expect("ours")
            .saturating_sub(private);
        // Other tests of this process come and go.
        assert!((24 << 20..48 << 20).contains(&grown), "{grown}");
        drop(std::hint::black_box(block));
    }
}
