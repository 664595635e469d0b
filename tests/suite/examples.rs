//! The examples, started and used as their first lines say.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Instant;

use crate::client::{Client, binary, request, text};

/// The folder with the examples, which `cargo test --test suite` alone does not build.
fn folder() -> PathBuf {
    static BUILT: Once = Once::new();
    let executable = std::env::current_exe().expect("the name of this executable");
    let profile = executable.ancestors().nth(2).expect("target/PROFILE/deps");
    let target = profile.parent().expect("target");
    BUILT.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--package", "sockeye", "--examples"])
            .arg("--target-dir")
            .arg(target)
            .stdin(Stdio::null());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("start cargo").success());
    });
    profile.join("examples")
}

struct Example {
    child: Child,
    address: SocketAddr,
}

impl Example {
    /// Starts an example on a free port, and waits until it listens.
    fn start(name: &str) -> Self {
        let folder = folder();
        let mut child = Command::new(folder.join(name))
            .arg("127.0.0.1:0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the example");
        let stdout = child.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let url = line.trim_end().strip_prefix("listening on ");
        let address = url.and_then(|url| url.split('/').nth(2)?.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{name}: {line:?}"));
        Self { child, address }
    }

    #[track_caller]
    fn open(&self, path: &str) -> Client {
        Client::open(self.address, path)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn echo() {
    let example = Example::start("echo");
    let mut client = example.open("/echo");
    client.echo("hello");
    client.send(&binary(&[0, 255]));
    client.expect_binary(&[0, 255]);
    client.finish();
}

#[test]
fn chat() {
    let example = Example::start("chat");
    let mut ann = example.open("/rooms/lobby");
    let mut eve = example.open("/rooms/attic");
    for at in 0..25 {
        ann.send(&text(&at.to_string()));
        ann.expect_text(&at.to_string());
    }
    // A room remembers twenty.
    let mut ben = example.open("/rooms/lobby");
    for at in 5..25 {
        ben.expect_text(&at.to_string());
    }
    ben.send(&text("<b>hello</b>"));
    for guest in [&mut ann, &mut ben] {
        guest.expect_text("<b>hello</b>");
    }
    eve.send(&text("alone"));
    eve.expect_text("alone");
    ben.send(&binary(b"?"));
    ben.expect_close(1003);
    ann.finish();

    let mut long = Client::connect(example.address);
    long.send(request(&format!("/rooms/{}", "x".repeat(41))).as_bytes());
    assert_eq!(long.response().status, 400);
    let mut page = Client::connect(example.address);
    page.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = page.response();
    assert_eq!(response.status, 200);
    let kind = response.header("Content-Type");
    assert_eq!(kind, Some("text/html; charset=utf-8"));
    let body = String::from_utf8(page.rest()).expect("UTF-8");
    assert!(body.contains("/rooms/lobby"), "{body}");
}

#[test]
fn push() {
    let mut example = Example::start("push");
    let mut listeners = [(); 3].map(|()| example.open("/news"));
    // Each is subscribed once it is answered.
    for listener in &mut listeners {
        listener.send(&text("soon"));
        listener.expect_text("send a number of seconds, at most 3600");
    }
    let stdin = example.child.stdin.as_mut().expect("a pipe");
    stdin.write_all(b"it rains\nit pours\n").expect("write");
    for listener in &mut listeners {
        listener.expect_text("it rains");
        listener.expect_text("it pours");
    }
    let [mut first, second, third] = listeners;
    let start = Instant::now();
    first.send(&text("1"));
    first.expect_text("it is time");
    assert!(start.elapsed().as_millis() >= 990);
    // Nobody else is reminded.
    second.finish();
    third.finish();
}
