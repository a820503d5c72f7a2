//! Future covariates: numbers whose values are known for slots to come, such as a weather forecast.
//!
//! A record of the future-covariate topic carries [`FutureValues`] of one slot. A [`FutureCovariateTable`] holds the
//! newest of them by slot, for all series of one key. [`FutureCovariates`] is what one series keeps: past values, and
//! the values over the horizon as they were known at its newest step.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::clone_in_place::clone_in_place;
use super::covariate_history::CovariateHistory;
use super::feature_layout::FUTURE_COVARIATE_FEATURES;
use super::value_limit::{VALUE_LIMIT, is_within_limit};
use crate::time::Grid;

/// The most future covariates of a series: bounds the features and regressors of one step.
pub const MAX_FUTURE_COVARIATES: usize = 8;

/// Which future covariates a stream has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FutureCovariateSpec {
    /// Their names; at most [`MAX_FUTURE_COVARIATES`].
    pub names: Arc<[String]>,
    /// Whether a record applies to the series of its key only; otherwise to all series.
    pub keyed: bool,
    /// Suffixes that may follow the key in the name of a series.
    pub suffixes: Arc<[String]>,
    /// The most slots that a table holds for one key; the earliest one makes room.
    pub max_slots: usize,
}

impl FutureCovariateSpec {
    /// The key whose records apply to a series.
    pub fn key_of<'a>(&self, series: &'a str) -> &'a str {
        if self.keyed { self.record_key(series) } else { "" }
    }

    /// The key of a series without the name of its value field.
    pub fn record_key<'a>(&self, series: &'a str) -> &'a str {
        self.suffixes.iter().find_map(|suffix| series.strip_suffix(suffix.as_str())).unwrap_or(series)
    }
}

/// Values of all future covariates for one slot, as one record of the future-covariate topic carries them.
#[derive(Debug, Clone, PartialEq)]
pub struct FutureValues {
    /// Slot on the stream's grid.
    pub slot: i64,
    /// Offset of the record in its partition; the row where the values come from a file.
    pub offset: i64,
    /// One value per covariate, in the order of the spec; NaN where the record has none.
    pub values: Box<[f64]>,
}

/// The newest future values by slot, for all series of one key. A value holds until the next slot that has one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FutureCovariateTable {
    /// Ascending by slot.
    slots: VecDeque<FutureValues>,
}

/// What [`FutureCovariateTable::insert`] did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Insertion {
    /// Whether the values are stored. A full table has no room for a slot before all stored ones.
    pub stored: bool,
    /// The values that left the table: those of the same slot, or of the earliest slot to make room.
    pub replaced: Option<FutureValues>,
}

impl FutureCovariateTable {
    /// Stores the values of a slot, in place of older ones. Beyond `max_slots` slots the earliest one leaves: the
    /// content is a function of the insertions from the oldest stored offset on.
    pub fn insert(&mut self, mut new: FutureValues, max_slots: usize) -> Insertion {
        new.values.iter_mut().for_each(|value| *value = value.clamp(-VALUE_LIMIT, VALUE_LIMIT));
        let at = self.slots.partition_point(|stored| stored.slot < new.slot);
        if let Some(stored) = self.slots.get_mut(at).filter(|stored| stored.slot == new.slot) {
            return Insertion { stored: true, replaced: Some(std::mem::replace(stored, new)) };
        }
        if self.slots.len() < max_slots.max(1) {
            self.slots.insert(at, new);
            return Insertion { stored: true, replaced: None };
        }
        if at == 0 {
            return Insertion::default();
        }
        let replaced = self.slots.pop_front();
        self.slots.insert(at - 1, new);
        Insertion { stored: true, replaced }
    }

    /// Copies one covariate for the slots from `slot` on; NaN where no value is known.
    fn copy(&self, covariate: usize, slot: i64, out: &mut [f64]) {
        let value = |stored: &FutureValues| stored.values.get(covariate).copied().filter(|value| !value.is_nan());
        let mut next = self.slots.partition_point(|stored| stored.slot < slot);
        let mut holds = self.slots.range(..next).rev().find_map(value).unwrap_or(f64::NAN);
        for (slot, out) in (slot..).zip(out) {
            while let Some(stored) = self.slots.get(next).filter(|stored| stored.slot <= slot) {
                holds = value(stored).unwrap_or(holds);
                next += 1;
            }
            *out = holds;
        }
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        let values = |stored: &FutureValues| size_of_val(&*stored.values);
        self.slots.capacity() * size_of::<FutureValues>() + self.slots.iter().map(values).sum::<usize>()
    }
}

/// The future covariates of one series.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct FutureCovariates {
    /// The slot at which the paths begin.
    path_start: i64,
    /// `[covariate]`
    covariates: Vec<FutureCovariate>,
}

clone_in_place!(FutureCovariates { path_start, covariates });

/// One future covariate of one series.
#[derive(Debug, Default, Serialize, Deserialize)]
struct FutureCovariate {
    history: CovariateHistory,
    /// Values of the newest step's slot and of the slots of the horizon, as known when that step closed; NaN where
    /// unknown.
    path: Vec<f64>,
}

clone_in_place!(FutureCovariate { history, path });

impl FutureCovariates {
    /// Copies from the table what it knows of `slot`, the slot that closes next, and of the `horizon` slots after it.
    pub fn look_up(&mut self, table: Option<&FutureCovariateTable>, slot: i64, horizon: usize, count: usize) {
        self.path_start = slot;
        self.covariates.resize_with(count, FutureCovariate::default);
        for (index, covariate) in self.covariates.iter_mut().enumerate() {
            covariate.path.resize(horizon + 1, f64::NAN);
            match table {
                Some(table) => table.copy(index, slot, &mut covariate.path),
                None => covariate.path.fill(f64::NAN),
            }
        }
    }

    /// Makes `slot` the newest step of `count` covariates. The context holds `length` steps; `window` is the time
    /// constant of the scales, in steps.
    pub fn update(&mut self, slot: i64, count: usize, length: usize, window: u32) {
        self.covariates.resize_with(count, FutureCovariate::default);
        let after = slot.checked_sub(self.path_start);
        for covariate in &mut self.covariates {
            let value = covariate.on_path(after);
            covariate.history.update(value, length, window);
        }
    }

    /// Forgets past values when the series resets; paths and scales stay.
    pub fn reset(&mut self) {
        self.covariates.iter_mut().for_each(|covariate| covariate.history.reset());
    }

    /// A covariate `lead` steps after the newest step, `slot`, in units of today's scale; none where unknown.
    pub fn ahead(&self, covariate: usize, slot: i64, lead: usize) -> Option<f32> {
        let covariate = self.covariates.get(covariate)?;
        let value = covariate.on_path((slot - self.path_start).checked_add(lead as i64))?;
        Some(covariate.history.in_scale(value))
    }

    /// A covariate `back` steps before the newest step, in units of today's scale; the last value where it is missing.
    pub fn back(&self, covariate: usize, back: usize) -> Option<f32> {
        self.covariates.get(covariate)?.history.scaled(back)
    }

    /// Writes the features `[covariate][FUTURE_COVARIATE_FEATURES]` of the step `back` steps before the newest step,
    /// `slot`; 0 where nothing is known. Values that have been observed since stand in for what was known then.
    pub fn write_features(&self, back: usize, slot: i64, horizon: usize, out: &mut [f32]) {
        out.fill(0.0);
        let ends = [horizon.div_ceil(4), horizon.div_ceil(2), horizon];
        for (covariate, out) in out.chunks_exact_mut(FUTURE_COVARIATE_FEATURES).enumerate() {
            out[0] = self.back(covariate, back).unwrap_or(0.0);
            let at = |lead: usize| match lead.checked_sub(back) {
                Some(lead) if lead > 0 => self.ahead(covariate, slot, lead),
                _ => self.back(covariate, back - lead),
            };
            let mut first = 1;
            for (out, end) in out[1..].iter_mut().zip(ends) {
                let (count, sum) = (first.min(end)..=end)
                    .filter_map(at)
                    .fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
                *out = if count > 0 { sum / count as f32 } else { 0.0 };
                first = end + 1;
            }
        }
    }

    /// Whether decoded covariates are ones that a series on `grid` can have.
    pub fn is_sound(&self, grid: &Grid) -> bool {
        let path = |path: &[f64]| path.iter().all(|value| value.is_nan() || is_within_limit(*value));
        let valid = |covariate: &FutureCovariate| covariate.history.is_sound() && path(&covariate.path);
        grid.contains(self.path_start) && self.covariates.iter().all(valid)
    }

    pub fn heap_bytes(&self) -> usize {
        let covariate =
            |covariate: &FutureCovariate| covariate.history.heap_bytes() + covariate.path.capacity() * size_of::<f64>();
        self.covariates.capacity() * size_of::<FutureCovariate>() + self.covariates.iter().map(covariate).sum::<usize>()
    }
}

impl FutureCovariate {
    /// The value so many slots after the first of the path.
    fn on_path(&self, after: Option<i64>) -> Option<f64> {
        let value = self.path.get(usize::try_from(after?).ok()?).copied()?;
        (!value.is_nan()).then_some(value)
    }
}

impl PartialEq for FutureCovariate {
    /// Compares bits, since unknown values are NaN.
    fn eq(&self, other: &Self) -> bool {
        let bits = |covariate: &Self| covariate.path.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        self.history == other.history && bits(self) == bits(other)
    }
}

#[cfg(test)]
mod tests;
