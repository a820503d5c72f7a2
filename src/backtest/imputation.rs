//! Scores an imputer: hides values in the scored rows, fills the gaps with an imputer trained on the rows before them,
//! and compares it with two naive methods.

use std::{fmt::Write, ops::Range};

use rand_pcg::{Pcg64, rand_core::SeedableRng};
use serde_json::json;

use super::{error::BacktestError, error_scale::error_scales, report_format::significant, table::Table};
use crate::forecast::PointMeasures;
use crate::train::{GapSegment, Gaps, Imputer, ImputerSpec, TrainError, Window, interpolate, mask_gaps};

/// Mixed into the seed, so that the scored gaps differ from the training gaps.
const SCORE_SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// Number of gaps that the imputer fills at once.
const BATCH: usize = 256;

/// What to hide, fill and score.
#[derive(Debug, Clone, PartialEq)]
pub struct ImputationSpec {
    /// The imputer and the lengths of the gaps.
    pub imputer: ImputerSpec,
    /// Maximum number of steps of a segment that the imputer is trained on; the newest ones are used.
    pub max_history: usize,
    /// Rows whose mean and standard deviation scale the errors; `None` for errors in the series' own unit.
    pub scale_rows: Option<Range<usize>>,
    /// Rows in which values are hidden. The imputer is trained on the rows before.
    pub score_rows: Range<usize>,
}

/// The methods in the order of the report: name in JSON and name in text.
const METHODS: [(&str, &str); 3] =
    [("foretide", "foretide"), ("linear", "linear interpolation"), ("last_value", "last value")];

/// The result of an imputation backtest.
#[derive(Debug, Clone, PartialEq)]
pub struct ImputationReport {
    /// Lengths of the hidden gaps.
    pub gaps: Gaps,
    /// Errors of the imputer, of linear interpolation and of the last value on the same hidden values.
    pub errors: [PointMeasures; 3],
    /// Rows whose standard deviation scales the errors; `None` for errors in the series' own unit.
    pub scale_rows: Option<Range<usize>>,
}

impl ImputationReport {
    /// Number of hidden values.
    pub fn hidden_values(&self) -> u64 {
        self.errors[0].count()
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        let mut report = json!({"gaps": self.lengths(), "hidden_values": self.hidden_values()});
        for ((name, _), errors) in METHODS.into_iter().zip(&self.errors) {
            report[name] = json!({"mse": errors.mse(), "mae": errors.mae()});
        }
        json!({ "impute": report }).to_string()
    }

    /// A text table.
    pub fn table(&self) -> String {
        let unit = match &self.scale_rows {
            Some(rows) => format!("in units of each series' deviation in rows {}..{}", rows.start, rows.end),
            None => "in the series' own units".to_owned(),
        };
        let (count, lengths) = (self.hidden_values(), self.lengths());
        let mut out = format!("{count} values hidden in gaps of {lengths} steps; errors {unit}\n\n");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{:<21}{:>10}{:>10}", "method", "MSE", "MAE");
        for ((_, title), errors) in METHODS.into_iter().zip(&self.errors) {
            let [mse, mae] =
                [errors.mse(), errors.mae()].map(|error| error.map_or_else(|| "-".to_owned(), significant));
            let _ = writeln!(out, "{title:<21}{mse:>10}{mae:>10}");
        }
        out
    }

    fn lengths(&self) -> String {
        format!("{}..{}", self.gaps.shortest, self.gaps.longest)
    }
}

/// Trains an imputer on the rows before the scored ones, hides values in the scored rows, fills and scores them.
/// `on_update` receives the number and the loss of each training update.
///
/// A hidden gap lies between visible values, in a segment of at least one window. Natural gaps are not scored.
///
/// # Errors
/// If the specification does not fit the table, or training fails.
pub fn impute(
    spec: &ImputationSpec,
    table: &Table,
    on_update: &mut dyn FnMut(usize, f64),
) -> Result<ImputationReport, BacktestError> {
    let (score, rows) = (&spec.score_rows, table.rows);
    let is_invalid = |range: &&Range<usize>| range.start >= range.end || range.end > rows;
    if let Some(Range { start, end }) = [Some(score), spec.scale_rows.as_ref()].into_iter().flatten().find(is_invalid) {
        return Err(BacktestError::InvalidSpec(format!(
            "rows {start}..{end} are invalid; expected rows within 0..{rows}"
        )));
    }
    let backtest_error = |error: TrainError| match error {
        TrainError::Network(error) => BacktestError::Network(error),
        TrainError::Invalid(reason) => BacktestError::InvalidSpec(reason),
        TrainError::TooLittle(reason) => {
            BacktestError::InvalidSpec(format!("{reason}; these are the rows before row {}", score.start))
        }
        other => BacktestError::Train(other),
    };
    let mut imputer = Imputer::new(&spec.imputer).map_err(backtest_error)?;
    let segments = scored_segments(table, score, spec.imputer.gaps.window());
    let before: Vec<GapSegment> = segments.iter().map(|segment| segment.before(spec.max_history)).collect();
    imputer.train(&before, on_update).map_err(backtest_error)?;
    let filled = fill_gaps(spec, &imputer, &segments)?;
    let scales = error_scales(table, spec.scale_rows.as_ref(), 0..score.start, 0);
    let mut errors = <[PointMeasures; 3]>::default();
    for gap in &filled {
        let segment = &segments[gap.segment];
        let scale = scales[segment.series];
        for (at, step) in gap.steps.clone().enumerate().filter(|(_, step)| !segment.history.values[*step].is_nan()) {
            let target = scale.scaled(segment.history.values[step]);
            for (errors, value) in errors.iter_mut().zip([gap.foretide[at], gap.linear[at], gap.last]) {
                let value = scale.scaled(value);
                errors.add(target, value, value, None);
            }
        }
    }
    let gaps = spec.imputer.gaps;
    if errors[0].count() == 0 {
        let (start, end, window) = (score.start, score.end, gaps.window());
        return Err(BacktestError::InvalidSpec(format!(
            "rows {start}..{end} hold no gap of {} to {} steps between values; expected segments of at least {window} \
             steps, and more rows or shorter gaps",
            gaps.shortest, gaps.longest
        )));
    }
    Ok(ImputationReport { gaps, errors, scale_rows: spec.scale_rows.clone() })
}

/// A segment of a series without long pauses.
struct ScoredSegment {
    series: usize,
    history: GapSegment,
    /// The steps of the scored rows.
    scored: Range<usize>,
}

impl ScoredSegment {
    /// The newest steps before the scored rows, up to `max_steps`.
    fn before(&self, max_steps: usize) -> GapSegment {
        let begin = self.scored.start.saturating_sub(max_steps);
        let first = self.history.first + begin as i64;
        GapSegment { first, values: self.history.values[begin..self.scored.start].to_vec() }
    }
}

/// The series on the grid. After a pause of more than `window` slots a new segment begins. Late and duplicate readings
/// are skipped, as in serving.
fn scored_segments(table: &Table, score: &Range<usize>, window: usize) -> Vec<ScoredSegment> {
    let grid = &table.grid;
    let mut open: Vec<Option<ScoredSegment>> = table.series.iter().map(|_| None).collect();
    let mut done = Vec::new();
    for reading in &table.readings {
        let (series, slot, row) = (reading.series as usize, grid.slot(reading.time), reading.row as usize);
        let newest = |segment: &ScoredSegment| segment.history.first + segment.history.values.len() as i64 - 1;
        let step = open[series].as_ref().map(|segment| slot - newest(segment));
        if step.is_some_and(|step| step <= 0) {
            continue;
        }
        if step.is_some_and(|step| step > window as i64) {
            done.extend(open[series].take());
        }
        let begin = || ScoredSegment { series, history: GapSegment { first: slot, values: Vec::new() }, scored: 0..0 };
        let segment = open[series].get_or_insert_with(begin);
        let place = (slot - segment.history.first) as usize;
        segment.history.values.resize(place, f64::NAN);
        segment.history.values.push(reading.value);
        if row < score.start {
            segment.scored = place + 1..place + 1;
        } else if row < score.end {
            segment.scored.end = place + 1;
        }
    }
    done.extend(open.into_iter().flatten());
    done
}

/// A gap with the values of each method.
struct FilledGap {
    /// Index of the segment.
    segment: usize,
    steps: Range<usize>,
    foretide: Vec<f64>,
    linear: Vec<f64>,
    last: f64,
}

/// Hides values in the scored rows of every segment and fills the gaps.
fn fill_gaps(
    spec: &ImputationSpec,
    imputer: &Imputer,
    segments: &[ScoredSegment],
) -> Result<Vec<FilledGap>, BacktestError> {
    let ImputerSpec { gaps, season, seed, .. } = spec.imputer;
    let steps = gaps.window();
    let mut random = Pcg64::seed_from_u64(seed ^ SCORE_SEED);
    let (mut filled, mut windows, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for (segment, ScoredSegment { history: GapSegment { first, values }, scored, .. }) in segments.iter().enumerate() {
        if values.len() < steps {
            continue;
        }
        let drawn = gaps.draw(&mut random, scored.clone());
        let visible = mask_gaps(values, &drawn);
        let line = interpolate(&visible);
        let end = visible.iter().rposition(|value| !value.is_nan()).unwrap_or(0);
        for gap in drawn {
            let last = visible[..gap.start].iter().rfind(|value| !value.is_nan());
            let middle = (gap.start + gap.end) / 2;
            let start = middle.saturating_sub(steps / 2).min(values.len() - steps);
            let inside = start..start + steps;
            let slot = first + start as i64;
            let window = Window::new(gaps, season, slot, &visible[inside.clone()], &line[inside]);
            let (Some(&last), Some(window), true) = (last, window, gap.end <= end) else { continue };
            let linear = line[gap.clone()].to_vec();
            filled.push(FilledGap { segment, steps: gap, foretide: Vec::new(), linear, last });
            windows.push(window);
            starts.push(start);
        }
    }
    let mut gaps = filled.iter_mut().zip(starts);
    for batch in windows.chunks(BATCH) {
        for (values, (gap, start)) in imputer.fill(batch)?.into_iter().zip(&mut gaps) {
            gap.foretide = values[gap.steps.start - start..gap.steps.end - start].to_vec();
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backtest::Reading, nn::CellKind, time::EventTime};

    /// Two series with a natural gap, a duplicate slot and a pause.
    fn table(rows: u32) -> Table {
        let value = |row: u32, series: u32| f64::from(row * (7 + series) % 13) + 100.0 * f64::from(series);
        let mut readings = Vec::new();
        for row in 0..rows {
            let time = EventTime(i64::from(row) * 1000 + if row < 150 { 0 } else { 500_000 });
            let reading = |series| Reading { time, value: value(row, series), series, row, position: row };
            readings.push(reading(0));
            if !(300..303).contains(&row) {
                readings.push(reading(1));
            }
            if row == 200 {
                readings.push(Reading { value: 1e6, ..reading(0) });
            }
        }
        let series = vec!["a".to_owned(), "b".to_owned()];
        Table { series, readings, rows: rows as usize, ..Table::default() }
    }

    fn spec(updates: usize) -> ImputationSpec {
        let imputer = ImputerSpec {
            cell: CellKind::Gru,
            hidden: 4,
            gaps: Gaps { shortest: 2, longest: 6 },
            season: 0,
            updates,
            windows: 4,
            learning_rate: 0.01,
            seed: 1,
        };
        ImputationSpec { imputer, max_history: 200, scale_rows: None, score_rows: 250..380 }
    }

    #[test]
    fn series_are_split_at_long_pauses_and_aligned_to_the_grid() {
        let segments = scored_segments(&table(400), &(250..380), 48);
        let sizes: Vec<_> = segments
            .iter()
            .map(|segment| (segment.series, segment.history.values.len(), segment.scored.clone()))
            .collect();
        assert_eq!(sizes, [(0, 150, 150..150), (1, 150, 150..150), (0, 250, 100..230), (1, 250, 100..230)]);
        let values = &segments[3].history.values;
        assert!(values[150..153].iter().all(|value| value.is_nan()) && !values[149].is_nan() && !values[153].is_nan());
        assert_eq!(segments[2].history.values[50], table(400).readings.iter().find(|r| r.row == 200).unwrap().value);
    }

    #[test]
    fn an_untrained_imputer_equals_linear_interpolation() {
        let imputed = impute(&spec(0), &table(400), &mut |_, _| {}).unwrap();
        assert!(imputed.hidden_values() > 40, "{imputed:?}");
        assert_eq!(imputed.errors[0], imputed.errors[1]);
        assert_ne!(imputed.errors[1], imputed.errors[2]);
    }

    #[test]
    fn hidden_values_never_reach_the_imputer() {
        let (spec, table) = (spec(6), table(400));
        let run = |table: &Table| {
            let segments = scored_segments(table, &spec.score_rows, 48);
            let mut imputer = Imputer::new(&spec.imputer).unwrap();
            let mut losses = Vec::new();
            let before: Vec<GapSegment> = segments.iter().map(|segment| segment.before(200)).collect();
            imputer.train(&before, &mut |_, loss| losses.push(loss)).unwrap();
            let filled = fill_gaps(&spec, &imputer, &segments).unwrap();
            let hidden: Vec<(usize, i64)> = filled
                .iter()
                .flat_map(|gap| {
                    let segment = &segments[gap.segment];
                    gap.steps.clone().map(|step| (segment.series, segment.history.first + step as i64))
                })
                .collect();
            (hidden, losses, filled.into_iter().map(|gap| gap.foretide).collect::<Vec<_>>())
        };
        let (hidden, losses, values) = run(&table);
        let mut changed = table.clone();
        let mut count = 0;
        for reading in &mut changed.readings {
            if hidden.contains(&(reading.series as usize, reading.time.0 / 1000)) {
                reading.value = 1e6 - 3.0 * reading.value;
                count += 1;
            }
        }
        assert!(count > 40, "{count}");
        assert_eq!(run(&changed), (hidden.clone(), losses, values.clone()));
        changed.readings.iter_mut().for_each(|reading| reading.value += 1.0);
        assert_ne!(run(&changed).2, values, "visible values matter");
    }

    #[test]
    fn an_invalid_specification_is_rejected_with_the_reason() {
        let rejection =
            |spec: ImputationSpec, rows| impute(&spec, &table(rows), &mut |_, _| {}).unwrap_err().to_string();
        assert!(rejection(spec(0), 300).contains("rows 250..380 are invalid; expected rows within 0..300"));
        let early = ImputationSpec { score_rows: 20..300, ..spec(1) };
        assert!(
            rejection(early, 300)
                .contains("has 20 steps, expected at least one window of 48; these are the rows before row 20")
        );
        let short = ImputationSpec { score_rows: 250..252, ..spec(0) };
        assert!(rejection(short, 300).contains("rows 250..252 hold no gap of 2 to 6 steps"));
    }
}
