//! The values that flags take.

use std::str::FromStr;
use std::time::Duration;

use crate::report::quantity::Kind;

/// The largest payload: the table that messages are cut from is as large.
const MOST_PAYLOAD: usize = 64 << 20;
/// Cores that an affinity mask has room for.
const MOST_CORES: usize = 1024;

/// A list of cores such as `0-1,3`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cores(pub(super) Vec<usize>);

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cores = Vec::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let core = |text: &str| match text.parse::<usize>() {
                Ok(core) if core < MOST_CORES => Ok(core),
                _ => Err(format!(
                    "{part:?} is no core, nor a range of them such as 0-3"
                )),
            };
            let (first, last) = (core(first)?, core(last)?);
            if first > last {
                return Err(format!("{part:?} goes down"));
            }
            cores.extend(first..=last);
        }
        Ok(Self(cores))
    }
}

/// The size of a message in bytes: `125`, `16KiB`, `1m`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    match size(text)? {
        size if size <= MOST_PAYLOAD as u64 => Ok(size as usize),
        _ => Err("at most 64MiB".into()),
    }
}

/// Any number of bytes: `16KiB`, `1g`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const WANTED: &str = "expected a whole number of bytes, KiB, MiB or GiB";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(WANTED.into()),
    };
    let number: u64 = number.parse().map_err(|_| WANTED)?;
    number
        .checked_mul(scale)
        .ok_or_else(|| "too many bytes".into())
}

/// A time: `10s`, `300ms`, `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    match humantime::parse_duration(text) {
        Ok(time) if time <= Duration::from_secs(30 * 24 * 60 * 60) => Ok(time),
        Ok(_) => Err("at most 30 days".into()),
        Err(error) => Err(format!("expected a time such as 10s or 300ms: {error}")),
    }
}

/// A time that is not zero.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        time => Ok(time),
    }
}

/// A part of a whole, 0 to 1.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// A part of a whole that is not nothing.
pub(super) fn part(text: &str) -> Result<f64, String> {
    match fraction(text)? {
        0.0 => Err("must be more than 0".into()),
        part => Ok(part),
    }
}

/// So many per second, more than none.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match Kind::Rate.parse(text.trim()) {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("expected a number per second from 0.001 to 1e9, such as 500 or 2k".into()),
    }
}

/// So many per second, or 0.
pub(super) fn rate_or_none(text: &str) -> Result<f64, String> {
    if text == "0" { Ok(0.0) } else { rate(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!("".parse(), Ok(Cores(vec![])));
        assert_eq!("1".parse(), Ok(Cores(vec![1])));
        assert_eq!("0-2,5".parse(), Ok(Cores(vec![0, 1, 2, 5])));
        for text in ["a", "1-", "2-1", "1,", "1024"] {
            assert!(text.parse::<Cores>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("16KiB"), Ok(16384));
        assert_eq!(bytes("1 MiB"), Ok(1 << 20));
        assert_eq!(size("4GiB"), Ok(4 << 30));
        for text in [
            "",
            "-1",
            "KiB",
            "1.5k",
            "65MiB",
            "1GiB",
            "99999999999999999999",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_parts_and_rates() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("10").is_err());
        assert_eq!(fraction("0.5"), Ok(0.5));
        assert!(fraction("1.1").is_err() && fraction("NaN").is_err());
        assert_eq!(rate("2.5"), Ok(2.5));
        assert_eq!((rate("100k"), rate("1.5M/s")), (Ok(1e5), Ok(1.5e6)));
        assert_eq!(rate("1e9"), Ok(1e9));
        assert!(rate("0").is_err() && rate("-1").is_err() && rate("inf").is_err());
    }
}
