//! What a network is told about a step.

use super::arithmetic::logarithm;
use super::context::Context;
use super::covariates::{COVARIATE_FEATURES, Covariates};
use super::foreknown::Foreknown;
use super::scale::Scale;
use super::spec::{ExtraFeatures, SeriesSpec};
use crate::time::{EventTime, Grid};

/// Features of one step that every series has; those of [`ExtraFeatures`](super::ExtraFeatures) follow: time of year,
/// holidays, covariates, what is known in advance.
pub const FEATURES: usize = 16;

/// Names of the features, in order. All are finite and within [`CLIP`]; what is unknown is 0.
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "value",            // (x_t - location) / scale; the last value where the slot is empty
    "difference",       // (x_t - the value before it) / difference scale; 0 where the slot is empty
    "present",          // 1 where the slot holds a value, else 0
    "gap",        // logarithm of the steps since the last value before this one; irregular: of 1 + the seconds, / 4
    "day_sine",   // local time of day at the slot's start
    "day_cosine", //
    "week_sine",  // local time of week, from Monday
    "week_cosine", //
    "seasonal_change", // (x_t - x_{t-season}) / scale
    "seasonal_ahead_1", // (x_{t+h-season} - x_t) / scale, h the first lead of LEADS
    "seasonal_ahead_2", //
    "seasonal_ahead_3", //
    "seasonal_ahead_4", //
    "seasonal_ahead_5", //
    "roughness",  // difference scale / scale, 0..=1
    "youth",      // 1 / sqrt(1 + steps taken): how little is known yet
];

/// Sine and cosine of the local time of year.
pub(super) const YEAR_FEATURES: usize = 2;

/// Whether the step, a step one day before it, one a day after it, and the last one that is forecast lie on a holiday.
pub(super) const HOLIDAY_FEATURES: usize = 4;

/// Features are held to `-CLIP..=CLIP`.
pub(super) const CLIP: f64 = 8.0;

/// Leads of the seasonal features, as divisors of the longest lead that the season tells anything about.
const LEADS: [usize; 5] = [usize::MAX, 8, 4, 2, 1];

/// What the features of a step are made of.
pub(super) struct Step<'a> {
    pub spec: &'a SeriesSpec,
    pub context: &'a Context,
    pub scale: &'a Scale,
    pub covariates: Option<&'a Covariates>,
    pub foreknown: Option<&'a Foreknown>,
    /// Slot of the newest step.
    pub slot: i64,
    /// Steps taken up to the newest one.
    pub steps: u64,
}

impl Step<'_> {
    /// Writes the features of the step `back` steps before the newest.
    pub fn describe(&self, back: usize, out: &mut [f32]) {
        let Some((out, extra)) = out.split_first_chunk_mut::<FEATURES>() else { return };
        self.describe_value(back, out);
        if !extra.is_empty() {
            self.describe_extra(back, extra);
        }
    }

    fn describe_value(&self, back: usize, out: &mut [f32; FEATURES]) {
        let (location, scale, difference) = (self.scale.location(), self.scale.scale(), self.scale.difference());
        let here = self.context.back(back);
        let present = !here.is_nan();
        let before = self.last_before(back);
        let value = if present { here } else { before.map_or(location, |(value, _)| value) };
        out[0] = clip((value - location) / scale);
        out[1] = before.map_or(0.0, |(before, _)| clip((value - before) / difference));
        out[2] = f32::from(u8::from(present));
        out[3] = before.map_or(0.0, |(_, at)| self.gap(back, at));
        out[4..8].copy_from_slice(&self.spec.calendar.phases(self.time(back)));
        out[8..14].fill(0.0);
        if let Some(season) = self.spec.seasonal() {
            out[8] = clip_known((value - self.context.back(back + season)) / scale);
            let reach = (self.spec.horizon as usize).min(season - 1);
            for (feature, divisor) in out[9..14].iter_mut().zip(LEADS) {
                let lead = (reach / divisor).max(1);
                *feature = clip_known((self.context.back(back + season - lead) - value) / scale);
            }
        }
        out[14] = clip(difference / scale);
        out[15] = 1.0 / (1.0 + self.steps.saturating_sub(back as u64) as f32).sqrt();
    }

    fn describe_extra(&self, back: usize, out: &mut [f32]) {
        let ExtraFeatures { year_phase, holidays, past_covariates: covariates, .. } = &self.spec.extra;
        let mut out = out.iter_mut();
        let mut tell = |features: &[f32]| out.by_ref().zip(features).for_each(|(out, feature)| *out = *feature);
        let time = self.time(back);
        if *year_phase {
            tell(&self.spec.calendar.year_phase(time));
        }
        if let Some(holidays) = holidays {
            let slot = self.spec.grid.slot(time);
            let ahead = match self.spec.grid {
                Grid::Regular { .. } => i64::from(self.spec.horizon),
                Grid::Irregular => 0, // how long the steps ahead take is not known
            };
            let known = [0, -holidays.day(), holidays.day(), ahead];
            tell(&known.map(|apart| f32::from(u8::from(holidays.find(slot.saturating_add(apart)).is_some()))));
        }
        let (beside, ahead) = out.into_slice().split_at_mut(covariates.len() * COVARIATE_FEATURES);
        match self.covariates {
            Some(known) => known.describe(back, beside),
            None => beside.fill(0.0),
        }
        match self.foreknown {
            Some(known) => known.describe(back, self.slot, self.spec.horizon as usize, ahead),
            None => ahead.fill(0.0),
        }
    }

    /// The newest value before the step, and how many steps before the newest step it lies.
    fn last_before(&self, back: usize) -> Option<(f64, usize)> {
        let older = back + 1..self.spec.context_len();
        older.map(|at| (self.context.back(at), at)).find(|(value, _)| !value.is_nan())
    }

    fn gap(&self, back: usize, before: usize) -> f32 {
        match self.spec.grid {
            Grid::Regular { .. } => logarithm((before - back) as f32).min(CLIP as f32),
            Grid::Irregular => {
                let millis = self.time(back).0.saturating_sub(self.time(before).0).max(0);
                (logarithm(1.0 + millis as f32 / 1000.0) / 4.0).min(CLIP as f32)
            }
        }
    }

    fn time(&self, back: usize) -> EventTime {
        match self.spec.grid {
            Grid::Regular { .. } => self.spec.grid.start(self.slot.saturating_sub(back as i64)),
            Grid::Irregular => EventTime(self.context.time_back(back).unwrap_or(self.slot)),
        }
    }
}

fn clip(feature: f64) -> f32 {
    feature.clamp(-CLIP, CLIP) as f32
}

/// Like [`clip`]; 0 for the NaN of an empty slot.
fn clip_known(feature: f64) -> f32 {
    if feature.is_nan() { 0.0 } else { clip(feature) }
}
