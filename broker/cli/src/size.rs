//! Sizes, counts and rates as people read and write them.

use std::str::FromStr;

use bytesize::ByteSize;

/// Bytes for people: `1.5 GiB`.
pub fn bytes(count: u64) -> String {
    ByteSize::b(count).display().iec().to_string()
}

/// A count with thin separators: `336,776`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things: `1 record`, `2 records`.
pub fn counted(number: u64, thing: &str) -> String {
    let many = if number == 1 { "" } else { "s" };
    format!("{} {thing}{many}", count(number))
}

/// Bytes as `10GiB`, `500MB` or `4096`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bytes = text.parse::<ByteSize>().map(|size| size.as_u64());
    bytes.map_err(|_| format!("{text:?} is no size; write it like 10GiB or 500MB"))
}

/// A count, or a number that counts from 0.
pub fn parse_count<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "it is a whole number, from 0".to_owned())
}

/// Records per second that `--rate` asks for: `5000` or `5000/s`.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse::<f64>()
        .ok()
        .filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "write records per second, for example 5000/s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (336_776, "336,776"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(0, "record"), "0 records");
        assert_eq!(counted(1000, "record"), "1,000 records");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("4096", 4096),
            ("10GiB", 10 << 30),
            ("500MB", 500_000_000),
            ("1.5 KiB", 1536),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "much", "-1", "1 stone"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(parse_rate("5000/s"), Ok(5000.0));
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        for text in ["", "0", "-1", "inf", "fast"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
