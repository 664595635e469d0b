//! Where results go: a file, or standard output for `-`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Whether the path stands for standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes all of `bytes` to the file, replacing what it held; to standard output if the path is `-`.
///
/// The error names the path. A reader that has closed the pipe is an error like any other.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = if is_stdout(path) {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    } else {
        fs::write(path, bytes)
    };
    written.map_err(|error| unwritable(path, &error))
}

/// Prints text to standard output, or to standard error if the former is wanted for something else.
///
/// # Errors
///
/// Says that it is standard output that cannot be written. Standard error may be closed.
pub fn print(text: &str, to_stderr: bool) -> io::Result<()> {
    if to_stderr {
        let _ = io::stderr().write_all(text.as_bytes());
        return Ok(());
    }
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| {
        let why = format!("cannot write to standard output: {error}");
        io::Error::new(error.kind(), why)
    })
}

/// Makes sure that a file can be written, before there is anything to write: it exists afterwards,
/// and keeps what it held.
///
/// # Errors
///
/// As [`write()`].
pub fn prepare(path: &Path) -> io::Result<()> {
    if is_stdout(path) {
        return Ok(());
    }
    let opened = fs::OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> io::Error {
    let why = format!("cannot write {}: {error}", path.display());
    io::Error::new(error.kind(), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_names_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("none/run.json");
        let error = write(&path, b"x").expect_err("no such folder");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("none/run.json"), "{error}");
    }

    #[test]
    fn a_file_is_prepared_without_loss() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.json");
        prepare(&path).expect("prepared");
        assert_eq!(fs::read(&path).expect("read"), b"");
        write(&path, b"an earlier run").expect("written");
        prepare(&path).expect("prepared again");
        assert_eq!(fs::read(&path).expect("read"), b"an earlier run");
        assert!(prepare(&folder.path().join("none/run.json")).is_err());
    }

    #[test]
    fn what_a_file_held_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.json");
        write(&path, b"a long first text").expect("written");
        write(&path, b"short").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"short");
    }
}
