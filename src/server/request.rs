//! The request a route decides on, and its decision.

use std::net::SocketAddr;

use super::handler::Handler;
use crate::http::Response;
use crate::protocol;
use crate::protocol::handshake::{is_field_value, is_token};

/// An opening handshake (RFC 6455 section 4.1) that a route decides on.
pub struct Request<'a> {
    head: &'a protocol::Request<'a>,
    remote: SocketAddr,
    /// Where the tail of the path begins.
    tail: usize,
}

impl<'a> Request<'a> {
    pub(super) fn new(head: &'a protocol::Request<'a>, remote: SocketAddr, tail: usize) -> Self {
        Self { head, remote, tail }
    }

    /// The path, without the query.
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// What the path has where the path of its route has the star; empty for a route without one.
    /// As it was sent: percent-encoded, and perhaps with further slashes.
    pub fn tail(&self) -> &'a str {
        &self.head.path()[self.tail..]
    }

    /// What follows the question mark of the target.
    pub fn query(&self) -> Option<&'a str> {
        self.head.query()
    }

    /// The first header field of that name, in any case, if it is text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let value = self.head.header(name)?;
        std::str::from_utf8(value).ok()
    }

    /// All header fields in the order they came.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.head.headers()
    }

    /// The `Host` header field.
    pub fn host(&self) -> Option<&'a str> {
        self.head.host()
    }

    /// The `Origin` header field; browsers always send it.
    pub fn origin(&self) -> Option<&'a str> {
        self.head.origin()
    }

    /// The subprotocols the client offers, best first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        self.head.subprotocols()
    }

    /// The client's address.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }
}

/// An accepted request: the handler and what the response says.
///
/// ```
/// # use sockeye::{Handler, Message, Peer, Upgrade};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) { peer.send(message); }
/// # }
/// let upgrade = Upgrade::new(Echo).subprotocol("json").header("X-Served-By", "sockeye");
/// ```
pub struct Upgrade {
    pub(super) handler: Box<dyn Handler>,
    pub(super) subprotocol: Option<String>,
    pub(super) headers: Vec<(String, String)>,
}

impl Upgrade {
    /// Accepts with this handler.
    pub fn new(handler: impl Handler) -> Self {
        Self {
            handler: Box::new(handler),
            subprotocol: None,
            headers: Vec::new(),
        }
    }

    /// Chooses a subprotocol. One that the client did not offer is left out, because the client
    /// would fail the connection over it; the error is logged.
    ///
    /// # Panics
    /// If `name` is not a token (RFC 9110 section 5.6.2).
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        assert!(is_token(&name), "a subprotocol is a token: {name:?}");
        self.subprotocol = Some(name);
        self
    }

    /// Adds a header field to the response.
    ///
    /// # Panics
    /// If the name is not a token or the value has control characters (RFC 9110 section 5.5).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(field(name.into(), value.into()));
        self
    }
}

/// A refused request: the HTTP response the client gets instead of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(super) response: Response,
}

impl Refusal {
    /// Refuses with this status code.
    ///
    /// # Panics
    /// If the status is not a final one that may carry a body (200 to 599, but 204 and 304).
    pub fn new(status: u16) -> Self {
        assert!(
            (200..600).contains(&status) && status != 204 && status != 304,
            "a refusal needs a final status, not {status}"
        );
        Self {
            response: Response::new(status),
        }
    }

    /// Adds a header field.
    ///
    /// # Panics
    /// As [`Upgrade::header`].
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = field(name.into(), value.into());
        self.response = self.response.header(name, value);
        self
    }

    /// Sets the body: plain text.
    #[must_use]
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.response = self.response.text(text.into());
        self
    }
}

fn field(name: String, value: String) -> (String, String) {
    assert!(is_token(&name), "a header name is a token: {name:?}");
    assert!(is_field_value(&value), "not a header value: {value:?}");
    (name, value)
}

/// What a route may return: a handler, an [`Upgrade`], or a `Result` of either with a
/// [`Refusal`].
pub trait IntoUpgrade {
    /// The decision in full.
    ///
    /// # Errors
    /// The refusal, if the request is refused.
    fn into_upgrade(self) -> Result<Upgrade, Refusal>;
}

impl<H: Handler> IntoUpgrade for H {
    fn into_upgrade(self) -> Result<Upgrade, Refusal> {
        Ok(Upgrade::new(self))
    }
}

impl IntoUpgrade for Upgrade {
    fn into_upgrade(self) -> Result<Upgrade, Refusal> {
        Ok(self)
    }
}

impl<T: IntoUpgrade> IntoUpgrade for Result<T, Refusal> {
    fn into_upgrade(self) -> Result<Upgrade, Refusal> {
        self?.into_upgrade()
    }
}
