//! Axes: where their ticks are, and where a value is on them.

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::Ranged;

use super::Unit;
use super::line::{Line, finite, largest};

/// Times that differ by more than this get a logarithmic axis.
const FLATTENING: f64 = 30.0;

/// An axis whose ticks are chosen here.
pub(super) struct Axis {
    pub(super) ticks: Vec<f64>,
    start: f64,
    end: f64,
    scale: Scale,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

impl Axis {
    pub(super) fn from_zero(ticks: Vec<f64>, end: f64) -> Self {
        Self {
            ticks,
            start: 0.0,
            end,
            scale: Scale::Linear,
        }
    }

    /// The y axis: from 0 and linear, but logarithmic for times that a linear one would flatten.
    pub(super) fn vertical(lines: &[Line<'_>], unit: Unit) -> Self {
        let largest = largest(lines, |point| point.1);
        let values = lines
            .iter()
            .flat_map(|line| finite(&line.points))
            .map(|point| point.1);
        let least = values.fold(f64::INFINITY, f64::min);
        if unit == Unit::Micros && least > 0.0 && largest > FLATTENING * least {
            return Self::logarithmic(least, largest);
        }
        let ticks = unit.ticks(largest, 5);
        let end = ticks.last().copied().unwrap_or(1.0);
        Self::from_zero(ticks, end)
    }

    /// From a 1, 2 or 5 of a decade to another; ticks at all of these, or at decades if there are many.
    fn logarithmic(least: f64, largest: f64) -> Self {
        let decades = (least.log10().floor() as i32)..=(largest.log10().ceil() as i32);
        let steps: Vec<f64> = decades
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)))
            .collect();
        let first = steps
            .partition_point(|step| *step <= least)
            .saturating_sub(1);
        let last = steps
            .partition_point(|step| *step < largest)
            .min(steps.len() - 1);
        let mut ticks = steps[first..=last].to_vec();
        let (start, end) = (ticks[0], ticks[ticks.len() - 1]);
        if end / start > 1e3 {
            ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-6);
        }
        Self {
            ticks,
            start,
            end,
            scale: Scale::Logarithmic,
        }
    }

    /// 0 at the start, 1 at the end.
    fn position(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.start) / (self.end - self.start),
            Scale::Logarithmic => (value / self.start).log10() / (self.end / self.start).log10(),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.position(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks
            .iter()
            .copied()
            .filter(|tick| *tick <= self.end)
            .collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.start..self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_differ_by_much_have_a_logarithmic_axis() {
        let line = |points: &[(f64, f64)]| Line {
            name: "a",
            points: points.to_vec(),
        };
        let axis = Axis::vertical(&[line(&[(0.0, 70.0), (1.0, 2000.0)])], Unit::Micros);
        assert!(axis.scale == Scale::Linear && axis.start == 0.0);
        let axis = Axis::vertical(&[line(&[(0.0, 30.0), (1.0, 8000.0)])], Unit::Micros);
        assert!(axis.scale == Scale::Logarithmic);
        assert_eq!(
            axis.ticks,
            [20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4]
        );
        assert_eq!((axis.position(20.0), axis.position(1e4)), (0.0, 1.0));
        let axis = Axis::vertical(&[line(&[(0.0, 30.0), (1.0, 200_000.0)])], Unit::Micros);
        assert_eq!((axis.start, axis.end), (20.0, 2e5));
        assert_eq!(axis.ticks, [100.0, 1e3, 1e4, 1e5]);
        let axis = Axis::vertical(&[line(&[(0.0, 0.0), (1.0, 8000.0)])], Unit::Micros);
        assert!(axis.scale == Scale::Linear, "a zero has no logarithm");
    }
}
