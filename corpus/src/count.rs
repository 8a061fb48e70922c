//! Numbers as people write them in a run file: `tokens = "245.37B"`, `share = 0.535`.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A whole count (tokens, rows, samples), read from an integer or from text with a decimal suffix K, M, B or T.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub u64);

impl Count {
    /// Parses `"12"`, `"4_608_000"`, `"2.5M"` or `"245.37B"`; the product must be a whole number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace('_', "");
        let exponent = match text.chars().last()? {
            'K' => 3,
            'M' => 6,
            'B' => 9,
            'T' => 12,
            '0'..='9' => 0,
            _ => return None,
        };
        let digits = if exponent == 0 { &text[..] } else { &text[..text.len() - 1] };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = fraction.trim_end_matches('0');
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > exponent {
            return None;
        }
        let padded = format!("{whole}{fraction:0<exponent$}");
        padded.parse().ok().map(Self)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (exponent, suffix) in [(12, "T"), (9, "B"), (6, "M"), (3, "K")] {
            let unit = 10_u64.pow(exponent);
            if self.0 >= unit {
                let text = format!("{:.2}", self.0 as f64 / unit as f64);
                let text = text.trim_end_matches('0').trim_end_matches('.');
                return write!(formatter, "{text}{suffix}");
            }
        }
        write!(formatter, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;
        impl Visitor<'_> for CountVisitor {
            type Value = Count;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a count such as 4096, \"2.5M\" or \"245.37B\"")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Count, E> {
                u64::try_from(value).map(Count).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Count, E> {
                Ok(Count(value))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Count, E> {
                Count::parse(value).ok_or_else(|| E::invalid_value(Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(CountVisitor)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// A share between 0 and 1, both included.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct Share(pub f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(D::Error::invalid_value(Unexpected::Float(value), &"a share between 0.0 and 1.0"))
        }
    }
}

/// An amount of memory, read from text such as `"512MiB"` or `"2GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

    /// Parses a whole number of KiB, MiB or GiB.
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, shift) =
            Self::UNITS.iter().find_map(|&(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), shift)))?;
        let n: u64 = digits.parse().ok()?;
        n.checked_mul(1 << shift).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = Self::UNITS.iter().find(|&&(_, shift)| self.0 >> shift > 0 && self.0.trailing_zeros() >= shift);
        match fits {
            Some(&(unit, shift)) => write!(formatter, "{}{unit}", self.0 >> shift),
            None => write!(formatter, "{} bytes", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"memory such as \"512MiB\" or \"2GiB\""))
    }
}
