//! How late the readings of a topic come, measured on its newest records.

use std::collections::BTreeMap;

use crate::series::{ClosedSlot, Placement, Reading, SeriesSpec, SeriesState};
use crate::settings::Millis;
use crate::time::EventTime;

/// The most series that are measured.
const MAX_SERIES: usize = 10_000;
/// A smaller share of late readings is no reason to wait for them.
const NEGLIGIBLE: f64 = 0.001;

/// The order of the readings of some series.
pub struct ReadingOrder {
    /// Without any lateness.
    spec: SeriesSpec,
    /// The lateness that is configured, in milliseconds.
    configured: i64,
    series: BTreeMap<String, MeasuredSeries>,
    readings: u64,
    /// The `allowed_lateness` that each late reading would have needed, in milliseconds.
    late: Vec<i64>,
    duplicates: u64,
    ahead: u64,
    closed: Vec<ClosedSlot>,
}

#[derive(Default)]
struct MeasuredSeries {
    state: SeriesState,
    newest: Option<EventTime>,
}

impl ReadingOrder {
    /// Nothing measured yet of a stream.
    pub fn new(spec: &SeriesSpec) -> Self {
        Self {
            spec: SeriesSpec { allowed_lateness: 0, ..spec.clone() },
            configured: spec.allowed_lateness,
            series: BTreeMap::new(),
            readings: 0,
            late: Vec::new(),
            duplicates: 0,
            ahead: 0,
            closed: Vec::new(),
        }
    }

    /// Measures the next reading of its partition.
    pub fn observe(&mut self, series: &str, reading: &Reading<'_>) {
        if !self.series.contains_key(series) {
            if self.series.len() >= MAX_SERIES {
                return;
            }
            self.series.insert(series.to_owned(), MeasuredSeries::default());
        }
        let Some(MeasuredSeries { state, newest }) = self.series.get_mut(series) else { return };
        self.readings += 1;
        let placement = state.observe(&self.spec, reading, &mut self.closed);
        self.closed.clear();
        match placement {
            Placement::Accepted => *newest = Some(reading.time).max(*newest),
            Placement::Late { .. } | Placement::Corrected { .. } => {
                let grid = &self.spec.grid;
                let end = grid.closes_at(grid.slot(reading.time));
                // Where slots close by the time of the partition, that may be what it is late by.
                let newest = (*newest).max(reading.partition_time.filter(|_| newest.is_some()));
                self.late.extend(newest.map(|newest| newest.0 - end.0 + 1));
            }
            Placement::Duplicate { .. } => self.duplicates += 1,
            Placement::ImplausibleTime(_) => self.ahead += 1,
        }
    }

    /// What was measured, and what to set.
    pub fn describe(mut self) -> String {
        let Self { readings, duplicates, ahead, configured, .. } = self;
        if readings == 0 {
            return "no readings to judge by".to_owned();
        }
        self.late.sort_unstable();
        let also = [(duplicates, "are delivered again"), (ahead, "are ahead of their time (max_ahead)")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("; {count} {what}"))
            .collect::<String>();
        let (Some(median), Some(most)) = (self.needed(0.5), self.needed(1.0)) else {
            return format!("none of its {readings} newest readings is late{also}");
        };
        let share = |late: usize| late as f64 / readings as f64;
        let refused = self.late.iter().filter(|needed| **needed > configured).count();
        let wanted = self.needed(0.99).unwrap_or(most);
        let advice = if share(refused) < NEGLIGIBLE || wanted.0 <= configured {
            String::new()
        } else {
            let wait = if self.spec.readings_per_slot.is_some() { "after a missing reading" } else { "always" };
            format!("; allowed_lateness = \"{wanted}\" accepts 99 % of them, and forecasts wait for it {wait}")
        };
        format!(
            "{:.2} % of its {readings} newest readings are late without allowed_lateness; {median} accepts half of \
             them, {wanted} 99 %, {most} all; the configured {} refuses {:.2} %{advice}{also}",
            100.0 * share(self.late.len()),
            Millis(configured),
            100.0 * share(refused),
        )
    }

    /// The `allowed_lateness` that accepts this share of the late readings, in whole intervals (seconds on an irregular
    /// grid). They are sorted.
    fn needed(&self, share: f64) -> Option<Millis> {
        let unit = self.spec.grid.nominal_interval().unwrap_or(1_000);
        let last = (share * self.late.len() as f64).ceil() as usize;
        let needed = self.late.get(last.saturating_sub(1))?;
        Some(Millis(((needed + unit - 1) / unit).saturating_mul(unit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Grid;

    fn describe(spec: &SeriesSpec, times: impl IntoIterator<Item = i64>) -> String {
        let mut order = ReadingOrder::new(spec);
        for time in times {
            order.observe("a", &Reading::new(EventTime(time), 1.0));
        }
        order.describe()
    }

    #[test]
    fn the_advice_accepts_the_late_readings() {
        let spec = SeriesSpec {
            max_ahead: 300_000,
            max_step: 86_400_000,
            max_outage: 86_400_000,
            ..SeriesSpec::new(Grid::Regular { interval: 60_000 })
        };
        assert_eq!(describe(&spec, []), "no readings to judge by");
        assert_eq!(describe(&spec, (0..50).map(|minute| minute * 60_000)), "none of its 50 newest readings is late");
        // Every tenth minute comes after the four that follow it; one reading is wild.
        let minutes = (0..1_000).map(|minute: i64| match minute % 10 {
            at @ 2..6 => minute - at + 3 + (at - 2),
            6 => minute - 4,
            _ => minute,
        });
        let times: Vec<i64> = minutes.map(|minute| minute * 60_000).chain([4_000_000_000_000]).collect();
        let found = describe(&spec, times.clone());
        let expected = "9.99 % of its 1001 newest readings are late without allowed_lateness; 4m accepts half of \
                        them, 4m 99 %, 4m all; the configured 0s refuses 9.99 %; allowed_lateness = \"4m\" accepts \
                        99 % of them, and forecasts wait for it always; 1 are ahead of their time (max_ahead)";
        assert_eq!(found, expected);
        let patient = SeriesSpec { allowed_lateness: 240_000, ..spec };
        assert!(describe(&patient, times.clone()).contains("the configured 4m refuses 0.00 %; 1 are ahead"));
        let mut order = ReadingOrder::new(&patient);
        order.spec.allowed_lateness = 240_000;
        times.iter().for_each(|&time| order.observe("a", &Reading::new(EventTime(time), 1.0)));
        assert_eq!((order.late.len(), order.ahead), (0, 1), "serving accepts them with that");
    }
}
