//! `--hgrm FILE`: a histogram as HdrHistogram's percentile output, which its plotters read.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use hdrhistogram::Histogram;

use super::output;
use super::quantiles::TICKS_PER_HALF_DISTANCE;

/// The values that HdrHistogram's own plotter takes unless told otherwise are milliseconds.
const NANOSECONDS_PER_UNIT: f64 = 1e6;

/// The percentile output of a histogram of nanoseconds, its values in milliseconds.
pub fn text(histogram: &Histogram<u64>) -> String {
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    if !histogram.is_empty() {
        rows(&mut out, histogram);
    }
    footer(&mut out, histogram);
    out
}

/// Writes [`text()`] to a file, or to standard output if the path is `-`.
pub fn write(histogram: &Histogram<u64>, path: &Path) -> io::Result<()> {
    output::write(path, text(histogram).as_bytes())
}

fn rows(out: &mut String, histogram: &Histogram<u64>) {
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        let value = step.value_iterated_to() as f64 / NANOSECONDS_PER_UNIT;
        let quantile = step.quantile_iterated_to();
        let seen = (step.quantile() * histogram.len() as f64).round() as u64;
        write!(out, "{value:>12.6} {quantile:>14.12} {seen:>10}").expect("strings take all");
        // The last line has no fourth column, for its value would be infinite.
        if quantile < 1.0 {
            write!(out, " {:>14.2}", 1.0 / (1.0 - quantile)).expect("strings take all");
        }
        out.push('\n');
    }
}

fn footer(out: &mut String, histogram: &Histogram<u64>) {
    let in_units = |nanoseconds: f64| nanoseconds / NANOSECONDS_PER_UNIT;
    let (mean, deviation) = if histogram.is_empty() {
        (0.0, 0.0)
    } else {
        (in_units(histogram.mean()), in_units(histogram.stdev()))
    };
    let max = in_units(histogram.max() as f64);
    writeln!(
        out,
        "#[Mean    = {mean:>12.6}, StdDeviation   = {deviation:>12.6}]"
    )
    .expect("strings take all");
    writeln!(
        out,
        "#[Max     = {max:>12.6}, Total count    = {:>12}]",
        histogram.len()
    )
    .expect("strings take all");
    writeln!(
        out,
        "#[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.buckets(),
        sub_buckets(histogram.sigfig())
    )
    .expect("strings take all");
}

/// The linear steps of each bucket: enough for single units up to twice the last digit that counts.
fn sub_buckets(digits: u8) -> u64 {
    (2 * 10u64.pow(u32::from(digits))).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a plotter reads: lines of four columns, and the footer's three.
    #[test]
    fn every_line_is_one_that_plotters_read() {
        let mut histogram = Histogram::new(3).expect("three digits");
        for step in 1..=1000u64 {
            histogram.record(step * 1_000_000).expect("grows");
        }
        let text = text(&histogram);
        let mut lines = text.lines();
        let heading: Vec<&str> = lines
            .next()
            .expect("a heading")
            .split_whitespace()
            .collect();
        assert_eq!(
            heading,
            ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
        );
        assert_eq!(lines.next(), Some(""));

        let rows: Vec<Vec<f64>> = lines
            .clone()
            .take_while(|line| !line.starts_with('#'))
            .map(|line| {
                line.split_whitespace()
                    .map(|word| word.parse().expect("a number"))
                    .collect()
            })
            .collect();
        let (last, others) = rows.split_last().expect("rows");
        assert_eq!(last.len(), 3);
        assert_eq!((last[1], last[2]), (1.0, 1000.0));
        assert!((last[0] / 1000.0 - 1.0).abs() < 0.002);
        for row in others {
            let [value, quantile, seen, inverse] = row[..] else {
                panic!("{row:?}")
            };
            assert!((inverse * (1.0 - quantile) - 1.0).abs() < 0.01, "{row:?}");
            assert!(
                (value - seen).abs() <= seen * 0.002 + 1e-9,
                "the {seen}th of these is {seen} ms: {row:?}"
            );
        }
        let footer: Vec<&str> = lines.skip_while(|line| !line.starts_with('#')).collect();
        assert_eq!(footer.len(), 3);
        assert!(footer[0].starts_with("#[Mean    =   500."), "{}", footer[0]);
        assert!(
            footer[1].ends_with("Total count    =         1000]"),
            "{}",
            footer[1]
        );
        assert!(
            footer[2].ends_with("SubBuckets     =         2048]"),
            "{}",
            footer[2]
        );
    }

    #[test]
    fn an_empty_histogram_has_a_heading_and_a_footer() {
        let text = text(&Histogram::new(3).expect("three digits"));
        assert_eq!(text.lines().count(), 5);
        assert!(!text.contains("NaN"), "{text}");
    }
}
