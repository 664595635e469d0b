//! What a comparison found: every sample, and what follows from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cell::{Cell, Metric};
use super::isolate::Network;
use super::machine::Machine;
use super::sample::Sample;
use super::stats::{self, Ratio, Spread};

/// A comparison, as `--json` writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Where and when.
    pub machine: Machine,
    /// The network it was done on.
    pub network: Network,
    /// How, by the names of the flags.
    pub settings: BTreeMap<String, String>,
    /// The servers, those left out too.
    pub servers: Vec<ServerInfo>,
    /// What was measured, in the order of the tables.
    pub cells: Vec<CellResult>,
    /// Whether a signal ended it: samples are missing, and cells may be.
    #[serde(default)]
    pub interrupted: bool,
}

/// One of the servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Its name in the tables.
    pub name: String,
    /// Of its library or runtime.
    pub version: String,
    /// Why it was not measured, if it was not.
    pub left_out: Option<String>,
}

/// The samples of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// What was measured.
    pub cell: Cell,
    /// Messages per second that were sent, in the open loop.
    pub rate: Option<u64>,
    /// Servers that take no part in this cell only, and why.
    #[serde(default)]
    pub left_out: BTreeMap<String, String>,
    /// Each server that took part.
    pub servers: Vec<ServerSamples>,
}

/// The samples of a server in a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerSamples {
    /// The server.
    pub name: String,
    /// One for each round.
    pub samples: Vec<Sample>,
}

impl ServerSamples {
    /// A figure of every sample that has it, each with its round.
    pub fn values(&self, metric: Metric) -> Vec<(u32, f64)> {
        let value = |sample: &Sample| Some((sample.round, *sample.figures.get(&metric)?));
        self.samples.iter().filter_map(value).collect()
    }

    /// A figure over all samples that have it.
    pub fn spread(&self, metric: Metric) -> Option<Spread> {
        let values: Vec<f64> = self
            .values(metric)
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        Spread::of(&values)
    }

    /// How many samples failed, and why the first of them did.
    pub fn failures(&self) -> Option<(usize, &str)> {
        let mut errors = self
            .samples
            .iter()
            .filter_map(|sample| sample.error.as_deref());
        let first = errors.next()?;
        Some((1 + errors.count(), first))
    }

    /// In how many samples the client was the bottleneck, and why in the first of them.
    pub fn bottlenecks(&self) -> Option<(usize, &str)> {
        let mut reasons = self
            .samples
            .iter()
            .filter_map(|sample| sample.bottleneck.as_deref());
        let first = reasons.next()?;
        Some((1 + reasons.count(), first))
    }
}

impl CellResult {
    /// The samples of this server, if it took part.
    pub fn server(&self, name: &str) -> Option<&ServerSamples> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The ratio of two servers' figures, round by round; `None` if one of them did not take part.
    pub fn ratio(&self, metric: Metric, of: &str, to: &str) -> Option<Ratio> {
        let (of, to) = (self.server(of)?, self.server(to)?);
        Some(stats::ratio(&of.values(metric), &to.values(metric)))
    }
}

impl Comparison {
    /// The result of this cell.
    pub fn cell(&self, cell: Cell) -> Option<&CellResult> {
        self.cells.iter().find(|result| result.cell == cell)
    }

    /// How many samples failed in all.
    pub fn failed_samples(&self) -> usize {
        let servers = self.cells.iter().flat_map(|cell| &cell.servers);
        servers
            .filter_map(|server| server.failures())
            .map(|(count, _)| count)
            .sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A cell in which each of these servers has these values of the cell's own figure; a value
    /// below zero is a failed sample.
    pub(crate) fn cell_result(cell: &str, servers: &[(&str, &[f64])]) -> CellResult {
        let cell: Cell = cell.parse().unwrap();
        let sample = |(round, &value): (u32, &f64)| {
            if value < 0.0 {
                return Sample {
                    round,
                    error: Some("message lost (3x)".into()),
                    ..Sample::default()
                };
            }
            let figures = cell
                .metrics()
                .iter()
                .map(|&metric| (metric, value))
                .collect();
            Sample {
                round,
                figures,
                ..Sample::default()
            }
        };
        let servers = servers.iter().map(|(name, values)| ServerSamples {
            name: (*name).to_owned(),
            samples: (0..).zip(values.iter()).map(sample).collect(),
        });
        CellResult {
            cell,
            rate: None,
            left_out: BTreeMap::new(),
            servers: servers.collect(),
        }
    }

    #[test]
    fn a_failed_sample_counts_as_failed_and_gives_no_value() {
        let result = cell_result("64,32,1", &[("a", &[1.0, -1.0, 3.0, -1.0])]);
        let a = result.server("a").unwrap();
        assert_eq!(a.values(Metric::Cpu), [(0, 1.0), (2, 3.0)]);
        assert_eq!(a.failures(), Some((2, "message lost (3x)")));
        let comparison = Comparison {
            cells: vec![result],
            ..Comparison::default()
        };
        assert_eq!(comparison.failed_samples(), 2);
    }

    #[test]
    fn a_round_one_of_them_failed_in_is_not_in_their_ratio() {
        let a = [2.0, 2.0, 2.0, -1.0, 2.0, 2.0];
        let b = [1.0, 1.0, 1.0, 50.0, 1.0, 1.0];
        let result = cell_result("64,32,1", &[("a", &a), ("b", &b)]);
        let Some(Ratio::Sure(spread)) = result.ratio(Metric::Cpu, "a", "b") else {
            panic!("refused");
        };
        assert_eq!((spread.median, spread.max, spread.count), (2.0, 2.0, 5));
        assert_eq!(result.ratio(Metric::Cpu, "a", "c"), None);
    }

    #[test]
    fn json_keeps_everything() {
        let comparison = Comparison {
            cells: vec![cell_result("2core:64,16KiB,1", &[("a", &[1.0, -1.0])])],
            ..Comparison::default()
        };
        let json = serde_json::to_string(&comparison).unwrap();
        assert!(json.contains(r#""cell":"2core:64,16KiB,1""#), "{json}");
        assert_eq!(
            serde_json::from_str::<Comparison>(&json).unwrap(),
            comparison
        );
    }
}
