//! From a histogram of nanoseconds to the percentiles of a report.

use hdrhistogram::Histogram;

use super::Quantiles;

/// Points of the curve for each halving of the distance to 100%: what the percentile output of
/// HdrHistogram has by default, about 120 points for a million samples.
pub const TICKS_PER_HALF_DISTANCE: u32 = 5;

impl From<&Histogram<u64>> for Quantiles {
    /// The histogram's values are nanoseconds. An empty one gives zeros and no curve.
    fn from(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min: micros(histogram.min()),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(histogram.max()),
            curve: curve(histogram),
        }
    }
}

fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    histogram
        .iter_quantiles(TICKS_PER_HALF_DISTANCE)
        .map(|step| {
            (
                step.quantile_iterated_to() * 100.0,
                micros(step.value_iterated_to()),
            )
        })
        .collect()
}

fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 µs, 2 µs, ... 10 ms.
    fn even() -> Histogram<u64> {
        let mut histogram = Histogram::new(3).expect("three digits");
        for step in 1..=10_000u64 {
            histogram.record(step * 1000).expect("grows");
        }
        histogram
    }

    #[test]
    fn percentiles_are_microseconds_within_the_histogram_s_digits() {
        let quantiles = Quantiles::from(&even());
        assert_eq!(quantiles.count, 10_000);
        for (found, right) in [
            (quantiles.min, 1.0),
            (quantiles.mean, 5_000.5),
            (quantiles.p50, 5_000.0),
            (quantiles.p90, 9_000.0),
            (quantiles.p99, 9_900.0),
            (quantiles.p999, 9_990.0),
            (quantiles.p9999, 9_999.0),
            (quantiles.max, 10_000.0),
        ] {
            assert!(
                (found / right - 1.0).abs() < 0.002,
                "{found} is not {right}"
            );
        }
    }

    #[test]
    fn the_curve_ascends_from_0_to_100_and_has_a_sensible_length() {
        let curve = Quantiles::from(&even()).curve;
        assert!((40..200).contains(&curve.len()), "{} points", curve.len());
        assert!(
            curve
                .windows(2)
                .all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1)
        );
        let last = curve.last().expect("a point");
        assert_eq!(last.0, 100.0);
        assert!((last.1 / 10_000.0 - 1.0).abs() < 0.002);
        for (percentile, value) in &curve {
            assert!(
                (value - percentile * 100.0).abs() < 150.0,
                "{percentile}: {value}"
            );
        }
    }

    #[test]
    fn an_empty_histogram_has_no_curve() {
        let empty = Histogram::new(3).expect("three digits");
        assert_eq!(Quantiles::from(&empty), Quantiles::default());
    }
}
