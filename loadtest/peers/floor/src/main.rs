//! The least that an echo server does: it waits with epoll, reads, unmasks in place, writes.
//!
//! Nothing of a message is checked. What another server takes beyond this is its overhead.
//! With `--raw-tcp` not even frames are looked at: bytes are echoed as they come, which tells what
//! this server itself takes beyond the kernel's part.

mod connection;
mod frames;
mod handshake;
mod reactor;

use std::io;
use std::process;
use std::thread;

use clap::Parser;
use peers_common::{Options, announce, listen};

use crate::reactor::Reactor;

/// A bare epoll loop: opening handshake, unmasking in place, echo, and no checks at all
#[derive(Clone, Copy, Debug, Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
    /// Echo bytes as they come, without opening handshake and frames
    #[arg(long)]
    raw_tcp: bool,
}

fn main() -> io::Result<()> {
    let flags = Flags::parse();
    let threads = flags.options.threads.get();
    let share = threads > 1;
    let first = listen(flags.options.port, share)?;
    let addr = first.local_addr()?;
    let mut main = Reactor::new(first, flags.raw_tcp)?;
    let mut others = Vec::new();
    for _ in 1..threads {
        others.push(Reactor::new(listen(addr.port(), share)?, flags.raw_tcp)?);
    }
    announce(addr)?;
    // The main thread serves as well. A loop that fails, which none should, ends the process.
    for mut reactor in others {
        thread::spawn(move || end(reactor.run()));
    }
    main.run()
}

fn end(result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("the event loop failed: {error}");
        process::exit(1);
    }
}
