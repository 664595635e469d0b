//! Lines over time, and latency percentile curves.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::Axis;
use super::{AXIS, Area, Drawn, FONT, FONT_SIZE, GRID, INK, Unit, color, draw, text, text_width};
use crate::report::format;

const LEGEND_HEIGHT: i32 = 26;

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// What the legend calls it; there is no legend for one line alone.
    pub name: &'a str,
    /// (x, y), x ascending. Points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// Lines over time or the like. Axes begin at 0, but one of times that differ by much is logarithmic.
/// No values and no texts make this panic, here and in the other charts.
pub fn lines(lines: &[Line<'_>], x: Unit, y: Unit, size: (u32, u32)) -> String {
    let last = largest(lines, |point| point.0);
    // The time axis ends with the run, not at the next round number.
    let axis = Axis::from_zero(x.ticks(last, 8), if last > 0.0 { last } else { 1.0 });
    chart(
        lines,
        axis,
        &|value| format::trim_zeros(&x.label(value)),
        y,
        size,
    )
}

/// Latency percentile curves over a logarithmic axis of 1/(1-p), so that each further nine has the
/// same width. The points are (percentile 0-100, microseconds); 100% stands where the curve's last
/// percentile below it does.
pub fn percentiles(lines: &[Line<'_>], size: (u32, u32)) -> String {
    let nines = |percentile: f64| -(1.0 - percentile / 100.0).log10();
    let moved: Vec<Line<'_>> = lines
        .iter()
        .map(|line| {
            let last = line
                .points
                .iter()
                .map(|point| nines(point.0))
                .filter(|x| x.is_finite())
                .fold(1.0, f64::max);
            let points = line
                .points
                .iter()
                .map(|&(p, value)| (nines(p).clamp(0.0, last), value))
                .collect();
            Line {
                name: line.name,
                points,
            }
        })
        .collect();
    let end = largest(&moved, |point| point.0).max(1.0);
    let ticks = (0..=end as u32).map(f64::from).collect();
    let label = |nines: f64| percentile_label(nines.round() as usize);
    chart(
        &moved,
        Axis::from_zero(ticks, end),
        &label,
        Unit::Micros,
        size,
    )
}

fn chart(
    lines: &[Line<'_>],
    x: Axis,
    x_label: &dyn Fn(f64) -> String,
    y: Unit,
    size: (u32, u32),
) -> String {
    let (x_labels, y_axis) = (x.ticks.len() + 1, Axis::vertical(lines, y));
    draw(size, |area| {
        let legend = lines.len() > 1;
        let area = if legend {
            let (top, below) = area.split_vertically(LEGEND_HEIGHT);
            draw_legend(&top, lines)?;
            below
        } else {
            area.clone()
        };
        let mut chart = ChartBuilder::on(&area)
            .margin_top(if legend { 4 } else { 14 })
            .margin_right(26)
            .margin_bottom(4)
            .margin_left(6)
            .x_label_area_size(28)
            .y_label_area_size(66)
            .build_cartesian_2d(x, y_axis)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.0)
            .light_line_style(TRANSPARENT)
            .axis_style(AXIS.0)
            .label_style((FONT, FONT_SIZE, &INK.0).into_text_style(&area))
            .x_labels(x_labels)
            .x_label_formatter(&|value| x_label(*value))
            .y_label_formatter(&|value| format::trim_zeros(&y.label(*value)))
            .draw()?;
        for (index, line) in lines.iter().enumerate() {
            let points = finite(&line.points).collect::<Vec<_>>();
            chart.draw_series(LineSeries::new(points, color(index).stroke_width(2)))?;
        }
        Ok(())
    })
}

fn draw_legend(area: &Area<'_>, lines: &[Line<'_>]) -> Drawn {
    let mut left = 74;
    for (index, line) in lines.iter().enumerate() {
        let y = LEGEND_HEIGHT / 2;
        area.draw(&PathElement::new(
            vec![(left, y), (left + 18, y)],
            color(index).stroke_width(3),
        ))?;
        text(area, line.name, (left + 24, y), FONT_SIZE, HPos::Left)?;
        left += 24 + text_width(line.name) + 22;
    }
    Ok(())
}

fn percentile_label(nines: usize) -> String {
    match nines {
        0 => "0%".into(),
        1 => "90%".into(),
        2 => "99%".into(),
        more => format!("99.{}%", "9".repeat(more - 2)),
    }
}

pub(super) fn largest(lines: &[Line<'_>], part: impl Fn((f64, f64)) -> f64) -> f64 {
    lines
        .iter()
        .flat_map(|line| finite(&line.points))
        .map(part)
        .fold(0.0, f64::max)
}

pub(super) fn finite(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    points
        .iter()
        .copied()
        .filter(|point| point.0.is_finite() && point.1.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_axis_names_the_nines_and_ends_with_the_last() {
        let points = vec![
            (0.0, 1.0),
            (50.0, 2.0),
            (90.0, 3.0),
            (99.0, 4.0),
            (99.95, 9.0),
            (100.0, 12.0),
        ];
        let svg = percentiles(
            &[Line {
                name: "raw",
                points,
            }],
            (600, 200),
        );
        for label in ["0%", "90%", "99%", "99.9%"] {
            assert_eq!(svg.matches(&format!("\n{label}\n")).count(), 1, "{label:?}");
        }
        assert!(!svg.contains("99.99%"));
    }
}
