//! The built-in endpoints, written against the public API only.

mod bench;
mod close;
mod echo;

use crate::{Request, Server, Upgrade};

/// Adds the built-in endpoints: `/echo`, `/close` and `/bench`.
#[must_use]
pub fn install(server: Server) -> Server {
    server
        .route("/echo", |request| first_offered(request, echo::Echo))
        .route("/close", |request| first_offered(request, close::CloseOnDemand))
        .route("/bench", |request| first_offered(request, bench::Bench::default()))
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
