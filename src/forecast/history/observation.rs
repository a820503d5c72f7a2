//! The current observation.

use super::series_history::HistoryView;
use crate::forecast::spec::ForecastSpec;
use crate::series::SeriesState;

/// The step that the history holds already, and that neither the series nor an expert has learned from.
pub(in crate::forecast) struct Observation<'a> {
    pub spec: &'a ForecastSpec,
    pub series: &'a SeriesState,
    pub slot: i64,
    /// Whether there is a value to learn from: the slot is not empty, and its value is no spike.
    pub has_value: bool,
    /// The target that the step completes, relative to the history's reference: its value, or the aggregate of the
    /// horizon that ends here.
    pub completed: Option<f32>,
}

impl Observation<'_> {
    /// Whether the step `steps_back` before this one has a value.
    #[inline]
    pub fn has_value_at(&self, steps_back: usize) -> bool {
        if steps_back == 0 { self.has_value } else { self.series.value_back(steps_back - 1).is_some() }
    }

    /// The target at `lead` of a forecast that was made `steps_back` steps ago, without the baseline of that time.
    #[inline]
    pub fn target(&self, view: &HistoryView<'_>, steps_back: usize, lead: usize) -> Option<f32> {
        let baseline = |lead: usize| view.baseline_before_value(steps_back - lead);
        match self.spec.target {
            Some(target) => {
                let baseline = target.of((1..=steps_back).map(|lead| f64::from(baseline(lead))))?;
                Some(self.completed? - baseline as f32)
            }
            None => {
                let at = steps_back - lead;
                self.has_value_at(at).then(|| view.value(at) - baseline(lead))
            }
        }
    }
}
