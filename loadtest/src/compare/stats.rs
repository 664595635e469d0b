//! Medians of samples, and ratios of servers round by round.

use serde::{Deserialize, Serialize};

/// Fewer rounds than this that both servers came through give no ratio.
pub(crate) const LEAST_ROUNDS: usize = 5;
/// The interquartile range of a ratio over the rounds, relative to its median, above which the
/// rounds disagree too much to print it.
pub(crate) const MOST_DISAGREEMENT: f64 = 0.20;

/// Some samples of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of them are below.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// How many.
    pub count: usize,
}

impl Spread {
    /// Of these samples, in any order; `None` of none.
    pub(crate) fn of(samples: &[f64]) -> Option<Spread> {
        let sorted = sorted(samples);
        Some(Spread {
            median: quantile(&sorted, 0.5)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            count: sorted.len(),
        })
    }
}

/// How one server's figure compares with another's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ratio {
    /// The rounds agree.
    Sure(Spread),
    /// No number, and why.
    Unsure(String),
}

/// The ratio of two servers' figures, each given with its round. Only rounds that have both
/// count, each as one ratio: a slow minute hits both servers of a round alike.
pub(crate) fn ratio(of: &[(u32, f64)], to: &[(u32, f64)]) -> Ratio {
    let ratios: Vec<f64> = of
        .iter()
        .filter_map(|&(round, value)| {
            let &(_, base) = to.iter().find(|&&(other, _)| other == round)?;
            let ratio = value / base;
            (ratio.is_finite() && ratio > 0.0).then_some(ratio)
        })
        .collect();
    if ratios.len() < LEAST_ROUNDS {
        return Ratio::Unsure(format!(
            "{} good rounds, {LEAST_ROUNDS} wanted",
            ratios.len()
        ));
    }
    let disagreement = disagreement(&ratios);
    match Spread::of(&ratios) {
        Some(spread) if disagreement <= MOST_DISAGREEMENT => Ratio::Sure(spread),
        _ => Ratio::Unsure(format!("rounds disagree by {:.0}%", disagreement * 100.0)),
    }
}

/// The interquartile range relative to the median.
fn disagreement(samples: &[f64]) -> f64 {
    let sorted = sorted(samples);
    let at = |q| quantile(&sorted, q).unwrap_or(f64::NAN);
    (at(0.75) - at(0.25)) / at(0.5)
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The quantile of sorted samples, interpolated between neighbours.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let position = q * (sorted.len().checked_sub(1)?) as f64;
    let below = sorted[position.floor() as usize];
    let above = sorted[position.ceil() as usize];
    Some(below + (above - below) * position.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Vec<(u32, f64)> {
        (0..).zip(values.iter().copied()).collect()
    }

    #[test]
    fn a_spread_is_median_smallest_and_largest() {
        assert_eq!(Spread::of(&[]), None);
        let odd = Spread::of(&[9.0, 1.0, 2.0]).unwrap();
        assert_eq!(
            (odd.median, odd.min, odd.max, odd.count),
            (2.0, 1.0, 9.0, 3)
        );
        let even = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(even.median, 2.5);
    }

    #[test]
    fn quantiles_are_interpolated() {
        let samples = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&samples, 0.25), Some(1.75));
        assert_eq!(quantile(&samples, 1.0), Some(4.0));
        assert_eq!(quantile(&[7.0], 0.75), Some(7.0));
    }

    #[test]
    fn rounds_are_paired_so_that_drift_cancels() {
        // The machine is three times slower in some rounds; the servers' ratio stays 2.
        let floor = rounds(&[1.0, 3.0, 1.0, 3.0, 2.0]);
        let slow = rounds(&[2.0, 6.0, 2.0, 6.0, 4.0]);
        let Ratio::Sure(spread) = ratio(&slow, &floor) else {
            panic!("refused");
        };
        assert_eq!(
            (spread.median, spread.min, spread.max, spread.count),
            (2.0, 2.0, 2.0, 5)
        );
    }

    #[test]
    fn rounds_are_paired_by_their_number_not_their_place() {
        let a = [(0, 2.0), (1, 4.0), (2, 6.0), (3, 8.0), (4, 10.0), (6, 99.0)];
        let b = [(4, 5.0), (3, 4.0), (2, 3.0), (1, 2.0), (0, 1.0), (5, 1.0)];
        let Ratio::Sure(spread) = ratio(&a, &b) else {
            panic!("refused");
        };
        assert_eq!((spread.median, spread.count), (2.0, 5));
    }

    #[test]
    fn rounds_that_disagree_give_no_ratio() {
        let floor = rounds(&[1.0; 8]);
        let bimodal = rounds(&[1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
        assert_eq!(
            ratio(&bimodal, &floor),
            Ratio::Unsure("rounds disagree by 67%".into())
        );
        // One outlier of eight is no disagreement.
        let outlier = rounds(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0]);
        assert!(matches!(ratio(&outlier, &floor), Ratio::Sure(_)));
    }

    #[test]
    fn disagreement_is_refused_just_above_its_limit() {
        let floor = rounds(&[1.0; 5]);
        let within = rounds(&[0.8, 0.91, 1.0, 1.10, 1.3]);
        let beyond = rounds(&[0.8, 0.89, 1.0, 1.10, 1.3]);
        assert!(matches!(ratio(&within, &floor), Ratio::Sure(_)));
        assert!(matches!(ratio(&beyond, &floor), Ratio::Unsure(_)));
    }

    #[test]
    fn too_few_good_rounds_give_no_ratio() {
        let four = rounds(&[1.0; 4]);
        assert_eq!(
            ratio(&four, &four),
            Ratio::Unsure("4 good rounds, 5 wanted".into())
        );
        // A figure of zero can be compared with nothing.
        let zero = rounds(&[0.0; 9]);
        let one = rounds(&[1.0; 9]);
        assert!(matches!(ratio(&one, &zero), Ratio::Unsure(_)));
        assert!(matches!(ratio(&zero, &one), Ratio::Unsure(_)));
    }
}
