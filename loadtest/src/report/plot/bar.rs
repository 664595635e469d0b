//! Horizontal bars in groups, with the range they were measured in.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{Area, Drawn, FONT_SIZE, INK, Unit, color, draw, text, text_width};

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

#[cfg(test)]
mod tests {
    use super::*;

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
