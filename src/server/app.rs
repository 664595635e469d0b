//! Routes: which handler serves a request, and what everybody else is told.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
// Its hash is quick rather than hard to guess, which is enough for keys that no peer chooses.
use hashbrown::HashMap;

use super::allow::{Hosts, Origins};
use super::config::Config;
use super::error::Result;
use super::handler::Handler;
use super::message::Message;
use super::peer::Peer;
use super::request::{IntoUpgrade, Refusal, Request, Upgrade};
use crate::connection::{Body, CloseReason, Front, Verdict};
use crate::http::{Conditions, Fixed, Lookup, PageSource, Permits, Response};
use crate::protocol;
use crate::protocol::{MessageKind, UpgradeRequest};
use crate::topics::Subscription;
use crate::worker::{Acceptance, Application, Output};

type Factory = Box<dyn Fn(&Request<'_>) -> std::result::Result<Upgrade, Refusal> + Send + Sync>;

/// What handlers are made by, for each path.
#[derive(Default)]
struct Routes {
    exact: HashMap<String, Factory>,
    /// For what paths begin with, the longest first.
    prefixes: Vec<(String, Factory)>,
}

impl Routes {
    fn add(&mut self, mut path: String, factory: Factory) {
        if !path.ends_with("/*") {
            self.exact.insert(path, factory);
            return;
        }
        path.pop();
        self.prefixes.retain(|(prefix, _)| *prefix != path);
        self.prefixes.push((path, factory));
        let longest_first = |(prefix, _): &(String, Factory)| Reverse(prefix.len());
        self.prefixes.sort_by_key(longest_first);
    }

    /// The factory for a path, and where what its route says of the path ends.
    fn find(&self, path: &str) -> Option<(&Factory, usize)> {
        if let Some(factory) = self.exact.get(path) {
            return Some((factory, path.len()));
        }
        let begins = |prefix: &str| path.len() > prefix.len() && path.starts_with(prefix);
        let (prefix, factory) = self.prefixes.iter().find(|(prefix, _)| begins(prefix))?;
        Some((factory, prefix.len()))
    }

    fn has(&self, path: &str) -> bool {
        self.find(path).is_some()
    }
}

/// Everything about a server that all its threads share and nobody changes.
pub(crate) struct App {
    routes: Routes,
    pages: HashMap<String, Fixed>,
    source: Option<Arc<dyn PageSource>>,
    permits: Permits,
    origins: Origins,
    hosts: Hosts,
}

impl App {
    pub(crate) fn new(config: &Config) -> Result<Self> {
        Ok(Self {
            routes: Routes::default(),
            pages: HashMap::new(),
            source: None,
            permits: Permits::default(),
            origins: Origins::parse(&config.origins)?,
            hosts: Hosts::parse(&config.hosts)?,
        })
    }

    pub(crate) fn route<F, R>(&mut self, path: String, factory: F)
    where
        F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
        R: IntoUpgrade,
    {
        let factory = move |request: &Request<'_>| factory(request).into_upgrade();
        self.routes.add(path, Box::new(factory));
    }

    pub(crate) fn page(&mut self, path: String, page: Fixed) {
        self.pages.insert(path, page);
    }

    pub(crate) fn source(&mut self, source: impl PageSource) {
        self.source = Some(Arc::new(source));
    }

    /// Whether there are pages that have to be fetched.
    pub(crate) fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Answers a request that is not for a WebSocket. A page hides that there is an endpoint at
    /// its path; a source is asked for no such path, unless it is a folder's, as the root is.
    fn plain(&self, request: &protocol::Request<'_>) -> Verdict {
        let path = request.path();
        let head_only = request.method() == "HEAD";
        let response = if !matches!(request.method(), "GET" | "HEAD") {
            Response::new(405).header("Allow", "GET, HEAD")
        } else if let Some(page) = self.pages.get(path) {
            let answer = page.answer(&Conditions::of(request), head_only);
            return Verdict::Respond {
                head: answer.head,
                body: answer.body,
            };
        } else if self.routes.has(path) && !(self.has_source() && path.ends_with('/')) {
            Response::new(426)
                .header("Upgrade", "websocket")
                .text("this endpoint speaks WebSocket (RFC 6455)")
        } else if path == "/healthz" {
            Response::new(200).text("ok")
        } else if let Some(source) = &self.source {
            let target = (path, request.query());
            let conditions = Conditions::of(request);
            match Lookup::new(source, &self.permits, target, conditions, head_only) {
                Some(lookup) => return Verdict::Fetch(Box::new(lookup)),
                None => Response::new(503).header("Retry-After", "1"),
            }
        } else {
            Response::new(404)
        };
        respond(request, &response)
    }
}

fn respond(request: &protocol::Request<'_>, response: &Response) -> Verdict {
    Verdict::Respond {
        head: response.encode(request.method() != "HEAD"),
        body: Bytes::new(),
    }
}

/// A client fails the connection over a subprotocol that it did not offer (RFC 6455 section 4.1).
fn offered(request: &protocol::Request<'_>, name: Option<String>) -> Option<String> {
    name.filter(|name| {
        let offered = request.subprotocols().any(|offer| offer == name);
        if !offered {
            log::error!(
                "subprotocol {name:?} was not offered for {}",
                request.path()
            );
        }
        offered
    })
}

impl Front for App {
    fn decide(&self, request: &protocol::Request<'_>, upgrade: Option<&UpgradeRequest>) -> Verdict {
        let response = if !self.hosts.allow(request.host()) {
            Response::new(421).text("this server does not answer for that host")
        } else if upgrade.is_none() {
            return self.plain(request);
        } else if !self.routes.has(request.path()) {
            Response::new(404)
        } else if !self.origins.allow(request.origin()) {
            Response::new(403).text("that origin is not allowed here")
        } else {
            return Verdict::Upgrade;
        };
        respond(request, &response)
    }

    fn refuse(&self, status: u16, reason: &str, with_body: bool) -> Vec<u8> {
        let response = Response::new(status).text(reason);
        let response = match status {
            // RFC 6455 section 4.2.2, point 4.
            426 => response
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13"),
            _ => response,
        };
        response.encode(with_body)
    }
}

impl Application for App {
    type Session = Box<dyn Handler>;

    fn open(
        &self,
        request: &protocol::Request<'_>,
        remote: SocketAddr,
    ) -> std::result::Result<Acceptance<Self::Session>, Vec<u8>> {
        let Some((factory, tail)) = self.routes.find(request.path()) else {
            return Err(Response::new(404).encode(true));
        };
        match factory(&Request::new(request, remote, tail)) {
            Ok(upgrade) => Ok(Acceptance {
                session: upgrade.handler,
                subprotocol: offered(request, upgrade.subprotocol),
                headers: upgrade.headers,
            }),
            Err(refusal) => Err(refusal.response.encode(true)),
        }
    }

    fn failed(&self) -> Vec<u8> {
        Response::new(500).encode(true)
    }

    fn opened(session: &mut Self::Session, output: Output<'_>) {
        session.on_open(&mut Peer::new(output));
    }

    #[inline]
    fn message(session: &mut Self::Session, output: Output<'_>, kind: MessageKind, body: Body<'_>) {
        session.on_message(&mut Peer::new(output), Message::new(kind, body));
    }

    #[inline]
    fn messages<'b>(
        session: &mut Self::Session,
        output: Output<'_>,
        mut next: impl FnMut() -> Option<(MessageKind, &'b [u8])>,
    ) {
        let mut peer = Peer::new(output);
        while let Some((kind, bytes)) = peer.next_message(&mut next) {
            session.on_message(&mut peer, Message::new(kind, Body::Borrowed(bytes)));
        }
    }

    fn timer(session: &mut Self::Session, output: Output<'_>) {
        session.on_timer(&mut Peer::new(output));
    }

    fn drain(session: &mut Self::Session, output: Output<'_>) {
        session.on_drain(&mut Peer::new(output));
    }

    fn subscribed(session: &mut Self::Session, output: Output<'_>, subscription: &Subscription) {
        session.on_subscribed(&mut Peer::new(output), subscription);
    }

    fn closed(session: &mut Self::Session, output: Output<'_>, reason: &CloseReason) {
        session.on_close(&mut Peer::new(output), reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_that_says_most_of_a_path_serves_it() {
        let mut routes = Routes::default();
        // Added twice: the last one counts.
        for path in ["/a/*", "/a/b/*", "/a", "/a/b/c", "/*", "/a/*"] {
            let refuse = move |_: &Request<'_>| Err(Refusal::new(400).body(path));
            routes.add(path.to_owned(), Box::new(refuse));
        }
        assert_eq!(routes.prefixes.len(), 3);
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut fields = protocol::header_storage();
        let head = protocol::Request::parse(head, &mut fields).unwrap();
        let request = Request::new(&head, ([127, 0, 0, 1], 1).into(), 0);
        for (path, expected) in [
            ("/a", Some(("/a", ""))),
            ("/a/b/c", Some(("/a/b/c", ""))),
            ("/a/x", Some(("/a/*", "x"))),
            ("/a/b", Some(("/a/*", "b"))),
            ("/a/b/", Some(("/a/*", "b/"))),
            ("/a/b/x/y", Some(("/a/b/*", "x/y"))),
            ("/ab", Some(("/*", "ab"))),
            ("/a/", Some(("/*", "a/"))),
            ("/", None),
        ] {
            let found = routes.find(path).map(|(factory, tail)| {
                let refusal = factory(&request).err().expect("a refusal");
                (refusal, &path[tail..])
            });
            let expected = expected.map(|(route, tail)| (Refusal::new(400).body(route), tail));
            assert_eq!(found, expected, "{path}");
        }
    }
}
