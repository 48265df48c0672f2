//! Exact decimals, because a sum of prices must not end in …0000004.

use std::fmt;
use std::ops::AddAssign;

const PLACES: usize = 9;
const ONE: i128 = 10_i128.pow(9);
/// Far beyond any real figure, and small enough that sums of millions of them cannot overflow.
const MAX_DIGITS: usize = 18;

/// A number with nine places after the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decimal(i128);

impl Decimal {
    /// Reads `-12.50` and the like; nothing else, in particular no exponent.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        if whole.len() > MAX_DIGITS || fraction.len() > PLACES {
            return None;
        }
        let scale = 10_i128.pow(u32::try_from(PLACES - fraction.len()).ok()?);
        let whole = i128::from(whole.parse::<i64>().ok()?);
        let fraction = i128::from(fraction.parse::<i64>().ok()?);
        Some(Self(sign * (whole * ONE + fraction * scale)))
    }

    /// The quotient, rounded half away from zero.
    pub fn divide(self, by: u64) -> Self {
        let by = i128::from(by);
        let half = by / 2 * self.0.signum();
        Self((self.0 + half) / by)
    }
}

impl AddAssign for Decimal {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.abs() / ONE, self.0.abs() % ONE);
        let text = format!("{sign}{whole}.{fraction:0PLACES$}");
        formatter.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    fn read(text: &str) -> Decimal {
        Decimal::parse(text).expect(text)
    }

    #[test]
    fn sums_are_exact() {
        let mut sum = Decimal::default();
        for text in ["0.1", "0.2", "-0.05"] {
            sum += read(text);
        }
        assert_eq!(sum.to_string(), "0.25");
    }

    #[test]
    fn halves_round_away_from_zero() {
        assert_eq!(read("0.000000001").divide(2).to_string(), "0.000000001");
        assert_eq!(read("-0.000000001").divide(2).to_string(), "-0.000000001");
        assert_eq!(read("10").divide(3).to_string(), "3.333333333");
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1e3",
            "+1",
            "1,5",
            "NaN",
            "0.0000000001",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }
}
