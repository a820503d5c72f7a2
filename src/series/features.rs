//! The features of one step: what the network sees of it.

use super::arithmetic::logarithm;
use super::feature_layout::{FEATURE_CLIP, FEATURES};
use super::recent_values::RecentValues;
use super::robust_scale::RobustScale;
use super::spec::{ExtraFeatures, SeriesSpec};
use crate::time::{EventTime, Grid};

/// Leads of the seasonal features, as divisors of the longest lead that one season back covers.
const LEAD_DIVISORS: [usize; 5] = [usize::MAX, 8, 4, 2, 1];

pub(super) struct FeatureSource<'a, V> {
    pub spec: &'a SeriesSpec,
    pub values: &'a V,
    pub scale: &'a RobustScale,
    pub slot: i64,
    pub steps: u64,
}

impl<V: RecentValues> FeatureSource<'_, V> {
    /// Writes the features of the step `back` steps before the newest one, except those of covariates. Returns the rest
    /// of `out`, which is for these.
    pub fn write_features<'o>(&self, back: usize, out: &'o mut [f32]) -> &'o mut [f32] {
        let Some((out, extra)) = out.split_first_chunk_mut::<FEATURES>() else { return Default::default() };
        self.write_base(back, out);
        if extra.is_empty() { extra } else { self.write_extra(back, extra) }
    }

    fn write_base(&self, back: usize, out: &mut [f32; FEATURES]) {
        let (location, scale, difference) = (self.scale.location(), self.scale.scale(), self.scale.difference());
        let here = self.values.back(back);
        let present = !here.is_nan();
        let before = self.last_before(back);
        let value = if present { here } else { before.map_or(location, |(value, _)| value) };
        out[0] = clip((value - location) / scale);
        out[1] = before.map_or(0.0, |(before, _)| clip((value - before) / difference));
        out[2] = f32::from(u8::from(present));
        out[3] = before.map_or(0.0, |(_, at)| self.gap(back, at));
        out[4..8].copy_from_slice(&self.spec.calendar.day_and_week_phase(self.time(back)));
        out[8..14].fill(0.0);
        if let Some(season) = self.spec.seasonal() {
            out[8] = clip_or_zero((value - self.values.back(back + season)) / scale);
            let reach = if self.spec.queries { season - 1 } else { (self.spec.horizon as usize).min(season - 1) };
            for (feature, divisor) in out[9..14].iter_mut().zip(LEAD_DIVISORS) {
                let lead = (reach / divisor).max(1);
                *feature = clip_or_zero((self.values.back(back + season - lead) - value) / scale);
            }
        }
        out[14] = clip(difference / scale);
        out[15] = 1.0 / (1.0 + self.steps.saturating_sub(back as u64) as f32).sqrt();
    }

    fn write_extra<'o>(&self, back: usize, out: &'o mut [f32]) -> &'o mut [f32] {
        let ExtraFeatures { year_phase, holidays, .. } = &self.spec.extra;
        let mut out = out.iter_mut();
        let mut write = |features: &[f32]| out.by_ref().zip(features).for_each(|(out, feature)| *out = *feature);
        let time = self.time(back);
        if *year_phase {
            write(&self.spec.calendar.year_phase(time));
        }
        if let Some(holidays) = holidays {
            let slot = self.spec.grid.slot(time);
            let ahead = match self.spec.grid {
                Grid::Irregular => 0, // the duration of the steps ahead is unknown
                _ => i64::from(self.spec.horizon),
            };
            let shifts = [0, -holidays.slots_per_day(), holidays.slots_per_day(), ahead];
            write(&shifts.map(|shift| f32::from(u8::from(holidays.find(slot.saturating_add(shift)).is_some()))));
        }
        out.into_slice()
    }

    /// The last value before the step, and how many steps before the newest step it lies.
    fn last_before(&self, back: usize) -> Option<(f64, usize)> {
        let older = back + 1..self.spec.context_len();
        older.map(|at| (self.values.back(at), at)).find(|(value, _)| !value.is_nan())
    }

    fn gap(&self, back: usize, before: usize) -> f32 {
        match self.spec.grid {
            Grid::Irregular => {
                let millis = self.time(back).0.saturating_sub(self.time(before).0).max(0);
                (logarithm(1.0 + millis as f32 / 1000.0) / 4.0).min(FEATURE_CLIP as f32)
            }
            _ => logarithm((before - back) as f32).min(FEATURE_CLIP as f32),
        }
    }

    fn time(&self, back: usize) -> EventTime {
        match self.spec.grid {
            Grid::Irregular => EventTime(self.values.time_back(back).unwrap_or(self.slot)),
            _ => self.spec.grid.start(self.slot.saturating_sub(back as i64)),
        }
    }
}

fn clip(feature: f64) -> f32 {
    feature.clamp(-FEATURE_CLIP, FEATURE_CLIP) as f32
}

/// Like [`clip`]; 0 for the NaN of an empty slot.
fn clip_or_zero(feature: f64) -> f32 {
    if feature.is_nan() { 0.0 } else { clip(feature) }
}
