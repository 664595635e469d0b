//! The server of `benches/fanout`: everybody who connects to `/` is subscribed to one topic, and
//! what is sent to `/publish` is published to it. Prints its address and ends with its input.

use std::io::{self, Read, Write};

use sockeye::{Config, Handler, Message, Peer, Server, Since};

const TOPIC: &str = "bench";

struct Subscriber;

impl Handler for Subscriber {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        peer.subscribe(TOPIC, Since::New).expect("a topic");
    }

    fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}
}

struct Publisher;

impl Handler for Publisher {
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        peer.publish(TOPIC, message).expect("not too much at once");
    }
}

fn main() -> sockeye::Result<()> {
    // Whatever cargo passes to a benchmark comes after it.
    let workers = std::env::args().nth(1).and_then(|count| count.parse().ok());
    let Some(workers) = workers else {
        println!("fanout: run by benches/fanout");
        return Ok(());
    };
    let mut config = Config::default();
    config.listen = vec!["127.0.0.1:0".into()];
    config.reactors = 1;
    config.workers = Some(workers);
    let server = Server::with_config(config)?
        .route("/", |_request| Subscriber)
        .route("/publish", |_request| Publisher);
    let running = server.spawn()?;
    println!("{}", running.local_addrs()[0].port());
    io::stdout().flush().expect("an output");
    let _ = io::stdin().read_to_end(&mut Vec::new());
    running.handle().stop();
    running.join()
}
