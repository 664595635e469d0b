//! Conditions on figures and ratios: `--require 'sockeye-inline/floor<1.10'`.

use std::fmt;
use std::str::FromStr;

use super::cell::{Cell, Metric};
use super::results::{CellResult, Comparison};
use super::stats::Ratio;

/// A condition that must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    text: String,
    metric: Option<Metric>,
    server: String,
    relative_to: Option<String>,
    cell: Option<Cell>,
    below: bool,
    limit: f64,
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Requirement, String> {
        let sign = text.find(['<', '>']).ok_or("no < or >")?;
        let (left, limit) = (&text[..sign], text[sign + 1..].trim());
        let limit: f64 = limit
            .parse()
            .ok()
            .filter(|limit: &f64| limit.is_finite() && *limit > 0.0)
            .ok_or_else(|| format!("a number above 0 wanted, not {limit:?}"))?;
        let (left, cell) = match left.split_once('@') {
            Some((left, cell)) => (left, Some(cell.trim().parse()?)),
            None => (left, None),
        };
        let (metric, servers) = match left.split_once(':') {
            Some((metric, servers)) => (Some(metric.trim().parse()?), servers),
            None => (None, left),
        };
        let (server, relative_to) = match servers.split_once('/') {
            Some((server, other)) => (server, Some(other.trim().to_owned())),
            None => (servers, None),
        };
        let server = server.trim().to_owned();
        if server.is_empty() || relative_to.as_deref() == Some("") {
            return Err("SERVER or SERVER/SERVER wanted".to_owned());
        }
        let below = text.as_bytes()[sign] == b'<';
        Ok(Requirement {
            text: text.to_owned(),
            metric,
            server,
            relative_to,
            cell,
            below,
            limit,
        })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Requirement {
    /// The servers it is about.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &str> {
        [Some(self.server.as_str()), self.relative_to.as_deref()]
            .into_iter()
            .flatten()
    }

    /// The figure of this cell that it is about, if it is.
    fn metric(&self, cell: Cell) -> Option<Metric> {
        if self.cell.is_some_and(|wanted| wanted != cell) {
            return None;
        }
        let metric = self.metric.unwrap_or_else(|| cell.primary());
        cell.metrics().contains(&metric).then_some(metric)
    }

    /// Whether it can be told from this cell, in which these servers take part.
    pub(crate) fn can_be_told(&self, cell: Cell, takes_part: impl Fn(&str) -> bool) -> bool {
        self.metric(cell).is_some() && self.servers().all(takes_part)
    }

    /// Where it does not hold, and why. What cannot be told does not hold: a ratio that is
    /// refused, or a condition on what was never measured.
    pub(crate) fn failures(&self, comparison: &Comparison) -> Vec<String> {
        let mut judged = 0;
        let mut failures = Vec::new();
        for result in &comparison.cells {
            let metric = self.metric(result.cell);
            let Some(value) = metric.and_then(|metric| self.value(result, metric)) else {
                continue;
            };
            judged += 1;
            match value {
                Ok(value) if self.holds(value) => {}
                Ok(value) => failures.push(format!("{self}: {value:.3} at {}", result.cell)),
                Err(why) => failures.push(format!("{self}: unsure at {}, {why}", result.cell)),
            }
        }
        if judged == 0 {
            failures.push(format!("{self}: was not measured"));
        }
        failures
    }

    fn holds(&self, value: f64) -> bool {
        if self.below {
            value < self.limit
        } else {
            value > self.limit
        }
    }

    /// `None` if a server did not take part in the cell.
    fn value(&self, result: &CellResult, metric: Metric) -> Option<Result<f64, String>> {
        let Some(other) = &self.relative_to else {
            let spread = result.server(&self.server)?.spread(metric);
            return Some(
                spread
                    .map(|spread| spread.median)
                    .ok_or_else(|| "no good sample".to_owned()),
            );
        };
        Some(match result.ratio(metric, &self.server, other)? {
            Ratio::Sure(spread) => Ok(spread.median),
            Ratio::Unsure(why) => Err(why),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::cell_result;
    use super::*;

    fn comparison() -> Comparison {
        let cells = vec![
            cell_result("64,32,1", &[("a", &[1.2; 5]), ("floor", &[1.0; 5])]),
            cell_result("512,32,1", &[("a", &[1.05; 5]), ("floor", &[1.0; 5])]),
            cell_result(
                "idle",
                &[("a", &[90.0; 5]), ("floor", &[1.0, 2.0, 4.0, 8.0, 16.0])],
            ),
        ];
        Comparison {
            cells,
            ..Comparison::default()
        }
    }

    fn failures(text: &str) -> Vec<String> {
        text.parse::<Requirement>().unwrap().failures(&comparison())
    }

    #[test]
    fn a_condition_holds_or_says_where_it_does_not() {
        assert_eq!(failures("a/floor@512,32,1<1.10"), [""; 0]);
        assert_eq!(
            failures("a/floor@64,32,1<1.10"),
            ["a/floor@64,32,1<1.10: 1.200 at 64,32,1"]
        );
        assert_eq!(failures("a/floor@64,32,1>1.10"), [""; 0]);
        assert_eq!(failures("cpu:a/floor<1.30"), [""; 0]);
        assert_eq!(failures("cpu:a/floor<1.10").len(), 1);
        assert_eq!(failures("memory:a@idle<96"), [""; 0]);
        assert_eq!(
            failures("a@idle:15000<80"),
            ["a@idle:15000<80: 90.000 at idle:15000"]
        );
    }

    #[test]
    fn what_cannot_be_told_does_not_hold() {
        let unsure = failures("memory:a/floor<1000");
        assert_eq!(unsure.len(), 1);
        assert!(
            unsure[0].contains("unsure at idle:15000, rounds disagree"),
            "{unsure:?}"
        );
        assert_eq!(failures("b/floor<9"), ["b/floor<9: was not measured"]);
        assert_eq!(
            failures("memory:a@64,32,1<9"),
            ["memory:a@64,32,1<9: was not measured"]
        );
        let failed = Comparison {
            cells: vec![cell_result("64,32,1", &[("a", &[-1.0; 5])])],
            ..Comparison::default()
        };
        let requirement: Requirement = "a<9".parse().unwrap();
        assert_eq!(
            requirement.failures(&failed),
            ["a<9: unsure at 64,32,1, no good sample"]
        );
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "",
            "a",
            "a/b",
            "a/b<",
            "a/b<x",
            "a/b<NaN",
            "a/b<-1",
            "<1",
            "a/<1",
            "/b<1",
            "speed:a<1",
            "a@storm<1",
        ] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }
}
