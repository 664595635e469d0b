//! Why connections end.

use std::fmt;
use std::io;

/// Why a connection ended, or was never opened, though nobody here wanted it to end.
#[derive(Debug)]
pub enum Cause {
    /// The server's Close frame: its code, if it has one, and in words.
    Closed(Option<u16>, String),
    /// The server ended the stream, without a closing handshake.
    Finished(&'static str),
    /// The socket failed; a reset is such.
    Failed(io::Error),
    /// Anything else.
    Other(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_, why) | Self::Other(why) => f.write_str(why),
            Self::Finished(why) => f.write_str(why),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<String> for Cause {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

impl From<&'static str> for Cause {
    fn from(why: &'static str) -> Self {
        Self::Other(why.into())
    }
}
