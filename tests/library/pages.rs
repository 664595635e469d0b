//! Pages of a library user's own, from sources that are slow, broken or large.

use std::io::{self, Read};
use std::time::{Duration, Instant, UNIX_EPOCH};

use sockeye::{Found, Page, PageSource};

use crate::client::{Client, Response};
use crate::gate::Gate;
use crate::site::{Live, Mode, Site, here, in_both_modes};

/// As many pages may be fetched at once (see `Server::pages`).
const AT_ONCE: usize = 128;

/// A source made of a function.
struct Source<F>(F);

impl<F: Fn(&str) -> io::Result<Found> + Send + Sync + 'static> PageSource for Source<F> {
    fn find(&self, path: &str) -> io::Result<Found> {
        (self.0)(path)
    }
}

/// Finds a page that names its path and its thread, unless the path says something else.
fn source(gate: Gate) -> impl PageSource {
    Source(move |path: &str| match path {
        "/slow" => {
            gate.pass();
            Ok(Found::Page(Page::new("text/plain", "slow")))
        }
        "/missing" => Ok(Found::Missing),
        "/elsewhere" => Ok(Found::Redirect("/here".into())),
        "/split" => Ok(Found::Redirect("/x\r\nSet-Cookie: a=b".into())),
        "/broken" => Err(io::Error::other("broken")),
        "/panic" => panic!("a source panics"),
        "/short" => Ok(Found::Page(Page::reader("text/plain", 10, &b"short"[..]))),
        "/cut" => Ok(Found::Page(Page::reader(
            "text/plain",
            1 << 20,
            Broken(600_000),
        ))),
        "/stuck" => Ok(Found::Page(Page::reader(
            "text/plain",
            1 << 20,
            Stuck(gate.clone(), 600_000),
        ))),
        path => Ok(Found::Page(Page::new(
            "text/plain",
            format!("{path} {}", here()),
        ))),
    })
}

/// A reader that fails after so many bytes.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("no more"));
        }
        let count = buffer.len().min(self.0);
        self.0 -= count;
        buffer[..count].fill(b'x');
        Ok(count)
    }
}

/// A reader that waits at a gate after so many bytes.
struct Stuck(Gate, usize);

impl Read for Stuck {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1 == 0 {
            self.0.pass();
            self.1 = usize::MAX;
        }
        let count = buffer.len().min(self.1);
        self.1 -= count;
        buffer[..count].fill(b'x');
        Ok(count)
    }
}

fn ask(live: &Live, target: &str) -> Client {
    let mut client = Client::connect(live.address);
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    client
}

#[track_caller]
fn get(live: &Live, target: &str) -> (Response, String) {
    let mut client = ask(live, target);
    let response = client.response();
    let body = String::from_utf8(client.rest()).expect("text");
    (response, body)
}

#[test]
fn a_source_is_asked_on_a_thread_of_its_own() {
    in_both_modes(|mode| {
        let live = Site::new(mode)
            .with(|server| server.pages(source(Gate::default())))
            .with(|server| server.page("/fixed", Page::html("fixed")))
            .serve();
        assert_eq!(get(&live, "/a%20b?c").1, "/a%20b pages");
        assert_eq!(get(&live, "/fixed").1, "fixed");
        assert_eq!(get(&live, "/missing").0.status, 404);
        let (response, _) = get(&live, "/elsewhere?a=b");
        assert_eq!(response.status, 308);
        assert_eq!(response.header("Location"), Some("/here?a=b"));
        assert_eq!(get(&live, "/echo").0.status, 426);
        assert_eq!(get(&live, "/healthz").0.status, 200);
    });
}

/// Neither handlers nor pages in memory wait for a source that does not answer.
#[test]
fn a_slow_source_delays_only_its_own_pages() {
    in_both_modes(|mode| {
        let gate = Gate::default();
        let of_source = gate.clone();
        let live = Site::new(mode)
            .with(|server| server.pages(source(of_source)))
            .with(|server| server.page("/fixed", Page::html("fixed")))
            .serve();
        let mut waiting: Vec<Client> = (0..AT_ONCE).map(|_| ask(&live, "/slow")).collect();
        gate.wait_for(1);
        let mut client = live.open("/echo");
        let start = Instant::now();
        for _ in 0..100 {
            client.echo("quick");
        }
        assert_eq!(get(&live, "/fixed").1, "fixed");
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
        // One more than may be under way; which one it is depends on the reactors.
        let mut last = ask(&live, "/slow");
        crate::patience::eventually("somebody is sent away", || {
            last.is_readable() || waiting.iter_mut().any(Client::is_readable)
        });
        waiting.push(last);
        gate.open();
        let mut served = 0;
        for mut client in waiting {
            let response = client.response();
            match response.status {
                200 => served += 1,
                503 => assert_eq!(response.header("Retry-After"), Some("1")),
                status => panic!("{status}"),
            }
        }
        assert_eq!(served, AT_ONCE);
        // What was counted out is free again.
        assert_eq!(get(&live, "/slow").1, "slow");
        client.finish();
    });
}

#[test]
fn a_page_that_takes_too_long_is_given_up() {
    in_both_modes(|mode| {
        let gate = Gate::default();
        let of_source = gate.clone();
        let live = Site::new(mode)
            .config(|config| config.timeouts.handshake = Some(Duration::from_millis(300)))
            .with(|server| server.pages(source(of_source)))
            .serve();
        assert_eq!(get(&live, "/slow").0.status, 504);
        gate.open();
        // What came too late met nobody.
        assert_eq!(get(&live, "/slow").1, "slow");
    });
}

#[test]
fn a_transfer_that_gets_stuck_is_broken_off() {
    in_both_modes(|mode| {
        let gate = Gate::default();
        let of_source = gate.clone();
        let live = Site::new(mode)
            .config(|config| config.timeouts.handshake = Some(Duration::from_millis(300)))
            .with(|server| server.pages(source(of_source)))
            .serve();
        let mut client = ask(&live, "/stuck");
        assert_eq!(client.response().header("Content-Length"), Some("1048576"));
        client.until_end();
        gate.open();
        let (response, body) = get(&live, "/stuck");
        assert_eq!((response.status, body.len()), (200, 1 << 20));
    });
}

#[test]
fn a_source_that_fails_is_answered_for() {
    in_both_modes(|mode| {
        let live = Site::new(mode)
            .with(|server| server.pages(source(Gate::default())))
            .serve();
        for target in ["/broken", "/panic", "/short", "/split"] {
            let (response, _) = get(&live, target);
            assert_eq!(response.status, 500, "{target}");
            assert_eq!(response.header("Set-Cookie"), None);
        }
        let mut client = ask(&live, "/cut");
        assert_eq!(client.response().status, 200);
        client.until_end();
        assert_eq!(get(&live, "/after").1, "/after pages");
        live.open("/echo").finish();
    });
}

/// Clients that leave while their pages are fetched give their places back.
#[test]
fn clients_that_leave_are_not_waited_for() {
    in_both_modes(|mode| {
        let gate = Gate::default();
        let of_source = gate.clone();
        let live = Site::new(mode)
            .with(|server| server.pages(source(of_source)))
            .serve();
        for _ in 0..3 {
            let leaving: Vec<Client> = (0..AT_ONCE / 4).map(|_| ask(&live, "/slow")).collect();
            gate.wait_for(1);
            leaving.into_iter().for_each(Client::reset);
        }
        gate.open();
        assert_eq!(get(&live, "/slow").1, "slow");
        crate::patience::eventually("all connections end", || live.stats().connections == 0);
    });
}

#[test]
fn a_stuck_source_does_not_keep_the_server_from_ending() {
    in_both_modes(|mode| {
        let gate = Gate::default();
        let of_source = gate.clone();
        let mut live = Site::new(mode)
            .config(|config| config.timeouts.drain = Some(Duration::from_millis(300)))
            .with(|server| server.pages(source(of_source)))
            .serve();
        let _waiting = ask(&live, "/slow");
        gate.wait_for(1);
        let took = live.join();
        assert!(took < Duration::from_secs(3), "{took:?}");
        gate.open();
    });
}

/// There are file systems that say so.
#[test]
fn a_page_may_be_from_any_year() {
    let far = Duration::from_secs(1 << 40);
    let live = Site::new(Mode::Inline)
        .with(move |server| {
            let page = |modified| Page::html("old").modified(modified);
            server
                .page("/future", page(UNIX_EPOCH + far))
                .page("/past", page(UNIX_EPOCH - far))
        })
        .serve();
    for target in ["/future", "/past"] {
        let (response, body) = get(&live, target);
        assert_eq!((response.status, &*body), (200, "old"), "{target}");
        let modified = response.header("Last-Modified");
        match target {
            // Of the moment, which the date is a moment after.
            "/future" => assert!(modified.is_some() && modified <= response.header("Date")),
            _ => assert_eq!(modified, Some("Thu, 01 Jan 1970 00:00:00 GMT")),
        }
    }
}
