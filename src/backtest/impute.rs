//! How well gaps are filled: values are hidden in the scored rows, filled by an imputer that learnt from the rows before
//! them, and compared with what the two naive ways make of the same gaps.

use std::{fmt::Write, ops::Range};

use rand_pcg::{Pcg64, rand_core::SeedableRng};
use serde_json::json;

use super::{error::BacktestError, report::significant, table::Table, units::units};
use crate::{
    forecast::PointMeasures,
    time::Grid,
    train::{GapSegment, Gaps, Imputer, ImputerSpec, TrainError, Window, interpolate, mask_gaps},
};

/// What sets the seed of the gaps that are scored apart from that of those which are learnt from.
const SCORED: u64 = 0x9e37_79b9_7f4a_7c15;
/// Gaps that are at work at a time.
const BATCH: usize = 256;

/// What is hidden, filled and scored.
#[derive(Debug, Clone, PartialEq)]
pub struct ImputationSpec {
    /// The imputer, and the gaps.
    pub imputer: ImputerSpec,
    /// The most steps of a stretch that the imputer learns from, the newest ones.
    pub max_history: usize,
    /// Rows whose mean and deviation are the unit of the errors; `None`: the series' own unit.
    pub scale_rows: Option<Range<usize>>,
    /// Rows in which values are hidden; the imputer learns from those before.
    pub score_rows: Range<usize>,
}

/// The ways to fill a gap, in the order of the report: names in JSON and for people.
const WAYS: [(&str, &str); 3] =
    [("foretide", "foretide"), ("linear", "linear interpolation"), ("last_value", "last value")];

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Imputed {
    /// How long the hidden stretches are.
    pub gaps: Gaps,
    /// The errors of the imputer, of linear interpolation and of the last value, on the same hidden values.
    pub errors: [PointMeasures; 3],
    /// The rows whose deviation is the unit of the errors.
    pub scaled: Option<Range<usize>>,
}

impl Imputed {
    /// Hidden values that were filled.
    pub fn hidden_values(&self) -> u64 {
        self.errors[0].count()
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        let mut all = json!({"gaps": self.lengths(), "hidden_values": self.hidden_values()});
        for ((name, _), errors) in WAYS.into_iter().zip(&self.errors) {
            all[name] = json!({"mse": errors.mse(), "mae": errors.mae()});
        }
        json!({ "impute": all }).to_string()
    }

    /// A table.
    pub fn table(&self) -> String {
        let unit = match &self.scaled {
            Some(rows) => format!("in units of each series' deviation in rows {}..{}", rows.start, rows.end),
            None => "in the series' own units".to_owned(),
        };
        let (count, lengths) = (self.hidden_values(), self.lengths());
        let mut out = format!("{count} values hidden in gaps of {lengths} steps; errors {unit}\n\n");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{:<21}{:>10}{:>10}", "method", "MSE", "MAE");
        for ((_, title), errors) in WAYS.into_iter().zip(&self.errors) {
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

/// Trains an imputer on the rows before the scored ones, hides values in these, fills them and scores; `observe` is told
/// updates and their losses.
///
/// Gaps lie between values that are seen, and in stretches of at least a window; natural gaps are not scored.
///
/// # Errors
/// Where what was asked for does not fit the table, or training fails.
pub fn impute(
    spec: &ImputationSpec,
    table: &Table,
    observe: &mut dyn FnMut(usize, f64),
) -> Result<Imputed, BacktestError> {
    let (score, rows) = (&spec.score_rows, table.rows);
    let beyond = |range: &&Range<usize>| range.start >= range.end || range.end > rows;
    if let Some(Range { start, end }) = [Some(score), spec.scale_rows.as_ref()].into_iter().flatten().find(beyond) {
        return Err(BacktestError::InvalidSpec(format!(
            "rows {start}..{end} were asked for; expected rows within 0..{rows}"
        )));
    }
    let asked = |error: TrainError| match error {
        TrainError::Network(error) => BacktestError::Network(error),
        TrainError::Invalid(why) => BacktestError::InvalidSpec(why),
        TrainError::TooLittle(why) => {
            BacktestError::InvalidSpec(format!("{why}; these are the rows before row {}", score.start))
        }
        other => BacktestError::Train(other),
    };
    let mut imputer = Imputer::new(&spec.imputer).map_err(asked)?;
    let stretches = stretches(table, score, spec.imputer.gaps.window());
    let before: Vec<GapSegment> = stretches.iter().map(|placed| placed.before(spec.max_history)).collect();
    imputer.train(&before, observe).map_err(asked)?;
    let filled = filled(spec, &imputer, &stretches)?;
    let units = units(table, spec.scale_rows.as_ref(), 0..score.start, 0);
    let mut errors = <[PointMeasures; 3]>::default();
    for gap in &filled {
        let (placed, unit) = (&stretches[gap.stretch], units[stretches[gap.stretch].series]);
        for (at, step) in gap.steps.clone().enumerate().filter(|(_, step)| !placed.stretch.values[*step].is_nan()) {
            let target = unit.of(placed.stretch.values[step]);
            for (errors, value) in errors.iter_mut().zip([gap.foretide[at], gap.linear[at], gap.last]) {
                let value = unit.of(value);
                errors.add(target, value, value, None);
            }
        }
    }
    let gaps = spec.imputer.gaps;
    if errors[0].count() == 0 {
        let (start, end, window) = (score.start, score.end, gaps.window());
        return Err(BacktestError::InvalidSpec(format!(
            "rows {start}..{end} hold no gap of {} to {} steps between values; expected stretches of at least {window} \
             steps, and more rows or shorter gaps",
            gaps.shortest, gaps.longest
        )));
    }
    Ok(Imputed { gaps, errors, scaled: spec.scale_rows.clone() })
}

/// A stretch of a series, and where in it the scored rows lie.
struct Placement {
    series: usize,
    stretch: GapSegment,
    scored: Range<usize>,
}

impl Placement {
    /// The newest steps, at most `most`, before the scored rows.
    fn before(&self, most: usize) -> GapSegment {
        let begin = self.scored.start.saturating_sub(most);
        let first = self.stretch.first + begin as i64;
        GapSegment { first, values: self.stretch.values[begin..self.scored.start].to_vec() }
    }
}

/// The series on the grid; where more slots than `window` are empty a new stretch begins. What is late or doubled is left
/// out, as in serving.
fn stretches(table: &Table, score: &Range<usize>, window: usize) -> Vec<Placement> {
    let grid = Grid::Regular { interval: table.interval };
    let mut open: Vec<Option<Placement>> = table.series.iter().map(|_| None).collect();
    let mut done = Vec::new();
    for reading in &table.readings {
        let (series, slot, row) = (reading.series as usize, grid.slot(reading.time), reading.row as usize);
        let newest = |placed: &Placement| placed.stretch.first + placed.stretch.values.len() as i64 - 1;
        let step = open[series].as_ref().map(|placed| slot - newest(placed));
        if step.is_some_and(|step| step <= 0) {
            continue;
        }
        if step.is_some_and(|step| step > window as i64) {
            done.extend(open[series].take());
        }
        let begin = || Placement { series, stretch: GapSegment { first: slot, values: Vec::new() }, scored: 0..0 };
        let placed = open[series].get_or_insert_with(begin);
        let place = (slot - placed.stretch.first) as usize;
        placed.stretch.values.resize(place, f64::NAN);
        placed.stretch.values.push(reading.value);
        if row < score.start {
            placed.scored = place + 1..place + 1;
        } else if row < score.end {
            placed.scored.end = place + 1;
        }
    }
    done.extend(open.into_iter().flatten());
    done
}

/// A gap and what it was filled with.
struct Filled {
    stretch: usize,
    steps: Range<usize>,
    foretide: Vec<f64>,
    linear: Vec<f64>,
    last: f64,
}

/// Hides values in the scored rows of every stretch and fills the gaps.
fn filled(spec: &ImputationSpec, imputer: &Imputer, stretches: &[Placement]) -> Result<Vec<Filled>, BacktestError> {
    let ImputerSpec { gaps, season, seed, .. } = spec.imputer;
    let steps = gaps.window();
    let mut random = Pcg64::seed_from_u64(seed ^ SCORED);
    let (mut all, mut windows, mut begins) = (Vec::new(), Vec::new(), Vec::new());
    for (stretch, Placement { stretch: GapSegment { first, values }, scored, .. }) in stretches.iter().enumerate() {
        if values.len() < steps {
            continue;
        }
        let drawn = gaps.draw(&mut random, scored.clone());
        let seen = mask_gaps(values, &drawn);
        let line = interpolate(&seen);
        let end = seen.iter().rposition(|value| !value.is_nan()).unwrap_or(0);
        for gap in drawn {
            let last = seen[..gap.start].iter().rfind(|value| !value.is_nan());
            let middle = (gap.start + gap.end) / 2;
            let begin = middle.saturating_sub(steps / 2).min(values.len() - steps);
            let inside = begin..begin + steps;
            let slot = first + begin as i64;
            let window = Window::new(gaps, season, slot, &seen[inside.clone()], &line[inside]);
            let (Some(&last), Some(window), true) = (last, window, gap.end <= end) else { continue };
            let linear = line[gap.clone()].to_vec();
            all.push(Filled { stretch, steps: gap, foretide: Vec::new(), linear, last });
            windows.push(window);
            begins.push(begin);
        }
    }
    for (at, batch) in windows.chunks(BATCH).enumerate() {
        for (place, values) in imputer.fill(batch)?.into_iter().enumerate() {
            let (gap, begin) = (&mut all[at * BATCH + place], begins[at * BATCH + place]);
            gap.foretide = values[gap.steps.start - begin..gap.steps.end - begin].to_vec();
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backtest::Reading, nn::CellKind, time::EventTime};

    /// Two series, one of them with a gap of its own, a doubled slot and a pause.
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
        Table { series, readings, rows: rows as usize, interval: 1000, ..Table::default() }
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
    fn series_are_cut_at_long_pauses_and_placed_on_the_grid() {
        let placed = stretches(&table(400), &(250..380), 48);
        let sizes: Vec<_> =
            placed.iter().map(|placed| (placed.series, placed.stretch.values.len(), placed.scored.clone())).collect();
        assert_eq!(sizes, [(0, 150, 150..150), (1, 150, 150..150), (0, 250, 100..230), (1, 250, 100..230)]);
        let values = &placed[3].stretch.values;
        assert!(values[150..153].iter().all(|value| value.is_nan()) && !values[149].is_nan() && !values[153].is_nan());
        assert_eq!(placed[2].stretch.values[50], table(400).readings.iter().find(|r| r.row == 200).unwrap().value);
    }

    #[test]
    fn untrained_errors_are_those_of_linear_interpolation() {
        let imputed = impute(&spec(0), &table(400), &mut |_, _| {}).unwrap();
        assert!(imputed.hidden_values() > 40, "{imputed:?}");
        assert_eq!(imputed.errors[0], imputed.errors[1]);
        assert_ne!(imputed.errors[1], imputed.errors[2]);
    }

    #[test]
    fn hidden_values_and_what_is_scored_never_reach_the_imputer() {
        let (spec, table) = (spec(6), table(400));
        let run = |table: &Table| {
            let placed = stretches(table, &spec.score_rows, 48);
            let mut imputer = Imputer::new(&spec.imputer).unwrap();
            let mut losses = Vec::new();
            let before: Vec<GapSegment> = placed.iter().map(|placed| placed.before(200)).collect();
            imputer.train(&before, &mut |_, loss| losses.push(loss)).unwrap();
            let filled = filled(&spec, &imputer, &placed).unwrap();
            let hidden: Vec<(usize, i64)> = filled
                .iter()
                .flat_map(|gap| {
                    let placed = &placed[gap.stretch];
                    gap.steps.clone().map(|step| (placed.series, placed.stretch.first + step as i64))
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
        assert_ne!(run(&changed).2, values, "what is seen does matter");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refuse = |spec: ImputationSpec, rows| impute(&spec, &table(rows), &mut |_, _| {}).unwrap_err().to_string();
        assert!(refuse(spec(0), 300).contains("rows 250..380 were asked for; expected rows within 0..300"));
        let early = ImputationSpec { score_rows: 20..300, ..spec(1) };
        assert!(
            refuse(early, 300)
                .contains("has 20 steps, expected at least 48, a window; these are the rows before row 20")
        );
        let short = ImputationSpec { score_rows: 250..252, ..spec(0) };
        assert!(refuse(short, 300).contains("rows 250..252 hold no gap of 2 to 6 steps"));
    }
}
