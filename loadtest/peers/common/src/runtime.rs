//! The accept loop of the servers on tokio.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use crate::{Options, announce, listen};

/// How long to wait when a connection cannot be accepted, most likely for lack of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// Runs `connection` on each accepted socket, in a task of its own, until the process ends.
///
/// One thread runs everything; more than one share all tasks, and the main thread only waits.
pub fn serve<C, F>(options: Options, connection: C) -> io::Result<()>
where
    C: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listen(options.port, false)?;
    let addr = listener.local_addr()?;
    let runtime = runtime(options.threads.get())?;
    let accepting = async move {
        let listener = TcpListener::from_std(listener)?;
        announce(addr)?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(connection(stream))),
                Err(error) => {
                    eprintln!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    runtime.block_on(async {
        // As a task, so that it is one of the given number of threads that accepts.
        tokio::spawn(accepting).await.map_err(io::Error::other)?
    })
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = if threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.worker_threads(threads).enable_all().build()
}
