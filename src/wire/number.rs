//! Numbers as text: reading, and writing with few decimals.

/// 2^53: a double represents every whole number up to it.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The powers of ten from 0 to 15, by exponent.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The double nearest to a decimal number; also of the words for NaN and infinity. `None` for any other text.
pub(super) fn parse(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A number of decimals to which numbers are rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decimals {
    count: usize,
    factor: f64,
}

impl Decimals {
    /// The fewest decimals, 0 to 15, of which the last is worth at most a ten-thousandth of `scale`. `None` where 15
    /// are too few or `scale` is not a positive number: then numbers are not rounded.
    pub fn for_scale(scale: f64) -> Option<Self> {
        let count = POWERS.iter().position(|power| power * scale >= 1e4)?;
        scale.is_finite().then_some(Self { count, factor: POWERS[count] })
    }

    /// Exactly `count` decimals, at most 15.
    pub const fn exactly(count: usize) -> Self {
        Self { count, factor: POWERS[count] }
    }

    /// `number` rounded half away from zero, without its sign, in last decimals; `None` where that is 2^53 or more, or
    /// no number.
    fn whole(self, number: f64) -> Option<u64> {
        let scaled = (number * self.factor).abs();
        // In range, the conversion only truncates the fraction.
        (scaled < MAX_EXACT).then_some((scaled + 0.5) as u64)
    }

    /// What [`Self::write`] writes, as the double nearest to it.
    pub fn round(self, number: f64) -> f64 {
        // Whole numbers up to 2^53 and the powers of ten are exact: so their quotient is the nearest double.
        self.whole(number).map_or(number, |whole| (whole as f64 / self.factor).copysign(number))
    }

    /// Writes `number` rounded half away from zero, without trailing zeros. A number of more than 2^53 last decimals is
    /// written in full instead.
    pub fn write(self, number: f64, out: &mut Vec<u8>) {
        let Some(whole) = self.whole(number) else { return write_shortest(number, out) };
        if whole == 0 {
            return out.push(b'0');
        }
        if number < 0.0 {
            out.push(b'-');
        }
        let mut digits = [b'0'; 24];
        let mut start = write_digits(whole, &mut digits).min(digits.len() - 1 - self.count);
        let point = digits.len() - self.count;
        out.extend_from_slice(&digits[start..point]);
        start = point;
        let end = digits.iter().rposition(|&digit| digit != b'0').map_or(start, |last| last + 1);
        if end > start {
            out.push(b'.');
            out.extend_from_slice(&digits[start..end]);
        }
    }
}

/// Writes the shortest text that reads back as the same double, or `null` for a number that JSON does not have.
pub(super) fn write_shortest(number: f64, out: &mut Vec<u8>) {
    if number.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Writes a whole number.
pub(super) fn write_whole(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    write_natural(number.unsigned_abs(), out);
}

/// Writes a natural number.
pub(super) fn write_natural(number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 24];
    let start = write_digits(number, &mut digits);
    out.extend_from_slice(&digits[start..]);
}

/// The texts "00" to "99".
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Writes the digits of `number` at the end of `digits`. Returns where they begin.
fn write_digits(mut number: u64, digits: &mut [u8; 24]) -> usize {
    let mut start = digits.len();
    while number >= 100 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    let pair = PAIRS[number as usize];
    start -= 1;
    digits[start] = pair[1];
    if number >= 10 {
        start -= 1;
        digits[start] = pair[0];
    }
    start
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fixed(number: f64, scale: f64) -> String {
        let mut out = Vec::new();
        Decimals::for_scale(scale).unwrap().write(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_follow_the_scale() {
        let count = |scale| Decimals::for_scale(scale).map(|decimals| decimals.count);
        assert_eq!(count(1.0), Some(4));
        assert_eq!(count(0.99), Some(5));
        assert_eq!(count(1e4), Some(0));
        assert_eq!(count(1e300), Some(0));
        assert_eq!(count(1e-11), Some(15));
        for scale in [1e-12, 0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(count(scale), None, "{scale}");
        }
    }

    #[test]
    fn numbers_are_short_and_rounded_half_away_from_zero() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (-0.00004, "0"),
            (0.00005, "0.0001"),
            (-0.00005, "-0.0001"),
            (1.0, "1"),
            (10.0, "10"),
            (-1200.5, "-1200.5"),
            (0.1 + 0.2, "0.3"),
            (123_456.789_05, "123456.7891"),
            (9.99996, "10"),
            (900_719_925_474.099, "900719925474.099"),
            (900_719_925_474.1, "900719925474.1"),
            (1e300, "1e300"),
        ];
        for (number, expected) in cases {
            assert_eq!(fixed(number, 1.0), expected);
        }
        assert_eq!(fixed(1_234_567.5, 1e9), "1234568");
    }

    #[test]
    fn whole_numbers_at_their_ends() {
        for number in [0, 9, 10, 99, 100, 101, -1, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_whole(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }

    proptest! {
        #[test]
        fn a_written_number_is_within_half_a_decimal(number in -1e9..1e9f64, exponent in -10..8i32) {
            let scale = 10f64.powi(exponent) * 1.7;
            let text = fixed(number, scale);
            let back: f64 = text.parse().unwrap();
            prop_assert!((back - number).abs() <= scale / 2e4 * 1.001 + number.abs() * 1e-15, "{} {}", number, text);
            prop_assert!(serde_json::from_str::<f64>(&text).is_ok());
            prop_assert_eq!(Decimals::for_scale(scale).unwrap().round(number), back);
        }

        #[test]
        fn rounding_keeps_the_order(one in any::<f64>(), two in any::<f64>(), exponent in -12..12i32) {
            prop_assume!(one.is_finite() && two.is_finite());
            let scale = 10f64.powi(exponent) * 1.3;
            prop_assume!(Decimals::for_scale(scale).is_some());
            let (low, high) = (one.min(two), one.max(two));
            let back = |number| fixed(number, scale).parse::<f64>().unwrap();
            prop_assert!(back(low) <= back(high));
        }
    }
}
