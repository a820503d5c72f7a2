//! A step that has come and is not learnt from yet.

use super::ring::back;
use super::spec::ForecastSpec;
use crate::series::SeriesState;

/// The coming step, which is in the rings already and not yet learnt from.
pub(super) struct Coming<'a> {
    pub spec: &'a ForecastSpec,
    pub series: &'a SeriesState,
    pub slot: i64,
    pub now: usize,
    pub reference: f64,
    pub values: &'a [f32],
    /// Whether it holds a value.
    pub value: bool,
    /// The one number that it completes.
    pub number: Option<f32>,
}

impl Coming<'_> {
    /// Place in the rings, so many steps before the coming one.
    pub fn back(&self, steps: usize) -> usize {
        back(self.now, steps, self.values.len())
    }

    /// Whether the step so many before the coming one holds a value.
    pub fn holds(&self, back: usize) -> bool {
        if back == 0 { self.value } else { self.series.value_back(back - 1).is_some() }
    }

    /// What was usual at `lead` of a forecast made `end` steps before the coming one, as it was known before that value came.
    /// 0 where the ring is empty, since nothing is usual.
    fn usual(&self, before: &[f32], end: usize, lead: usize) -> f32 {
        before.get(self.back(end - lead)).copied().unwrap_or(0.0)
    }

    /// What came at `lead` of a forecast made `end` steps before the coming one, without what was usual for it then.
    pub fn target(&self, before: &[f32], end: usize, lead: usize) -> Option<f32> {
        match self.spec.target {
            Some(target) => {
                let usual = target.of((1..=end).map(|lead| f64::from(self.usual(before, end, lead))))?;
                Some(self.number? - usual as f32)
            }
            None => {
                let back = end - lead;
                self.holds(back).then(|| self.values[self.back(back)] - self.usual(before, end, lead))
            }
        }
    }
}
