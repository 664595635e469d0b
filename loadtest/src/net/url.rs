//! `ws://host:port/path?query`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// How long each address of a name may take to answer.
const PROBE: Duration = Duration::from_secs(3);

/// What to connect to (RFC 6455 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: String,
    /// As in the URL, brackets included.
    host: String,
    port: u16,
    /// Path and query.
    path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err("expected ws://HOST[:PORT][/PATH]".into());
        };
        match scheme.to_ascii_lowercase().as_str() {
            "ws" => {}
            "wss" => return Err("wss:// needs TLS, which is not built in yet; use ws://".into()),
            _ => return Err(format!("the scheme is {scheme}, not ws")),
        }
        if url.contains('#') {
            return Err("a WebSocket URL has no #fragment".into());
        }
        let bad = |byte: u8| !byte.is_ascii_graphic();
        if url.bytes().any(bad) {
            return Err("a URL is of ASCII letters, digits and signs only".into());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("a user name in the URL is not supported".into());
        }
        let (host, port) = split_port(authority)?;
        let path = match path.as_bytes().first() {
            None => "/".into(),
            Some(b'?') => format!("/{path}"),
            Some(_) => path.into(),
        };
        Ok(Self {
            url: url.into(),
            host: host.into(),
            port,
            path,
        })
    }
}

/// Host and port; 80 without one.
fn split_port(authority: &str) -> Result<(&str, u16), String> {
    let end = match authority.find(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end);
    if host.is_empty() {
        return Err("the URL has no host".into());
    }
    let inner = host
        .strip_prefix('[')
        .map(|host| host.strip_suffix(']').unwrap_or_default());
    if inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_err()) {
        return Err(format!("{host} is not an IPv6 address"));
    }
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, 80)),
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => Err(format!("{port:?} is not a port")),
            Ok(port) => Ok((host, port)),
        },
        None => Err(format!("{rest:?} after the host is not a port")),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// No address of the target can be connected to.
#[derive(Debug)]
pub struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Target {
    /// The value of `Host`.
    pub fn host(&self) -> String {
        if self.port == 80 {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The address to connect to. Of several, the first that accepts a connection.
    ///
    /// # Errors
    ///
    /// If the name has no address or none of them accepts.
    pub fn resolve(&self) -> Result<SocketAddr, Unreachable> {
        let name = self.host.trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<_> = (name, self.port)
            .to_socket_addrs()
            .map_err(|error| Unreachable(format!("{name}: {error}")))?
            .collect();
        if let [address] = addresses[..] {
            return Ok(address);
        }
        first_that_accepts(&addresses)
            .map_err(|why| Unreachable(why.unwrap_or(format!("{name} has no address"))))
    }
}

/// The first of several addresses that accepts a connection; if none does, what each says.
fn first_that_accepts(addresses: &[SocketAddr]) -> Result<SocketAddr, Option<String>> {
    let mut errors = Vec::new();
    for address in addresses {
        match TcpStream::connect_timeout(address, PROBE) {
            Ok(_) => return Ok(*address),
            Err(error) => errors.push(format!("{address}: {error}")),
        }
    }
    Err((!errors.is_empty()).then(|| errors.join("; ")))
}

/// The addresses that connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources(Option<u8>);

impl Sources {
    /// 127.0.0.1 to 127.0.0.`count` when the target is a loopback IPv4 address; with one, or none,
    /// the kernel's choice.
    ///
    /// # Errors
    ///
    /// If the target is another address, which these cannot reach.
    pub fn new(count: u8, target: SocketAddr) -> Result<Self, String> {
        match target.ip() {
            _ if count <= 1 => Ok(Self(None)),
            IpAddr::V4(ip) if ip.is_loopback() && count < 255 => Ok(Self(Some(count))),
            IpAddr::V4(ip) if ip.is_loopback() => Err("at most 254 source addresses".into()),
            ip => Err(format!(
                "source addresses are 127.0.0.x, which do not reach {ip}"
            )),
        }
    }

    /// That of this connection.
    pub fn of(self, connection: u32) -> Option<IpAddr> {
        let count = self.0?;
        let last = 1 + (connection % u32::from(count)) as u8;
        Some(Ipv4Addr::new(127, 0, 0, last).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, String) {
        let target: Target = url.parse().unwrap();
        (target.host(), target.path().into())
    }

    #[test]
    fn urls() {
        for (url, host, path) in [
            ("ws://localhost:9998/echo", "localhost:9998", "/echo"),
            ("WS://h", "h", "/"),
            ("ws://h:80/a/b?c=d", "h", "/a/b?c=d"),
            ("ws://h?x", "h", "/?x"),
            ("ws://[::1]:9998/", "[::1]:9998", "/"),
            ("ws://[::1]/", "[::1]", "/"),
        ] {
            assert_eq!(parsed(url), (host.into(), path.into()), "{url}");
        }
    }

    #[test]
    fn bad_urls_say_why() {
        for (url, why) in [
            ("localhost:9998", "expected ws://"),
            ("http://h", "not ws"),
            ("wss://h", "TLS"),
            ("ws:///x", "no host"),
            ("ws://h:0/", "not a port"),
            ("ws://h:port/", "not a port"),
            ("ws://[::1]9/", "not a port"),
            ("ws://[::g]/", "not an IPv6"),
            ("ws://[::1/", "not an IPv6"),
            ("ws://a@h/", "user name"),
            ("ws://h/#f", "fragment"),
            ("ws://h/a b", "ASCII"),
        ] {
            let error = url.parse::<Target>().unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn a_target_resolves() {
        let target: Target = "ws://[::1]:9/".parse().unwrap();
        assert_eq!(target.resolve().unwrap(), "[::1]:9".parse().unwrap());
        let target: Target = "ws://127.0.0.1:9/".parse().unwrap();
        assert_eq!(target.resolve().unwrap(), "127.0.0.1:9".parse().unwrap());
    }

    #[test]
    fn each_address_that_refuses_is_named() {
        let port = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let closed = [port(), port()];
        let why = first_that_accepts(&closed).unwrap_err().unwrap();
        assert!(
            closed
                .iter()
                .all(|address| why.contains(&address.to_string())),
            "{why}"
        );
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = open.local_addr().unwrap();
        assert_eq!(first_that_accepts(&[closed[0], open]), Ok(open));
    }

    #[test]
    fn sources_are_spread() {
        let target = "127.0.0.1:9".parse().unwrap();
        assert_eq!(Sources::new(1, target).unwrap().of(5), None);
        let sources = Sources::new(3, target).unwrap();
        assert_eq!(sources.of(0), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(sources.of(5), Some(IpAddr::from([127, 0, 0, 3])));
        assert!(Sources::new(2, "[::1]:9".parse().unwrap()).is_err());
        assert!(Sources::new(255, target).is_err());
    }
}
