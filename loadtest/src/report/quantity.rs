//! Numbers with units, as flags and conditions take them.

use std::fmt;
use std::ops::RangeInclusive;

use super::format;

/// Why something is no number with a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadQuantity {
    /// It is no number.
    Number(String),
    /// Its unit is of another kind; with the units that fit.
    Unit(String, &'static str),
    /// It needs a unit and has none; with the units that fit.
    NoUnit(String, &'static str),
}

impl fmt::Display for BadQuantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(out, "`{value}` does not begin with a number from 0 up"),
            Self::NoUnit(value, units) => {
                write!(out, "`{value}` has no unit: {units}, such as {value}ms")
            }
            Self::Unit(value, units) => write!(out, "`{value}` needs another unit: {units}"),
        }
    }
}

/// What a number with a unit is. Times are kept in microseconds, as the report has them.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `5ms`
    Time,
    /// `100k`, `100k/s`
    Rate,
    /// `16KiB`
    Bytes,
    /// `2k`
    Number,
}

impl Kind {
    /// Reads `1.5k`, `120_000`, `2e6`, each with a unit that fits; from 0 up.
    ///
    /// # Errors
    ///
    /// It is no number, or its unit is of another kind or missing where there must be one.
    pub fn parse(self, value: &str) -> Result<f64, BadQuantity> {
        let (number, unit) = value.split_at(number_end(value));
        let number: f64 = number
            .replace('_', "")
            .parse()
            .map_err(|_| BadQuantity::Number(value.into()))?;
        let unit = unit.trim();
        let factor = self
            .units()
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| factor);
        match factor {
            Some(factor) => Ok(number * factor),
            None if unit.is_empty() => Err(BadQuantity::NoUnit(value.into(), self.hint())),
            None => Err(BadQuantity::Unit(value.into(), self.hint())),
        }
    }

    fn units(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Time => &[
                ("ns", 1e-3),
                ("us", 1.0),
                ("µs", 1.0),
                ("ms", 1e3),
                ("s", 1e6),
            ],
            Self::Bytes => &[
                ("", 1.0),
                ("B", 1.0),
                ("KiB", 1024.0),
                ("MiB", 1_048_576.0),
                ("GiB", 1_073_741_824.0),
            ],
            Self::Rate => &[
                ("", 1.0),
                ("/s", 1.0),
                ("k", 1e3),
                ("k/s", 1e3),
                ("M", 1e6),
                ("M/s", 1e6),
            ],
            Self::Number => &[("", 1.0), ("k", 1e3), ("M", 1e6)],
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Time => "ns, us, ms or s",
            Self::Bytes => "none for bytes, KiB, MiB or GiB",
            Self::Rate | Self::Number => "none, k or M",
        }
    }

    /// As people read it.
    pub(super) fn display(self, value: f64) -> String {
        match self {
            Self::Time => format::micros(value),
            Self::Rate => format::rate(value),
            Self::Bytes => format::bytes(value),
            Self::Number => format::plain(value),
        }
    }
}

/// Where the number ends that a text begins with.
fn number_end(text: &str) -> usize {
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_');
        end.unwrap_or(text.len())
    };
    let end = digits(text);
    let rest = &text[end..];
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else {
        return end;
    };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    text.len() - exponent.len() + digits(exponent)
}

/// A parser of whole numbers in this range, such as 500 or 2k.
pub fn whole(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| {
        let (first, last) = (*range.start(), *range.end());
        let fits = |number: &f64| {
            number.fract() == 0.0 && (f64::from(first)..=f64::from(last)).contains(number)
        };
        let number = Kind::Number.parse(text.trim()).ok().filter(fits);
        number.map(|number| number as u32).ok_or_else(|| {
            format!("expected a whole number from {first} to {last}, such as 500 or 2k")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_same_spellings_everywhere() {
        for (text, number) in [
            ("5", 5.0),
            ("100k", 1e5),
            ("1.5M", 1.5e6),
            ("2 k", 2e3),
            ("120_000", 1.2e5),
            ("1e3", 1e3),
            ("1e-2", 1e-2),
            ("2.5E+2k", 2.5e5),
        ] {
            assert_eq!(Kind::Rate.parse(text), Ok(number), "{text}");
            assert_eq!(Kind::Number.parse(text), Ok(number), "{text}");
        }
        assert_eq!(Kind::Rate.parse("3k/s"), Ok(3e3));
        for text in [
            "", "k", "-1", "1e", "1.2.3", "e5", "5kk", "5m", "inf", "NaN",
        ] {
            assert!(Kind::Rate.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_whole_and_in_their_range() {
        let parse = whole(1..=100_000);
        assert_eq!(parse("2k"), Ok(2000));
        assert_eq!(parse("0.1M"), Ok(100_000));
        for text in ["0", "0.5", "1.0005k", "101k", "-1", "2k/s", "1e30", "many"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("from 1 to 100000, such as"), "{error}");
        }
        assert_eq!(whole(1..=u32::MAX)("4294967295"), Ok(u32::MAX));
    }
}
