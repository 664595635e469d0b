//! The limit on open descriptors.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors beside the connections: standard streams, polls, wakers, files of the report.
const OTHERS: u64 = 64;

/// More connections than the limit on descriptors allows.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany {
    connections: u64,
    limit: u64,
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections do not fit: this process may have {} descriptors open (ulimit -Hn), \
             which is enough for {}",
            self.connections,
            self.limit,
            self.limit.saturating_sub(OTHERS)
        )
    }
}

/// Raises the soft limit on open descriptors to the hard one.
///
/// # Errors
///
/// If so many connections do not fit even then.
pub fn make_room(connections: u64) -> Result<(), TooMany> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    match limit {
        Some(limit) if connections.saturating_add(OTHERS) > limit => {
            Err(TooMany { connections, limit })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_holds() {
        assert_eq!(make_room(1), Ok(()));
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        if let Some(limit) = limit.maximum {
            assert_eq!(make_room(limit - OTHERS), Ok(()));
            let error = make_room(limit - OTHERS + 1).unwrap_err().to_string();
            assert!(error.contains("descriptors"), "{error}");
        }
    }
}
