//! The way of a message through a server that has warmed up allocates nothing, on any thread; the
//! way of a publication only what its one frame takes, however many subscribers it has.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sockeye::{Config, Handler, Message, Peer, Server, Since};

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 1000;
/// Rounds with more under way than later, so that everything that is kept has grown.
const WARM_UP: usize = 50;
/// What is kept grows to the largest turn there was, and the scheduler may save that up. It
/// cannot for ever.
const ATTEMPTS: usize = 5;

/// Counts the allocations of every thread, by its number in the kernel.
struct Counting;

const THREADS: usize = 64;
static OWNERS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
static COUNTS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
static NEXT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static ROW: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn count() {
    let row = ROW.with(|row| {
        if row.get() == usize::MAX {
            row.set(NEXT.fetch_add(1, Relaxed) as usize % THREADS);
            let thread = rustix::thread::gettid().as_raw_pid() as u64;
            OWNERS[row.get()].store(thread, Relaxed);
        }
        row.get()
    });
    COUNTS[row].fetch_add(1, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The server's threads: name and allocations so far.
fn counts() -> Vec<(String, u64)> {
    let mut counts = Vec::new();
    for (owner, count) in OWNERS.iter().zip(&COUNTS) {
        let path = format!("/proc/self/task/{}/comm", owner.load(Relaxed));
        let name = fs::read_to_string(path).unwrap_or_default();
        if name.starts_with("reactor-") || name.starts_with("worker-") {
            counts.push((name.trim().to_owned(), count.load(Relaxed)));
        }
    }
    counts
}

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        peer.send(message);
    }
}

fn open(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_nodelay(true).expect("set TCP_NODELAY");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("send");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a response");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

/// Sends `deep` messages of 125 bytes on every connection, and reads the echoes.
fn round(streams: &mut [TcpStream], deep: usize, buffer: &mut [u8]) {
    let payload = [0x55; 125];
    // The masking key is zero.
    let frame = [&[0x82, 0x80 | 125, 0, 0, 0, 0][..], &payload].concat();
    let echo = [&[0x82, 125][..], &payload].concat();
    let frames = frame.repeat(deep);
    for stream in &mut *streams {
        stream.write_all(&frames).expect("send");
    }
    for stream in &mut *streams {
        let echoes = &mut buffer[..echo.len() * deep];
        stream.read_exact(echoes).expect("echoes");
        assert!(echoes.chunks(echo.len()).all(|it| it == echo));
    }
}

fn settles(workers: usize, deep: usize) {
    let mut config = Config::default();
    config.listen = vec!["127.0.0.1:0".into()];
    config.reactors = 2;
    config.workers = Some(workers);
    let server = Server::with_config(config).expect("the server binds");
    let running = server.route("/", |_| Echo).spawn().expect("it starts");
    let address = running.local_addrs()[0];
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS).map(|_| open(address, "/")).collect();
    let mut buffer = vec![0; 64 << 10];
    (0..WARM_UP).for_each(|_| round(&mut streams, 8 * deep, &mut buffer));
    for attempt in 1..=ATTEMPTS {
        let before = counts();
        assert_eq!(
            before.len(),
            2 + workers,
            "every thread is known: {before:?}"
        );
        (0..ROUNDS).for_each(|_| round(&mut streams, deep, &mut buffer));
        let after = counts();
        if before == after {
            eprintln!("{workers} workers, {deep} under way: none in attempt {attempt}");
            return;
        }
        eprintln!("{workers} workers, {deep} under way: {before:?}, then {after:?}");
    }
    panic!("messages cost allocations with {workers} workers and {deep} under way");
}

struct Listener;

impl Handler for Listener {
    fn on_open(&mut self, peer: &mut Peer<'_>) {
        peer.subscribe("topic", Since::New).expect("a topic");
    }

    fn on_message(&mut self, peer: &mut Peer<'_>, message: Message<'_>) {
        peer.publish("topic", message).expect("not too much");
    }
}

/// Has the first connection publish `deep` messages of 125 bytes, and reads them on all.
fn publish(streams: &mut [TcpStream], deep: usize, buffer: &mut [u8]) {
    let payload = [0x55; 125];
    let frame = [&[0x82, 0x80 | 125, 0, 0, 0, 0][..], &payload].concat();
    let sent = [&[0x82, 125][..], &payload].concat();
    streams[0].write_all(&frame.repeat(deep)).expect("send");
    for stream in streams {
        let messages = &mut buffer[..sent.len() * deep];
        stream.read_exact(messages).expect("publications");
        assert!(messages.chunks(sent.len()).all(|it| it == sent));
    }
}

/// Allocations for each publication: the frame, and what counts its holders.
const EACH: u64 = 2;

fn fans_out(workers: usize, deep: usize) {
    let mut config = Config::default();
    config.listen = vec!["127.0.0.1:0".into()];
    config.reactors = 2;
    config.workers = Some(workers);
    let server = Server::with_config(config).expect("the server binds");
    let running = server.route("/topic", |_| Listener).spawn();
    let running = running.expect("it starts");
    let address = running.local_addrs()[0];
    let streams = (0..CONNECTIONS).map(|_| open(address, "/topic"));
    let mut streams: Vec<TcpStream> = streams.collect();
    // Everybody is subscribed when the publisher's own messages come back to it, and it was last.
    streams.reverse();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut buffer = vec![0; 64 << 10];
    (0..WARM_UP).for_each(|_| publish(&mut streams, 8 * deep, &mut buffer));
    let mut least = u64::MAX;
    for attempt in 1..=ATTEMPTS {
        let total = || counts().iter().map(|(_, count)| count).sum::<u64>();
        let before = total();
        (0..ROUNDS).for_each(|_| publish(&mut streams, deep, &mut buffer));
        least = least.min(total() - before);
        let most = EACH * (ROUNDS * deep) as u64;
        if least <= most {
            eprintln!("{workers} workers, {deep} at once: {least} in attempt {attempt}");
            return;
        }
    }
    panic!("{least} allocations with {workers} workers and {deep} at once");
}

/// One test, so that no other allocates meanwhile.
#[test]
fn messages_cost_no_allocation() {
    for workers in [0, 2] {
        for deep in [1, 16] {
            fans_out(workers, deep);
        }
    }
    for workers in [0, 2] {
        for deep in [1, 16] {
            settles(workers, deep);
        }
    }
}
