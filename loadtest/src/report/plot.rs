//! Charts as SVG text: lines over an axis, and bars with the range they were measured in.
//!
//! Every colour has a twin for dark pages. Plain SVG viewers show the light ones; [`STYLE`] switches
//! with the reader's preference, inside a page or, through [`standalone()`], in a file of its own.

use std::fmt::Write as _;
use std::sync::LazyLock;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::format;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A colour on light pages, and the one that takes its place on dark ones.
type Twin = (RGBColor, RGBColor);

const INK: Twin = (RGBColor(0x1f, 0x29, 0x37), RGBColor(0xe5, 0xe7, 0xeb));
const AXIS: Twin = (RGBColor(0x9c, 0xa3, 0xaf), RGBColor(0x6b, 0x72, 0x80));
const GRID: Twin = (RGBColor(0xe5, 0xe7, 0xea), RGBColor(0x2d, 0x35, 0x42));
const PAPER: Twin = (RGBColor(0xff, 0xff, 0xfe), RGBColor(0x17, 0x1c, 0x26));
const SERIES: [Twin; 8] = [
    (RGBColor(0x25, 0x63, 0xeb), RGBColor(0x6c, 0xa6, 0xfb)),
    (RGBColor(0xea, 0x58, 0x0c), RGBColor(0xfb, 0x92, 0x3c)),
    (RGBColor(0x05, 0x96, 0x69), RGBColor(0x34, 0xd3, 0x99)),
    (RGBColor(0x7c, 0x3a, 0xed), RGBColor(0xa7, 0x8b, 0xfa)),
    (RGBColor(0xdb, 0x27, 0x77), RGBColor(0xf4, 0x72, 0xb6)),
    (RGBColor(0x08, 0x91, 0xb2), RGBColor(0x22, 0xd3, 0xee)),
    (RGBColor(0xa1, 0x62, 0x07), RGBColor(0xfa, 0xcc, 0x15)),
    (RGBColor(0x64, 0x74, 0x8b), RGBColor(0x94, 0xa3, 0xb8)),
];

const FONT: &str = "sans-serif";
const FONT_SIZE: i32 = 13;
const LEGEND_HEIGHT: i32 = 26;

/// CSS that gives charts their dark colours where the reader prefers them.
pub static STYLE: LazyLock<String> = LazyLock::new(|| {
    let mut dark = String::new();
    for (light, dark_one) in [INK, AXIS, GRID, PAPER].iter().chain(&SERIES) {
        for attribute in ["fill", "stroke"] {
            let (from, to) = (hex(*light), hex(*dark_one));
            write!(dark, "svg [{attribute}=\"{from}\"]{{{attribute}:{to}}}")
                .expect("strings take all");
        }
    }
    format!(
        "svg text{{font-family:system-ui,-apple-system,\"Segoe UI\",sans-serif;\
         font-variant-numeric:tabular-nums}}@media(prefers-color-scheme:dark){{{dark}}}"
    )
});

/// What the figures of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Numbers, in powers of 1000.
    Count,
    /// Per second, in powers of 1000.
    Rate,
    /// Bytes, in powers of 1024.
    Bytes,
    /// Times in microseconds.
    Micros,
    /// Times in seconds.
    Seconds,
    /// Shares, 1 for 100%.
    Share,
    /// Ratios to something.
    Ratio,
}

impl Unit {
    fn label(self, value: f64) -> String {
        match self {
            Self::Count => format::short(value),
            Self::Rate => format::rate(value),
            Self::Bytes => format::bytes(value),
            Self::Micros => format::micros(value),
            Self::Seconds => format!("{} s", format::short(value)),
            Self::Share => format!("{:.0}%", value * 100.0),
            Self::Ratio => format!("{value:.2}×"),
        }
    }

    /// From 0 to at least `max`, at steps of 1, 2 or 5 of the unit.
    fn ticks(self, max: f64, wanted: usize) -> Vec<f64> {
        let max = if max.is_finite() && max > 0.0 {
            max
        } else {
            1.0
        };
        let mut scale = 1.0;
        while self == Self::Bytes && max / scale >= 1000.0 {
            scale *= 1024.0;
        }
        let rough = max / scale / wanted as f64;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|step| step * decade >= rough * 0.999)
            .unwrap_or(10.0);
        let steps = (max / scale / (step * decade) * 0.999).ceil() as usize;
        (0..=steps)
            .map(|index| index as f64 * step * decade * scale)
            .collect()
    }
}

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// What the legend calls it; there is no legend for one line alone.
    pub name: &'a str,
    /// (x, y), x ascending. Points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// Lines over time or the like; both axes begin at 0.
///
/// # Panics
///
/// Neither this nor [`percentiles()`] or [`bars()`] panics on any values or texts.
pub fn lines(lines: &[Line<'_>], x: Unit, y: Unit, size: (u32, u32)) -> String {
    let last = largest(lines, |point| point.0);
    let axis = Axis {
        ticks: x.ticks(last, 8),
        // The time axis ends with the run, not at the next round number.
        end: if last > 0.0 { last } else { 1.0 },
    };
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
    chart(&moved, Axis { ticks, end }, &label, Unit::Micros, size)
}

/// A bar: the median of a figure and the range it was measured in.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Whose figure.
    pub name: String,
    /// The figure; none if there is no trustworthy one.
    pub value: Option<f64>,
    /// Least and most measured.
    pub range: Option<(f64, f64)>,
}

/// Bars that are compared with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What was measured.
    pub name: String,
    /// One for each of what is compared. Bars of one name have one colour in all groups.
    pub bars: Vec<Bar>,
}

/// How long a bar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Against the longest bar of all.
    Shared,
    /// Against the longest bar of its group, for groups whose figures differ by orders of magnitude.
    PerGroup,
}

/// Horizontal bars in groups with their figures and a whisker from least to most; as high as it needs.
pub fn bars(title: &str, groups: &[Group], unit: Unit, length: Length, width: u32) -> String {
    let layout = BarLayout::new(groups, width as i32, unit, !title.is_empty());
    draw((width, layout.height(groups) as u32), |area| {
        if !title.is_empty() {
            text(area, title, (16, 20), FONT_SIZE + 3, HPos::Left)?;
        }
        let names = names(groups);
        let longest = groups.iter().map(Group::longest).fold(0.0, f64::max);
        let mut top = layout.top;
        for group in groups {
            text(area, &group.name, (16, top + 10), FONT_SIZE + 1, HPos::Left)?;
            top += BarLayout::HEADING;
            let full = if length == Length::Shared {
                longest
            } else {
                group.longest()
            };
            for bar in &group.bars {
                let color = color(names.iter().position(|name| *name == bar.name).unwrap_or(0));
                layout.bar(area, bar, top, full, color)?;
                top += BarLayout::BAR;
            }
            top += BarLayout::GAP;
        }
        Ok(())
    })
}

/// A chart as a file of its own: with a background, and dark where the reader prefers it.
pub fn standalone(svg: &str) -> String {
    let (head, rest) = svg.split_once('>').unwrap_or((svg, ""));
    let style = STYLE.replace('&', "&amp;").replace('<', "&lt;");
    let paper = hex(PAPER.0);
    format!(
        "{head}>\n<style>{style}</style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{paper}\"/>{rest}"
    )
}

/// An axis whose ticks are chosen here; it begins at 0.
struct Axis {
    ticks: Vec<f64>,
    end: f64,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (value / self.end * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks
            .iter()
            .copied()
            .filter(|tick| *tick <= self.end)
            .collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..self.end
    }
}

fn chart(
    lines: &[Line<'_>],
    x: Axis,
    x_label: &dyn Fn(f64) -> String,
    y: Unit,
    size: (u32, u32),
) -> String {
    let ticks = y.ticks(largest(lines, |point| point.1), 5);
    let end = ticks.last().copied().unwrap_or(1.0);
    let (x_labels, y_axis) = (x.ticks.len() + 1, Axis { ticks, end });
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

struct BarLayout {
    top: i32,
    left: i32,
    room: i32,
    unit: Unit,
}

impl BarLayout {
    const HEADING: i32 = 24;
    const BAR: i32 = 20;
    const GAP: i32 = 14;
    /// Room for a figure right of the longest whisker.
    const FIGURE: i32 = 84;

    fn new(groups: &[Group], width: i32, unit: Unit, titled: bool) -> Self {
        let longest_name = names(groups).into_iter().map(text_width).max().unwrap_or(0);
        let left = 16 + longest_name.min(width / 3) + 10;
        let room = (width - left - Self::FIGURE).max(10);
        Self {
            top: if titled { 42 } else { 12 },
            left,
            room,
            unit,
        }
    }

    fn height(&self, groups: &[Group]) -> i32 {
        let height =
            |group: &Group| Self::HEADING + Self::GAP + Self::BAR * group.bars.len() as i32;
        self.top + groups.iter().map(height).sum::<i32>()
    }

    fn bar(&self, area: &Area<'_>, bar: &Bar, top: i32, full: f64, color: RGBColor) -> Drawn {
        let middle = top + Self::BAR / 2;
        text(
            area,
            &bar.name,
            (self.left - 10, middle),
            FONT_SIZE,
            HPos::Right,
        )?;
        let at = |value: f64| {
            let share = if full > 0.0 {
                (value / full).clamp(0.0, 1.0)
            } else {
                0.0
            };
            self.left + (share * f64::from(self.room)).round() as i32
        };
        let Some(value) = bar.value.filter(|value| value.is_finite()) else {
            return text(
                area,
                "no steady figure",
                (self.left + 6, middle),
                FONT_SIZE,
                HPos::Left,
            );
        };
        let corners = [
            (self.left, top + 3),
            (at(value).max(self.left + 1), top + Self::BAR - 3),
        ];
        area.draw(&Rectangle::new(corners, color.filled()))?;
        let mut end = at(value);
        if let Some((least, most)) = bar.range {
            let (least, most) = (at(least), at(most));
            area.draw(&PathElement::new(
                vec![(least, middle), (most, middle)],
                INK.0,
            ))?;
            for x in [least, most] {
                area.draw(&PathElement::new(
                    vec![(x, middle - 4), (x, middle + 4)],
                    INK.0,
                ))?;
            }
            end = end.max(most);
        }
        text(
            area,
            &self.unit.label(value),
            (end + 8, middle),
            FONT_SIZE,
            HPos::Left,
        )
    }
}

impl Group {
    fn longest(&self) -> f64 {
        let most = |bar: &Bar| {
            bar.value
                .map(|value| bar.range.map_or(value, |range| range.1.max(value)))
        };
        self.bars
            .iter()
            .filter_map(most)
            .filter(|value| value.is_finite())
            .fold(0.0, f64::max)
    }
}

/// The names of bars in the order they first come.
fn names(groups: &[Group]) -> Vec<&str> {
    let mut names = Vec::new();
    for bar in groups.iter().flat_map(|group| &group.bars) {
        if !names.contains(&bar.name.as_str()) {
            names.push(bar.name.as_str());
        }
    }
    names
}

fn draw(size: (u32, u32), body: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        body(&area)
            .and_then(|()| area.present())
            .expect("a string takes every drawing");
    }
    svg
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, side: HPos) -> Drawn {
    let style = (FONT, size, &INK.0)
        .into_text_style(area)
        .pos(Pos::new(side, VPos::Center));
    // Control characters have no place in XML at all.
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    area.draw(&Text::new(text, at, style))
}

/// About how wide a text is; no font is at hand, and every viewer takes its own.
fn text_width(text: &str) -> i32 {
    text.chars().count() as i32 * FONT_SIZE * 6 / 11
}

fn percentile_label(nines: usize) -> String {
    match nines {
        0 => "0%".into(),
        1 => "90%".into(),
        2 => "99%".into(),
        more => format!("99.{}%", "9".repeat(more - 2)),
    }
}

fn largest(lines: &[Line<'_>], part: impl Fn((f64, f64)) -> f64) -> f64 {
    lines
        .iter()
        .flat_map(|line| finite(&line.points))
        .map(part)
        .fold(0.0, f64::max)
}

fn finite(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    points
        .iter()
        .copied()
        .filter(|point| point.0.is_finite() && point.1.is_finite())
}

fn color(index: usize) -> RGBColor {
    SERIES[index % SERIES.len()].0
}

/// As the SVG backend writes it, for the attribute selectors of [`STYLE`].
fn hex(color: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_in_their_unit_and_reach_the_largest_value() {
        assert_eq!(Unit::Count.ticks(9.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(Unit::Count.ticks(1234.0, 5), [0.0, 500.0, 1000.0, 1500.0]);
        let mib: Vec<f64> = Unit::Bytes
            .ticks(3.5 * 1_048_576.0, 4)
            .iter()
            .map(|v| v / 1_048_576.0)
            .collect();
        assert_eq!(mib, [0.0, 1.0, 2.0, 3.0, 4.0]);
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9, 1e18] {
            assert!(Unit::Bytes.ticks(odd, 5).len() < 12, "{odd}");
        }
    }

    #[test]
    fn every_colour_of_a_chart_has_its_dark_twin() {
        let line = |name| Line {
            name,
            points: vec![(0.0, 1.0), (5.0, 2.0)],
        };
        let group = Group {
            name: "g".into(),
            bars: vec![bar("a", 1.0), bar("b", 2.0)],
        };
        let svgs = [
            lines(
                &[line("a"), line("b")],
                Unit::Seconds,
                Unit::Rate,
                (600, 200),
            ),
            bars("t", &[group], Unit::Micros, Length::Shared, 600),
        ];
        for svg in svgs {
            for quoted in svg.split('"').filter(|part| part.starts_with('#')) {
                assert!(
                    STYLE.contains(&format!("\"{quoted}\"")),
                    "{quoted} is not in the style"
                );
            }
        }
    }

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
        for label in ["0%", "90%", "99%", "99.9%", "12 µs"] {
            let (text, label) = (svg.as_str(), format!("\n{label}\n"));
            assert_eq!(
                text.matches(&label).count(),
                usize::from(label != "\n12 µs\n"),
                "{label:?}"
            );
        }
        assert!(!svg.contains("99.99%"));
    }

    #[test]
    fn no_values_and_no_texts_break_a_chart() {
        let odd = vec![(0.0, f64::NAN), (f64::INFINITY, 1.0), (1.0, -3.0)];
        for points in [vec![], vec![(0.0, 0.0)], odd] {
            let line = Line {
                name: "<script>\u{1}",
                points,
            };
            for svg in [
                lines(
                    &[line.clone(), line.clone()],
                    Unit::Seconds,
                    Unit::Bytes,
                    (600, 200),
                ),
                percentiles(&[line.clone(), line.clone()], (600, 200)),
            ] {
                assert!(!svg.contains("<script") && !svg.contains('\u{1}'), "{svg}");
                assert!(!svg.contains("NaN"), "{svg}");
            }
        }
        let odd = Bar {
            name: "&<b>".into(),
            value: Some(f64::NAN),
            range: Some((f64::NAN, f64::INFINITY)),
        };
        let none = Bar {
            name: "none".into(),
            value: None,
            range: None,
        };
        let group = Group {
            name: "<i>".into(),
            bars: vec![odd, none, bar("zero", 0.0)],
        };
        let svg = bars("<u>", &[group], Unit::Bytes, Length::PerGroup, 100);
        assert!(
            ["<b>", "<i>", "<u>"].iter().all(|tag| !svg.contains(tag)),
            "{svg}"
        );
        assert_eq!(svg.matches("no steady figure").count(), 2);
        bars("", &[], Unit::Count, Length::Shared, 600);
    }

    /// Twice the value, twice the length; whiskers at least and most.
    #[test]
    fn bars_are_as_long_as_their_figures() {
        let group = |name: &str, values: [f64; 2]| Group {
            name: name.into(),
            bars: vec![bar("a", values[0]), bar("b", values[1])],
        };
        let groups = [group("small", [1.0, 2.0]), group("large", [10.0, 40.0])];
        let widths = |length| -> Vec<f64> {
            let svg = bars("", &groups, Unit::Micros, length, 1000);
            svg.split("<rect ")
                .skip(1)
                .filter_map(|rect| {
                    rect.split("width=\"")
                        .nth(1)?
                        .split('"')
                        .next()?
                        .parse()
                        .ok()
                })
                .collect()
        };
        let near = |found: f64, right: f64| (found / right - 1.0).abs() < 0.05;
        let own = widths(Length::PerGroup);
        assert!(
            near(own[1] / own[0], 2.0) && near(own[3] / own[2], 4.0) && near(own[1], own[3]),
            "{own:?}"
        );
        let shared = widths(Length::Shared);
        assert!(
            near(shared[3] / shared[1], 20.0) && near(shared[3] / shared[2], 4.0),
            "{shared:?}"
        );
    }

    fn bar(name: &str, value: f64) -> Bar {
        Bar {
            name: name.into(),
            value: Some(value),
            range: None,
        }
    }
}
