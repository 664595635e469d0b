//! The program itself: flags, environment, exit codes, output.

use std::net::{SocketAddr, TcpListener};

use rustix::process::Signal;

use crate::client::{Client, binary, text};
use crate::server::{Launch, Server, eventually, has_ipv6, need_descriptors};

const FLAGS: [&str; 20] = [
    "--listen",
    "--reactors",
    "--workers",
    "--max-message",
    "--max-connections",
    "--max-headers",
    "--handshake-timeout",
    "--idle-timeout",
    "--ping-interval",
    "--pong-timeout",
    "--close-timeout",
    "--write-timeout",
    "--drain-timeout",
    "--outbox-limit",
    "--origin",
    "--host",
    "--takeover",
    "--pin",
    "--log",
    "--pages",
];

#[test]
fn help_names_flags_units_and_defaults() {
    let help = Launch::bare(&["--help"]).run();
    assert_eq!(help.status.code(), Some(0), "exit code of --help");
    assert!(
        help.stderr.is_empty(),
        "help goes to stdout: {}",
        help.stderr
    );
    for flag in FLAGS {
        assert!(
            help.stdout.contains(flag),
            "--help names {flag}: {}",
            help.stdout
        );
        let variable = format!("SOCKEYE_{}", flag[2..].to_uppercase().replace('-', "_"));
        assert!(
            help.stdout.contains(&variable),
            "--help names {variable}: {}",
            help.stdout
        );
    }
    for word in ["localhost:9998", "bytes", "10s", "25s", "5s", "30s"] {
        let text = help.stdout.to_lowercase();
        assert!(
            text.contains(word),
            "--help states the unit or default {word}: {}",
            help.stdout
        );
    }
}

#[test]
fn version() {
    let version = Launch::bare(&["--version"]).run();
    assert_eq!(version.status.code(), Some(0), "exit code of --version");
    assert_eq!(
        version.stdout.trim(),
        concat!("sockeye ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_port_in_use() {
    let first = Server::start(&[]);
    let port = first.address().port().to_string();
    Launch::new(&["--listen", &first.address().to_string()])
        .run()
        .refused(&[&port]);

    let other = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = other.local_addr().unwrap();
    Launch::new(&["--listen", &address.to_string()])
        .run()
        .refused(&[&address.port().to_string()]);

    // One usable address does not make up for one in use.
    let both = ["--listen", "127.0.0.1:0", "--listen", &address.to_string()];
    Launch::new(&both)
        .run()
        .refused(&[&address.port().to_string()]);
    first.open("/echo").finish();
}

#[test]
fn an_address_that_is_not_here() {
    // 192.0.2.0/24 is for documentation: no interface has it, and binding sends nothing.
    Launch::new(&["--listen", "192.0.2.1:0"])
        .run()
        .refused(&["192.0.2.1"]);
}

#[test]
fn values_that_make_no_sense() {
    for flag in FLAGS {
        let values: &[&str] = match flag {
            "--listen" => &[
                "nonsense",
                "127.0.0.1",
                "127.0.0.1:",
                "127.0.0.1:99999",
                ":::",
                "",
            ],
            "--host" => &["", "a b", "http://a.test/"],
            "--origin" => &["nonsense", "", "http://", "http://a.test/path"],
            "--takeover" | "--pin" => &[],
            "--log" => &["nonsense", ""],
            _ => &["nonsense", "", "-1", "1.5.2", "99999999999999999999999999"],
        };
        for value in values {
            let assignment = format!("{flag}={value}");
            let ended = Launch::bare(&["--listen=127.0.0.1:0", &assignment]).run();
            let words = if value.is_empty() {
                vec![flag]
            } else {
                vec![flag, value]
            };
            ended.refused(&words);
        }
    }
}

#[test]
fn arguments_nobody_knows() {
    Launch::bare(&["--frobnicate"])
        .run()
        .refused(&["--frobnicate"]);
    Launch::bare(&["stray"]).run().refused(&["stray"]);
    Launch::bare(&["--listen"]).run().refused(&["--listen"]);
}

#[test]
fn values_in_the_environment_that_make_no_sense() {
    let ended = Launch::bare(&["--listen=127.0.0.1:0"])
        .env("SOCKEYE_MAX_MESSAGE", "nonsense")
        .run();
    ended.refused(&["SOCKEYE_MAX_MESSAGE"]);
}

#[test]
fn an_empty_variable_counts_as_none() {
    let server = Launch::bare(&["--listen=127.0.0.1:0"])
        .env("SOCKEYE_MAX_MESSAGE", "")
        .env("SOCKEYE_ORIGIN", "")
        .env("SOCKEYE_PIN", "")
        .serve(1);
    server.open("/echo").finish();
}

#[test]
fn a_variable_nobody_knows_is_warned_about() {
    let mut server = Launch::bare(&["--listen=127.0.0.1:0"])
        .env("SOCKEYE_MAX_MESAGE", "100")
        .env("SOCKEYE_WORKERS", "1")
        .serve(1);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "exit code");
    let log = server.log();
    assert!(log.contains("SOCKEYE_MAX_MESAGE"), "{log}");
    assert!(!log.contains("SOCKEYE_WORKERS"), "{log}");
}

#[test]
fn deadlines_are_at_most_12_days() {
    let longest = "--idle-timeout=12d";
    Launch::bare(&["--listen=127.0.0.1:0", longest]).serve(1);
    Launch::bare(&["--listen=127.0.0.1:0", "--idle-timeout=13d"])
        .run()
        .refused(&["at most 12 days"]);
}

#[test]
fn more_connections_than_descriptors_allow() {
    let arguments = ["--listen", "127.0.0.1:0", "--max-connections", "1000"];
    Launch::new(&arguments)
        .ulimit("-n 64")
        .run()
        .refused(&["1000"]);
    let enough = Launch::new(&["--listen", "127.0.0.1:0", "--max-connections", "10"]);
    enough.ulimit("-n 64").serve(1).open("/echo").finish();
}

#[test]
fn the_environment_is_honoured() {
    let server = Launch::bare(&[])
        .env("SOCKEYE_LISTEN", "127.0.0.1:0")
        .env("SOCKEYE_MAX_MESSAGE", "100")
        .env("SOCKEYE_ORIGIN", "http://example.com")
        .serve(1);
    let mut client = server.connect();
    let lines = "Origin: http://example.com\r\n";
    client.send(crate::client::request_with("/echo", lines).as_bytes());
    client.expect_upgrade();
    client.send(&binary(&[1; 100]));
    client.expect_binary(&[1; 100]);
    client.send(&binary(&[1; 101]));
    client.expect_close(1009);
    let mut client = server.connect();
    client.send(crate::client::request("/echo").as_bytes());
    assert_eq!(client.response().status, 403, "SOCKEYE_ORIGIN");
}

#[test]
fn a_flag_beats_the_environment() {
    let server = Launch::new(&["--listen", "127.0.0.1:0", "--max-message", "200"])
        .env("SOCKEYE_LISTEN", "nonsense")
        .env("SOCKEYE_MAX_MESSAGE", "100")
        .serve(1);
    let mut client = server.open("/echo");
    client.send(&binary(&[1; 200]));
    client.expect_binary(&[1; 200]);
    client.finish();
}

#[test]
fn listening_on_several_addresses() {
    let server = Launch::new(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]).serve(2);
    let [first, second] = server.addresses() else {
        panic!("two addresses")
    };
    assert_ne!(first.port(), 0, "the port that was picked is printed");
    assert_ne!(first, second);
    for address in [first, second] {
        let mut client = Client::open(*address, "/echo");
        client.echo("here");
        client.finish();
    }
}

#[test]
fn localhost_is_both_addresses() {
    let count = if has_ipv6() { 2 } else { 1 };
    let server = Launch::new(&["--listen", "localhost:0"]).serve(count);
    let mut addresses = server.addresses().to_vec();
    addresses.sort();
    let port = addresses[0].port();
    let mut expected: Vec<SocketAddr> = vec![format!("127.0.0.1:{port}").parse().unwrap()];
    if has_ipv6() {
        expected.push(format!("[::1]:{port}").parse().unwrap());
    }
    assert_eq!(addresses, expected);
    for address in addresses {
        let mut client = Client::open(address, "/echo");
        client.echo("here");
        client.finish();
    }
}

/// Whatever the log level, stdout has the `listening on` lines and nothing else.
#[test]
fn logs_go_to_stderr() {
    let mut server = Server::start(&["--log", "trace"]);
    let mut client = server.open("/echo");
    client.echo("noted");
    client.send(&[0xff; 20]);
    client.expect_close(1002);
    drop(client);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "exit code");
    assert_eq!(server.next_line(), None, "one line on stdout");
    assert!(!server.log().is_empty(), "a trace on stderr");
}

#[test]
fn takeover_shares_the_port() {
    let mut first = Server::start(&[]);
    let address = first.address();
    let listen = address.to_string();
    let second = Launch::new(&["--takeover", "--listen", &listen]).serve(1);
    assert_eq!(second.address(), address, "the same address");

    let mut old = Vec::new();
    eventually("both instances get connections", || {
        let before = second.descriptors();
        old.push(Client::open(address, "/echo"));
        second.descriptors() > before
    });
    first.signal(Signal::TERM);
    let mut served = 0;
    for client in &mut old {
        // A connection of the first instance is told to go; one of the second stays.
        if client.try_send(&text("whose?")).is_err() {
            continue;
        }
        match client.next() {
            Ok(frame) if frame.payload == b"whose?" => served += 1,
            _ => drop(client.try_send(&crate::client::close(1001, b""))),
        }
    }
    assert!(served > 0, "the second instance goes on serving");
    drop(old);
    assert_eq!(
        first.wait().code(),
        Some(0),
        "exit code of the first instance"
    );
    for _ in 0..20 {
        let mut client = Client::open(address, "/echo");
        client.echo("taken over");
        client.finish();
    }
}

#[test]
fn reactors_and_pin() {
    need_descriptors(200);
    for arguments in [
        &["--reactors", "1"][..],
        &["--reactors", "3"],
        &["--pin"],
        &["--reactors", "4", "--pin"],
    ] {
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend(arguments);
        let server = Launch::bare(&all).serve(1);
        let mut clients: Vec<Client> = (0..20).map(|_| server.open("/echo")).collect();
        for client in &mut clients {
            client.echo("on some reactor");
        }
        clients.into_iter().for_each(Client::finish);
    }
}

/// Deadlines of 0 are off: each of these would end the connection at once if 0 meant "now".
#[test]
fn zero_switches_deadlines_off() {
    let server = Launch::bare(&[
        "--listen=127.0.0.1:0",
        "--handshake-timeout=0",
        "--idle-timeout=0",
        "--ping-interval=0",
        "--pong-timeout=0",
        "--close-timeout=0",
        "--write-timeout=0",
    ])
    .serve(1);
    let mut slow = server.connect();
    slow.send(b"GET /echo ");
    let mut client = server.open("/echo");
    client.expect_silence(std::time::Duration::from_millis(300));
    client.echo("still here");
    client.finish();
    slow.expect_silence(std::time::Duration::from_millis(50));
    slow.send(&crate::client::request("/echo").as_bytes()["GET /echo ".len()..]);
    slow.expect_upgrade();
}
