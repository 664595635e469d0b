//! A server on tokio-tungstenite: it echoes on every path but `/broadcast`, where each message goes to
//! everyone else.

mod hub;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use futures_util::{FutureExt, SinkExt, StreamExt};
use hub::Hub;
use peers_common::{MAX_MESSAGE, Options, runtime};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// An echo server on tokio-tungstenite
#[derive(Clone, Copy, Debug, Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
    /// When answers are written
    #[arg(long, value_enum, default_value_t = Mode::Idiomatic)]
    mode: Mode,
    /// Bytes of each connection's read buffer instead of the library's default, 128 KiB
    #[arg(long, value_name = "BYTES")]
    read_buffer: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Each message is sent and flushed before the next is read
    Idiomatic,
    /// Every message that is there is answered before one flush
    Batched,
}

fn main() -> io::Result<()> {
    let flags = Flags::parse();
    let hub = Arc::new(Hub::new());
    runtime::serve(flags.options, move |stream| {
        let hub = hub.clone();
        async move {
            // A connection that fails ends; the others go on.
            drop(serve(stream, flags, &hub).await);
        }
    })
}

async fn serve(stream: TcpStream, flags: Flags, hub: &Hub) -> Result<(), Error> {
    let mut config = WebSocketConfig::default()
        .max_frame_size(Some(MAX_MESSAGE))
        .max_message_size(Some(MAX_MESSAGE));
    if let Some(bytes) = flags.read_buffer {
        config = config.read_buffer_size(bytes.get());
    }
    let mut subscribes = false;
    #[expect(clippy::result_large_err, reason = "the library's type")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        subscribes = request.uri().path() == "/broadcast";
        Ok(response)
    };
    let socket = accept_hdr_async_with_config(stream, look, Some(config)).await?;
    if subscribes {
        return hub.serve(socket, flags.mode).await;
    }
    match flags.mode {
        Mode::Idiomatic => one_by_one(socket).await,
        Mode::Batched => batched(socket).await,
    }
}

async fn one_by_one(mut socket: WebSocketStream<TcpStream>) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn batched(mut socket: WebSocketStream<TcpStream>) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let mut next = Some(Some(message));
        while let Some(Some(message)) = next {
            let message = message?;
            if message.is_text() || message.is_binary() {
                socket.feed(message).await?;
            }
            next = socket.next().now_or_never();
        }
        socket.flush().await?;
    }
    Ok(())
}
