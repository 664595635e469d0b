//! Pages that are looked for when they are asked for, on a thread that may wait for them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::conditions::Conditions;
use super::page::{Page, Parts};
use super::response::Response;
use crate::connection::{Errand, Part};
use crate::protocol::handshake::is_field_value;

/// Pages of one server that may be looked for at once, over all its reactors.
const MAX_LOOKUPS: usize = 128;
/// The most bytes of a page that are read at once; the next ones are read when these have left.
const PART: u64 = 128 * 1024;

/// Where pages come from that are not held in memory, such as a database or a
#[cfg_attr(feature = "pages", doc = "[`Folder`](crate::Folder).")]
#[cfg_attr(not(feature = "pages"), doc = "folder.")]
///
/// It is asked on a thread of its own, where it may wait: that delays other pages of this source
/// and nothing else.
///
/// ```
/// use sockeye::{Found, Page, PageSource};
///
/// struct Clock;
///
/// impl PageSource for Clock {
///     fn find(&self, path: &str) -> std::io::Result<Found> {
///         Ok(match path {
///             "/now" => Found::Page(Page::new("text/plain", format!("{:?}", std::time::SystemTime::now()))),
///             _ => Found::Missing,
///         })
///     }
/// }
/// ```
pub trait PageSource: Send + Sync + 'static {
    /// Looks for the page at `path`, which begins with `/`, has no query and is as the client sent
    /// it: percent-encoded, and with any `..` there was.
    ///
    /// # Errors
    /// Why it could not be looked for. The client is answered 500, and the error is logged.
    fn find(&self, path: &str) -> io::Result<Found>;
}

/// What a [`PageSource`] found.
#[derive(Debug)]
pub enum Found {
    /// This page.
    Page(Page),
    /// It is at this path, to which the client's query is added: 308. The path is percent-encoded
    /// (RFC 3986 section 2.1); one that cannot be the value of a header (RFC 9110 section 5.5) is
    /// logged, and the client is answered 500.
    Redirect(String),
    /// Nothing: 404.
    Missing,
}

/// Counts the pages of one server that are being looked for, against [`MAX_LOOKUPS`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Permits(Arc<AtomicUsize>);

/// One of them.
#[derive(Debug)]
struct Permit(Permits);

impl Permits {
    fn take(&self) -> Option<Permit> {
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        let permit = Permit(self.clone());
        (before < MAX_LOOKUPS).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Looks for a page and reads its beginning.
pub(crate) struct Lookup {
    source: Arc<dyn PageSource>,
    path: String,
    query: Option<String>,
    conditions: Conditions,
    head_only: bool,
    /// Until the page is found and its beginning read: whoever receives it slowly keeps nobody
    /// else from theirs.
    _permit: Permit,
}

impl Lookup {
    /// `None`: too many pages are being looked for.
    pub(crate) fn new(
        source: &Arc<dyn PageSource>,
        permits: &Permits,
        (path, query): (&str, Option<&str>),
        conditions: Conditions,
        head_only: bool,
    ) -> Option<Self> {
        Some(Self {
            _permit: permits.take()?,
            source: Arc::clone(source),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            conditions,
            head_only,
        })
    }

    /// A page's answer, or the response instead of one.
    fn find(&self) -> Result<Page, Response> {
        match self.source.find(&self.path) {
            Ok(Found::Page(page)) => Ok(page),
            Ok(Found::Redirect(path)) => {
                let query = self.query.as_ref().map(|query| format!("?{query}"));
                let target = path + &query.unwrap_or_default();
                if !is_field_value(&target) {
                    log::error!("a page source redirects to {target:?}, which is no path");
                    return Err(Response::new(500));
                }
                Err(Response::new(308).header("Location", target))
            }
            Ok(Found::Missing) => Err(Response::new(404)),
            Err(error) => {
                log::warn!("the page {:?} cannot be read: {error}", self.path);
                Err(Response::new(500))
            }
        }
    }
}

impl Errand for Lookup {
    fn run(self: Box<Self>) -> Part {
        let page = match self.find() {
            Ok(page) => page,
            Err(response) => {
                return Part::Bytes {
                    head: response.encode(!self.head_only),
                    body: Bytes::new(),
                    rest: None,
                };
            }
        };
        let answer = page.answer(&self.conditions, self.head_only);
        let Some((left, parts)) = answer.rest else {
            return Part::Bytes {
                head: answer.head,
                body: answer.body,
                rest: None,
            };
        };
        Rest { parts, left }.read(answer.head)
    }
}

/// Reads on.
struct Rest {
    parts: Box<dyn Parts>,
    left: u64,
}

impl Rest {
    fn read(mut self, head: Vec<u8>) -> Part {
        let len = self.left.min(PART);
        match self.parts.next(len as usize) {
            Ok(body) => {
                self.left -= len;
                Part::Bytes {
                    head,
                    body,
                    rest: (self.left > 0).then(|| Box::new(self) as Box<dyn Errand>),
                }
            }
            Err(error) => {
                log::warn!("a page could not be read to its end: {error}");
                Part::Broken
            }
        }
    }
}

impl Errand for Rest {
    fn run(self: Box<Self>) -> Part {
        self.read(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_come_back_and_have_an_end() {
        let permits = Permits::default();
        let held: Vec<_> = (0..MAX_LOOKUPS).map(|_| permits.take().unwrap()).collect();
        assert!(permits.take().is_none());
        assert!(permits.take().is_none());
        drop(held);
        assert!(permits.take().is_some());
    }
}
