//! Pages: plain GET and HEAD on the port of the WebSockets, built in or from a folder.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::client::{Client, Response, request};
use crate::server::{Launch, Server};

/// A folder that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("sockeye-pages-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).expect("a folder");
        fs::write(path, bytes).expect("a file");
        self
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn serve(&self) -> Server {
        Server::start(&["--pages", self.0.to_str().expect("a name in UTF-8")])
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks with these header lines, each ended by CRLF; the head of the answer and its body, which
/// must be as long as it says.
#[track_caller]
fn ask(server: &Server, method: &str, target: &str, lines: &str) -> (Response, Vec<u8>) {
    let mut client = server.connect();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    client.send(head.as_bytes());
    let response = client.response();
    let body = client.rest();
    assert_eq!(response.header("Connection"), Some("close"), "{target}");
    match response.header("Content-Length") {
        Some(length) if method != "HEAD" => {
            assert_eq!(length, body.len().to_string(), "{target}: {response:?}");
        }
        Some(_) => assert!(body.is_empty(), "{method} {target}: no body"),
        None => assert!(response.status == 304 && body.is_empty(), "{response:?}"),
    }
    (response, body)
}

#[track_caller]
fn get(server: &Server, target: &str) -> (Response, Vec<u8>) {
    ask(server, "GET", target, "")
}

#[track_caller]
fn status(server: &Server, target: &str) -> u16 {
    get(server, target).0.status
}

#[test]
fn built_in_pages_come_with_what_they_name() {
    let server = Server::start(&[]);
    for page in [
        "/",
        "/echo.html",
        "/questions.html",
        "/chat.html",
        "/canvas.html",
        "/ticker.html",
    ] {
        let (response, body) = get(&server, page);
        assert_eq!(response.status, 200, "{page}");
        assert_eq!(
            response.header("Content-Type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
        assert!(response.header("Referrer-Policy").is_some(), "{page}");
        let policy = response
            .header("Content-Security-Policy")
            .unwrap_or_default();
        assert!(policy.contains("default-src 'none'"), "{page}: {policy}");
        assert!(!policy.contains("unsafe"), "{page}: {policy}");
        let html = String::from_utf8(body).expect("HTML in UTF-8");
        let named = html.split(['"', '\'']).filter(|part| part.starts_with('/'));
        let mut count = 0;
        for named in named {
            assert_eq!(status(&server, named), 200, "{named}, which {page} names");
            count += 1;
        }
        assert!(count > 8, "{page} names {count} others");
        assert!(
            !html.contains("<style") && !html.contains(" style="),
            "{page}"
        );
        assert!(
            !html.contains(" onclick=") && !html.contains("<script>"),
            "{page}"
        );
    }
}

#[test]
fn a_script_imports_only_what_there_is() {
    let server = Server::start(&[]);
    for script in [
        "echo",
        "questions",
        "chat",
        "canvas",
        "ticker",
        "index",
        "panel",
    ] {
        let (response, body) = get(&server, &format!("/{script}.js"));
        assert_eq!(
            response.header("Content-Type"),
            Some("text/javascript; charset=utf-8")
        );
        let text = String::from_utf8(body).expect("a script in UTF-8");
        for line in text.lines().filter(|line| line.starts_with("import ")) {
            let name = line.split('"').nth(1).expect("a module's name");
            assert_eq!(
                status(&server, &name[1..]),
                200,
                "{name}, which {script} imports"
            );
        }
    }
}

#[test]
fn a_client_that_has_the_page_is_told_so() {
    let folder = Scratch::new("conditions");
    folder.write("index.html", "hello");
    for server in [Server::start(&[]), folder.serve()] {
        let (response, _) = get(&server, "/");
        assert_eq!(response.header("Cache-Control"), Some("no-cache"));
        let tag = response.header("ETag").expect("a tag").to_owned();
        for (lines, expected) in [
            (format!("If-None-Match: {tag}\r\n"), 304),
            (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
            ("If-None-Match: *\r\n".to_owned(), 304),
            ("If-None-Match: \"x\"\r\n".to_owned(), 200),
            ("If-Modified-Since: yesterday\r\n".to_owned(), 200),
            (
                "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n".to_owned(),
                200,
            ),
        ] {
            for method in ["GET", "HEAD"] {
                let (response, body) = ask(&server, method, "/", &lines);
                assert_eq!(response.status, expected, "{method} with {lines}");
                assert_eq!(response.header("ETag"), Some(&*tag));
                assert_eq!(body.is_empty(), expected == 304 || method == "HEAD");
            }
        }
    }
}

#[test]
fn a_file_has_a_date_and_a_new_tag_when_it_changes() {
    let folder = Scratch::new("dates");
    folder.write("a.txt", "one");
    let server = folder.serve();
    let (first, body) = get(&server, "/a.txt");
    assert_eq!(body, b"one");
    let date = first.header("Last-Modified").expect("a date");
    let since = format!("If-Modified-Since: {date}\r\n");
    assert_eq!(ask(&server, "GET", "/a.txt", &since).0.status, 304);
    // A tag is worth more than a date.
    let both = format!("{since}If-None-Match: \"x\"\r\n");
    assert_eq!(ask(&server, "GET", "/a.txt", &both).0.status, 200);
    folder.write("a.txt", "two");
    let (second, body) = get(&server, "/a.txt");
    assert_eq!(body, b"two");
    assert_ne!(first.header("ETag"), second.header("ETag"));
}

#[test]
fn files_have_their_types() {
    let folder = Scratch::new("types");
    let types = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.json", "application/json"),
        ("a.wasm", "application/wasm"),
        ("noname", "application/octet-stream"),
    ];
    for (name, _) in types {
        folder.write(name, "x");
    }
    folder.write("empty.txt", "").write("a b/ä.txt", "spaced");
    let server = folder.serve();
    for (name, expected) in types {
        let (response, body) = get(&server, &format!("/{name}"));
        assert_eq!(response.header("Content-Type"), Some(expected), "{name}");
        assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(body, b"x");
    }
    assert_eq!(get(&server, "/empty.txt").1, b"");
    assert_eq!(get(&server, "/a%20b/%C3%A4.txt").1, b"spaced");
    let (head, _) = ask(&server, "HEAD", "/a%20b/%C3%A4.txt", "");
    assert_eq!(head.header("Content-Length"), Some("6"));
}

#[test]
fn a_folder_is_its_index() {
    let folder = Scratch::new("index");
    folder
        .write("index.html", "top")
        .write("docs/index.html", "docs")
        .write("bare/file.txt", "file");
    let server = folder.serve();
    assert_eq!(get(&server, "/").1, b"top");
    assert_eq!(get(&server, "/docs/").1, b"docs");
    assert_eq!(get(&server, "/docs/?a=1").1, b"docs");
    assert_eq!(status(&server, "/bare/"), 404);
    assert_eq!(status(&server, "/docs/index.html/"), 404);
    for (target, location) in [("/docs", "/docs/"), ("/docs?a=1&b", "/docs/?a=1&b")] {
        let (response, _) = get(&server, target);
        assert_eq!(response.status, 308, "{target}");
        assert_eq!(response.header("Location"), Some(location));
    }
    // Nothing that a browser would take for another host.
    for target in ["//docs", "/\\docs", "//localhost/docs", "/docs//"] {
        assert_eq!(status(&server, target), 404, "{target}");
    }
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let outside = Scratch::new("outside");
    outside
        .write("secret.txt", "secret")
        .write("sub/secret.txt", "secret");
    let folder = Scratch::new("inside");
    folder
        .write("index.html", "index")
        .write("real/page.html", "page")
        .write(".hidden", "hidden")
        .write(".git/config", "hidden");
    let link = |target: &Path, name: &str| symlink(target, folder.path().join(name)).unwrap();
    link(&outside.path().join("secret.txt"), "absolute.txt");
    let up = Path::new("..").join(outside.path().file_name().unwrap());
    link(&up.join("secret.txt"), "relative.txt");
    link(outside.path(), "folder");
    link(
        Path::new("real/../../../../../../../../etc/passwd"),
        "passwd",
    );
    link(Path::new("/proc/self/environ"), "environ");
    link(Path::new("/proc/self/root/etc/passwd"), "magic");
    link(Path::new("round"), "round");
    link(Path::new("real/page.html"), "inner.html");
    link(Path::new("real"), "inner");
    let server = folder.serve();
    for target in [
        "/absolute.txt",
        "/relative.txt",
        "/folder",
        "/folder/",
        "/folder/secret.txt",
        "/folder/sub/secret.txt",
        "/passwd",
        "/environ",
        "/magic",
        "/round",
        "/.hidden",
        "/.git/config",
        "/.git",
        "/.git/",
        "/..",
        "/../",
        "/../index.html",
        "/real/../.hidden",
        "/%2e%2e/",
        "/%2e%2e%2f",
        "/..%2f..%2fetc/passwd",
        "/..%5c..%5cetc",
        "/real/%2e%2e/index.html",
        "/index.html%00",
        "/index.html%00.png",
        "/%",
        "/%zz",
        "/index.html/",
        "/real/page.html/x",
        "/..;/",
        "/./index.html",
        "/%2e/index.html",
        "/etc/passwd",
        "//etc/passwd",
    ] {
        let (response, body) = get(&server, target);
        assert_eq!(response.status, 404, "{target}");
        assert_eq!(body, b"Not Found\n", "{target}");
    }
    let outside_name = outside.path().file_name().unwrap().to_str().unwrap();
    for prefix in ["/..", "/real/../..", "/%2e%2e", "/.%2E"] {
        let target = format!("{prefix}/{outside_name}/secret.txt");
        assert_eq!(status(&server, &target), 404, "{target}");
    }
    // A link that stays inside is a file like any other.
    assert_eq!(get(&server, "/inner.html").1, b"page");
    assert_eq!(get(&server, "/inner/page.html").1, b"page");
}

#[test]
fn what_is_no_regular_file_is_not_served() {
    let folder = Scratch::new("special");
    folder.write("index.html", "index");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let server = folder.serve();
    for target in ["/pipe", "/socket"] {
        assert_eq!(status(&server, target), 404, "{target}");
    }
    assert_eq!(get(&server, "/").1, b"index");
}

#[test]
fn endpoints_and_upgrades_never_get_a_file() {
    let folder = Scratch::new("endpoints");
    folder
        .write("echo", "a file")
        .write("page.html", "a page")
        .write("index.html", "index");
    let server = folder.serve();
    let (response, _) = get(&server, "/echo");
    assert_eq!(response.status, 426);
    assert_eq!(response.header("Upgrade"), Some("websocket"));
    for target in ["/page.html", "/index.html", "/"] {
        let mut client = server.connect();
        client.send(request(target).as_bytes());
        assert_eq!(client.response().status, 404, "an upgrade to {target}");
    }
    let (response, _) = ask(&server, "POST", "/page.html", "");
    assert_eq!(response.status, 405);
    assert_eq!(response.header("Allow"), Some("GET, HEAD"));
    // The folder stands instead of the pages that are built in.
    assert_eq!(status(&server, "/echo.html"), 404);
    server.open("/echo").echo("still here");
}

/// A large file leaves in parts: whoever takes it slowly does not make the server hold it.
#[test]
fn a_large_file_is_not_held_in_memory() {
    const SIZE: usize = 96 << 20;
    let folder = Scratch::new("large");
    let pattern: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    let mut file = File::create(folder.path().join("large.bin")).unwrap();
    for _ in 0..SIZE / pattern.len() {
        file.write_all(&pattern).unwrap();
    }
    let server = folder.serve();
    let before = server.resident();
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    // They wait; nobody else does.
    thread::sleep(Duration::from_millis(200));
    server.open("/echo").echo("quick");
    let held = server.resident().saturating_sub(before);
    assert!(held < 16 << 20, "{held} bytes held for four readers");
    for client in &mut clients {
        let body = client.rest();
        assert_eq!(body.len(), SIZE);
        assert!(body.chunks(pattern.len()).all(|part| part == pattern));
    }
}

#[test]
fn a_file_that_shrinks_breaks_its_transfer_off() {
    const SIZE: u64 = 64 << 20;
    let folder = Scratch::new("shrinks");
    let path = folder.path().join("large.bin");
    File::create(&path).unwrap().set_len(SIZE).unwrap();
    let server = folder.serve();
    let mut client = server.connect();
    client.send(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.response();
    assert_eq!(response.header("Content-Length"), Some(&*SIZE.to_string()));
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(10)
        .unwrap();
    let mut received = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(count @ 1..) = client.stream().read(&mut buffer) {
        received += count as u64;
    }
    assert!(received < SIZE, "{received} of {SIZE} bytes came");
    assert_eq!(status(&server, "/large.bin"), 200);
}

/// A file is open only while it is read: not as long as a client takes to receive it.
#[test]
fn readers_that_are_slow_hold_no_file() {
    const SIZE: usize = 32 << 20;
    let folder = Scratch::new("slow");
    let file = File::create(folder.path().join("large.bin")).unwrap();
    file.set_len(SIZE as u64).unwrap();
    let server = folder.serve();
    assert_eq!(status(&server, "/large.bin"), 200);
    let before = server.settled_descriptors();
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    let settled = server.settled_descriptors();
    assert_eq!(settled, before + clients.len(), "one socket for each");
    for client in &mut clients {
        assert_eq!(client.rest().len(), SIZE);
    }
}

/// What comes is one file's or breaks off, and a file that grows is sent as it was.
#[test]
fn a_file_that_changes_on_its_way() {
    const SIZE: usize = 32 << 20;
    let folder = Scratch::new("changes");
    let path = folder.path().join("large.bin");
    fs::write(&path, vec![b'a'; SIZE]).unwrap();
    let server = folder.serve();
    let ask = || {
        let mut client = server.connect();
        client.send(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(
            client.response().header("Content-Length"),
            Some(&*SIZE.to_string())
        );
        client
    };
    let mut client = ask();
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b"more").unwrap();
    assert_eq!(client.rest().len(), SIZE);
    fs::write(&path, vec![b'a'; SIZE]).unwrap();
    // Written over in its place.
    let mut client = ask();
    fs::write(&path, vec![b'b'; SIZE]).unwrap();
    let received = client.rest();
    assert!(received.len() < SIZE, "{} bytes came", received.len());
    fs::write(&path, vec![b'a'; SIZE]).unwrap();
    let mut client = ask();
    folder.write("other.bin", vec![b'b'; SIZE]);
    fs::rename(folder.path().join("other.bin"), &path).unwrap();
    let received = client.rest();
    assert!(received.len() < SIZE, "{} bytes came", received.len());
    assert!(received.iter().all(|&byte| byte == b'a'));
    assert_eq!(get(&server, "/large.bin").1[0], b'b');
}

#[test]
fn many_at_once_all_get_their_page() {
    let folder = Scratch::new("many");
    let body = "x".repeat(300_000);
    folder.write("page.html", &body);
    let server = folder.serve();
    let address = server.address();
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let mut client = Client::connect(address);
                    client.send(b"GET /page.html HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    assert_eq!(client.response().status, 200);
                    assert_eq!(client.rest(), body.as_bytes());
                }
            });
        }
    });
}

#[test]
fn a_folder_that_is_not_there_is_refused() {
    let folder = Scratch::new("refused");
    folder.write("file", "x");
    for name in ["missing", "file"] {
        let path = folder.path().join(name);
        let arguments = ["--listen", "127.0.0.1:0", "--pages", path.to_str().unwrap()];
        Launch::bare(&arguments)
            .run()
            .refused(&[path.to_str().unwrap()]);
    }
}
