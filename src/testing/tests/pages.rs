//! Pages that are fetched, one errand at a time.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{Found, Page, PageSource};

/// What is read of a page at once; see `http/source.rs`.
const PART: usize = 128 * 1024;
const SIZE: usize = 5 * PART + 17;

/// Finds the same large page everywhere and says when its reader is gone.
struct Source(Arc<AtomicBool>);

struct Pattern {
    at: usize,
    dropped: Arc<AtomicBool>,
}

fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

impl PageSource for Source {
    fn find(&self, _: &str) -> io::Result<Found> {
        let reader = Pattern {
            at: 0,
            dropped: Arc::clone(&self.0),
        };
        Ok(Found::Page(Page::reader("text/plain", SIZE as u64, reader)))
    }
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A file may bring less than was asked for.
        let count = buffer.len().min(5000);
        for byte in &mut buffer[..count] {
            *byte = pattern(self.at);
            self.at += 1;
        }
        Ok(count)
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

/// A client that has asked for the page, and whether its reader is gone.
fn ask(window: usize) -> (TestPeer, Arc<AtomicBool>) {
    let dropped = Arc::<AtomicBool>::default();
    let source = Source(Arc::clone(&dropped));
    let mut config = Config::default();
    config.limits.max_connections = Some(1000);
    let pair = Pair::new(|_request| Silent).config(config);
    let mut pair = pair.window(window);
    pair.install = Box::new(move |app| app.source(source));
    let mut peer = pair.start().unwrap();
    peer.send_raw(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (peer, dropped)
}

struct Silent;

impl Handler for Silent {
    fn on_message(&mut self, _: &mut Peer<'_>, _: Message<'_>) {}
}

/// Further clients of the same server, each of which has asked for the page.
fn others(peer: &mut TestPeer, count: u16, window: usize) -> Vec<Wire> {
    let ask = |at| {
        let remote = SocketAddr::from(([127, 0, 0, 2], 50_000 + at));
        let wire = peer.engine.network(0).connect(remote, window);
        wire.write(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n");
        wire
    };
    let wires = (0..count).map(ask).collect();
    peer.run();
    wires
}

/// Runs the errand that is waiting, if there is one.
fn fetch(peer: &mut TestPeer) -> bool {
    let ran = peer.engine.run_errand();
    peer.run();
    ran
}

/// Runs errands as long as there are any.
fn fetch_all(peer: &mut TestPeer) {
    while fetch(peer) {}
}

fn status(peer: &TestPeer) -> &str {
    let head = peer.input.get(..12).unwrap_or_default();
    std::str::from_utf8(head).unwrap()
}

#[test]
fn a_page_comes_whole_through_any_window_and_one_part_is_held() {
    for window in [1000, 4096, PART - 1, PART, 1 << 20] {
        let (mut peer, dropped) = ask(window);
        assert!(peer.input.is_empty());
        let mut parts = 0;
        while fetch(&mut peer) {
            parts += 1;
            assert!(peer.stats().memory <= 2 * PART as u64, "window {window}");
        }
        assert_eq!(parts, SIZE.div_ceil(PART), "window {window}");
        let end = crate::protocol::find_head_end(&peer.input, 0).unwrap();
        let body = &peer.input[end..];
        assert_eq!(body.len(), SIZE);
        assert!(
            body.iter()
                .enumerate()
                .all(|(at, &byte)| byte == pattern(at))
        );
        assert!(dropped.load(Ordering::Relaxed));
        assert!(
            peer.wire.is_ended(),
            "the server's side of the stream has ended"
        );
        peer.end_stream();
        assert!(peer.is_closed());
        assert_eq!(peer.stats().memory, 0);
    }
}

/// What it does not take is not fetched, and its patience with us has the limit of any other.
#[test]
fn a_client_that_stops_reading_gets_no_further_part() {
    let (mut peer, dropped) = ask(4096);
    peer.stop_reading();
    assert!(fetch(&mut peer));
    assert!(!fetch(&mut peer), "the first part has not left");
    peer.advance(Duration::from_secs(29));
    assert!(!peer.is_closed() && !dropped.load(Ordering::Relaxed));
    peer.advance(Duration::from_secs(2));
    assert!(peer.is_closed() && dropped.load(Ordering::Relaxed));
    assert_eq!(peer.stats().memory, 0);
}

#[test]
fn a_client_that_goes_is_not_written_to() {
    for fetched in 0..4 {
        let (mut peer, dropped) = ask(PART);
        for _ in 0..fetched {
            assert!(fetch(&mut peer));
        }
        peer.reset();
        // The errand that was out finds nobody, or its part cannot be written.
        fetch(&mut peer);
        assert!(!fetch(&mut peer), "after {fetched}");
        assert!(peer.is_closed() && dropped.load(Ordering::Relaxed));
        assert_eq!(peer.stats().connections, 0);
        assert_eq!(peer.stats().memory, 0);
    }
}

/// A client may end its side of the stream once it has asked.
#[test]
fn a_client_that_says_no_more_is_answered() {
    let (mut peer, _) = ask(1 << 20);
    peer.end_stream();
    while fetch(&mut peer) {}
    assert_eq!(status(&peer), "HTTP/1.1 200");
    assert!(peer.is_closed());
    assert_eq!(peer.stats().memory, 0);
}

#[test]
fn bytes_after_the_request_wait_and_are_dropped() {
    let (mut peer, _) = ask(1 << 20);
    peer.send_raw(&[b'x'; 10_000]);
    while fetch(&mut peer) {
        peer.send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert_eq!(status(&peer), "HTTP/1.1 200");
    peer.end_stream();
    assert!(peer.is_closed());
}

#[test]
fn an_errand_has_its_time() {
    let (mut peer, dropped) = ask(1 << 20);
    peer.advance(Duration::from_secs(9));
    assert!(peer.input.is_empty());
    peer.advance(Duration::from_secs(2));
    assert_eq!(status(&peer), "HTTP/1.1 504");
    let answered = peer.input.len();
    // What comes now is too late, and its reader is let go.
    assert!(fetch(&mut peer));
    assert_eq!(peer.input.len(), answered);
    assert!(dropped.load(Ordering::Relaxed));

    let (mut peer, dropped) = ask(1 << 20);
    assert!(fetch(&mut peer));
    let got = peer.input.len();
    peer.advance(Duration::from_secs(11));
    assert!(peer.is_closed());
    assert!(fetch(&mut peer));
    assert_eq!(peer.input.len(), got);
    assert!(dropped.load(Ordering::Relaxed));
    assert_eq!(peer.stats().memory, 0);
}

/// A shutdown lets a page come to its end, within its own time.
#[test]
fn a_page_under_way_is_finished_at_shutdown() {
    let (mut peer, _) = ask(1 << 20);
    assert!(fetch(&mut peer));
    peer.server().stop();
    while fetch(&mut peer) {}
    let end = crate::protocol::find_head_end(&peer.input, 0).unwrap();
    assert_eq!(peer.input.len() - end, SIZE);
    peer.end_stream();
    assert_eq!(peer.next, Next::Never);

    let (mut peer, dropped) = ask(1 << 20);
    peer.server().stop();
    peer.advance(Duration::from_secs(11));
    assert_eq!(peer.next, Next::Never);
    fetch(&mut peer);
    assert!(dropped.load(Ordering::Relaxed));
}

/// However many there are, and however long they take.
#[test]
fn readers_that_are_slow_leave_the_pages_to_others() {
    let (mut peer, _) = ask(4096);
    fetch_all(&mut peer);
    let mut slow = Vec::new();
    for _ in 0..6 {
        slow.extend(others(&mut peer, 50, 4096));
        fetch_all(&mut peer);
    }
    for wire in &slow {
        assert!(wire.read().starts_with(b"HTTP/1.1 200"));
    }
    let quick = others(&mut peer, 1, 1 << 20);
    fetch_all(&mut peer);
    let page = quick[0].read();
    assert!(page.starts_with(b"HTTP/1.1 200") && page.len() > SIZE);
}

/// Whoever waits for its next part is served before those that had theirs since.
#[test]
fn parts_are_fetched_in_turn() {
    const READERS: usize = 100;
    let (mut peer, _) = ask(1 << 20);
    let readers = others(&mut peer, READERS as u16, 1 << 20);
    let mut got = vec![0; READERS];
    loop {
        // The thread for errands is ahead of the reactor.
        let mut ran = false;
        while peer.engine.run_errand() {
            ran = true;
        }
        assert!(
            peer.engine.inbox_len(0) <= 32,
            "{}",
            peer.engine.inbox_len(0)
        );
        peer.run();
        for (got, wire) in got.iter_mut().zip(&readers) {
            *got += wire.read().len();
        }
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        assert!(most - least <= 2 * PART, "{most} and {least}");
        if !ran {
            break;
        }
    }
    assert!(got.iter().all(|&got| got > SIZE), "{got:?}");
}

/// The answer to HEAD has no body, whatever happens (RFC 9110 section 9.3.2).
#[test]
fn head_is_never_answered_with_a_body() {
    struct Failing;
    impl PageSource for Failing {
        fn find(&self, _: &str) -> io::Result<Found> {
            panic!("a source panics");
        }
    }
    let long = "x".repeat(20_000);
    for (request, status) in [
        ("/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "200"),
        ("/page HTTP/1.1\r\nHost: localhost\r\n\r\n", "500"),
        ("/late HTTP/1.1\r\nHost: localhost\r\n\r\n", "504"),
        ("/ HTTP/1.1\r\nHost: loc", "408"),
        ("/ HTTP/1.1\r\n\r\n", "400"),
        ("/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", "400"),
        ("/ HTTP/1.1\nHost: a\n\n", "400"),
        ("/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "400"),
        (&format!("/{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "414"),
        (&format!("/ HTTP/1.1\r\nA: {long}\r\n\r\n"), "431"),
    ] {
        for method in ["HEAD", "\r\nHEAD", "GET"] {
            let mut pair = Pair::new(|_request| Silent);
            pair.install = Box::new(move |app| app.source(Failing));
            let mut peer = pair.start().unwrap();
            peer.send_raw(format!("{method} {request}").as_bytes());
            if !request.starts_with("/late") {
                fetch(&mut peer);
            }
            peer.advance(Duration::from_secs(11));
            let text = std::str::from_utf8(&peer.input).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            // An empty line is in the way of a request line that has no end.
            if status != "414" || !method.starts_with('\r') {
                assert_eq!(&head[9..12], status, "{method} {request:.40}");
            }
            assert_eq!(
                body.is_empty(),
                method != "GET",
                "{method} {request:.40}: {body:?}"
            );
        }
    }
}
