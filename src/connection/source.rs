//! Where a connection comes from.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

/// An IPv4 address and port, in the room that a connection has for them until its handshake is
/// decided; nothing for any other address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    ip: Ipv4Addr,
    port: Option<NonZeroU16>,
}

impl Source {
    pub(super) fn new(remote: Option<SocketAddr>) -> Self {
        match remote {
            Some(SocketAddr::V4(remote)) => Self {
                ip: *remote.ip(),
                port: NonZeroU16::new(remote.port()),
            },
            _ => Self {
                ip: Ipv4Addr::UNSPECIFIED,
                port: None,
            },
        }
    }

    pub(super) fn addr(self) -> Option<SocketAddr> {
        let port = self.port?.get();
        Some(SocketAddr::from((self.ip, port)))
    }
}
