//! What is measured: the cells of the matrix and their figures.

use std::fmt;
use std::str::FromStr;

use crate::scenario::broadcast::SHORTEST_BINARY;
use serde::{Deserialize, Serialize};

/// The most connections of a cell: what one descriptor table holds, with room for the rest.
const MAX_CONNECTIONS: u64 = 19_000;
/// The largest payload of a cell: what servers take by default.
const MAX_PAYLOAD: u64 = 16 << 20;

/// The smallest payload of a broadcast, which must tell who sent it.
const SHORTEST_BROADCAST: u64 = SHORTEST_BINARY as u64;

/// One load on all servers, in one placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cell {
    /// What the connections do.
    pub load: Load,
    /// Where server and client run.
    pub placement: Placement,
}

/// What the connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Load {
    /// Every connection keeps so many messages in flight.
    Echo {
        /// How many.
        connections: u64,
        /// Bytes of a message.
        payload: u64,
        /// Messages each connection has sent and not yet got back.
        in_flight: u64,
    },
    /// Messages on a schedule, at half the rate that saturates the slowest main server.
    Rate {
        /// How many.
        connections: u64,
        /// Bytes of a message.
        payload: u64,
    },
    /// Connections that stay open and do nothing.
    Idle {
        /// How many.
        connections: u64,
        /// Whether each has echoed one message before.
        echoed: bool,
    },
    /// Connections are opened and closed.
    Handshake {
        /// How many at once.
        connections: u64,
    },
    /// One connection publishes, the next message as soon as everyone has the last; the others
    /// receive.
    Broadcast {
        /// How many receive.
        subscribers: u64,
        /// Bytes of a message.
        payload: u64,
    },
}

/// Where server and client run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Placement {
    /// The server on one core, the client on another.
    Pinned,
    /// The server with two threads (or its defaults), nothing pinned.
    TwoCores,
}

/// A figure of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Messages (or handshakes) per second.
    Throughput,
    /// CPU time of the server per message (or handshake), microseconds.
    Cpu,
    /// Median latency, microseconds.
    P50,
    /// 99th percentile of latency, microseconds.
    P99,
    /// 99.9th percentile of latency, microseconds.
    P999,
    /// User memory of the server per connection, bytes.
    Memory,
}

/// The whole matrix.
pub(crate) fn matrix() -> Vec<Cell> {
    [
        "1,32,1",
        "64,32,1",
        "512,32,1",
        "64,125,16",
        "512,125,16",
        "64,16KiB,1",
        "16,1MiB,1",
        "handshake",
        "idle",
        "echoed",
        "2core:64,32,1",
        "2core:512,32,1",
        "2core:512,125,16",
        "2core:2048,125,16",
        "2core:idle",
        "2core:echoed",
        "rate:64,32",
        "rate:512,32",
        "broadcast:1000,125",
    ]
    .map(known)
    .to_vec()
}

/// What `--quick` measures.
pub(crate) fn quick() -> Vec<Cell> {
    [
        "64,32,1",
        "512,125,16",
        "16,1MiB,1",
        "handshake",
        "idle",
        "2core:512,125,16",
        "rate:64,32",
        "broadcast:1000,125",
    ]
    .map(known)
    .to_vec()
}

fn known(text: &str) -> Cell {
    text.parse().expect("a cell of the matrix is well-formed")
}

impl Cell {
    /// The figures a sample of this cell has; the first is the cell's own, that is compared.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        use Metric::{Cpu, Memory, P50, P99, P999, Throughput};
        match (self.load, self.placement) {
            (Load::Echo { .. }, Placement::Pinned) => &[Cpu, Throughput, P50, P99, P999],
            (Load::Echo { .. }, Placement::TwoCores) => &[Throughput, Cpu, P50, P99, P999],
            (Load::Rate { .. }, _) => &[P999, P99, P50, Cpu, Throughput],
            (Load::Idle { .. }, _) => &[Memory],
            (Load::Handshake { .. }, _) => &[Cpu, Throughput],
            (Load::Broadcast { .. }, Placement::Pinned) => &[Cpu, Throughput, P50, P99],
            (Load::Broadcast { .. }, Placement::TwoCores) => &[Throughput, Cpu, P50, P99],
        }
    }

    /// The figure that servers are compared by.
    pub(crate) fn primary(self) -> Metric {
        self.metrics()[0]
    }

    /// The closed-loop cell whose throughput a rate cell's rate comes from.
    pub(crate) fn saturation(self) -> Option<Cell> {
        let Load::Rate {
            connections,
            payload,
        } = self.load
        else {
            return None;
        };
        let load = Load::Echo {
            connections,
            payload,
            in_flight: 1,
        };
        Some(Cell { load, ..self })
    }

    /// In words, for headings.
    pub(crate) fn title(self) -> String {
        let load = match self.load {
            Load::Echo {
                connections,
                payload,
                in_flight,
            } => format!(
                "{}, {}, {in_flight} in flight",
                count(connections, "connection"),
                bytes(payload)
            ),
            Load::Rate {
                connections,
                payload,
            } => format!(
                "{}, {}, open loop at half the saturation rate",
                count(connections, "connection"),
                bytes(payload)
            ),
            Load::Idle {
                connections,
                echoed: false,
            } => count(connections, "idle connection"),
            Load::Idle {
                connections,
                echoed: true,
            } => format!(
                "{}, after one echo of 125 B each",
                count(connections, "idle connection")
            ),
            Load::Handshake { connections } => format!("handshakes, {connections} at once"),
            Load::Broadcast {
                subscribers,
                payload,
            } => format!(
                "broadcast to {}, {}",
                count(subscribers, "subscriber"),
                bytes(payload)
            ),
        };
        match self.placement {
            Placement::Pinned => load,
            Placement::TwoCores => format!("{load}, two cores"),
        }
    }
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A size with the largest unit that divides it.
fn bytes(n: u64) -> String {
    match n {
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} B"),
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.placement == Placement::TwoCores {
            f.write_str("2core:")?;
        }
        let size = |n| bytes(n).replace(" B", "").replace(' ', "");
        match self.load {
            Load::Echo {
                connections,
                payload,
                in_flight,
            } => {
                write!(f, "{connections},{},{in_flight}", size(payload))
            }
            Load::Rate {
                connections,
                payload,
            } => write!(f, "rate:{connections},{}", size(payload)),
            Load::Idle {
                connections,
                echoed: false,
            } => write!(f, "idle:{connections}"),
            Load::Idle {
                connections,
                echoed: true,
            } => write!(f, "echoed:{connections}"),
            Load::Handshake { connections } => write!(f, "handshake:{connections}"),
            Load::Broadcast {
                subscribers,
                payload,
            } => write!(f, "broadcast:{subscribers},{}", size(payload)),
        }
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Cell, String> {
        let (placement, rest) = match text.strip_prefix("2core:") {
            Some(rest) => (Placement::TwoCores, rest),
            None => (Placement::Pinned, text),
        };
        let (kind, rest) = match rest.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None if rest.starts_with(|c: char| c.is_ascii_digit()) => ("echo", Some(rest)),
            None => (rest, None),
        };
        let load = match kind {
            "echo" => {
                let [connections, payload, in_flight] = fields(rest)?;
                let in_flight = number(in_flight, 1..=1024, "messages in flight")?;
                Load::Echo {
                    connections: connections_of(connections)?,
                    payload: payload_of(payload)?,
                    in_flight,
                }
            }
            "rate" => {
                let [connections, payload] = fields(rest)?;
                Load::Rate {
                    connections: connections_of(connections)?,
                    payload: payload_of(payload)?,
                }
            }
            "idle" | "echoed" => {
                let connections = rest.map_or(Ok(15_000), connections_of)?;
                Load::Idle {
                    connections,
                    echoed: kind == "echoed",
                }
            }
            "handshake" => Load::Handshake {
                connections: rest.map_or(Ok(64), connections_of)?,
            },
            "broadcast" => {
                let [subscribers, payload] = fields(rest)?;
                let payload = payload_of(payload)?;
                if payload < SHORTEST_BROADCAST {
                    return Err(format!(
                        "payload of a broadcast: at least {SHORTEST_BROADCAST} B"
                    ));
                }
                Load::Broadcast {
                    subscribers: number(subscribers, 1..=MAX_CONNECTIONS, "subscribers")?,
                    payload,
                }
            }
            _ => return Err(format!("no such kind of cell: {kind:?}")),
        };
        Ok(Cell { load, placement })
    }
}

fn fields<const N: usize>(text: Option<&str>) -> Result<[&str; N], String> {
    let fields: Vec<&str> = text.unwrap_or_default().split(',').map(str::trim).collect();
    fields
        .try_into()
        .map_err(|fields: Vec<_>| format!("{N} fields wanted, found {}", fields.len()))
}

fn connections_of(text: &str) -> Result<u64, String> {
    number(text, 1..=MAX_CONNECTIONS, "connections")
}

fn payload_of(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text {
        _ if text.ends_with("KiB") => (&text[..text.len() - 3], 1 << 10),
        _ if text.ends_with("MiB") => (&text[..text.len() - 3], 1 << 20),
        _ => (text.strip_suffix('B').unwrap_or(text), 1),
    };
    let n: u64 = number(digits.trim(), 1..=MAX_PAYLOAD, "payload bytes")?;
    let bytes = n.saturating_mul(unit);
    if bytes > MAX_PAYLOAD {
        return Err(format!("payload: at most {}", self::bytes(MAX_PAYLOAD)));
    }
    Ok(bytes)
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>, what: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(n) if range.contains(&n) => Ok(n),
        _ => Err(format!(
            "{what}: {} to {} wanted, not {text:?}",
            range.start(),
            range.end()
        )),
    }
}

impl TryFrom<String> for Cell {
    type Error = String;

    fn try_from(text: String) -> Result<Cell, String> {
        text.parse()
    }
}

impl From<Cell> for String {
    fn from(cell: Cell) -> String {
        cell.to_string()
    }
}

impl Metric {
    /// All of them, in the order of tables.
    pub(crate) const ALL: [Metric; 6] = [
        Metric::Throughput,
        Metric::Cpu,
        Metric::P50,
        Metric::P99,
        Metric::P999,
        Metric::Memory,
    ];

    /// The name in flags.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Metric::Throughput => "throughput",
            Metric::Cpu => "cpu",
            Metric::P50 => "p50",
            Metric::P99 => "p99",
            Metric::P999 => "p999",
            Metric::Memory => "memory",
        }
    }

    /// The heading of a column.
    pub(crate) fn heading(self, load: Load) -> &'static str {
        match (self, load) {
            (Metric::Throughput, Load::Handshake { .. }) => "handshakes/s",
            (Metric::Throughput, Load::Broadcast { .. }) => "deliveries/s",
            (Metric::Throughput, _) => "messages/s",
            (Metric::Cpu, Load::Handshake { .. }) => "CPU/handshake µs",
            (Metric::Cpu, Load::Broadcast { .. }) => "CPU/delivery µs",
            (Metric::Cpu, _) => "CPU/message µs",
            (Metric::P50, _) => "p50 µs",
            (Metric::P99, _) => "p99 µs",
            (Metric::P999, _) => "p99.9 µs",
            (Metric::Memory, _) => "bytes/connection",
        }
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Metric, String> {
        Metric::ALL
            .into_iter()
            .find(|metric| metric.name() == text)
            .ok_or_else(|| format!("no such metric: {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_written_as_they_are_read() {
        for text in [
            "1,32,1",
            "64,16KiB,1",
            "16,1MiB,1",
            "2core:512,125,16",
            "rate:64,32",
            "broadcast:5000,1KiB",
            "2core:broadcast:1,8",
        ] {
            assert_eq!(text.parse::<Cell>().unwrap().to_string(), text);
        }
        for cell in matrix().into_iter().chain(quick()) {
            assert_eq!(cell.to_string().parse::<Cell>(), Ok(cell));
        }
    }

    #[test]
    fn the_defaults_of_a_cell_are_those_of_the_matrix() {
        let idle = Load::Idle {
            connections: 15_000,
            echoed: false,
        };
        assert_eq!(
            "idle".parse(),
            Ok(Cell {
                load: idle,
                placement: Placement::Pinned
            })
        );
        let echoed = Load::Idle {
            connections: 200,
            echoed: true,
        };
        assert_eq!(
            "2core:echoed:200".parse(),
            Ok(Cell {
                load: echoed,
                placement: Placement::TwoCores
            })
        );
        let handshake = Load::Handshake { connections: 64 };
        assert_eq!(
            "handshake".parse(),
            Ok(Cell {
                load: handshake,
                placement: Placement::Pinned
            })
        );
        assert_eq!("64,16384,1".parse::<Cell>(), "64,16KiB,1".parse::<Cell>());
    }

    #[test]
    fn what_is_no_cell_is_refused() {
        for text in [
            "",
            "64",
            "64,32",
            "64,32,1,1",
            "0,32,1",
            "64,0,1",
            "64,32,0",
            "64,17MiB,1",
            "20000,32,1",
            "idle:",
            "idle:x",
            "rate:64",
            "rate",
            "broadcast",
            "broadcast:1000",
            "broadcast:0,125",
            "broadcast:10,7",
            "broadcast:19001,125",
            "storm",
            "1core:64,32,1",
            "64,99999999999999999999MiB,1",
            "64,18446744073709551615MiB,1",
            "-1,32,1",
            "64,32,1025",
        ] {
            assert!(text.parse::<Cell>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_cell_takes_its_rate_from_the_closed_loop_of_the_same_connections() {
        let cell: Cell = "rate:64,32".parse().unwrap();
        assert_eq!(cell.saturation(), Some("64,32,1".parse().unwrap()));
        assert_eq!("64,32,1".parse::<Cell>().unwrap().saturation(), None);
    }
}
