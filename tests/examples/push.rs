//! Messages from other threads: to everybody who listens, and to a single connection.
//!
//! ```sh
//! cargo run --example push   # or -- HOST:PORT
//! ```
//!
//! A line that is typed here reaches everybody connected to `ws://localhost:9998/news`. Who sends
//! a number there is reminded after so many seconds, by a thread that has waited for that long:
//!
//! ```js
//! const ws = new WebSocket("ws://localhost:9998/news");
//! ws.onmessage = (event) => console.log(event.data);
//! ws.onopen = () => ws.send("3");
//! ```

use std::io::{self, BufRead};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use sockeye::{CloseCode, Handler, Message, Peer, PeerHandle, Server, Since};

const NEWS: &str = "news";
/// Reminders that may wait; who asks for more is told so.
const REMINDERS: usize = 1000;
const LONGEST: u64 = 3600;

/// What a thread is asked to send, and when.
struct Reminder {
    due: Instant,
    /// Sends to this one connection, from any thread, as long as it lasts; to no other, ever.
    peer: PeerHandle,
}

struct Listener {
    reminders: SyncSender<Reminder>,
}

impl Handler for Listener {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        if peer.subscribe(NEWS, Since::New).is_err() {
            peer.close(CloseCode::TRY_AGAIN_LATER, "no news");
        }
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        let seconds = message.as_text().and_then(|text| text.parse().ok());
        let Some(seconds) = seconds.filter(|seconds| *seconds <= LONGEST) else {
            peer.send("send a number of seconds, at most 3600");
            return;
        };
        let reminder = Reminder {
            due: Instant::now() + Duration::from_secs(seconds),
            peer: peer.handle(),
        };
        // Never waits: a handler that waits keeps others waiting.
        if self.reminders.try_send(reminder).is_err() {
            peer.send("too much to remember");
        }
    }
}

/// Sends reminders when they are due.
fn remind(asked: &Receiver<Reminder>) {
    let mut waiting: Vec<Reminder> = Vec::new();
    loop {
        let next = waiting.iter().map(|it| it.due).min();
        let wait = next.map(|due| due.saturating_duration_since(Instant::now()));
        match asked.recv_timeout(wait.unwrap_or(Duration::MAX)) {
            Ok(reminder) if waiting.len() < REMINDERS => waiting.push(reminder),
            Ok(reminder) => _ = reminder.peer.send("too much to remember"),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        for reminder in waiting.extract_if(.., |it| it.due <= now) {
            // An error says that the peer has gone, or does not take what is sent to it.
            let _ = reminder.peer.send("it is time");
        }
    }
}

fn main() -> sockeye::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("localhost:9998");
    let (reminders, asked) = mpsc::sync_channel(REMINDERS);
    thread::spawn(move || remind(&asked));
    let running = Server::bind(address)?
        .route("/news", move |_request| Listener {
            reminders: reminders.clone(),
        })
        .spawn()?;
    for address in running.local_addrs() {
        println!("listening on ws://{address}/news");
    }

    // Publishes from any thread.
    let server = running.handle();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if let Err(error) = server.publish(NEWS, line) {
                eprintln!("nobody was told: {error}");
            }
        }
    });
    running.join()
}
