//! Why a server could not start or go on.

use std::fmt;
use std::io;

/// Why a server could not start or go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address could not be resolved or bound.
    Listen {
        /// The address as it was given, or the one it resolved to.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// A setting that cannot hold; the text names it.
    Config(String),
    /// An event loop could not be set up or go on.
    Reactor(io::Error),
}

/// The result of starting or running a server.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Listen { addr, source } => {
                write!(f, "cannot listen on {addr}: ")?;
                match source.kind() {
                    io::ErrorKind::AddrInUse => f.write_str("address in use"),
                    io::ErrorKind::AddrNotAvailable => f.write_str("no such local address"),
                    io::ErrorKind::PermissionDenied => f.write_str("permission denied"),
                    _ => write!(f, "{source}"),
                }
            }
            Error::Config(what) => f.write_str(what),
            Error::Reactor(source) => write!(f, "event loop failed: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } | Error::Reactor(source) => Some(source),
            Error::Config(_) => None,
        }
    }
}
