//! An echo server on fastwebsockets, after its example `echo_server.rs`.

use std::io;

use clap::Parser;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use peers_common::{MAX_MESSAGE, Options, runtime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::unconstrained;

/// An echo server on fastwebsockets
#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    options: Options,
}

fn main() -> io::Result<()> {
    let flags = Flags::parse();
    runtime::serve(flags.options, |stream| async move {
        let serving = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(accept))
            .with_upgrades();
        // A connection that fails ends; the others go on.
        drop(serving.await);
    })
}

async fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade(&mut request)?;
    tokio::spawn(async move { drop(unconstrained(echo(upgraded)).await) });
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(unwrapped(upgraded).await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => break,
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
    // The client has its close frame; what it waits for now is the end of the connection.
    socket.into_inner().shutdown().await?;
    Ok(())
}

/// The WebSocket straight on the TCP stream: hyper's wrapping costs an indirect call for each
/// read and write.
async fn unwrapped(upgraded: UpgradeFut) -> Result<WebSocket<TcpStream>, WebSocketError> {
    let upgraded = upgraded.await?.into_inner().into_inner();
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| io::Error::other("the connection is not a TCP stream"))?;
    if !parts.read_buf.is_empty() {
        let early = "frames came before the answer to the opening handshake";
        return Err(io::Error::other(early).into());
    }
    let mut socket = WebSocket::after_handshake(parts.io.into_inner(), Role::Server);
    socket.set_writev(true);
    socket.set_auto_close(true);
    socket.set_auto_pong(true);
    socket.set_max_message_size(MAX_MESSAGE);
    Ok(socket)
}
