//! The request target (RFC 9112 section 3.2).

use super::HandshakeError;

/// A target in origin form or absolute form, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Only in absolute form; it then stands in for the `Host` header.
    pub(super) authority: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Takes a target apart. There are no other forms for the methods that this server knows.
    pub(super) fn parse(text: &'a str) -> Result<Self, HandshakeError> {
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
        {
            return Err(HandshakeError::InvalidTarget);
        }
        let (authority, rest) = if text.starts_with('/') {
            (None, text)
        } else {
            let (scheme, rest) = text
                .split_once("://")
                .ok_or(HandshakeError::InvalidTarget)?;
            if !["http", "https", "ws", "wss"]
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known))
            {
                return Err(HandshakeError::InvalidTarget);
            }
            let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if !is_host(authority.as_bytes()) {
                return Err(HandshakeError::InvalidTarget);
            }
            (Some(authority), rest)
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        // A URL may leave the path of its root out.
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self {
            authority,
            path,
            query,
        })
    }
}

/// Whether `host` has only the characters of a host and a port (RFC 3986 section 3.2.2), which
/// excludes user information, paths, lists and spaces.
pub(super) fn is_host(host: &[u8]) -> bool {
    !host.is_empty()
        && host
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%:[]".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, authority, path, query) in [
            ("/", None, "/", None),
            ("/echo", None, "/echo", None),
            ("/echo?a=1?b", None, "/echo", Some("a=1?b")),
            ("/?", None, "/", Some("")),
            ("//double", None, "//double", None),
            ("http://host/path?q", Some("host"), "/path", Some("q")),
            ("WS://host:9998", Some("host:9998"), "/", None),
            ("wss://[::1]?q=/", Some("[::1]"), "/", Some("q=/")),
        ] {
            assert_eq!(
                Target::parse(text),
                Ok(Target {
                    authority,
                    path,
                    query
                }),
                "{text}"
            );
        }
        for text in [
            "",
            "*",
            "echo",
            "host:80",
            "ftp://host/",
            "http:///path",
            "http://user@host/",
            "/a#b",
            "/ä",
            "?q",
            "http://a,b/",
        ] {
            assert_eq!(
                Target::parse(text),
                Err(HandshakeError::InvalidTarget),
                "{text}"
            );
        }
    }
}
