//! The log on standard error: time, level, target, message.

use std::io::Write;

use log::LevelFilter;

/// Installs the logger; `level` is the least severe level that is written. Lines carry no
/// colours, on a terminal or off.
pub(crate) fn init(level: LevelFilter) {
    env_logger::Builder::new()
        .filter_level(level)
        .format(|line, record| {
            writeln!(
                line,
                "{} {:5} {} {}",
                line.timestamp_millis(),
                record.level(),
                record.target(),
                record.args()
            )
        })
        .init();
}
