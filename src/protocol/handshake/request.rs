//! The request a server receives (RFC 6455 section 4.2.1).

use std::mem::MaybeUninit;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httparse::Header;

use super::head::check_lines;
use super::target::{Target, is_host};
use super::{HandshakeError, MAX_HEADERS, MAX_SUBPROTOCOLS, elements, has_element, is_token};

/// Room for the headers of one request; see [`header_storage`].
pub type HeaderStorage<'a> = [MaybeUninit<Header<'a>>; MAX_HEADERS];

/// Room that [`Request::parse`] fills, as far as it is needed.
#[must_use]
pub const fn header_storage<'a>() -> HeaderStorage<'a> {
    [const { MaybeUninit::uninit() }; MAX_HEADERS]
}

/// A request head. It borrows from the received bytes and from the caller's header array.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    parts: Target<'a>,
    http11: bool,
    headers: &'a [Header<'a>],
    known: Known<'a>,
}

/// The headers that may come only once, and what others say.
#[derive(Clone, Copy, Debug, Default)]
struct Known<'a> {
    host: Option<&'a str>,
    origin: Option<&'a str>,
    key: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    /// Some `Upgrade` lists `websocket`.
    to_websocket: bool,
    /// Some `Connection` lists `upgrade`.
    upgrades: bool,
    offers_subprotocols: bool,
}

/// A request for the WebSocket protocol that keeps every rule of section 4.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// The `Sec-WebSocket-Key` as it was sent, 16 bytes in base64.
    pub key: [u8; 24],
}

impl<'a> Request<'a> {
    /// Reads a whole head, up to and including its empty line.
    ///
    /// # Errors
    ///
    /// Whatever is no request of RFC 9112, and what that standard lets a server refuse: bare LF,
    /// folded headers, whitespace before a colon. Also a repeated header that may come only
    /// once, a `Host` that is missing in HTTP/1.1, and any announced body.
    pub fn parse(
        head: &'a [u8],
        storage: &'a mut HeaderStorage<'a>,
    ) -> Result<Self, HandshakeError> {
        check_lines(head)?;
        let mut parsed = httparse::Request::new(&mut []);
        let length = parsed.parse_with_uninit_headers(head, storage)?;
        if length != httparse::Status::Complete(head.len()) {
            return Err(HandshakeError::Malformed);
        }
        let (Some(method), Some(target), Some(version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(HandshakeError::Malformed);
        };
        let headers: &'a [Header<'a>] = parsed.headers;
        let known = Known::gather(headers)?;
        let http11 = version == 1;
        if http11 && known.host.is_none() {
            return Err(HandshakeError::MissingHost);
        }
        Ok(Self {
            method,
            target,
            parts: Target::parse(target)?,
            http11,
            headers,
            known,
        })
    }

    /// The method, such as `GET`.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The target as it was sent.
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path without the query, as it was sent (not decoded). It begins with `/`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.parts.path
    }

    /// What follows the first `?` of the target.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.parts.query
    }

    /// Whether this is HTTP/1.1; else it is HTTP/1.0.
    #[must_use]
    pub fn is_http11(&self) -> bool {
        self.http11
    }

    /// The first value of a header, its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// All headers in order. A value has no whitespace around it and no control characters, but
    /// need not be UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.headers
            .iter()
            .map(|header| (header.name, header.value))
    }

    /// The host and port the request is for: those of the target if it is a URL (RFC 9112 section
    /// 3.2.2), else the `Host` header.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.parts.authority.or(self.known.host)
    }

    /// The `Origin` header, as it was sent.
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        self.known.origin
    }

    /// The offered subprotocols in the client's order of preference, over all
    /// `Sec-WebSocket-Protocol` headers. What is no token is left out; [`upgrade`](Self::upgrade)
    /// refuses it.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.offers().filter_map(Result::ok)
    }

    /// What the request asks for: `None` if it is plain HTTP, without an `Upgrade` header that
    /// lists `websocket`.
    ///
    /// # Errors
    ///
    /// The first rule of section 4.2.1 that a WebSocket request breaks.
    pub fn upgrade(&self) -> Result<Option<UpgradeRequest>, HandshakeError> {
        if !self.known.to_websocket {
            return Ok(None);
        }
        if self.method != "GET" {
            return Err(HandshakeError::MethodNotGet);
        }
        if !self.http11 {
            return Err(HandshakeError::UpgradeInHttp10);
        }
        if !self.known.upgrades {
            return Err(HandshakeError::MissingConnectionUpgrade);
        }
        if self.known.version != Some(b"13") {
            return Err(HandshakeError::UnsupportedWebSocketVersion);
        }
        let key = self
            .known
            .key
            .and_then(check_key)
            .ok_or(HandshakeError::InvalidKey)?;
        if self.known.offers_subprotocols {
            self.check_subprotocols()?;
        }
        Ok(Some(UpgradeRequest { key }))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    fn offers(&self) -> impl Iterator<Item = Result<&'a str, HandshakeError>> + use<'a> {
        self.headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"))
            .flat_map(|header| elements(header.value))
            .map(|name| {
                std::str::from_utf8(name)
                    .ok()
                    .filter(|name| is_token(name))
                    .ok_or(HandshakeError::InvalidSubprotocol)
            })
    }

    fn check_subprotocols(&self) -> Result<(), HandshakeError> {
        let mut seen = [""; MAX_SUBPROTOCOLS];
        for (count, name) in self.offers().enumerate() {
            let name = name?;
            if seen[..count].contains(&name) {
                return Err(HandshakeError::RepeatedSubprotocol);
            }
            *seen
                .get_mut(count)
                .ok_or(HandshakeError::TooManySubprotocols)? = name;
        }
        Ok(())
    }
}

impl<'a> Known<'a> {
    fn gather(headers: &'a [Header<'a>]) -> Result<Self, HandshakeError> {
        let mut known = Self::default();
        for Header { name, value } in headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("Upgrade") {
                known.to_websocket |= has_element(value, "websocket");
            } else if is("Connection") {
                known.upgrades |= has_element(value, "upgrade");
            } else if is("Sec-WebSocket-Protocol") {
                known.offers_subprotocols = true;
            } else if is("Host") {
                let host = text(value).filter(|host| is_host(host.as_bytes()));
                set(&mut known.host, host, "Host")?;
            } else if is("Origin") {
                set(&mut known.origin, text(value), "Origin")?;
            } else if is("Sec-WebSocket-Key") {
                set(&mut known.key, Some(value), "Sec-WebSocket-Key")?;
            } else if is("Sec-WebSocket-Version") {
                set(&mut known.version, Some(value), "Sec-WebSocket-Version")?;
            } else if is("Content-Length") {
                set(&mut known.content_length, Some(value), "Content-Length")?;
                if *value != b"0" {
                    return Err(HandshakeError::UnexpectedBody);
                }
            } else if is("Transfer-Encoding") {
                return Err(HandshakeError::UnexpectedBody);
            }
        }
        Ok(known)
    }
}

/// Stores the value of a header that may come only once.
fn set<T>(
    slot: &mut Option<T>,
    value: Option<T>,
    name: &'static str,
) -> Result<(), HandshakeError> {
    let value = value.ok_or(HandshakeError::InvalidHeader(name))?;
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(HandshakeError::DuplicateHeader(name)),
    }
}

/// A value of visible ASCII characters and spaces.
fn text(value: &[u8]) -> Option<&str> {
    if value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        std::str::from_utf8(value).ok()
    } else {
        None
    }
}

fn check_key(value: &[u8]) -> Option<[u8; 24]> {
    let key = value.try_into().ok()?;
    // base64 asks for room for the padding too.
    let mut nonce = [0; 18];
    (STANDARD.decode_slice(value, &mut nonce) == Ok(16)).then_some(key)
}

#[cfg(test)]
mod tests;
