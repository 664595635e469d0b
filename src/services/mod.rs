//! The built-in endpoints and pages, written against the public API only.

mod bench;
mod close;
mod echo;
mod pages;
mod questions;

use crate::{Refusal, Request, Server, Upgrade};
use questions::Answers;

pub use pages::install as install_pages;

/// Adds the built-in endpoints: `/echo`, `/close`, `/bench`, `/questions`, and at `/` the last one
/// again for who offers its subprotocol.
#[must_use]
pub fn install(server: Server) -> Server {
    let answers = Answers::new(server.config().timeouts.idle);
    let for_root = answers.clone();
    server
        .route("/echo", |request| first_offered(request, echo::Echo))
        .route("/close", |request| {
            first_offered(request, close::CloseOnDemand)
        })
        .route("/bench", |request| {
            first_offered(request, bench::Bench::default())
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
