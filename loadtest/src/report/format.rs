//! Figures as people read them: three significant digits and a unit.

/// A time given in microseconds: `870 ns`, `45.2 µs`, `1.2 ms`, `3.4 s`.
pub fn micros(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "-".into()
    } else if size == 0.0 {
        "0 µs".into()
    } else if size < 0.9995 {
        with_unit(value * 1e3, "ns")
    } else if size < 999.5 {
        with_unit(value, "µs")
    } else if size < 999_500.0 {
        with_unit(value / 1e3, "ms")
    } else {
        with_unit(value / 1e6, "s")
    }
}

/// A time given in seconds.
pub fn seconds(value: f64) -> String {
    micros(value * 1e6)
}

/// Bytes in powers of 1024: `96 B`, `1.5 KiB`, `293 MiB`.
pub fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A rate in powers of 1000, with `per` after it: `1.23 M/s`.
pub fn rate(value: f64) -> String {
    let figure = scaled(value, 1000.0, &["", "k", "M", "G"]);
    format!(
        "{}{}/s",
        figure.trim_end(),
        if figure.ends_with(' ') { " " } else { "" }
    )
}

/// A short figure for an axis: `250`, `1.5 k`, `2 M`.
pub fn short(value: f64) -> String {
    let figure = scaled(value, 1000.0, &["", "k", "M", "G"]);
    trim_zeros(figure.trim_end())
}

/// A whole number in groups of three digits: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share from 0 to 1 as a percentage.
pub fn percent(share: f64) -> String {
    format!("{}%", significant(share * 100.0))
}

/// A percentage that is a whole number, or as many digits, rounded down, as tell it from one.
pub fn exact_percentage(percent: f64) -> String {
    if percent.fract() == 0.0 {
        plain(percent)
    } else {
        format!("{:.4}", (percent * 1e4).floor() / 1e4)
    }
}

/// A number whose unit only its name tells: whole ones in groups, others with three digits.
pub fn plain(value: f64) -> String {
    if value.fract() == 0.0 && (0.0..9e15).contains(&value) {
        count(value as u64)
    } else {
        significant(value)
    }
}

/// `12.0 ms` as `12 ms`: for ticks and labels, where the zeros say nothing.
pub fn trim_zeros(figure: &str) -> String {
    let (number, unit) = figure.split_once(' ').map_or((figure, ""), |(n, u)| (n, u));
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    if unit.is_empty() {
        number.into()
    } else {
        format!("{number} {unit}")
    }
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= 999.5 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let whole = unit == 0 && value.fract() == 0.0;
    if whole {
        format!("{value} {}", units[0])
    } else {
        with_unit(value, units[unit])
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", significant(value))
}

/// Three significant digits, and all those before the point.
fn significant(value: f64) -> String {
    let size = value.abs();
    if size >= 99.95 || size == 0.0 {
        format!("{value:.0}")
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else if size >= 0.01 {
        format!("{value:.2}")
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_change_their_unit_where_the_digits_would_grow() {
        for (value, text) in [
            (0.0, "0 µs"),
            (0.25, "250 ns"),
            (0.9996, "1.00 µs"),
            (45.21, "45.2 µs"),
            (999.4, "999 µs"),
            (999.6, "1.00 ms"),
            (12_340.0, "12.3 ms"),
            (3_400_000.0, "3.40 s"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(micros(value), text, "{value}");
        }
        assert_eq!(seconds(30.0), "30.0 s");
    }

    #[test]
    fn sizes_count_in_1024_and_rates_in_1000() {
        for (value, text) in [
            (0.0, "0 B"),
            (96.0, "96 B"),
            (999.0, "999 B"),
            (1000.0, "0.98 KiB"),
            (1536.0, "1.50 KiB"),
            (293.0 * 1_048_576.0, "293 MiB"),
            (12.34, "12.3 B"),
        ] {
            assert_eq!(bytes(value), text, "{value}");
        }
        for (value, text) in [
            (0.0, "0 /s"),
            (950.0, "950 /s"),
            (1_234_567.0, "1.23 M/s"),
            (45_600.0, "45.6 k/s"),
        ] {
            assert_eq!(rate(value), text, "{value}");
        }
    }

    #[test]
    fn counts_have_groups_and_ticks_no_idle_zeros() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(short(1500.0), "1.5 k");
        assert_eq!(short(250.0), "250");
        assert_eq!(trim_zeros("10.0 ms"), "10 ms");
        assert_eq!(trim_zeros("100 ms"), "100 ms");
        assert_eq!(plain(12.0), "12");
        assert_eq!(plain(1.2345), "1.23");
        assert_eq!(percent(0.934), "93.4%");
    }
}
