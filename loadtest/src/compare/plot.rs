//! The picture of a comparison: CPU time per message relative to the floor.

use super::cell::{Load, Metric, Placement};
use super::results::{CellResult, Comparison};
use super::servers::FLOOR;
use super::stats::Ratio;
use crate::report::plot::{self, Bar, Group, Length, Unit};

const TITLE: &str =
    "Server CPU time per message, relative to a bare epoll echo (shorter is better)";
const WIDTH: u32 = 820;

/// An SVG file with a group of bars for each closed-loop cell on one core; `None` if there is no
/// cell with a floor and another server.
pub(crate) fn svg(comparison: &Comparison) -> Option<String> {
    let groups: Vec<Group> = comparison.cells.iter().filter_map(group).collect();
    if groups.is_empty() {
        return None;
    }
    Some(plot::standalone(&plot::bars(
        TITLE,
        &groups,
        Unit::Ratio,
        Length::PerGroup,
        WIDTH,
    )))
}

fn group(result: &CellResult) -> Option<Group> {
    let cell = result.cell;
    if !matches!(cell.load, Load::Echo { .. }) || cell.placement != Placement::Pinned {
        return None;
    }
    let others = result.servers.iter().filter(|server| server.name != FLOOR);
    let bars: Vec<Bar> = others
        .filter_map(|server| {
            let sure = match result.ratio(Metric::Cpu, &server.name, FLOOR)? {
                Ratio::Sure(spread) => Some(spread),
                Ratio::Unsure(_) => None,
            };
            Some(Bar {
                name: server.name.clone(),
                value: sure.map(|spread| spread.median),
                range: sure.map(|spread| (spread.min, spread.max)),
            })
        })
        .collect();
    (!bars.is_empty()).then(|| Group {
        name: cell.title(),
        bars,
    })
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::cell_result;
    use super::*;

    #[test]
    fn a_picture_has_a_bar_for_each_sure_ratio() {
        let cells = vec![
            cell_result(
                "64,32,1",
                &[("a", &[3.0; 5]), ("b", &[4.0; 3]), ("floor", &[2.0; 5])],
            ),
            cell_result("2core:64,32,1", &[("c", &[3.0; 5]), ("floor", &[2.0; 5])]),
            cell_result("idle", &[("d", &[3.0; 5]), ("floor", &[2.0; 5])]),
        ];
        let svg = svg(&Comparison {
            cells,
            ..Comparison::default()
        })
        .unwrap();
        assert!(
            svg.contains("64 connections, 32 B, 1 in flight") && svg.contains("1.50"),
            "{svg}"
        );
        assert!(svg.contains("no steady figure"), "{svg}");
        for name in [">\nc\n<", ">\nd\n<", ">\nfloor\n<"] {
            assert!(!svg.contains(name), "{name}");
        }
    }

    #[test]
    fn without_a_floor_there_is_no_picture() {
        let cells = vec![cell_result("64,32,1", &[("a", &[3.0; 5])])];
        assert_eq!(
            svg(&Comparison {
                cells,
                ..Comparison::default()
            }),
            None
        );
    }
}
