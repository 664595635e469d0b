//! The values that flags take: sizes, durations, addresses and names.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

/// The longest deadline that a server takes.
const LONGEST: Duration = Duration::from_secs(12 * 24 * 60 * 60);
/// More threads than this can only be a slip of the finger.
const MAX_THREADS: usize = 1024;

const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A size in bytes, written as `65536`, `64KiB` or `64k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) usize);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let scale = match suffix.trim_start().to_ascii_lowercase().as_str() {
            "" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            _ => 0,
        };
        if number.is_empty() || scale == 0 {
            return Err("expected a whole number of bytes, KiB, MiB or GiB".into());
        }
        number
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_mul(scale))
            // No allocation can be larger.
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .map(Self)
            .ok_or_else(|| "more than this machine can address".into())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS
            .iter()
            .find(|(_, scale)| self.0 != 0 && self.0.is_multiple_of(*scale));
        match unit {
            Some((name, scale)) => write!(f, "{}{name}", self.0 / scale),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A parser for sizes that refuses those under `least` bytes.
pub(crate) fn bytes_from(
    least: usize,
) -> impl Fn(&str) -> Result<Bytes, String> + Clone + Send + Sync {
    move |text| match text.parse()? {
        Bytes(bytes) if bytes < least => Err(format!("must be at least {least}")),
        bytes => Ok(bytes),
    }
}

/// Parses a count of which there must be at least one.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("expected a whole number".into()),
    }
}

/// Parses a number of threads.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads) if threads <= MAX_THREADS => Ok(threads),
        _ => Err(format!("expected a whole number from 0 to {MAX_THREADS}")),
    }
}

/// A deadline, written as `30s`, `300ms` or `1m 30s`; `0` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<Duration>);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        if duration.is_zero() {
            Ok(Self(None))
        } else if duration < Duration::from_millis(1) {
            Err("must be at least 1ms, or 0 for off".into())
        } else if duration > LONGEST {
            Err("must be at most 12 days".into())
        } else {
            Ok(Self(Some(duration)))
        }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(duration) => humantime::format_duration(duration).fmt(f),
            None => f.write_str("0"),
        }
    }
}

/// Parses an address to listen on: `HOST:PORT`, where port 0 picks a free one.
pub(crate) fn listen(text: &str) -> Result<String, String> {
    match split_port(text)? {
        (host, Some(_)) if is_host(host) => Ok(text.to_owned()),
        (host, None) if is_host(host) => Err("expected HOST:PORT, the port is missing".into()),
        ("", Some(port)) => Err(format!(
            "expected HOST:PORT, the host is missing; 0.0.0.0:{port} and [::]:{port} are every address"
        )),
        _ => Err("expected HOST:PORT, an IPv6 address in [brackets]".into()),
    }
}

/// Parses an entry of the `Host` allowlist: a name, with or without a port.
pub(crate) fn host(text: &str) -> Result<String, String> {
    match split_port(text)? {
        (_, Some(0)) => Err("no request can name port 0".into()),
        (host, _) if is_host(host) => Ok(text.to_ascii_lowercase()),
        _ => Err("expected a name or a name:port, an IPv6 address in [brackets]".into()),
    }
}

/// Parses an entry of the `Origin` allowlist, `scheme://host[:port]` or `null`, into the form in
/// which browsers send it (RFC 6454, section 6.2): lower case, without the scheme's default port.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    if text == "null" {
        return Ok(text.to_owned());
    }
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text
        .split_once("://")
        .ok_or("expected scheme://host[:port], or null")?;
    if !is_scheme(scheme) {
        return Err(format!("'{scheme}' is not a URL scheme"));
    }
    if authority.contains(['/', '?', '#']) {
        return Err("an origin has no path: leave out what follows the host and port".into());
    }
    let (name, port) = split_port(authority)?;
    if !is_host(name) {
        return Err(format!("'{name}' is not a host name"));
    }
    Ok(match (scheme, port) {
        (_, Some(0)) => return Err("no origin has port 0".into()),
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{name}"),
        (_, Some(port)) => format!("{scheme}://{name}:{port}"),
    })
}

/// Splits `host:port` at the colon that is not part of an IPv6 address in brackets.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!("a scheme ({scheme}://) is not part of a host"));
    }
    if !text.contains('[') && text.matches(':').count() > 1 {
        return Err("an IPv6 address must be in [brackets]".into());
    }
    let host_end = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = text[host_end..].find(':') else {
        return Ok((text, None));
    };
    let (host, port) = (&text[..host_end + colon], &text[host_end + colon + 1..]);
    // `parse` alone would take "+80".
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits => Ok((host, Some(port))),
        _ => Err(format!("'{port}' is not a port (0 to 65535)")),
    }
}

/// Whether this is a name, an IPv4 address, or an IPv6 address in brackets. Names beyond ASCII
/// travel in their `xn--` form (RFC 5891), so that is the form to write.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

/// Whether this is a URL scheme (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("125", 125),
            ("1k", 1024),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("16M", 16 << 20),
            ("16MiB", 16 << 20),
            ("2g", 2 << 30),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in [
            "", " ", "k", "-1", "+1", "1.5m", "1KB", "1kk", "1 2", "0x10", "1e6", "١",
        ] {
            let error = text.parse::<Bytes>().unwrap_err();
            assert!(error.contains("whole number"), "{text}: {error}");
        }
        for text in [
            "99999999999999999999",
            "18446744073709551615",
            "9999999999g",
        ] {
            let error = text.parse::<Bytes>().unwrap_err();
            assert!(error.contains("address"), "{text}: {error}");
        }
        assert_eq!(bytes_from(256)("256"), Ok(Bytes(256)));
        assert_eq!(bytes_from(256)("255").unwrap_err(), "must be at least 256");
    }

    #[test]
    fn sizes_print_as_they_parse() {
        for (bytes, text) in [
            (0, "0"),
            (1000, "1000"),
            (16 << 10, "16KiB"),
            (16 << 20, "16MiB"),
            (3 << 30, "3GiB"),
            ((1 << 20) + 1, "1048577"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
    }

    #[test]
    fn durations() {
        let millis = |n| Some(Duration::from_millis(n));
        for (text, duration) in [
            ("0", None),
            ("0s", None),
            ("1ms", millis(1)),
            ("1000us", millis(1)),
            ("300ms", millis(300)),
            ("30s", millis(30_000)),
            ("1m 30s", millis(90_000)),
            ("12days", Some(LONGEST)),
        ] {
            assert_eq!(text.parse(), Ok(Timeout(duration)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "ten",
            "1ns",
            "999us",
            "12days 1ms",
            "13d",
            "1000y",
            "99999999999999999999s",
            "18446744073709551615y",
            "10 parsecs",
        ] {
            let error = text.parse::<Timeout>().unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{text}");
        }
    }

    #[test]
    fn durations_print_as_they_parse() {
        for text in ["0", "300ms", "10s", "1m 30s", "12days"] {
            let timeout: Timeout = text.parse().unwrap();
            assert_eq!(timeout.to_string(), text);
        }
    }

    #[test]
    fn listen_addresses() {
        for text in [
            "localhost:9998",
            "localhost:0",
            "0.0.0.0:80",
            "[::1]:9998",
            "[::]:65535",
            "my_host.example:1",
        ] {
            assert_eq!(listen(text), Ok(text.to_owned()));
        }
        for text in [
            "",
            "localhost",
            ":9998",
            "9998",
            "localhost:",
            "localhost:65536",
            "localhost:-1",
            "localhost:+1",
            "localhost:http",
            "::1:9998",
            "::1",
            "[::1]",
            "[::1]9998",
            "[::g]:1",
            "[]:1",
            "a b:1",
            "ws://localhost:1",
            "localhost:1/",
            "]:1",
            "[:1",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_an_address_lacks_or_has_too_much_is_named() {
        for (text, reason) in [
            (":9999", "host is missing"),
            ("localhost", "port is missing"),
            ("::1:9", "[brackets]"),
            ("::1", "[brackets]"),
            ("ws://localhost:1", "a scheme (ws://) is not part of a host"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let error = host("http://a").unwrap_err();
        assert_eq!(error, "a scheme (http://) is not part of a host");
        assert!(host("::1").unwrap_err().contains("[brackets]"));
    }

    #[test]
    fn hosts() {
        for (text, host_is) in [
            ("example.com", "example.com"),
            ("Example.COM:8080", "example.com:8080"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::1]:9998", "[::1]:9998"),
        ] {
            assert_eq!(host(text), Ok(host_is.to_owned()));
        }
        for text in [
            "",
            ":80",
            "example.com:",
            "example.com:0",
            "example.com:99999",
            "::1",
            "http://example.com",
            "example.com/",
            "user@example.com",
            "*",
            "exämple.com",
            "a b",
        ] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins() {
        for (text, origin_is) in [
            ("null", "null"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("HTTPS://Example.com", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("http://example.com:080", "http://example.com"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("moz-extension://3f2a-11", "moz-extension://3f2a-11"),
        ] {
            assert_eq!(origin(text), Ok(origin_is.to_owned()), "{text}");
        }
        for text in [
            "",
            "NULL",
            "*",
            "example.com",
            "http:example.com",
            "//example.com",
            "://example.com",
            "1http://example.com",
            "http://",
            "http://:80",
            "http://example.com/",
            "http://example.com/chat",
            "http://example.com?x",
            "http://example.com#x",
            "http://example.com:",
            "http://example.com:0",
            "http://example.com:70000",
            "http://user@example.com",
            "http://*.example.com",
            "http://a b",
            "http://::1",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
