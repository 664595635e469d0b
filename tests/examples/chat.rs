//! Chat rooms, one for each path below `/rooms/`, and a page to try them.
//!
//! ```sh
//! cargo run --example chat   # or -- HOST:PORT
//! ```
//!
//! Then open <http://localhost:9998/> in two windows.

use sockeye::{CloseCode, Handler, Message, Page, Peer, Refusal, Request, Server, Since};

const LONGEST_NAME: usize = 40;

/// Somebody in a room.
struct Guest {
    /// The topic of the room: everybody in it is subscribed to it.
    room: String,
}

impl Guest {
    fn enter(request: &Request<'_>) -> Result<Self, Refusal> {
        // What the path has instead of the star.
        let room = request.tail();
        if room.len() > LONGEST_NAME {
            return Err(Refusal::new(400).body("the name of that room is too long"));
        }
        Ok(Self {
            room: format!("rooms/{room}"),
        })
    }
}

impl Handler for Guest {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        // First what was said before, then everything that is said from now on: nothing is missing
        // in between, and everybody sees the same order.
        if peer.subscribe(&self.room, Since::History).is_err() {
            peer.close(CloseCode::TRY_AGAIN_LATER, "there are too many rooms");
        }
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        if !message.is_text() {
            return peer.close(CloseCode::UNSUPPORTED_DATA, "only text is said here");
        }
        // To everybody in the room, this guest included.
        if peer.publish(&self.room, message).is_err() {
            peer.close(CloseCode::TRY_AGAIN_LATER, "too much is said at once");
        }
    }
}

const PAGE: &str = r#"<!doctype html>
<meta name="viewport" content="width=device-width">
<title>Chat</title>
<form><input autofocus placeholder="Say something"> <button>Send</button></form>
<ul></ul>
<script>
  const room = new WebSocket(`ws://${location.host}/rooms/lobby`);
  room.onmessage = ({ data }) => {
    const item = document.createElement("li");
    item.textContent = data;
    document.querySelector("ul").append(item);
  };
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    const text = document.querySelector("input");
    room.send(text.value);
    text.value = "";
  };
</script>
"#;

fn main() -> sockeye::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("localhost:9998");
    let server = Server::bind(address)?
        .route("/rooms/*", Guest::enter)
        // Remember less of each room than the default of 100 messages.
        .history("rooms/", 20)
        .page("/", Page::html(PAGE));
    for address in server.local_addrs() {
        println!("listening on http://{address}/");
    }
    server.run()
}
