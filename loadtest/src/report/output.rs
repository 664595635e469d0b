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
    written.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot write {}: {error}", path.display()),
        )
    })
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
    fn what_a_file_held_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.json");
        write(&path, b"a long first text").expect("written");
        write(&path, b"short").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"short");
    }
}
