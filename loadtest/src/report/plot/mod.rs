//! Charts as SVG text: lines over an axis, and bars with the range they were measured in.
//!
//! Every colour has a twin for dark pages. Plain SVG viewers show the light ones; [`STYLE`] switches
//! with the reader's preference, inside a page or, through [`standalone()`], in a file of its own.

mod axis;
mod bar;
mod line;

use std::fmt::Write as _;
use std::sync::LazyLock;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub use bar::{Bar, Group, Length, bars};
pub use line::{Line, lines, percentiles};

use super::format;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A colour on light pages, and the one that takes its place on dark ones.
type Twin = (RGBColor, RGBColor);

const INK: Twin = (RGBColor(0x1f, 0x29, 0x37), RGBColor(0xe5, 0xe7, 0xeb));
const AXIS: Twin = (RGBColor(0x9c, 0xa3, 0xaf), RGBColor(0x6b, 0x72, 0x80));
const GRID: Twin = (RGBColor(0xe5, 0xe7, 0xea), RGBColor(0x2d, 0x35, 0x42));
const PAPER: Twin = (RGBColor(0xff, 0xff, 0xfe), RGBColor(0x17, 0x1c, 0x26));
const SERIES: [Twin; 9] = [
    (RGBColor(0x25, 0x63, 0xeb), RGBColor(0x6c, 0xa6, 0xfb)),
    (RGBColor(0xea, 0x58, 0x0c), RGBColor(0xfb, 0x92, 0x3c)),
    (RGBColor(0x05, 0x96, 0x69), RGBColor(0x34, 0xd3, 0x99)),
    (RGBColor(0x7c, 0x3a, 0xed), RGBColor(0xa7, 0x8b, 0xfa)),
    (RGBColor(0xdb, 0x27, 0x77), RGBColor(0xf4, 0x72, 0xb6)),
    (RGBColor(0x08, 0x91, 0xb2), RGBColor(0x22, 0xd3, 0xee)),
    (RGBColor(0xa1, 0x62, 0x07), RGBColor(0xfa, 0xcc, 0x15)),
    (RGBColor(0x64, 0x74, 0x8b), RGBColor(0x94, 0xa3, 0xb8)),
    (RGBColor(0x4d, 0x7c, 0x0f), RGBColor(0xa3, 0xe6, 0x35)),
];

const FONT: &str = "sans-serif";
const FONT_SIZE: i32 = 13;

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

/// A chart as a file of its own: with a background, and dark where the reader prefers it.
pub fn standalone(svg: &str) -> String {
    let (head, rest) = svg.split_once('>').unwrap_or((svg, ""));
    let style = STYLE.replace('&', "&amp;").replace('<', "&lt;");
    let paper = hex(PAPER.0);
    format!(
        "{head}>\n<style>{style}</style>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{paper}\"/>{rest}"
    )
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
    // What is larger is a heading.
    let weight = if size > FONT_SIZE {
        FontStyle::Bold
    } else {
        FontStyle::Normal
    };
    let style = (FONT, size, weight, &INK.0)
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
    fn a_chart_of_its_own_has_its_style_and_background_before_its_drawing() {
        let svg = bars("t", &[], Unit::Count, Length::Shared, 600);
        let alone = standalone(&svg);
        let style = alone.find("<style>").expect("a style");
        let paper = alone.find("<rect width=\"100%\"").expect("a background");
        let drawing = alone.find("<text").expect("a title");
        assert!(
            alone.starts_with("<svg ") && style < paper && paper < drawing,
            "{alone}"
        );
        assert!(alone.ends_with("</svg>\n"), "{alone}");
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

    fn bar(name: &str, value: f64) -> Bar {
        Bar {
            name: name.into(),
            value: Some(value),
            range: None,
        }
    }
}
