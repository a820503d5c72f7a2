//! The single value that a many-to-one forecast predicts of the whole horizon.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which value of the horizon a many-to-one forecast predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The largest value of the horizon.
    #[default]
    Maximum,
    /// The smallest value.
    Minimum,
    /// The mean.
    Mean,
    /// The value at the last lead.
    Last,
}

impl Target {
    /// All targets.
    pub const ALL: [Self; 4] = [Self::Maximum, Self::Minimum, Self::Mean, Self::Last];

    /// The name in configuration, fingerprints and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
            Self::Mean => "mean",
            Self::Last => "last",
        }
    }

    /// Computes the target from the values of the horizon in order of time, NaN where a slot is empty. `None` where
    /// more than half of the slots are empty; for [`Target::Last`], where the last one is.
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
    fn a_target_is_computed_from_the_slots_that_hold_a_value() {
        let all = |values: &[f64]| Target::ALL.map(|target| target.of(values.iter().copied()));
        assert_eq!(all(&[1.0, 5.0, -3.0, 2.0]), [Some(5.0), Some(-3.0), Some(1.25), Some(2.0)]);
        assert_eq!(all(&[1.0, NONE, 4.0, NONE]), [Some(4.0), Some(1.0), Some(2.5), None]);
        assert_eq!(all(&[7.0]), [Some(7.0); 4]);
    }

    #[test]
    fn too_few_values_give_no_target() {
        let all = |values: &[f64]| Target::ALL.map(|target| target.of(values.iter().copied()));
        assert_eq!(all(&[NONE, NONE, 2.0]), [None, None, None, Some(2.0)]);
        assert_eq!(all(&[NONE]), [None; 4]);
        assert_eq!(all(&[]), [None; 4]);
    }
}
