//! The head of a response, and its body if that is short.

use std::time::SystemTime;

use bytes::Bytes;

/// A response with a body that is held in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Response {
    /// A response whose body names its status.
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
        .text(reason_phrase(status))
    }

    pub(crate) fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn text(mut self, body: impl Into<String>) -> Self {
        let mut text = body.into();
        text.push('\n');
        self.body = Bytes::from(text);
        self
    }

    /// The response as bytes; `with_body` is false for the answer to HEAD.
    pub(crate) fn encode(&self, with_body: bool) -> Vec<u8> {
        let headers = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let content = Content {
            mime: "text/plain; charset=utf-8",
            len: self.body.len() as u64,
        };
        let mut out = encode_head(self.status, headers, Some(content));
        if with_body {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// What a head says of the body that follows it, or would follow it if this were no HEAD.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) mime: &'a str,
    pub(super) len: u64,
}

/// The head of a response; without `content` its status is one that has none.
pub(super) fn encode_head<'h>(
    status: u16,
    headers: impl Iterator<Item = (&'h str, &'h str)>,
    content: Option<Content<'_>>,
) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status));
    let mut has_date = false;
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
        has_date |= name.eq_ignore_ascii_case("Date");
    }
    // RFC 9110 section 6.6.1.
    if !has_date {
        out += &format!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    }
    if let Some(Content { mime, len }) = content {
        out += &format!("Content-Type: {mime}\r\n");
        out += "X-Content-Type-Options: nosniff\r\n";
        out += &format!("Content-Length: {len}\r\n");
    }
    out += "Connection: close\r\n\r\n";
    out.into_bytes()
}

/// The standard phrases (RFC 9110 section 15) of the statuses this server or its users may send.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => match status / 100 {
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            _ => "Server Error",
        },
    }
}

/// A response without its date, which has to be that of the moment.
#[cfg(test)]
#[track_caller]
pub(super) fn dateless(response: &[u8]) -> String {
    let text = std::str::from_utf8(response).expect("text");
    let (before, rest) = text.split_once("Date: ").expect("a date");
    let (date, after) = rest.split_once("\r\n").expect("a line");
    let date = httpdate::parse_http_date(date).expect("a date");
    let age = SystemTime::now().duration_since(date).expect("a past");
    assert!(age.as_secs() < 60, "{age:?}");
    format!("{before}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_states_its_length_and_ends_the_connection() {
        let response = Response::new(404).header("X-A", "b");
        assert_eq!(
            dateless(&response.encode(true)),
            "HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Type: text/plain; charset=utf-8\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Length: 10\r\nConnection: close\r\n\r\n\
             Not Found\n"
        );
        let head = String::from_utf8(response.encode(false)).unwrap();
        assert!(head.ends_with("Content-Length: 10\r\nConnection: close\r\n\r\n"));
    }
}
