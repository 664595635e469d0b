//! The built-in endpoints and pages, written against the public API only.

mod bench;
mod chat;
mod close;
mod echo;
mod pages;
mod questions;
mod relay;
mod ticker;

use crate::{Refusal, Request, Server, Upgrade};
use questions::Answers;

pub use pages::install as install_pages;

/// Adds the built-in endpoints: `/echo`, `/close`, `/bench`, `/chat`, `/relay/NAME`, `/ticker`,
/// `/questions`, and at `/` the last one again for who offers its subprotocol.
#[must_use]
pub fn install(server: Server) -> Server {
    let answers = Answers::new(server.config().timeouts.idle);
    let for_root = answers.clone();
    let ticker = ticker::Ticker::new(server.handle(), ticker::INTERVAL);
    server
        .history(ticker::TOPIC, 0)
        .topic(ticker::TOPIC)
        .topic(chat::TOPIC)
        .history(relay::TOPICS, 0)
        .route("/echo", |request| first_offered(request, echo::Echo))
        .route("/close", |request| {
            first_offered(request, close::CloseOnDemand)
        })
        .route("/bench", |request| {
            first_offered(request, bench::Bench::default())
        })
        .route("/chat", |request| {
            first_offered(request, chat::Chat::new(request))
        })
        .route("/relay/*", |request| {
            let relay = relay::Relay::new(request)?;
            Ok(first_offered(request, relay))
        })
        .route("/ticker", move |request| {
            first_offered(request, ticker.handler())
        })
        .route("/questions", move |request| {
            questions::accept(questions::offered(request), &answers)
        })
        .route("/", move |request| match questions::offered(request) {
            Some(name) => Ok(questions::accept(Some(name), &for_root)),
            None => Err(Refusal::new(404)),
        })
}

/// Accepts with the first subprotocol offered, if any: a browser that offered some fails when
/// none comes back.
fn first_offered(request: &Request<'_>, handler: impl crate::Handler) -> Upgrade {
    let upgrade = Upgrade::new(handler);
    match request.subprotocols().next() {
        Some(name) => upgrade.subprotocol(name),
        None => upgrade,
    }
}
