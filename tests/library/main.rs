//! The library used as its users use it: handlers on real threads, peers on real sockets. Every
//! test runs with handlers on the reactors and with two workers, unless it is about one of them.
//!
//! Every server here counts its handlers (see [`site`]): whatever a test is about, it fails too
//! if a handler is not made, run and dropped on one thread, or if `on_close` does not come
//! exactly once for every `on_open`.

mod accepting;
mod addresses;
#[allow(dead_code, reason = "the suite uses the rest of it")]
#[path = "../suite/client.rs"]
mod client;
mod crowd;
mod gate;
mod handles;
mod lifecycle;
mod logger;
mod neighbours;
mod order;
mod pages;
mod panics;
#[path = "../suite/patience.rs"]
mod patience;
mod placement;
mod pressure;
mod process;
mod site;
mod slow;
mod soak;
mod stream;
mod topics;
