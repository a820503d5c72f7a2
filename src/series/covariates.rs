//! What a series keeps of its covariates: numbers that come with its values, and are not forecast.

use super::clone_in_place::clone_in_place;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::features::CLIP;
use super::scale::Scale;
use super::spec::{LIMIT, is_within_limit};

/// Numbers that tell of one covariate at a step, where it is looked at beside the values: how it stands, and how far it has
/// moved in a season, or in a step where there is no season.
pub(crate) const PAST_COVARIATE_REGRESSORS: usize = 2;

/// The covariates of a series.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Covariates {
    /// Readings of slots that are not taken yet, ascending by slot.
    open: Vec<OpenSlot>,
    tracks: Vec<Track>,
}

clone_in_place!(Covariates { open, tracks });

/// Means of one slot, and of how many readings; in the order of the covariates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OpenSlot {
    slot: i64,
    means: Vec<(f64, u32)>,
}

/// One number, as it was.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Track {
    scale: Scale,
    /// The newest value there was.
    newest: Option<f64>,
    context: Context,
}

clone_in_place!(Track { scale, newest, context });

impl Covariates {
    /// Takes in what came with a reading of `slot`; NaN where a covariate is missing.
    pub fn observe(&mut self, slot: i64, values: &[f64]) {
        let at = self.open.partition_point(|open| open.slot < slot);
        if self.open.get(at).is_none_or(|open| open.slot != slot) {
            self.open.insert(at, OpenSlot { slot, means: vec![(0.0, 0); values.len()] });
        }
        for ((mean, readings), value) in self.open[at].means.iter_mut().zip(values).filter(|(_, value)| !value.is_nan())
        {
            *readings = readings.saturating_add(1);
            *mean += (value.clamp(-LIMIT, LIMIT) - *mean) / f64::from(*readings);
        }
    }

    /// What is not taken yet is not known: a copy that is led on must not see it.
    pub fn discard_open_covariates(&mut self) {
        self.open.clear();
    }

    /// The series starts anew.
    pub fn reset(&mut self) {
        self.tracks.iter_mut().for_each(Track::reset);
    }

    /// Takes `slot` as the newest step of `count` covariates; the context holds `length` steps.
    pub fn take(&mut self, slot: i64, count: usize, length: usize, memory: u32) {
        let upto = self.open.partition_point(|open| open.slot <= slot);
        let found = self.open.drain(..upto).next_back().filter(|open| open.slot == slot);
        self.tracks.resize_with(count, Track::default);
        for (place, track) in self.tracks.iter_mut().enumerate() {
            let mean = found.as_ref().and_then(|open| open.means.get(place));
            let value = mean.filter(|(_, readings)| *readings > 0).map(|(mean, _)| *mean);
            track.take(value, length, memory);
        }
    }

    /// Writes two features of each covariate at the step `back` steps before the newest: its value, carried over where it is
    /// missing, in its own scale, and whether it is there. 0 where nothing is known.
    pub fn describe(&self, back: usize, out: &mut [f32]) {
        out.fill(0.0);
        for (out, track) in out.chunks_exact_mut(COVARIATE_FEATURES).zip(&self.tracks) {
            out[0] = track.scaled(back).unwrap_or(0.0);
            out[1] = f32::from(u8::from(!track.context.back(back).is_nan()));
        }
    }

    /// Writes [`PAST_COVARIATE_REGRESSORS`] of each covariate at the step `ago` steps before `coming`, the slot that is taken next, beside
    /// that `apart` steps earlier. 0 where nothing is known.
    pub fn look(&self, coming: i64, ago: usize, apart: usize, out: &mut [f32]) {
        out.fill(0.0);
        let open = self.open.iter().find(|open| open.slot == coming).filter(|_| ago == 0);
        for (place, (out, track)) in out.chunks_exact_mut(PAST_COVARIATE_REGRESSORS).zip(&self.tracks).enumerate() {
            let mean = open.and_then(|open| open.means.get(place)).filter(|(_, readings)| *readings > 0);
            let here = match mean {
                Some((mean, _)) => Some(track.in_scale(*mean)),
                None => track.scaled(ago.saturating_sub(1)),
            };
            let Some(here) = here else { continue };
            out[0] = here;
            out[1] = track.scaled((ago + apart).saturating_sub(1)).map_or(0.0, |before| here - before);
        }
    }

    /// Whether its numbers are some: they may come from outside.
    pub fn is_sound(&self) -> bool {
        let means = self.open.iter().flat_map(|open| &open.means);
        means.map(|(mean, _)| *mean).all(is_within_limit) && self.tracks.iter().all(Track::is_sound)
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        let open = |open: &OpenSlot| open.means.capacity() * size_of::<(f64, u32)>();
        self.open.capacity() * size_of::<OpenSlot>()
            + self.open.iter().map(open).sum::<usize>()
            + self.tracks.capacity() * size_of::<Track>()
            + self.tracks.iter().map(Track::heap_bytes).sum::<usize>()
    }
}

/// Features of one covariate.
pub(super) const COVARIATE_FEATURES: usize = 2;

impl Track {
    /// Takes its value at the newest step, where there is one; the context holds `length` steps.
    pub fn take(&mut self, value: Option<f64>, length: usize, memory: u32) {
        if let Some(value) = value {
            self.scale.update(value, self.newest, memory);
            self.newest = Some(value);
        }
        self.context.push(length, value, None);
    }

    /// The series starts anew.
    pub fn reset(&mut self) {
        self.context.clear();
        self.newest = None;
    }

    /// Whether its numbers are some: they may come from outside.
    pub fn is_sound(&self) -> bool {
        self.scale.is_sound() && self.newest.is_none_or(is_within_limit) && self.context.is_sound()
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.context.heap_bytes()
    }

    /// The value of a step, or the newest one before it, in today's scale.
    pub fn scaled(&self, back: usize) -> Option<f32> {
        let mut values = (back..self.context.len()).map(|back| self.context.back(back));
        values.find(|value| !value.is_nan()).map(|value| self.in_scale(value))
    }

    /// A value in today's scale.
    pub fn in_scale(&self, value: f64) -> f32 {
        ((value - self.scale.location()) / self.scale.scale()).clamp(-CLIP, CLIP) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 6;

    fn described(covariates: &Covariates, back: usize) -> [f32; 4] {
        let mut out = [9.0; 4];
        covariates.describe(back, &mut out);
        out
    }

    #[test]
    fn readings_of_a_slot_are_averaged_and_gaps_are_carried_over() {
        let mut covariates = Covariates::default();
        for (slot, value) in [(0, 10.0), (1, 14.0), (2, 12.0)] {
            covariates.observe(slot, &[value - 1.0, f64::NAN]);
            covariates.observe(slot, &[value + 1.0, f64::NAN]);
            covariates.observe(slot, &[f64::NAN, f64::NAN]);
            covariates.take(slot, 2, LENGTH, 128);
        }
        assert_eq!(covariates.tracks[0].newest, Some(12.0));
        assert!(covariates.tracks[0].scale.location() == 12.0 && covariates.open.is_empty());
        assert_eq!(described(&covariates, 0), [0.0, 1.0, 0.0, 0.0]);
        let one_back = described(&covariates, 1);
        assert!(one_back[0] > 0.5 && one_back[1] == 1.0, "{one_back:?}");
        covariates.take(3, 2, LENGTH, 128);
        covariates.take(4, 2, LENGTH, 128);
        assert_eq!(described(&covariates, 0), [0.0, 0.0, 0.0, 0.0], "the value before, and that it is missing");
        assert_eq!(described(&covariates, 3), one_back);
        covariates.reset();
        assert_eq!(described(&covariates, 3), [0.0; 4]);
    }

    #[test]
    fn looks_tell_where_it_stands_and_how_far_it_moved() {
        let mut covariates = Covariates::default();
        for (slot, value) in [5.0, 9.0, 7.0, 11.0].into_iter().enumerate() {
            covariates.observe(slot as i64, &[value]);
            covariates.take(slot as i64, 1, LENGTH, 128);
        }
        let (mut now, mut before) = ([0.0; 2], [0.0; 2]);
        covariates.look(4, 1, 2, &mut now);
        covariates.look(4, 3, 2, &mut before);
        assert!((now[1] - (now[0] - before[0])).abs() < 1e-6 && now[0] > before[0], "{now:?} {before:?}");
        assert_eq!(before[1], 0.0, "nothing is known of so long ago");
        // The coming slot is seen before it is taken, and only at its own step.
        let (mut coming, mut carried) = ([0.0; 2], [0.0; 2]);
        covariates.look(4, 0, 2, &mut carried);
        assert_eq!(carried[0], now[0], "carried over");
        covariates.observe(4, &[15.0]);
        covariates.look(4, 0, 2, &mut coming);
        assert!(coming[0] > now[0], "{coming:?} {now:?}");
        covariates.look(4, 1, 2, &mut carried);
        assert_eq!(carried, now);
    }

    #[test]
    fn what_is_open_waits_for_its_slot() {
        let mut covariates = Covariates::default();
        covariates.observe(2, &[1.0]);
        covariates.observe(1, &[3.0]);
        covariates.take(0, 1, LENGTH, 128);
        assert_eq!((covariates.open.len(), covariates.tracks[0].newest), (2, None));
        let mut led_on = covariates.clone();
        led_on.discard_open_covariates();
        led_on.take(1, 1, LENGTH, 128);
        assert_eq!(led_on.tracks[0].newest, None);
        covariates.take(1, 1, LENGTH, 128);
        assert_eq!((covariates.open.len(), covariates.tracks[0].newest), (1, Some(3.0)));
        covariates.take(5, 1, LENGTH, 128);
        assert_eq!((covariates.open.len(), covariates.tracks[0].newest), (0, Some(3.0)), "slot 2 was never taken");
    }
}
