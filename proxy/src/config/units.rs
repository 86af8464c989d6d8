//! Numbers, times and sizes.

use std::str::FromStr;
use std::time::Duration;

use super::diagnostic::Fault;
use super::lexer::Word;

/// HAProxy's timers are 31-bit counts of milliseconds; longer times are refused as it does.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// A time with an optional unit (`us`, `ms`, `s`, `m`, `h`, `d`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// How long.
    pub duration: Duration,
    /// Whether a unit was written.
    pub has_unit: bool,
}

/// Reads a time; a bare number counts milliseconds.
///
/// # Errors
/// A sentence without the keyword's name.
pub fn time(text: &str) -> Result<Time, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!(
            "expects a time (a number, then 'us', 'ms', 's', 'm', 'h' or 'd'), got '{text}'"
        ));
    }
    let micros_per_unit: u64 = match unit {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(format!("has an unknown time unit '{unit}' in '{text}'")),
    };
    let duration = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(micros_per_unit))
        .map(Duration::from_micros)
        .filter(|&d| d <= LONGEST)
        .ok_or_else(|| {
            format!("overflows with '{text}' (the longest time is 2147483647 ms, about 24.8 days)")
        })?;
    Ok(Time {
        duration,
        has_unit: !unit.is_empty(),
    })
}

/// Reads a size in bytes; `k`, `m` and `g` (either case) multiply by 1024 each.
///
/// # Errors
/// A sentence without the keyword's name.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!(
            "expects a size (a number, then 'k', 'm' or 'g'), got '{text}'"
        ));
    }
    let shift = match suffix {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err(format!("has an unknown size suffix '{suffix}' in '{text}'")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or_else(|| format!("overflows with '{text}'"))
}

/// A whole decimal number within `range`, for the keyword `name`.
///
/// # Errors
/// Anything else, with the range in the message.
pub fn integer<T>(name: &str, word: &Word, range: std::ops::RangeInclusive<T>) -> Result<T, Fault>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    match word.text.parse::<T>() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(word.fault(format!(
            "'{name}' expects an integer between {} and {} (got '{}')",
            range.start(),
            range.end(),
            word.text
        ))),
    }
}

/// A time for the keyword `name`.
///
/// # Errors
/// Not a time.
pub fn time_of(name: &str, word: &Word) -> Result<Time, Fault> {
    time(&word.text).map_err(|why| word.fault(format!("'{name}' {why}")))
}

/// A size in bytes for the keyword `name`.
///
/// # Errors
/// Not a size.
pub fn size_of(name: &str, word: &Word) -> Result<u64, Fault> {
    size(&word.text).map_err(|why| word.fault(format!("'{name}' {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let table: &[(&str, Option<(u64, bool)>)] = &[
            ("0", Some((0, false))),
            ("5", Some((5_000, false))),
            ("5us", Some((5, true))),
            ("5ms", Some((5_000, true))),
            ("5s", Some((5_000_000, true))),
            ("5m", Some((300_000_000, true))),
            ("2h", Some((7_200_000_000, true))),
            ("1d", Some((86_400_000_000, true))),
            ("24d", Some((24 * 86_400_000_000, true))),
            ("25d", None),
            ("2147483648", None),
            ("99999999999999999999", None),
            ("", None),
            ("s", None),
            ("5x", None),
            ("5 s", None),
            ("-5", None),
            ("5S", None),
            ("1.5s", None),
        ];
        for (text, expected) in table {
            let got = time(text).ok();
            let expected = expected.map(|(us, has_unit)| Time {
                duration: Duration::from_micros(us),
                has_unit,
            });
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let table: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("100", Some(100)),
            ("1k", Some(1 << 10)),
            ("2M", Some(2 << 20)),
            ("3g", Some(3 << 30)),
            ("99999999999g", None),
            ("k", None),
            ("1t", None),
            ("1kb", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(size(text).ok(), *expected, "{text}");
        }
    }
}
