//! Forecasts whose target has not come yet.

use crate::series::{clone_in_place, is_within_limit};
use serde::{Deserialize, Serialize};

use super::bf16::{from_bf16, to_bf16};
use super::byte_shuffle;
use super::distribution::conformal_calibration::BucketEnd;
use super::distribution::quantile_blocks::for_each_without_crossing;
use super::experts::expert::LINEAR_EXPERTS;
use super::numeric::all_within_scaled_range;
use super::ring::{index_before, next_index};
use super::spec::ForecastSpec;

/// Point forecasts at a bucket's middle: deviations from the last value in the scale of the time when they were made.
/// That of the last value is 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct PendingPoints {
    pub seasonal_naive: f32,
    pub linear: [f32; LINEAR_EXPERTS],
    pub network: f32,
    /// Mean of the mixture.
    pub mean: f32,
    /// Median of the mixture.
    pub median: f32,
}

/// Quantiles at a bucket's end, in the scale of the time when they were made.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingQuantiles<'a> {
    /// Deviation of the median from the last value.
    pub median: f32,
    /// `[level]`: bfloat16 deviations from the median; at the median, whose own deviation is 0, the relative width.
    pub deviations: &'a [u16],
    /// See [`BucketEnd`].
    pub lean: f32,
}

impl PendingPoints {
    const COLUMNS: usize = LINEAR_EXPERTS + 4;

    fn to_array(self) -> [f32; Self::COLUMNS] {
        let Self { seasonal_naive, linear: [zero, season, week], network, mean, median } = self;
        [seasonal_naive, zero, season, week, network, mean, median]
    }

    fn from_array([seasonal_naive, zero, season, week, network, mean, median]: [f32; Self::COLUMNS]) -> Self {
        Self { seasonal_naive, linear: [zero, season, week], network, mean, median }
    }
}

/// Serialises points column by column, so that values of one expert are adjacent.
mod columns {
    use serde::{Deserializer, Serializer, de::Error};

    use super::{PendingPoints, byte_shuffle};

    pub fn serialize<S: Serializer>(points: &[PendingPoints], serializer: S) -> Result<S::Ok, S::Error> {
        let column = |column: usize| points.iter().map(move |point| point.to_array()[column]);
        let values: Vec<f32> = (0..PendingPoints::COLUMNS).flat_map(column).collect();
        byte_shuffle::serialize(&values, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PendingPoints>, D::Error> {
        let values: Vec<f32> = byte_shuffle::deserialize(deserializer)?;
        let count = values.len() / PendingPoints::COLUMNS;
        if count * PendingPoints::COLUMNS != values.len() {
            return Err(D::Error::invalid_length(values.len(), &"columns of equal length"));
        }
        let point = |at| PendingPoints::from_array(std::array::from_fn(|column| values[column * count + at]));
        Ok((0..count).map(point).collect())
    }
}

/// Rings of pending forecasts, two per bucket: one for its middle and one for its end. They hold only what does not
/// follow from the series' values.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PendingForecasts {
    /// Ring of `horizon + 1` scales at the newest steps, as the upper 32 bits of `f64`; 0 where no forecast was made.
    #[serde(with = "byte_shuffle")]
    scales: Vec<u32>,
    /// Index of the current step in `scales`.
    now: u16,
    /// Per bucket.
    cursors: Vec<Cursor>,
    /// Rings of the middles, one after the other.
    #[serde(with = "columns")]
    points: Vec<PendingPoints>,
    /// Rings of the ends, one after the other: [`PendingQuantiles::median`].
    #[serde(with = "byte_shuffle")]
    medians: Vec<f32>,
    /// Rings of the ends, `[level]` each: [`PendingQuantiles::deviations`].
    #[serde(with = "byte_shuffle")]
    deviations: Vec<u16>,
    /// Rings of the ends, one after the other: bfloat16 [`PendingQuantiles::lean`].
    #[serde(with = "byte_shuffle")]
    leans: Vec<u16>,
}

clone_in_place!(PendingForecasts { scales, now, cursors, points, medians, deviations, leans });

/// Indices of the current step in the rings of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Cursor {
    middle: u16,
    end: u16,
}

impl PendingForecasts {
    pub fn new(spec: &ForecastSpec) -> Self {
        let ends: usize = spec.buckets.iter().sum();
        Self {
            scales: vec![0; spec.horizon + 1],
            now: 0,
            cursors: vec![Cursor::default(); spec.buckets.len()],
            points: vec![PendingPoints::default(); spec.middles.iter().sum()],
            medians: vec![0.0; ends],
            deviations: vec![0; ends * spec.levels.len()],
            leans: vec![0; ends],
        }
    }

    /// Moves to the next step, at which no forecast is made yet.
    pub fn advance(&mut self, spec: &ForecastSpec) {
        self.now = next_index(self.now, self.scales.len());
        self.scales[usize::from(self.now)] = 0;
        for (cursor, (middle, end)) in self.cursors.iter_mut().zip(spec.middles.iter().zip(&spec.buckets)) {
            *cursor = Cursor { middle: next_index(cursor.middle, *middle), end: next_index(cursor.end, *end) };
        }
    }

    /// Discards all forecasts.
    pub fn clear(&mut self) {
        self.scales.fill(0);
    }

    /// Discards the forecast that was made so many steps ago.
    pub fn discard(&mut self, steps_back: usize) {
        if steps_back < self.scales.len() {
            let at = index_before(usize::from(self.now), steps_back, self.scales.len());
            self.scales[at] = 0;
        }
    }

    /// The scale `lead` steps ago; `None` where no forecast was made then.
    #[inline]
    pub fn scale(&self, lead: usize) -> Option<f64> {
        let bits = self.scales[index_before(usize::from(self.now), lead, self.scales.len())];
        (bits != 0).then(|| f64::from_bits(u64::from(bits) << 32))
    }

    /// The forecast for the current step at the middle of a bucket.
    #[inline]
    pub fn points(&self, spec: &ForecastSpec, bucket: usize) -> PendingPoints {
        self.points[self.middle_index(spec, bucket)]
    }

    /// The forecast for the current step at the end of a bucket.
    #[inline]
    pub fn quantiles(&self, spec: &ForecastSpec, bucket: usize) -> PendingQuantiles<'_> {
        let (at, levels) = (self.end_index(spec, bucket), spec.levels.len());
        let deviations = &self.deviations[at * levels..(at + 1) * levels];
        PendingQuantiles { median: self.medians[at], deviations, lean: from_bf16(self.leans[at]) }
    }

    /// Begins the forecast that is made at the current step, in this scale.
    pub fn open(&mut self, scale: f64) {
        self.scales[usize::from(self.now)] = (scale.to_bits() >> 32) as u32;
    }

    /// Stores the points at the middle of a bucket, and the median at its end.
    pub fn put_points(&mut self, spec: &ForecastSpec, bucket: usize, points: PendingPoints, median_at_end: f32) {
        let (middle, end) = (self.middle_index(spec, bucket), self.end_index(spec, bucket));
        self.points[middle] = points;
        self.medians[end] = median_at_end;
    }

    /// Stores the quantiles at the end of a bucket: deviations from the median, and how wide they are.
    pub fn put_quantiles(&mut self, spec: &ForecastSpec, deviations: &[f32], end: BucketEnd) {
        let BucketEnd { bucket, relative_width, lean } = end;
        let (at, levels) = (self.end_index(spec, bucket), spec.levels.len());
        let stored = &mut self.deviations[at * levels..(at + 1) * levels];
        for_each_without_crossing(spec.median(), deviations, |level, deviation| stored[level] = to_bf16(deviation));
        stored[spec.median()] = to_bf16(relative_width);
        self.leans[at] = to_bf16(lean);
    }

    /// Whether it has the shape that `spec` needs, and valid indices and values; a snapshot comes from outside.
    pub fn is_sound(&self, spec: &ForecastSpec) -> bool {
        let ends: usize = spec.buckets.iter().sum();
        let cursor = |(cursor, (middle, end)): (&Cursor, (&usize, &usize))| {
            usize::from(cursor.middle) < *middle && usize::from(cursor.end) < *end
        };
        let scale = |bits: &u32| {
            let scale = f64::from_bits(u64::from(*bits) << 32);
            *bits == 0 || scale > 0.0 && is_within_limit(scale)
        };
        self.scales.len() == spec.horizon + 1
            && usize::from(self.now) < self.scales.len()
            && self.cursors.len() == spec.buckets.len()
            && self.points.len() == spec.middles.iter().sum::<usize>()
            && self.medians.len() == ends
            && self.deviations.len() == ends * spec.levels.len()
            && self.leans.len() == ends
            && self.cursors.iter().zip(spec.middles.iter().zip(&spec.buckets)).all(cursor)
            && self.scales.iter().all(scale)
            && self.points.iter().all(|points| all_within_scaled_range(&points.to_array()))
            && all_within_scaled_range(&self.medians)
            && self.deviations.iter().chain(&self.leans).all(|bits| from_bf16(*bits).is_finite())
    }

    pub fn heap_bytes(&self) -> usize {
        self.scales.capacity() * size_of::<u32>()
            + self.cursors.capacity() * size_of::<Cursor>()
            + self.points.capacity() * size_of::<PendingPoints>()
            + self.medians.capacity() * size_of::<f32>()
            + (self.deviations.capacity() + self.leans.capacity()) * size_of::<u16>()
    }

    /// Index of the current step among the middles of all buckets. A forecast that was stored one turn of the ring ago
    /// is due now.
    #[inline]
    fn middle_index(&self, spec: &ForecastSpec, bucket: usize) -> usize {
        spec.lead_tables.ring_starts[bucket].middle + usize::from(self.cursors[bucket].middle)
    }

    /// Index of the current step among the ends of all buckets.
    #[inline]
    fn end_index(&self, spec: &ForecastSpec, bucket: usize) -> usize {
        spec.lead_tables.ring_starts[bucket].end + usize::from(self.cursors[bucket].end)
    }
}
