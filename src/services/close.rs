//! `/close`: the client says how it wants to be closed, for testing clients.

use crate::protocol::CloseCode;
use crate::{Handler, Message, Peer};

/// Longest reason of a Close frame in bytes (RFC 6455 section 5.5.1).
const MAX_REASON: usize = 123;

pub(super) struct CloseOnDemand;

impl Handler for CloseOnDemand {
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        match message.as_text().map(parse) {
            Some(Ok((code, reason))) => peer.close(code, reason),
            Some(Err(error)) => {
                peer.send(error);
            }
            None => {
                peer.send(USAGE);
            }
        }
    }
}

const USAGE: &str = "error: send text: a close code that may be sent (1000-1003, 1007-1014, \
                     3000-4999), then optionally a space and a reason of at most 123 bytes";

fn parse(text: &str) -> Result<(CloseCode, &str), &'static str> {
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    let code = code.parse::<u16>().map_err(|_| USAGE)?;
    let code = CloseCode::from(code);
    if !code.is_sendable() || reason.len() > MAX_REASON {
        return Err(USAGE);
    }
    Ok((code, reason))
}
