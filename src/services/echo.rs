//! `/echo`: every message comes back; the text `Goodbye` is the last.

use crate::protocol::CloseCode;
use crate::{Handler, Message, MessageKind, Peer};

pub(super) struct Echo;

impl Handler for Echo {
    #[inline]
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        let goodbye = message.kind() == MessageKind::Text && message.as_bytes() == b"Goodbye";
        peer.send(message);
        if goodbye {
            peer.close(CloseCode::NORMAL, "");
        }
    }
}
