//! Tables, for a terminal and as Markdown.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::cell::{Load, Metric, Placement};
use super::results::{CellResult, Comparison, ServerSamples};
use super::servers::{self, FLOOR};
use super::stats::{LEAST_ROUNDS, MOST_DISAGREEMENT, Ratio, Spread};

/// Marks figures of samples in which the client was the bottleneck.
const BOTTLENECK: &str = "†";
/// Stands for what is not there.
const NOTHING: &str = "-";

/// How tables look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Terminal,
    Markdown,
}

#[derive(Debug)]
struct Grid {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Everything a comparison found, as text.
pub(crate) fn render(comparison: &Comparison, style: Style) -> String {
    let mut text = String::new();
    let heading = |text: &mut String, title: &str| {
        let _ = match style {
            Style::Terminal => write!(text, "\n{title}\n"),
            Style::Markdown => write!(text, "\n### {title}\n\n"),
        };
    };
    text.push_str(&preface(comparison));
    for result in &comparison.cells {
        let rate = result
            .rate
            .map_or(String::new(), |rate| format!(", {rate} messages/s"));
        heading(&mut text, &format!("{}{rate}", result.cell.title()));
        text.push_str(&draw(&cell_grid(result), style));
        for note in notes(result) {
            let _ = match style {
                Style::Terminal => writeln!(text, "  {note}"),
                Style::Markdown => write!(text, "\n- {note}"),
            };
        }
        if style == Style::Markdown && !text.ends_with('\n') {
            text.push('\n');
        }
    }
    for (placement, title) in [
        (
            Placement::Pinned,
            "Overall: one core for the server, one for the client",
        ),
        (Placement::TwoCores, "Overall: two cores, nothing pinned"),
    ] {
        if let Some(grid) = overall_grid(comparison, placement) {
            heading(&mut text, title);
            text.push_str(&draw(&grid, style));
        }
    }
    text.push_str(&legend(comparison));
    text
}

/// Where, when, of what.
fn preface(comparison: &Comparison) -> String {
    let network = &comparison.network;
    let place = if network.private {
        "a network namespace of its own"
    } else {
        "the host's network"
    };
    let mut text = format!(
        "{}.\nLoopback in {place}, congestion control {}",
        comparison.machine.line(),
        network.congestion_control
    );
    if let Some(note) = &network.note {
        let _ = write!(text, " ({note})");
    }
    let settings: Vec<String> = comparison
        .settings
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let _ = writeln!(text, "; {}.", settings.join(", "));
    if comparison.interrupted {
        text.push_str("Interrupted: not all samples were taken.\n");
    }
    let versions = versions(comparison);
    if !versions.is_empty() {
        let _ = writeln!(text, "Servers: {}.", versions.join("; "));
    }
    for server in &comparison.servers {
        if let Some(why) = &server.left_out {
            let _ = writeln!(text, "Left out: {}: {why}.", server.name);
        }
    }
    text
}

/// Such as `bun 1.4.5 (bun)`: each version once, with the servers it is of.
fn versions(comparison: &Comparison) -> Vec<String> {
    let mut versions: Vec<(&str, Vec<&str>)> = Vec::new();
    for server in comparison
        .servers
        .iter()
        .filter(|server| server.left_out.is_none())
    {
        match versions
            .iter_mut()
            .find(|(version, _)| *version == server.version)
        {
            _ if server.version.is_empty() => {}
            Some((_, names)) => names.push(&server.name),
            None => versions.push((&server.version, vec![&server.name])),
        }
    }
    versions
        .iter()
        .map(|(version, names)| format!("{version} ({})", names.join(", ")))
        .collect()
}

fn legend(comparison: &Comparison) -> String {
    let mut text = format!(
        "\nMedians (smallest-largest) over the rounds. A ratio is the median of the rounds' own ratios; \
         \"unsure\" stands where fewer than {LEAST_ROUNDS} rounds are good or their \
         interquartile range is over {:.0}% of it.\n",
        MOST_DISAGREEMENT * 100.0
    );
    let servers = || comparison.cells.iter().flat_map(|cell| &cell.servers);
    if servers().any(|server| server.bottlenecks().is_some()) {
        let _ = writeln!(
            text,
            "{BOTTLENECK} In some samples the client was the bottleneck."
        );
    }
    text
}

/// A row for each server: all figures, and the ratios of the cell's own one.
fn cell_grid(result: &CellResult) -> Grid {
    let cell = result.cell;
    let own = servers::ours(cell.placement);
    let metrics: Vec<Metric> = Metric::ALL
        .into_iter()
        .filter(|metric| cell.metrics().contains(metric))
        .collect();
    let mut header = vec!["server".to_owned()];
    header.extend(
        metrics
            .iter()
            .map(|metric| metric.heading(cell.load).to_owned()),
    );
    let bases: Vec<&str> = [FLOOR, own]
        .into_iter()
        .filter(|base| result.server(base).is_some())
        .collect();
    let what = cell.primary().name();
    header.extend(bases.iter().map(|base| format!("{what} / {base}")));
    let row = |server: &ServerSamples| {
        let mark = if server.bottlenecks().is_some() {
            BOTTLENECK
        } else {
            ""
        };
        let mut row = vec![format!("{}{mark}", server.name)];
        row.extend(metrics.iter().map(|&metric| figure(server.spread(metric))));
        row.extend(bases.iter().map(|base| {
            result
                .ratio(cell.primary(), &server.name, base)
                .map_or(NOTHING.to_owned(), |r| whole_ratio(&r))
        }));
        row
    };
    Grid {
        header,
        rows: result.servers.iter().map(row).collect(),
    }
}

/// A row for each cell: every server's own figure, with its ratio to the floor.
fn overall_grid(comparison: &Comparison, placement: Placement) -> Option<Grid> {
    let cells: Vec<&CellResult> = comparison
        .cells
        .iter()
        .filter(|result| result.cell.placement == placement)
        .collect();
    let names: Vec<&str> = comparison
        .servers
        .iter()
        .map(|server| server.name.as_str())
        .filter(|name| cells.iter().any(|cell| cell.server(name).is_some()))
        .collect();
    if cells.is_empty() || names.is_empty() {
        return None;
    }
    let mut header = vec!["cell".to_owned(), "figure".to_owned()];
    header.extend(names.iter().map(|name| (*name).to_owned()));
    let row = |result: &&CellResult| {
        let metric = result.cell.primary();
        let mut row = vec![
            short_title(result),
            metric.heading(result.cell.load).to_owned(),
        ];
        row.extend(names.iter().map(|name| overall(result, name, metric)));
        row
    };
    Some(Grid {
        header,
        rows: cells.iter().map(row).collect(),
    })
}

fn short_title(result: &CellResult) -> String {
    match result.cell.load {
        Load::Handshake { .. } => "handshakes".to_owned(),
        _ => result
            .cell
            .to_string()
            .trim_start_matches("2core:")
            .replace(',', ", "),
    }
}

/// Such as `5.12 (1.07x)`.
fn overall(result: &CellResult, name: &str, metric: Metric) -> String {
    let Some(server) = result.server(name) else {
        return NOTHING.to_owned();
    };
    let Some(spread) = server.spread(metric) else {
        return "failed".to_owned();
    };
    let mark = if server.bottlenecks().is_some() {
        BOTTLENECK
    } else {
        ""
    };
    let failed = if server.failures().is_some() { "!" } else { "" };
    let figure = format!("{}{mark}{failed}", number(spread.median));
    match result.ratio(metric, name, FLOOR).filter(|_| name != FLOOR) {
        Some(Ratio::Sure(ratio)) => format!("{figure} ({}x)", ratio_number(ratio.median)),
        Some(Ratio::Unsure(_)) => format!("{figure} (unsure)"),
        None => figure,
    }
}

/// What to know about a cell's figures: failed samples, refused ratios, a busy client.
fn notes(result: &CellResult) -> Vec<String> {
    let mut notes = Vec::new();
    for server in &result.servers {
        if let Some((count, why)) = server.failures() {
            notes.push(format!(
                "{}: {count} of {} samples failed: {why}",
                server.name,
                server.samples.len()
            ));
        }
        let ratio = result.ratio(result.cell.primary(), &server.name, FLOOR);
        if let Some(Ratio::Unsure(why)) = ratio.filter(|_| server.name != FLOOR) {
            notes.push(format!("{}: no ratio to the floor: {why}", server.name));
        }
    }
    notes.extend(bottlenecks(&result.servers));
    let left_out = result.left_out.iter();
    notes.extend(left_out.map(|(name, why)| format!("{name} is left out: {why}")));
    notes
}

/// In which samples the client was the bottleneck, and one of the reasons.
fn bottlenecks(servers: &[ServerSamples]) -> Option<String> {
    let all: Vec<_> = servers
        .iter()
        .filter_map(|server| Some((server, server.bottlenecks()?)))
        .collect();
    let (_, (_, why)) = all.first()?;
    let counts: Vec<String> = all
        .iter()
        .map(|(server, (count, _))| format!("{} {count} of {}", server.name, server.samples.len()))
        .collect();
    Some(format!(
        "{BOTTLENECK} the client was the bottleneck in samples of {}, such as: {why}",
        counts.join(", ")
    ))
}

fn figure(spread: Option<Spread>) -> String {
    match spread {
        None => "failed".to_owned(),
        Some(one) if one.count == 1 => number(one.median),
        Some(s) => format!("{} ({}-{})", number(s.median), number(s.min), number(s.max)),
    }
}

fn whole_ratio(ratio: &Ratio) -> String {
    match ratio {
        Ratio::Unsure(_) => "unsure".to_owned(),
        Ratio::Sure(s) => {
            let [median, min, max] = [s.median, s.min, s.max].map(ratio_number);
            format!("{median} ({min}-{max})")
        }
    }
}

/// Two places up to 10, less beyond: 1.07, 12.3, 1470.
fn ratio_number(ratio: f64) -> String {
    match ratio {
        r if r < 10.0 => format!("{r:.2}"),
        r if r < 100.0 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

/// About three digits: 0.324, 5.12, 93.0, 137k.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 999_500.0 => format!("{:.2}M", value / 1e6),
        v if v >= 99_950.0 => format!("{:.0}k", value / 1e3),
        v if v >= 9_999.5 => format!("{:.1}k", value / 1e3),
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn draw(grid: &Grid, style: Style) -> String {
    let mut table = Table::new();
    match style {
        Style::Terminal => table.load_style(presets::UTF8_FULL_CONDENSED),
        Style::Markdown => table.load_style(presets::ASCII_MARKDOWN),
    };
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(&grid.header);
    table.add_rows(&grid.rows);
    if style == Style::Terminal {
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

#[cfg(test)]
mod tests {
    use super::super::results::ServerInfo;
    use super::super::results::tests::cell_result;
    use super::*;

    fn comparison() -> Comparison {
        let mut busy = cell_result(
            "64,32,1",
            &[
                ("sockeye-inline", &[5.0; 5]),
                ("floor", &[4.0; 5]),
                ("ws", &[8.0, 8.0, 8.0, 16.0, 16.0]),
            ],
        );
        busy.servers[1].samples[0].bottleneck = Some("its busiest thread was at 99%".into());
        let faulty = cell_result(
            "idle",
            &[
                ("sockeye-inline", &[93.0, 93.0, 93.0, 93.0, -1.0]),
                ("floor", &[40.0; 5]),
            ],
        );
        let server = |name: &str, left_out: Option<&str>| ServerInfo {
            name: name.into(),
            version: String::new(),
            left_out: left_out.map(Into::into),
        };
        Comparison {
            servers: vec![
                server("sockeye-inline", None),
                server("floor", None),
                server("ws", None),
                server("bun", Some("npm: cannot be started")),
            ],
            cells: vec![busy, faulty],
            ..Comparison::default()
        }
    }

    #[test]
    fn numbers_have_about_three_digits() {
        let cases = [
            (0.3241, "0.324"),
            (0.9999, "1.00"),
            (5.123, "5.12"),
            (9.996, "10.0"),
            (93.0, "93.0"),
            (99.96, "100"),
            (5762.4, "5762"),
            (9999.6, "10.0k"),
            (25_040.0, "25.0k"),
            (137_400.0, "137k"),
            (999_600.0, "1.00M"),
            (1_234_000.0, "1.23M"),
            (0.0, "0.000"),
            (-4.0, "-4.00"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_cell_has_figures_ratios_and_what_to_know() {
        let text = render(&comparison(), Style::Markdown);
        assert!(
            text.contains("### 64 connections, 32 B, 1 in flight"),
            "{text}"
        );
        let row = |name: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("| {name}")))
                .unwrap();
            line.split('|')
                .map(|cell| cell.trim().to_owned())
                .collect::<Vec<_>>()
        };
        let sockeye = row("sockeye-inline");
        assert_eq!(sockeye[3], "5.00 (5.00-5.00)");
        assert_eq!(sockeye[7], "1.25 (1.25-1.25)");
        assert_eq!(sockeye[8], "1.00 (1.00-1.00)");
        assert_eq!(row("ws")[7], "unsure");
        assert!(row("floor")[1].contains('†'));
        assert!(
            text.contains("- ws: no ratio to the floor: rounds disagree by 100%"),
            "{text}"
        );
        assert!(
            text.contains("in samples of floor 1 of 5, such as: its busiest thread was at 99%"),
            "{text}"
        );
        assert!(
            text.contains("- sockeye-inline: 1 of 5 samples failed: message lost (3x)"),
            "{text}"
        );
        assert!(
            text.contains("no ratio to the floor: 4 good rounds, 5 wanted"),
            "{text}"
        );
        assert!(
            text.contains("Left out: bun: npm: cannot be started."),
            "{text}"
        );
    }

    #[test]
    fn the_overall_table_has_a_row_for_each_cell() {
        let grid = overall_grid(&comparison(), Placement::Pinned).unwrap();
        assert_eq!(
            grid.header,
            ["cell", "figure", "sockeye-inline", "floor", "ws"]
        );
        assert_eq!(
            grid.rows[0],
            [
                "64, 32, 1",
                "CPU/message µs",
                "5.00 (1.25x)",
                "4.00†",
                "8.00 (unsure)"
            ]
        );
        assert_eq!(grid.rows[1][2..], ["93.0! (unsure)", "40.0", "-"]);
        assert!(overall_grid(&comparison(), Placement::TwoCores).is_none());
    }

    #[test]
    fn a_server_whose_samples_all_failed_has_no_number() {
        let cells = [cell_result(
            "64,32,1",
            &[("ws", &[-1.0; 5]), ("floor", &[1.0; 5])],
        )];
        let grid = cell_grid(&cells[0]);
        assert_eq!(
            grid.rows[0],
            [
                "ws", "failed", "failed", "failed", "failed", "failed", "unsure"
            ]
        );
    }

    #[test]
    fn each_version_is_named_once() {
        let mut comparison = comparison();
        for (server, version) in comparison.servers.iter_mut().zip(["x 1", "", "x 1", "y 2"]) {
            server.version = version.into();
        }
        assert_eq!(versions(&comparison), ["x 1 (sockeye-inline, ws)"]);
    }

    #[test]
    fn both_styles_hold_the_same_cells() {
        let terminal = render(&comparison(), Style::Terminal);
        for text in [
            "sockeye-inline",
            "5.00 (5.00-5.00)",
            "unsure",
            "93.0! (unsure)",
        ] {
            assert!(terminal.contains(text), "{text}");
        }
        assert!(!terminal.contains("###"));
    }
}
