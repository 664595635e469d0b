//! The whole server over loopback: the opening handshake, and echoes of several sizes through one
//! reactor and one blocking client.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sockeye::protocol::handshake::encode_key;
use sockeye::protocol::{ClientHandshake, Opcode, encode_frame, find_head_end, verify_response};
use sockeye::{Config, Handler, Message, Peer, Running, Server};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const NONCE: [u8; 16] = *b"the sample nonce";

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        peer.send(message);
    }
}

/// A server with one reactor; dropping it stops it.
fn serve() -> (Running, SocketAddr) {
    let mut config = Config::default();
    config.listen = vec!["127.0.0.1:0".into()];
    config.reactors = 1;
    config.workers = Some(0);
    let server = Server::with_config(config)
        .expect("a free port")
        .route("/echo", |_request| Echo);
    let addr = server.local_addrs()[0];
    (server.spawn().expect("a thread"), addr)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let key = encode_key(NONCE);
    let mut request = Vec::new();
    ClientHandshake {
        host: "localhost",
        target: "/echo",
        key,
        subprotocols: &[],
        origin: None,
        extra_headers: &[],
    }
    .encode(&mut request);
    stream.write_all(&request).expect("a connection");
    let mut head = [0; 1024];
    let mut length = 0;
    while find_head_end(&head[..length], 0).is_none() {
        let count = stream.read(&mut head[length..]).expect("a response");
        assert!(count > 0, "the server closed the connection");
        length += count;
    }
    verify_response(&head[..length], &key, &[]).expect("an accepted handshake");
    stream
}

/// Messages as the client sends them, and room for their echoes.
struct Exchange {
    sent: Vec<u8>,
    echoed: Vec<u8>,
    expected: Vec<u8>,
}

impl Exchange {
    fn new(size: usize, count: usize) -> Self {
        let payload: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..count {
            encode_frame(&mut sent, Opcode::Text, Some(KEY), &payload);
            encode_frame(&mut expected, Opcode::Text, None, &payload);
        }
        let echoed = vec![0; expected.len()];
        Self {
            sent,
            echoed,
            expected,
        }
    }

    /// Sends all messages in one write, then waits for all echoes.
    fn run(&mut self, stream: &mut TcpStream) {
        stream.write_all(&self.sent).expect("a connection");
        stream.read_exact(&mut self.echoed).expect("the echoes");
        black_box(&self.echoed);
    }
}

fn echo(c: &mut Criterion) {
    let (server, addr) = serve();
    let mut stream = connect(addr);
    let mut group = c.benchmark_group("echo");
    for (name, size, count) in [
        ("32B", 32, 1),
        ("125B", 125, 1),
        ("16 x 125B", 125, 16),
        ("16KiB", 16 << 10, 1),
        ("1MiB", 1 << 20, 1),
    ] {
        let mut exchange = Exchange::new(size, count);
        exchange.run(&mut stream);
        assert!(exchange.echoed == exchange.expected, "echoes of {name}");
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| b.iter(|| exchange.run(&mut stream)));
    }
    group.finish();
    drop(stream);
    drop(server);
}

/// Connecting, the opening handshake, and the end of the connection by the client.
fn handshake(c: &mut Criterion) {
    let (server, addr) = serve();
    c.bench_function("opening handshake", |b| {
        b.iter(|| {
            let stream = connect(addr);
            // A reset leaves no port in TIME-WAIT, of which there would soon be too many.
            reset(stream);
        });
    });
    drop(server);
}

fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    let immediately = Some(std::time::Duration::ZERO);
    socket.set_linger(immediately).expect("a TCP socket");
}

criterion_group!(benches, echo, handshake);
criterion_main!(benches);
