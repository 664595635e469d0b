//! An echo server on tokio-websockets, after its example `echo_server.rs`.

use std::io;

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use peers_common::{MAX_MESSAGE, Options, runtime};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio_websockets::{Config, Error, Limits, ServerBuilder};

/// An echo server on tokio-websockets
#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
}

fn main() -> io::Result<()> {
    let flags = Flags::parse();
    runtime::serve(flags.options, |stream| {
        unconstrained(async move {
            // A connection that fails ends; the others go on.
            drop(serve(stream).await);
        })
    })
}

async fn serve(stream: TcpStream) -> Result<(), Error> {
    let (_request, mut socket) = ServerBuilder::new()
        // Answers leave as one frame, however long.
        .config(Config::default().frame_size(usize::MAX))
        .limits(Limits::default().max_payload_len(Some(MAX_MESSAGE)))
        .accept(stream)
        .await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
