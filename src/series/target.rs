//! One number made of several steps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one number says of all steps of a horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Their largest value.
    #[default]
    Maximum,
    /// Their smallest value.
    Minimum,
    /// Their mean.
    Mean,
    /// The last one.
    Last,
}

impl Target {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Maximum, Self::Minimum, Self::Mean, Self::Last];

    /// The name in settings, in fingerprints and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
            Self::Mean => "mean",
            Self::Last => "last",
        }
    }

    /// The number, from the values of all steps in the order of time, NaN where a slot was empty. None where more than
    /// half of them were, or the last one for [`Target::Last`]: the rest would tell too little.
    pub fn of(self, values: impl IntoIterator<Item = f64>) -> Option<f64> {
        let (mut count, mut known, mut sum) = (0_u32, 0_u32, 0.0);
        let (mut least, mut most, mut last) = (f64::INFINITY, f64::NEG_INFINITY, f64::NAN);
        for value in values {
            count += 1;
            last = value;
            if !value.is_nan() {
                (known, sum) = (known + 1, sum + value);
                (least, most) = (least.min(value), most.max(value));
            }
        }
        if self == Self::Last {
            return (!last.is_nan()).then_some(last);
        }
        (known > 0 && 2 * known >= count).then(|| match self {
            Self::Maximum => most,
            Self::Minimum => least,
            Self::Mean | Self::Last => sum / f64::from(known),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f64 = f64::NAN;

    #[test]
    fn a_number_is_made_of_the_steps_that_hold_one() {
        let all = |values: &[f64]| Target::ALL.map(|target| target.of(values.iter().copied()));
        assert_eq!(all(&[1.0, 5.0, -3.0, 2.0]), [Some(5.0), Some(-3.0), Some(1.25), Some(2.0)]);
        assert_eq!(all(&[1.0, NONE, 4.0, NONE]), [Some(4.0), Some(1.0), Some(2.5), None]);
        assert_eq!(all(&[7.0]), [Some(7.0); 4]);
    }

    #[test]
    fn of_too_few_steps_nothing_is_said() {
        let all = |values: &[f64]| Target::ALL.map(|target| target.of(values.iter().copied()));
        assert_eq!(all(&[NONE, NONE, 2.0]), [None, None, None, Some(2.0)]);
        assert_eq!(all(&[NONE]), [None; 4]);
        assert_eq!(all(&[]), [None; 4]);
    }
}
