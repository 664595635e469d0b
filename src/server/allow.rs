//! Allowlists for `Origin` and `Host`.

use super::error::{Error, Result};

/// Allowed origins (RFC 6454 section 6.2), compared by scheme, host and port. Empty: any.
#[derive(Debug, Default)]
pub(super) struct Origins(Vec<(String, String, u16)>);

/// Allowed hosts; a port of `None` allows every port. Empty: any.
#[derive(Debug, Default)]
pub(super) struct Hosts(Vec<(String, Option<u16>)>);

impl Origins {
    pub(super) fn parse(list: &[String]) -> Result<Self> {
        let entries = list.iter().map(|origin| {
            origin_parts(origin).ok_or_else(|| {
                Error::Config(format!("`{origin}` is no origin: scheme://host[:port]"))
            })
        });
        Ok(Self(entries.collect::<Result<_>>()?))
    }

    pub(super) fn allow(&self, origin: Option<&str>) -> bool {
        self.0.is_empty()
            || origin
                .and_then(origin_parts)
                .is_some_and(|origin| self.0.contains(&origin))
    }
}

impl Hosts {
    pub(super) fn parse(list: &[String]) -> Result<Self> {
        let entries = list.iter().map(|host| {
            host_parts(host)
                .ok_or_else(|| Error::Config(format!("`{host}` is no host: name or name:port")))
        });
        Ok(Self(entries.collect::<Result<_>>()?))
    }

    pub(super) fn allow(&self, host: Option<&str>) -> bool {
        self.0.is_empty()
            || host.and_then(host_parts).is_some_and(|(name, port)| {
                let matches = |(allowed, only): &(String, Option<u16>)| {
                    *allowed == name && only.is_none_or(|only| port == Some(only))
                };
                self.0.iter().any(matches)
            })
    }
}

fn origin_parts(origin: &str) -> Option<(String, String, u16)> {
    // What browsers send for sandboxed and local pages; allowed only where it is listed.
    if origin == "null" {
        return Some((String::new(), "null".into(), 0));
    }
    let (scheme, rest) = origin.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = host_parts(rest)?;
    let port = match (port, scheme.as_str()) {
        (Some(port), _) => port,
        (None, "http" | "ws") => 80,
        (None, "https" | "wss") => 443,
        (None, _) => 0,
    };
    Some((scheme, host, port))
}

/// Splits `name[:port]`; an IPv6 address stands in brackets.
fn host_parts(host: &str) -> Option<(String, Option<u16>)> {
    let after_name = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(after_name);
    let inner = name.trim_start_matches('[').trim_end_matches(']');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if inner.is_empty() || !inner.bytes().all(allowed) {
        return None;
    }
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
        None if port.is_empty() => None,
        None => return None,
    };
    Some((name.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &[&str]) -> Origins {
        let list: Vec<String> = list.iter().map(|entry| entry.to_string()).collect();
        Origins::parse(&list).unwrap()
    }

    #[test]
    fn an_origin_matches_by_scheme_host_and_port() {
        let allowed = origins(&["https://example.com", "http://localhost:8080"]);
        for origin in [
            "https://example.com",
            "https://EXAMPLE.com:443",
            "HTTP://localhost:8080",
        ] {
            assert!(allowed.allow(Some(origin)), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://example.com",
            "https://example.com:444",
            "https://example.com.evil.org",
            "https://evil-example.com",
            "https://example.com/",
            "https://user@example.com",
            "http://localhost",
        ] {
            assert!(!allowed.allow(Some(origin)), "{origin}");
        }
        assert!(!allowed.allow(None));
        assert!(origins(&[]).allow(None));
        assert!(origins(&["null"]).allow(Some("null")));
    }

    #[test]
    fn a_host_matches_with_or_without_its_port() {
        let list = ["example.com".to_string(), "[::1]:9998".to_string()];
        let allowed = Hosts::parse(&list).unwrap();
        for host in ["example.com", "Example.com:1234", "[::1]:9998"] {
            assert!(allowed.allow(Some(host)), "{host}");
        }
        for host in ["example.org", "[::1]", "[::1]:9", "example.com:", "a b"] {
            assert!(!allowed.allow(Some(host)), "{host}");
        }
        assert!(!allowed.allow(None));
    }

    #[test]
    fn an_entry_that_could_never_match_is_an_error() {
        for entry in ["example.com", "https://", "https://a/b", "https://a:99999", ""] {
            assert!(Origins::parse(&[entry.to_string()]).is_err(), "{entry}");
        }
        for entry in ["", "a/b", "a:b", "[::1", ":80"] {
            assert!(Hosts::parse(&[entry.to_string()]).is_err(), "{entry}");
        }
    }
}
