//! Numbers with a unit. They are parsed strictly; where that fails, a guess says what to write instead.

/// A family of units.
#[derive(Debug)]
pub struct Units {
    /// Describes the expected form.
    pub expected: &'static str,
    /// Accepted units and their factors, largest first.
    exact: &'static [(&'static str, u64)],
    /// Unit that zero is written with.
    zero: &'static str,
    /// Units that people write (in lower case), with the factors that they probably mean.
    guessed: &'static [(&'static str, u64)],
}

/// Durations, in milliseconds.
pub const DURATION: Units = Units {
    expected: "a whole number with one of the units ms, s, m, h, d, such as \"10ms\" or \"7d\"",
    exact: &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)],
    zero: "s",
    guessed: &[
        ("week", 604_800_000),
        ("weeks", 604_800_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("day", 86_400_000),
        ("days", 86_400_000),
        ("h", 3_600_000),
        ("hr", 3_600_000),
        ("hour", 3_600_000),
        ("hours", 3_600_000),
        ("m", 60_000),
        ("min", 60_000),
        ("mins", 60_000),
        ("minute", 60_000),
        ("minutes", 60_000),
        ("s", 1_000),
        ("sec", 1_000),
        ("secs", 1_000),
        ("second", 1_000),
        ("seconds", 1_000),
        ("ms", 1),
        ("msec", 1),
        ("millis", 1),
        ("milliseconds", 1),
    ],
};

/// Lengths of steps and seasons, in milliseconds. Months and years ([`MONTHS`]) have no length of their own.
pub const INTERVAL: Units = Units {
    expected: "a whole number with one of the units ms, s, m, h, d, w, mo, y, such as \"15m\", \"1d\" or \"1mo\"",
    exact: &[("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)],
    ..DURATION
};

/// Months and years, in months.
pub const MONTHS: Units = Units {
    expected: "a whole number of months or years, such as \"1mo\" or \"1y\"",
    exact: &[("y", 12), ("mo", 1)],
    zero: "mo",
    guessed: &[
        ("y", 12),
        ("yr", 12),
        ("year", 12),
        ("years", 12),
        ("q", 3),
        ("quarter", 3),
        ("quarters", 3),
        ("mo", 1),
        ("mon", 1),
        ("month", 1),
        ("months", 1),
    ],
};

/// Sizes, in bytes.
pub const SIZE: Units = Units {
    expected: "a whole number with one of the units B, KiB, MiB, GiB, such as \"1MiB\"",
    exact: &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)],
    zero: "B",
    guessed: &[
        ("gib", 1 << 30),
        ("gb", 1 << 30),
        ("g", 1 << 30),
        ("mib", 1 << 20),
        ("mb", 1 << 20),
        ("m", 1 << 20),
        ("kib", 1 << 10),
        ("kb", 1 << 10),
        ("k", 1 << 10),
        ("b", 1),
        ("byte", 1),
        ("bytes", 1),
    ],
};

impl Units {
    /// Parses a whole number directly followed by a unit. The result is at most `i64::MAX`.
    pub fn parse(&self, text: &str) -> Option<u64> {
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let factor = self.exact.iter().find(|(name, _)| *name == unit)?.1;
        let value = digits.parse::<u64>().ok()?.checked_mul(factor)?;
        i64::try_from(value).is_ok().then_some(value)
    }

    /// Formats `value` with the largest unit that divides it.
    pub fn render(&self, value: u64) -> String {
        let divides = |(_, factor): &&(&str, u64)| value != 0 && value.is_multiple_of(*factor);
        let (unit, factor) = self.exact.iter().find(divides).copied().unwrap_or((self.zero, 1));
        format!("{}{unit}", value / factor)
    }

    /// `value` with each of the two smallest units, as examples.
    pub fn examples(&self, value: i64) -> String {
        let mut smallest = self.exact.iter().rev();
        let mut example = || smallest.next().map_or(String::new(), |(unit, _)| format!("\"{value}{unit}\""));
        format!("{} or {}", example(), example())
    }

    /// What `text` probably means, in the form that [`Units::parse`] accepts. Understands spaces, fractions, long names
    /// of units, and sums such as `1h30m`.
    pub fn guess(&self, text: &str) -> Option<String> {
        let text: String = text.chars().filter(|c| !c.is_whitespace() && *c != '_').collect::<String>().to_lowercase();
        let (mut rest, mut total) = (text.as_str(), 0.0);
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
            let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            total += number.parse::<f64>().ok()? * self.factor(unit)?;
            rest = after;
        }
        // f64 is exact up to 2^53, about 9.0e15; nobody means a larger value.
        (total >= 1.0 && total.fract() == 0.0 && total < 9.0e15).then(|| self.render(total as u64))
    }

    fn factor(&self, unit: &str) -> Option<f64> {
        self.guessed.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor as f64)
    }
}
