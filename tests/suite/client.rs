//! A WebSocket client of bytes: it can send anything, and believes nothing it has not checked.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::patience::PATIENCE;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// Key and answer of RFC 6455 section 1.3.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASKING_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame with any first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.reserve(payload.len());
    bytes.extend(
        payload
            .iter()
            .zip(MASKING_KEY.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

/// The header of a masked frame, with the shortest encoding of its length.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    match length {
        0..=125 => header_7(first, length as u8),
        126..=0xffff => header_16(first, length as u16),
        _ => header_64(first, length),
    }
}

pub(crate) fn header_7(first: u8, length: u8) -> Vec<u8> {
    [&[first, 0x80 | length][..], &MASKING_KEY].concat()
}

pub(crate) fn header_16(first: u8, length: u16) -> Vec<u8> {
    [
        &[first, 0x80 | 126][..],
        &length.to_be_bytes(),
        &MASKING_KEY,
    ]
    .concat()
}

pub(crate) fn header_64(first: u8, length: u64) -> Vec<u8> {
    [
        &[first, 0x80 | 127][..],
        &length.to_be_bytes(),
        &MASKING_KEY,
    ]
    .concat()
}

pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes())
}

pub(crate) fn binary(payload: &[u8]) -> Vec<u8> {
    frame(FIN | BINARY, payload)
}

pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A valid request to open `path`.
pub(crate) fn request(path: &str) -> String {
    request_with(path, "")
}

/// The same with more header lines, each ended by CRLF.
pub(crate) fn request_with(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    )
}

/// A frame as it came from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

/// How the server's half of the stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Eof,
    Reset,
}

/// The head of an HTTP response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Response {
    /// The value of a header that occurs at most once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} more than once in {self:?}");
        value
    }
}

/// One connection to the server.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("connect")
    }

    /// A connection, unless the server refuses it.
    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("set a read timeout");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("set a write timeout");
        Ok(Self {
            stream,
            buffer: Vec::new(),
            start: 0,
        })
    }

    #[track_caller]
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(request(path).as_bytes());
        client.expect_upgrade();
        client
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends these bytes, in one write if the kernel takes them.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }

    /// Sends these bytes if the server still takes them.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn finish_sending(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("shut down the sending half");
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("set SO_LINGER");
    }

    /// Reads until `count` bytes are there.
    #[track_caller]
    fn fill(&mut self, count: usize) -> Result<(), End> {
        if self.start > 1 << 20 || self.start == self.buffer.len() {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        while self.buffer.len() - self.start < count {
            let missing = count - (self.buffer.len() - self.start);
            let filled = self.buffer.len();
            self.buffer
                .resize(filled + missing.clamp(16 << 10, 256 << 10), 0);
            let result = self.stream.read(&mut self.buffer[filled..]);
            self.buffer
                .truncate(filled + *result.as_ref().unwrap_or(&0));
            match result {
                Ok(0) => return Err(End::Eof),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return Err(End::Reset),
                    // With a timeout the kernel lets a call end so when the process was frozen.
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        let have = self.buffer.len() - self.start;
                        panic!("no answer within {PATIENCE:?} ({have} of {count} bytes)")
                    }
                    _ => panic!("read: {error}"),
                },
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.buffer[self.start..self.start + count].to_vec();
        self.start += count;
        bytes
    }

    /// The next frame, checked against the rules for a server without extensions, or the end of
    /// the stream between two frames.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Result<Frame, End> {
        self.fill(1)?;
        let frame = self.rest_of_frame();
        Ok(frame.unwrap_or_else(|end| panic!("{end:?} inside a frame")))
    }

    #[track_caller]
    fn rest_of_frame(&mut self) -> Result<Frame, End> {
        self.fill(2)?;
        let (first, second) = (self.buffer[self.start], self.buffer[self.start + 1]);
        let opcode = first & 0x0f;
        assert_eq!(first & 0x70, 0, "RSV bits from the server: {first:#04x}");
        assert!(
            matches!(opcode, 0..=2 | 8..=10),
            "reserved opcode from the server: {opcode}"
        );
        assert_eq!(second & 0x80, 0, "a masked frame from the server");
        let (head, length) = match second {
            126 => {
                self.fill(4)?;
                let field = &self.buffer[self.start + 2..self.start + 4];
                let length = u16::from_be_bytes(field.try_into().unwrap());
                assert!(length > 125, "a length of {length} in 16 bits");
                (4, usize::from(length))
            }
            127 => {
                self.fill(10)?;
                let field = &self.buffer[self.start + 2..self.start + 10];
                let length = u64::from_be_bytes(field.try_into().unwrap());
                assert!(length > 0xffff, "a length of {length} in 64 bits");
                assert!(length < 1 << 40, "a length of {length}");
                (10, length as usize)
            }
            length => (2, usize::from(length)),
        };
        if opcode >= CLOSE {
            assert!(
                first & FIN != 0 && length <= 125,
                "control frame {first:#04x} of {length}"
            );
        }
        self.fill(head + length)?;
        self.start += head;
        let payload = self.take(length);
        Ok(Frame { first, payload })
    }

    #[track_caller]
    pub(crate) fn expect_frame(&mut self, first: u8, payload: &[u8]) {
        let got = self.next().unwrap_or_else(|end| {
            panic!(
                "{end:?} instead of frame {first:#04x} of {} bytes",
                payload.len()
            )
        });
        assert!(
            got.first == first && got.payload == payload,
            "frame {:#04x} of {} bytes ({}) instead of {first:#04x} of {} bytes ({})",
            got.first,
            got.payload.len(),
            excerpt(&got.payload),
            payload.len(),
            excerpt(payload),
        );
    }

    #[track_caller]
    pub(crate) fn expect_text(&mut self, payload: &str) {
        self.expect_frame(FIN | TEXT, payload.as_bytes());
    }

    #[track_caller]
    pub(crate) fn expect_binary(&mut self, payload: &[u8]) {
        self.expect_frame(FIN | BINARY, payload);
    }

    #[track_caller]
    pub(crate) fn echo(&mut self, payload: &str) {
        self.send(&text(payload));
        self.expect_text(payload);
    }

    /// Expects a Close frame with this code and returns its reason.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        let frame = self
            .next()
            .unwrap_or_else(|end| panic!("{end:?} instead of Close {code}"));
        let (got, reason) = close_parts(&frame);
        assert_eq!(got, Some(code), "close code (reason {reason:?})");
        reason
    }

    /// Expects a Close frame without a code.
    #[track_caller]
    pub(crate) fn expect_empty_close(&mut self) {
        self.expect_frame(FIN | CLOSE, b"");
    }

    /// Expects the orderly end of the server's half.
    #[track_caller]
    pub(crate) fn expect_eof(&mut self) {
        match self.next() {
            Err(End::Eof) => {}
            Err(End::Reset) => panic!("a reset instead of the end of the stream"),
            Ok(frame) => panic!(
                "frame {:#04x} of {} bytes ({}) instead of the end of the stream",
                frame.first,
                frame.payload.len(),
                excerpt(&frame.payload)
            ),
        }
    }

    /// Reads and drops whatever comes until the connection ends in any way.
    #[track_caller]
    pub(crate) fn until_end(&mut self) -> End {
        loop {
            self.start = self.buffer.len();
            if let Err(end) = self.fill(1) {
                return end;
            }
        }
    }

    /// The closing handshake from this side.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        self.send(&close(1000, b""));
        self.expect_close(1000);
        self.expect_eof();
    }

    /// Checks that nothing arrives and nothing ends for this long.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, duration: Duration) {
        assert_eq!(self.buffer.len(), self.start, "bytes nobody asked for");
        self.stream.set_read_timeout(Some(duration)).unwrap();
        let mut byte = [0];
        let result = loop {
            match self.stream.peek(&mut byte) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match result {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => panic!("silence expected, not {other:?}"),
        }
    }

    /// Whether bytes (or the end) can be read now.
    pub(crate) fn is_readable(&mut self) -> bool {
        if self.start < self.buffer.len() {
            return true;
        }
        self.stream.set_nonblocking(true).unwrap();
        let readable = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_nonblocking(false).unwrap();
        readable
    }

    /// The head of an HTTP response.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.try_response()
            .unwrap_or_else(|end| panic!("{end:?} instead of a response"))
    }

    #[track_caller]
    pub(crate) fn try_response(&mut self) -> Result<Response, End> {
        let mut length = 0;
        while !self.buffer[self.start..self.start + length].ends_with(b"\r\n\r\n") {
            length += 1;
            self.fill(length)?;
            assert!(length < 1 << 16, "an endless response head");
        }
        let head = String::from_utf8(self.take(length)).expect("the head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("a status line, not {status_line:?}"));
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a header line");
                assert!(!line.contains('\n'), "a bare LF in the response: {line:?}");
                (name.to_string(), value.trim().to_string())
            })
            .collect();
        Ok(Response { status, headers })
    }

    /// Expects the 101 answer to [`request`].
    #[track_caller]
    pub(crate) fn expect_upgrade(&mut self) -> Response {
        let response = self.response();
        assert_eq!(response.status, 101, "switching protocols: {response:?}");
        assert_eq!(
            response.header("Sec-WebSocket-Accept"),
            Some(ACCEPT),
            "{response:?}"
        );
        let upgrade = response.header("Upgrade").unwrap_or_default();
        assert!(upgrade.eq_ignore_ascii_case("websocket"), "{response:?}");
        let connection = response.header("Connection").unwrap_or_default();
        assert!(connection.eq_ignore_ascii_case("upgrade"), "{response:?}");
        response
    }

    /// All bytes up to the orderly end of the stream.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut count = self.buffer.len() - self.start;
        loop {
            match self.fill(count + 1) {
                Ok(()) => count = self.buffer.len() - self.start,
                Err(End::Eof) => return self.take(count),
                Err(End::Reset) => panic!("a reset instead of the end of the stream"),
            }
        }
    }

    /// Drops what comes until the connection ends, and checks that this takes at least `least`
    /// from `start` on; a timer wheel may be a little early or late.
    #[track_caller]
    pub(crate) fn expect_end_after(&mut self, start: Instant, least: Duration) {
        self.until_end();
        let elapsed = start.elapsed();
        assert!(
            elapsed >= least,
            "ended after {elapsed:?}, before {least:?}"
        );
    }
}

/// Code and reason of a Close frame.
#[track_caller]
pub(crate) fn close_parts(frame: &Frame) -> (Option<u16>, String) {
    assert_eq!(
        frame.first,
        FIN | CLOSE,
        "a Close frame, not {}",
        excerpt(&frame.payload)
    );
    match frame.payload.as_slice() {
        [] => (None, String::new()),
        [_] => panic!("a Close frame of one byte from the server"),
        [high, low, reason @ ..] => (
            Some(u16::from_be_bytes([*high, *low])),
            String::from_utf8(reason.to_vec()).expect("the reason is UTF-8"),
        ),
    }
}

fn excerpt(bytes: &[u8]) -> String {
    format!(
        "{:?}",
        String::from_utf8_lossy(&bytes[..bytes.len().min(80)])
    )
}
