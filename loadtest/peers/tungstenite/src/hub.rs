//! Each message goes to everyone else, through a channel of tokio's.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{FutureExt, SinkExt, StreamExt, future};
use tokio::net::TcpStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::Mode;

/// Messages that a connection may be behind; those before them it loses.
const CAPACITY: usize = 1 << 16;

/// The one topic there is.
#[derive(Debug)]
pub(crate) struct Hub {
    sender: Sender<(u64, Message)>,
    /// Connections there have been: the next one's number.
    connections: AtomicU64,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            sender: channel(CAPACITY).0,
            connections: AtomicU64::new(0),
        }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(
        &self,
        socket: WebSocketStream<TcpStream>,
        mode: Mode,
    ) -> Result<(), Error> {
        let id = self.connections.fetch_add(1, Ordering::Relaxed);
        let mut messages = self.sender.subscribe();
        let (mut sink, mut stream) = socket.split();
        let publish = pin!(async {
            while let Some(message) = stream.next().await {
                let message = message?;
                if message.is_text() || message.is_binary() {
                    // This connection itself listens.
                    let _ = self.sender.send((id, message));
                }
            }
            Ok(())
        });
        let forward = pin!(async {
            while let Some(message) = next(&mut messages, id).await {
                match mode {
                    Mode::Idiomatic => sink.send(message).await?,
                    Mode::Batched => {
                        sink.feed(message).await?;
                        while let Some(Some(more)) = next(&mut messages, id).now_or_never() {
                            sink.feed(more).await?;
                        }
                        sink.flush().await?;
                    }
                }
            }
            Ok(())
        });
        future::select(publish, forward).await.factor_first().0
    }
}

/// The next message of another connection.
async fn next(messages: &mut Receiver<(u64, Message)>, id: u64) -> Option<Message> {
    loop {
        match messages.recv().await {
            Ok((from, message)) if from != id => return Some(message),
            Ok(_) => {}
            // The client finds out: it counts what it gets.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}
