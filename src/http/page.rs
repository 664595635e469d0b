//! What is shown at a path.

use std::io::{self, Read};
use std::time::SystemTime;

use bytes::Bytes;
use sha1::{Digest, Sha1};

use super::conditions::{Conditions, whole_seconds};
use super::response::{Content, encode_head};
use crate::protocol::handshake::{is_field_value, is_token};

/// A page, picture, script or style sheet: the answer to a plain GET or HEAD on the port that
/// WebSockets are served on.
///
/// Clients are told to ask each time whether their copy is still good, and are answered 304 if it
/// is. `X-Content-Type-Options: nosniff` is sent with every page.
///
/// ```
/// use sockeye::Page;
///
/// let page = Page::html("<!doctype html><title>hello</title><script src=/a.js></script>")
///     .header("Content-Security-Policy", "default-src 'self'");
/// let script = Page::new("text/javascript", "new WebSocket(`ws://${location.host}/echo`)");
/// ```
pub struct Page {
    about: About,
    body: Body,
}

/// Everything about a page but its bytes.
struct About {
    content_type: String,
    len: u64,
    etag: Option<String>,
    modified: Option<SystemTime>,
    headers: Vec<(String, String)>,
}

/// A page that is held in memory and can be sent any number of times.
pub(crate) struct Fixed {
    about: About,
    body: Bytes,
}

enum Body {
    Memory(Bytes),
    Parts(Box<dyn Parts>),
}

/// The bytes of a page, read a part at a time.
pub(super) trait Parts: Send {
    /// Reads the next `len` bytes, all of them.
    fn next(&mut self, len: usize) -> io::Result<Bytes>;
}

/// Those of a reader.
struct Reader<R>(R);

impl<R: Read + Send> Parts for Reader<R> {
    fn next(&mut self, len: usize) -> io::Result<Bytes> {
        let mut bytes = Vec::with_capacity(len);
        let mut part = self.0.by_ref().take(len as u64);
        if part.read_to_end(&mut bytes)? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Bytes::from(bytes))
    }
}

/// How a page is answered: the head and what follows it at once, and what there is to read after
/// that.
pub(crate) struct Answer {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Bytes,
    pub(super) rest: Option<(u64, Box<dyn Parts>)>,
}

impl Page {
    /// A page that is held in memory.
    ///
    /// # Panics
    /// If the content type is not the value of a header (RFC 9110 section 5.5).
    #[must_use]
    pub fn new(content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let about = About::new(content_type.into(), body.len() as u64, Some(tag(&body)));
        Self {
            about,
            body: Body::Memory(body),
        }
    }

    /// A page of HTML in UTF-8.
    #[must_use]
    pub fn html(body: impl Into<Bytes>) -> Self {
        Self::new("text/html; charset=utf-8", body)
    }

    /// A page of `len` bytes that are read while it is sent, a part at a time and never on an
    /// event loop; what comes after them is not read. For a [`PageSource`](super::PageSource):
    /// it can be sent once. The reader is kept until the client has all but the last part, however
    /// slow it is.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn reader(
        content_type: impl Into<String>,
        len: u64,
        reader: impl Read + Send + 'static,
    ) -> Self {
        Self::parts(content_type.into(), len, Reader(reader))
    }

    pub(super) fn parts(content_type: String, len: u64, parts: impl Parts + 'static) -> Self {
        Self {
            about: About::new(content_type, len, None),
            body: Body::Parts(Box::new(parts)),
        }
    }

    /// Sets the entity tag, without its quotes; it must change whenever the page does. A page in
    /// memory has one that is made of its bytes.
    ///
    /// # Panics
    /// If it has anything but visible ASCII characters, or a quote (RFC 9110 section 8.8.3).
    #[must_use]
    pub fn etag(mut self, tag: &str) -> Self {
        let valid = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
        assert!(tag.bytes().all(valid), "not an entity tag: {tag:?}");
        self.about.etag = Some(format!("\"{tag}\""));
        self
    }

    /// Sets when the page was last modified, which is said in whole seconds from the year 1970 on, and
    /// until then in the future as the present.
    #[must_use]
    pub fn modified(mut self, modified: SystemTime) -> Self {
        self.about.modified = Some(whole_seconds(modified));
        self
    }

    /// Adds a header field.
    ///
    /// # Panics
    /// As [`Upgrade::header`](crate::Upgrade::header).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        assert!(is_token(&name), "a header name is a token: {name:?}");
        assert!(is_field_value(&value), "not a header value: {value:?}");
        self.about.headers.push((name, value));
        self
    }

    /// The page, if it is held in memory.
    pub(crate) fn fixed(self) -> Option<Fixed> {
        match self.body {
            Body::Memory(body) => Some(Fixed {
                about: self.about,
                body,
            }),
            Body::Parts(_) => None,
        }
    }

    /// The answer that it is itself; what follows the head is still to be read, or empty.
    pub(super) fn answer(self, conditions: &Conditions, head_only: bool) -> Answer {
        match self.body {
            Body::Memory(body) => Fixed {
                about: self.about,
                body,
            }
            .answer(conditions, head_only),
            Body::Parts(parts) => {
                let (head, has_body) = self.about.head(conditions);
                let wanted = has_body && !head_only && self.about.len > 0;
                Answer {
                    head,
                    body: Bytes::new(),
                    rest: wanted.then_some((self.about.len, parts)),
                }
            }
        }
    }
}

impl Fixed {
    /// The answer to a request for this page.
    pub(crate) fn answer(&self, conditions: &Conditions, head_only: bool) -> Answer {
        let (head, has_body) = self.about.head(conditions);
        let body = if has_body && !head_only {
            self.body.clone()
        } else {
            Bytes::new()
        };
        Answer {
            head,
            body,
            rest: None,
        }
    }
}

impl About {
    fn new(content_type: String, len: u64, etag: Option<String>) -> Self {
        assert!(
            is_field_value(&content_type),
            "not a content type: {content_type:?}"
        );
        Self {
            content_type,
            len,
            etag,
            modified: None,
            headers: Vec::new(),
        }
    }

    /// The head of the answer, and whether a body follows it: none does if the client's copy is
    /// still good.
    fn head(&self, conditions: &Conditions) -> (Vec<u8>, bool) {
        // RFC 9110 section 8.8.2.1: never later than the response.
        let past = |modified: SystemTime| modified.min(SystemTime::now());
        let modified = self.modified.map(past).map(httpdate::fmt_http_date);
        let own = [
            ("ETag", self.etag.as_deref()),
            ("Last-Modified", modified.as_deref()),
            ("Cache-Control", Some("no-cache")),
        ];
        let is_theirs = |name: &str| {
            let mut theirs = self.headers.iter();
            theirs.any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        let own = own
            .into_iter()
            .filter(|&(name, _)| !is_theirs(name))
            .filter_map(|(name, value)| Some((name, value?)));
        let theirs = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let content = Content {
            mime: &self.content_type,
            len: self.len,
        };
        if conditions.are_met_by(self.etag.as_deref(), self.modified) {
            (encode_head(304, own.chain(theirs), None), false)
        } else {
            (encode_head(200, own.chain(theirs), Some(content)), true)
        }
    }
}

/// An entity tag made of the bytes that it is for.
fn tag(bytes: &[u8]) -> String {
    let hash = Sha1::digest(bytes);
    let hex: String = hash[..10]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hex}\"")
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Page({}, {:?})",
            self.about.content_type, self.about.etag
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::response::dateless;
    use super::*;

    fn text(answer: &Answer) -> String {
        dateless(&[&answer.head[..], &answer.body].concat())
    }

    #[test]
    fn a_page_in_memory() {
        let page = Page::html("hello").header("X-A", "b").fixed().unwrap();
        let fresh = text(&page.answer(&Conditions::default(), false));
        assert_eq!(
            fresh,
            "HTTP/1.1 200 OK\r\nETag: \"aaf4c61ddcc5e8a2dabe\"\r\nCache-Control: no-cache\r\n\
             X-A: b\r\nContent-Type: text/html; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Length: 5\r\nConnection: close\r\n\r\nhello"
        );
        let head = text(&page.answer(&Conditions::default(), true));
        assert_eq!(head, fresh.strip_suffix("hello").unwrap());
        assert_ne!(tag(b"hello"), tag(b"hellp"));
    }

    #[test]
    fn a_header_of_the_users_own_replaces_ours() {
        let page = Page::html("").header("cache-control", "max-age=60");
        let page = page.fixed().unwrap();
        let text = text(&page.answer(&Conditions::default(), false));
        assert!(text.contains("cache-control: max-age=60\r\n"), "{text}");
        assert!(!text.contains("no-cache"), "{text}");
        let dated = Page::html("").header("date", "Thu, 01 Jan 1970 00:00:00 GMT");
        let answer = dated.fixed().unwrap().answer(&Conditions::default(), false);
        let head = String::from_utf8(answer.head).unwrap().to_ascii_lowercase();
        assert_eq!(head.matches("\r\ndate: ").count(), 1, "{head}");
    }

    #[test]
    fn a_reader_is_read_to_its_length_or_fails() {
        let part = |len| Reader(&b"hello"[..]).next(len);
        assert_eq!(part(4).unwrap(), "hell");
        assert_eq!(part(5).unwrap(), "hello");
        assert!(part(6).is_err());
    }
}
