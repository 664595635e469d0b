//! The least that is a server: every message goes back to whom it came from.
//!
//! ```sh
//! cargo run --example echo   # or -- HOST:PORT
//! ```
//!
//! In a browser's console:
//!
//! ```js
//! const ws = new WebSocket("ws://localhost:9998/echo");
//! ws.onmessage = (event) => console.log(event.data);
//! ws.onopen = () => ws.send("hello");
//! ```

use sockeye::{Handler, Message, Peer, Server};

/// The behaviour of one connection. It has nothing to remember.
struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        peer.send(message);
    }
}

fn main() -> sockeye::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("localhost:9998");
    let server = Server::bind(address)?.route("/echo", |_request| Echo);
    for address in server.local_addrs() {
        println!("listening on ws://{address}/echo");
    }
    server.run()
}
