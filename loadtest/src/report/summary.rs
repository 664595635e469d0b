//! The summary: sections of a report as rows of text, and these as a table for a terminal.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::format::{bytes, count, exact_percentage, micros, percent, plain, rate, seconds};
use super::{Quantiles, Report, ServerUse};

/// A line below the headings and no other.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A part of the summary: one small table.
#[derive(Clone, Debug, PartialEq)]
pub struct Section<'a> {
    /// What its rows are about; the heading of the first column.
    pub title: &'a str,
    /// Headings of the other columns; empty for a list of names and values.
    pub columns: Vec<&'a str>,
    /// The rows; the first entry is the row's name.
    pub rows: Vec<Vec<String>>,
}

impl<'a> Section<'a> {
    fn list(title: &'a str, rows: Vec<(&str, String)>) -> Self {
        let rows = rows
            .into_iter()
            .map(|(name, value)| vec![name.into(), value])
            .collect();
        Self {
            title,
            columns: Vec::new(),
            rows,
        }
    }
}

/// The parts of the summary in their order, without those the run has nothing for.
pub fn sections(report: &Report) -> Vec<Section<'_>> {
    let mut sections = vec![connections(report), messages(report), checks(report)];
    sections.extend(times(report));
    sections.extend(
        report
            .server
            .as_ref()
            .map(|server| server_use(server, report)),
    );
    sections.push(client_use(report));
    // Those with a dot are in the tables.
    let details = report
        .details
        .iter()
        .filter(|(name, _)| !name.contains('.'));
    let value = |name: &str, value: f64| match name.ends_with("_percent") {
        true => exact_percentage(value),
        false => plain(value),
    };
    let rows: Vec<_> = details
        .map(|(name, found)| (name.as_str(), value(name, *found)))
        .collect();
    if !rows.is_empty() {
        sections.push(Section::list("details", rows));
    }
    sections.extend(report.tables.iter().map(|table| Section {
        title: &table.title,
        columns: table.columns.iter().map(String::as_str).collect(),
        rows: table.rows.clone(),
    }));
    if !report.faults.is_empty() {
        let rows = report
            .faults
            .iter()
            .map(|fault| vec![fault.what.clone(), count(fault.count)])
            .collect();
        sections.push(Section {
            title: "faults",
            columns: vec!["times"],
            rows,
        });
    }
    sections
}

/// What a reader must see before the figures: faults, thresholds that did not hold, and a bottleneck
/// in the client.
pub fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    if !report.is_faultless() {
        let times = report.faults.iter().map(|fault| fault.count).sum();
        warnings.push(format!("the run has faults: {}", count(times)));
    }
    warnings.extend(
        report
            .failed_requirements
            .iter()
            .map(|text| format!("requirement failed: {text}")),
    );
    if let Some(reason) = &report.client.bottleneck {
        warnings.push(format!("the figures may be the client's: {reason}"));
    }
    warnings
}

/// One line about the run: scenario, target, how long, when.
pub fn heading(report: &Report) -> String {
    let took = (report.seconds > 0.0).then(|| format!("{} measured", seconds(report.seconds)));
    [
        Some(report.scenario.clone()),
        Some(report.target.clone()),
        took,
        Some(report.started.clone()),
    ]
    .into_iter()
    .flatten()
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join("  ")
}

/// The summary for a terminal of `width` columns, as wide as it needs if there is none; with a line
/// end. Control characters in the report's texts do not reach the terminal.
pub fn text(report: &Report, width: Option<u16>) -> String {
    let mut out = format!("{}\n", printable(&heading(report)));
    for section in sections(report) {
        out.push('\n');
        out.push_str(&table(&section, width));
        out.push('\n');
    }
    let warnings = warnings(report);
    if !(warnings.is_empty() && report.notes.is_empty()) {
        out.push('\n');
    }
    for note in &report.notes {
        out.push_str(&format!("NOTE: {}\n", printable(note)));
    }
    for warning in warnings {
        out.push_str(&format!("WARNING: {}\n", printable(&warning)));
    }
    out
}

fn table(section: &Section<'_>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    let value_columns = section.rows.first().map_or(0, |row| row.len() - 1);
    let mut header = vec![section.title];
    header.extend(&section.columns);
    header.resize(1 + value_columns, "");
    table.set_header(header);
    for row in &section.rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    if !section.columns.is_empty() {
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn connections(report: &Report) -> Section<'static> {
    let found = &report.connections;
    Section {
        title: "connections",
        columns: vec!["wanted", "opened", "failed", "lost", "peak"],
        rows: vec![row(
            "",
            [
                found.wanted,
                found.opened,
                found.failed,
                found.lost,
                found.peak,
            ]
            .map(count),
        )],
    }
}

fn messages(report: &Report) -> Section<'static> {
    let found = &report.messages;
    let payload = format!("{}/s", bytes(found.bytes_per_second));
    let figures = [
        count(found.sent),
        count(found.received),
        rate(found.per_second),
        payload,
    ];
    Section {
        title: "messages",
        columns: vec!["sent", "received", "rate", "payload"],
        rows: vec![row("", figures)],
    }
}

/// What every message was checked for.
fn checks(report: &Report) -> Section<'static> {
    let found = &report.messages;
    Section {
        title: "checks",
        columns: vec!["lost", "duplicated", "reordered", "corrupted"],
        rows: vec![row(
            "",
            [
                found.lost,
                found.duplicated,
                found.reordered,
                found.corrupted,
            ]
            .map(count),
        )],
    }
}

fn row(name: &str, figures: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(figures).collect()
}

/// Raw and corrected latency one above the other, the handshake below them.
fn times(report: &Report) -> Option<Section<'static>> {
    let latency = report.latency.as_ref();
    let corrected = latency.and_then(|latency| latency.corrected.as_ref());
    let raw_name = if corrected.is_some() {
        "latency, raw"
    } else {
        "latency"
    };
    let rows: Vec<Vec<String>> = [
        (raw_name, latency.map(|latency| &latency.raw)),
        ("latency, corrected", corrected),
        ("opening handshake", report.handshake.as_ref()),
    ]
    .into_iter()
    .filter_map(|(name, quantiles)| Some(time_row(name, quantiles.filter(|q| q.count > 0)?)))
    .collect();
    (!rows.is_empty()).then(|| Section {
        title: "times",
        columns: vec!["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"],
        rows,
    })
}

fn time_row(name: &str, found: &Quantiles) -> Vec<String> {
    let figures = [
        found.mean,
        found.p50,
        found.p90,
        found.p99,
        found.p999,
        found.p9999,
        found.max,
    ];
    row(name, figures.map(micros))
}

/// What the server's CPU time is shared out among.
pub(super) fn cpu_per(report: &Report) -> &'static str {
    match report.scenario.as_str() {
        "handshake" => "CPU per handshake",
        "broadcast" => "CPU per delivery",
        _ => "CPU per message",
    }
}

fn server_use(server: &ServerUse, report: &Report) -> Section<'static> {
    let wall = report.seconds;
    let mut rows = vec![
        ("process", server.pid.to_string()),
        (
            "CPU time",
            cpu_time(server.user_seconds, server.system_seconds, wall),
        ),
    ];
    if let Some(cpu) = server.cpu_per_message_us {
        rows.push((cpu_per(report), micros(cpu)));
    }
    rows.push((
        "memory, before → after",
        format!(
            "{} → {}",
            bytes(server.memory_before as f64),
            bytes(server.memory_after as f64)
        ),
    ));
    // An attack is not about connections that stay.
    let shrank = server.shrank().filter(|_| report.scenario != "hostile");
    let memory = server.memory_per_connection.map(bytes);
    if let Some(memory) = memory.or(shrank.map(|why| format!("n/a: {why}"))) {
        rows.push(("memory per connection", memory));
    }
    rows.push((
        "kernel TCP buffers, machine",
        bytes(server.kernel_socket_memory as f64),
    ));
    Section::list("server", rows)
}

fn client_use(report: &Report) -> Section<'static> {
    let client = &report.client;
    let mut rows = vec![
        ("load threads", client.threads.to_string()),
        (
            "CPU time",
            cpu_time(client.user_seconds, client.system_seconds, report.seconds),
        ),
        ("busiest load thread", percent(client.busiest_thread)),
    ];
    if let Some(reason) = &client.bottleneck {
        rows.push(("bottleneck", reason.clone()));
    }
    Section::list("client", rows)
}

/// `2.10 s user + 0.40 s system, 83.3% of one core`.
fn cpu_time(user: f64, system: f64, wall: f64) -> String {
    let times = format!("{} user + {} system", seconds(user), seconds(system));
    if wall > 0.0 {
        format!("{times}, {} of one core", percent((user + system) / wall))
    } else {
        times
    }
}
