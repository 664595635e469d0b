//! `--json FILE`: the report as JSON, described by `schema.json` next to this file.

use std::io;
use std::path::Path;

use super::{Report, output};

/// The JSON Schema (draft 2020-12) of what [`write()`] writes.
pub const SCHEMA_DOCUMENT: &str = include_str!("schema.json");

/// The report as indented JSON with a line end.
///
/// JSON has no infinities: a figure that is not finite becomes `null`, which the schema refuses.
pub fn text(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report has only string keys");
    text.push('\n');
    text
}

/// Writes the report to a file, or to standard output if the path is `-`.
pub fn write(report: &Report, path: &Path) -> io::Result<()> {
    output::write(path, text(report).as_bytes())
}

/// Reads what [`write()`] wrote; an error says what is wrong with it.
pub fn read(text: &str) -> serde_json::Result<Report> {
    serde_json::from_str(text)
}
