//! The query of one lead: what is known of the step that is forecast, without a forecast of it.

use super::arithmetic::{logarithm, sine};
use super::feature_layout::FEATURE_CLIP;
use super::phase_store::{PhaseReading, PhaseStore};
use super::recent_values::RecentValues;
use super::robust_scale::RobustScale;
use super::spec::SeriesSpec;

/// Values of a query.
pub const QUERY_FEATURES: usize = 18;

/// Names of the values of a query, in order. All are finite and within 8; what is unknown is 0.
pub const QUERY_NAMES: [&str; QUERY_FEATURES] = [
    "log_lead",            // log(lead) / 4
    "root_lead",           // sqrt(lead) / 8
    "seasons_ahead",       // log(1 + lead / season)
    "seasonal",            // 1 where there is a season, else 0
    "day_sine",            // local time of day of the step that is forecast
    "day_cosine",          //
    "week_sine",           // its local time of week, from Monday
    "week_cosine",         //
    "season_sine",         // its phase in the season
    "season_cosine",       //
    "phase_mean",          // (mean of the phase store there - last value) / scale
    "phase_deviation",     // mean absolute deviation there / scale
    "phase_known",         // weight / (1 + weight) there
    "phase_mean_now",      // (mean of the phase store at the newest step - last value) / scale
    "phase_deviation_now", // mean absolute deviation there / scale
    "log_interval",        // log(1 + interval in seconds) / 12; 0 on an irregular grid
    "season_before",       // (newest value at that phase of the season - last value) / scale
    "season_before_known", // 1 where there is such a value, else 0
];

/// What queries are computed from.
pub(super) struct QuerySource<'a, V> {
    pub spec: &'a SeriesSpec,
    pub values: &'a V,
    pub phases: Option<&'a PhaseStore>,
    pub scale: &'a RobustScale,
    /// The newest slot.
    pub slot: i64,
    pub last_value: f64,
}

impl<V: RecentValues> QuerySource<'_, V> {
    /// Writes the queries `[lead][QUERY_FEATURES]` of these leads, each at least 1.
    pub fn write(&self, leads: impl IntoIterator<Item = usize>, out: &mut [f32]) {
        let now = self.reading(self.slot);
        for (lead, out) in leads.into_iter().zip(out.chunks_exact_mut(QUERY_FEATURES)) {
            self.write_lead(lead, now, out);
        }
    }

    fn write_lead(&self, lead: usize, now: Option<PhaseReading>, out: &mut [f32]) {
        out.fill(0.0);
        out[0] = logarithm(lead as f32) / 4.0;
        out[1] = ((lead as f32).sqrt() / 8.0).min(FEATURE_CLIP as f32);
        let Some(interval) = self.spec.grid.nominal_interval() else { return };
        let slot = self.slot.saturating_add(lead as i64);
        out[15] = logarithm(1.0 + (interval as f32 / 1000.0)) / 12.0;
        let phase = self.spec.calendar.day_and_week_phase(self.spec.grid.start(slot));
        out[4..8].copy_from_slice(&phase);
        let Some(season) = self.spec.seasonal() else { return };
        out[2] = logarithm(1.0 + lead as f32 / season as f32);
        out[3] = 1.0;
        let turn = slot.rem_euclid(season as i64) as f32 / season as f32;
        (out[8], out[9]) = (sine(turn), sine(turn + 0.25));
        let scale = self.scale.scale();
        let deviation = |reading: &PhaseReading| clip(reading.deviation / scale);
        if let Some(then) = self.reading(slot) {
            out[10] = clip((then.mean - self.last_value) / scale);
            out[11] = deviation(&then);
            out[12] = (then.weight / (1.0 + then.weight)) as f32;
        }
        if let Some(now) = now {
            out[13] = clip((now.mean - self.last_value) / scale);
            out[14] = deviation(&now);
        }
        let before = self.values.back(lead.next_multiple_of(season) - lead);
        if !before.is_nan() {
            (out[16], out[17]) = (clip((before - self.last_value) / scale), 1.0);
        }
    }

    /// What the phase store says about a slot; none where it says nothing.
    fn reading(&self, slot: i64) -> Option<PhaseReading> {
        let season = self.spec.seasonal()?;
        Some(self.phases?.read(season, slot)).filter(|reading| reading.weight > 0.0)
    }
}

fn clip(feature: f64) -> f32 {
    feature.clamp(-FEATURE_CLIP, FEATURE_CLIP) as f32
}

#[cfg(test)]
mod tests {
    use crate::series::{Aggregation, ClosedSlot, QUERY_FEATURES, QUERY_NAMES, SeriesSpec, SeriesState};
    use crate::time::Grid;

    fn spec(season: u32) -> SeriesSpec {
        let spec = SeriesSpec::new(Grid::Regular { interval: 3_600_000 });
        SeriesSpec { aggregation: Aggregation::Last, season, queries: true, ..spec }
    }

    fn value(slot: i64) -> f64 {
        100.0 + (slot.rem_euclid(24) as f64 / 24.0 * std::f64::consts::TAU).sin()
    }

    fn after(spec: &SeriesSpec, steps: i64) -> SeriesState {
        let mut state = SeriesState::new();
        for slot in 0..steps {
            state.update(spec, &ClosedSlot { slot, value: Some(value(slot)), readings: 1, reset: false });
        }
        state
    }

    #[test]
    fn a_query_says_where_the_season_will_be() {
        let (spec, steps) = (spec(24), 24 * 12);
        let state = after(&spec, steps);
        let mut queries = vec![0.0; 48 * QUERY_FEATURES];
        state.queries(&spec, 1..=48, &mut queries);
        let at = |name: &str| QUERY_NAMES.iter().position(|other| *other == name).unwrap();
        for (lead, query) in (1..).zip(queries.chunks_exact(QUERY_FEATURES)) {
            assert!(query.iter().all(|value| value.is_finite() && value.abs() <= 8.0));
            let expected = (value(steps - 1 + lead) - value(steps - 1)) / state.scale();
            let found = f64::from(query[at("phase_mean")]);
            assert!((found - expected).abs() < 0.01, "lead {lead}: {found} {expected}");
            assert!(query[at("phase_known")] > 0.85 && query[at("phase_deviation")] < 0.2);
            assert!((f64::from(query[at("log_lead")]) - (lead as f64).ln() / 4.0).abs() < 1e-4);
            let found = f64::from(query[at("season_before")]);
            assert!((found - expected).abs() < 1e-4, "lead {lead}: {found} {expected}");
            assert_eq!(query[at("season_before_known")], 1.0);
            assert_eq!(query[at("day_sine")], query[at("season_sine")], "the season is a day");
        }
    }

    #[test]
    fn without_a_season_only_lead_and_calendar_are_known() {
        let spec = spec(0);
        let mut query = [1.0; QUERY_FEATURES];
        after(&spec, 60).queries(&spec, [3], &mut query);
        assert!(query[2..4] == [0.0; 2] && query[8..15] == [0.0; 7] && query[16..] == [0.0; 2]);
        assert!(query[0] > 0.0 && query[15] > 0.0);
        let mut irregular = [1.0; QUERY_FEATURES];
        let spec = SeriesSpec { grid: Grid::Irregular, ..spec };
        SeriesState::new().queries(&spec, [3], &mut irregular);
        assert!(irregular[2..] == [0.0; 16]);
    }
}
