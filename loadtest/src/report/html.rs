//! `--html FILE`: one page with everything in it; no scripts, nothing loaded from elsewhere.

use std::io;
use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::format::{bytes, micros, rate};
use super::plot::{self, Line, Unit};
use super::summary::{self, Section};
use super::{Report, Sample, output};

const CHART: (u32, u32) = (620, 250);
const WIDE_CHART: (u32, u32) = (1272, 280);

/// Writes the page to a file, or to standard output if the path is `-`.
pub fn write(report: &Report, path: &Path) -> io::Result<()> {
    output::write(path, page(report).as_bytes())
}

/// The page. All texts of the report are escaped.
pub fn page(report: &Report) -> String {
    let title = format!("loadtest {}", report.scenario);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Without an icon of its own, a browser asks the page's server for one.
                link rel="icon" href="data:,";
                title { (title) " – " (report.target) }
                style { (PreEscaped(include_str!("page.css"))) (PreEscaped(plot::STYLE.as_str())) }
            }
            body {
                (head(report))
                (warnings(report))
                (cards(report))
                div.charts { @for chart in charts(report) { (chart) } }
                div.tables { @for section in summary::sections(report) { (table(&section)) } }
                (settings(report))
            }
        }
    }
    .into_string()
}

fn head(report: &Report) -> Markup {
    html! {
        header {
            h1 { (report.scenario) " " span { (report.target) } }
            p {
                @if report.seconds > 0.0 { (super::format::seconds(report.seconds)) " measured" }
                @if !report.started.is_empty() { ", started " time { (report.started) } }
            }
        }
    }
}

fn warnings(report: &Report) -> Markup {
    html! {
        @for warning in summary::warnings(report) { p.warning role="alert" { (warning) } }
        @for note in &report.notes { p.warning role="note" { (note) } }
    }
}

/// The figures people look for first.
fn cards(report: &Report) -> Markup {
    let latency = report.latency.as_ref();
    let shown = latency
        .map(|latency| latency.corrected.as_ref().unwrap_or(&latency.raw))
        .filter(|q| q.count > 0);
    let server = report.server.as_ref();
    let opened = Some(report.connections.opened).filter(|opened| *opened > 0);
    let handshake = report.handshake.as_ref().filter(|q| q.count > 0);
    let cpu = format!("server {}", summary::cpu_per(report));
    let cards = [
        (
            "messages",
            (report.messages.per_second > 0.0).then(|| rate(report.messages.per_second)),
        ),
        ("median latency", shown.map(|q| micros(q.p50))),
        ("p99 latency", shown.map(|q| micros(q.p99))),
        ("p99.9 latency", shown.map(|q| micros(q.p999))),
        (&cpu, server.and_then(|s| s.cpu_per_message_us).map(micros)),
        (
            "memory per connection",
            server.and_then(|s| s.memory_per_connection).map(bytes),
        ),
        ("connections opened", opened.map(super::format::count)),
        ("p99 handshake", handshake.map(|q| micros(q.p99))),
    ];
    html! {
        div.cards {
            @for (name, value) in cards.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                div.card { strong { (value) } span { (name) } }
            }
        }
    }
}

fn charts(report: &Report) -> Vec<Markup> {
    let series = &report.series;
    let mut charts = Vec::new();
    if let Some(curves) = latency_curves(report) {
        charts.push(figure(
            "Latency by percentile",
            true,
            plot::percentiles(&curves, WIDE_CHART),
        ));
    }
    let mut over_time = |title, wide: bool, unit, lines: Vec<Line<'_>>| {
        let size = if wide { WIDE_CHART } else { CHART };
        // One point is no line.
        if lines.iter().any(|line| line.points.len() > 1) {
            charts.push(figure(
                title,
                wide,
                plot::lines(&lines, Unit::Seconds, unit, size),
            ));
        }
    };
    if series.iter().any(|sample| sample.messages_per_second > 0.0) {
        over_time(
            "Throughput",
            true,
            Unit::Rate,
            vec![line("messages", series, |s| Some(s.messages_per_second))],
        );
    }
    let medians = line("median", series, |s| s.p50_us);
    over_time(
        "Latency",
        false,
        Unit::Micros,
        vec![medians, line("p99", series, |s| s.p99_us)],
    );
    over_time(
        "Connections open",
        false,
        Unit::Count,
        vec![line("open", series, |s| Some(s.connections as f64))],
    );
    over_time(
        "Server memory, resident",
        false,
        Unit::Bytes,
        vec![line("memory", series, |s| Some(s.server_memory? as f64))],
    );
    over_time(
        "Server CPU, of one core",
        false,
        Unit::Share,
        vec![line("CPU", series, |s| s.server_cpu)],
    );
    charts
}

fn latency_curves(report: &Report) -> Option<Vec<Line<'_>>> {
    let latency = report.latency.as_ref();
    let curves: Vec<Line<'_>> = [
        (
            "raw: from the moment of sending",
            latency.map(|latency| &latency.raw),
        ),
        (
            "corrected: from the scheduled moment",
            latency.and_then(|latency| latency.corrected.as_ref()),
        ),
        ("opening handshake", report.handshake.as_ref()),
    ]
    .into_iter()
    .filter_map(|(name, quantiles)| {
        Some(Line {
            name,
            points: quantiles?.curve.clone(),
        })
    })
    .filter(|line| !line.points.is_empty())
    .collect();
    (!curves.is_empty()).then_some(curves)
}

fn line<'a>(name: &'a str, series: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Line<'a> {
    Line {
        name,
        points: series
            .iter()
            .filter_map(|sample| Some((sample.at, value(sample)?)))
            .collect(),
    }
}

fn figure(title: &str, wide: bool, svg: String) -> Markup {
    html! {
        figure.wide[wide] {
            figcaption { (title) }
            (PreEscaped(svg))
        }
    }
}

fn table(section: &Section<'_>) -> Markup {
    html! {
        section.long[section.columns.len() > 5] {
            table {
                thead {
                    tr {
                        th scope="col" { (section.title) }
                        @for column in &section.columns { th scope="col" { (column) } }
                        @if section.columns.is_empty() { td {} }
                    }
                }
                tbody {
                    @for row in &section.rows {
                        tr {
                            th scope="row" { (row[0]) }
                            @for cell in &row[1..] { td { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

fn settings(report: &Report) -> Markup {
    html! {
        @if !report.settings.is_empty() {
            footer {
                @for (name, value) in &report.settings { code { "--" (name) @if !value.is_empty() { " " (value) } } " " }
            }
        }
    }
}
