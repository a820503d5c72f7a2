//! The Numenta Anomaly Benchmark, standard profile (Lavin and Ahmad, Evaluating Real-time Anomaly Detection Algorithms,
//! ICMLA 2015): rates anomaly scores against labelled windows.
//!
//! In each window only the earliest detection counts, and an earlier one counts more. Each detection outside the
//! windows costs, and costs less shortly after a window. A window without a detection costs most. The first rows of a
//! file are not scored. One threshold, the best one, applies to all files.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::tz::TimeZone;

use super::{
    error::DataError,
    table::Table,
    timestamps::{StampContext, StampList, TimestampFormat, detect},
};
use crate::time::EventTime;

/// Share of a file's rows at its start in which the detector learns and is not scored.
const PROBATION: f64 = 0.15;
/// Longer files have the probation of a file with this number of rows.
const MAX_PROBATION_ROWS: f64 = 5000.0;
/// Cost of a false alarm relative to the worth of the earliest possible detection (standard profile).
const FALSE_ALARM_COST: f64 = 0.11;

/// The labelled windows of each file, by its path relative to the data folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    windows: BTreeMap<String, Vec<[EventTime; 2]>>,
}

/// The anomaly scores and the labelled windows of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileScores {
    /// Score of each row; 0 for a row without one.
    pub scores: Vec<f32>,
    /// First and last row of each window, in order and without overlap.
    pub windows: Vec<[usize; 2]>,
}

/// The benchmark's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NabScore {
    /// 0: as good as no detection at all. 100: a detection in the first row of each window, and no other.
    pub score: f64,
    /// Scores from this value on are detections.
    pub threshold: f64,
    /// Number of scored windows.
    pub windows: usize,
    /// Number of windows with a detection.
    pub found: usize,
    /// Number of detections outside the windows.
    pub false_alarms: usize,
}

impl Labels {
    /// Reads the benchmark's label file. `zone` applies to times without an offset.
    ///
    /// # Errors
    /// If the file cannot be read or is invalid.
    pub fn read(path: &Path, zone: &TimeZone) -> Result<Self, DataError> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| DataError::Unreadable { file: file.clone(), source })?;
        Self::parse(&text, zone).map_err(|found| DataError::File {
            file,
            found,
            expected: "{\"folder/file.csv\": [[\"2014-04-10 07:15:00\", \"2014-04-11 16:45:00\"], …], …}".to_owned(),
        })
    }

    fn parse(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let labels: BTreeMap<String, Vec<[String; 2]>> =
            serde_json::from_str(text).map_err(|error| format!("invalid list of windows: {error}"))?;
        let stamps: StampList = labels.values().flatten().flatten().map(String::as_str).collect();
        let context = StampContext { zone, name: "", series: &[] };
        let format = match detect(&stamps, context) {
            Ok(found) => found.format,
            Err(_) if stamps.is_empty() => TimestampFormat::Steps,
            Err(_) => return Err("the times do not all have the same format".to_owned()),
        };
        let time = |stamp: &String| format.moment(stamp, 1)?.in_zone(zone);
        let mut windows = BTreeMap::new();
        for (name, pairs) in &labels {
            let mut times = Vec::with_capacity(pairs.len());
            for [start, end] in pairs {
                match [start, end].map(time) {
                    [Some(start), Some(end)] if start <= end => times.push([start, end]),
                    _ => return Err(format!("a window of \"{name}\" is from {start} to {end}")),
                }
            }
            times.sort_unstable();
            windows.insert(name.clone(), times);
        }
        Ok(Self { windows })
    }

    /// The windows of the file at `path`, which ends with its name in the labels; `None` if it has no entry.
    pub fn windows_of(&self, path: &Path) -> Option<&[[EventTime; 2]]> {
        let named = |name: &&String| path.ends_with(Path::new(name.as_str()));
        self.windows.keys().find(named).and_then(|name| self.windows.get(name)).map(Vec::as_slice)
    }
}

impl FileScores {
    /// Converts windows from times to rows. A window without rows is dropped.
    pub fn new(table: &Table, scores: Vec<f32>, windows: &[[EventTime; 2]]) -> Self {
        let rows = |[start, end]: &[EventTime; 2]| {
            let within = |at: &EventTime| (*start..=*end).contains(at);
            let mut rows =
                table.readings.iter().filter(|reading| within(&reading.time)).map(|reading| reading.row as usize);
            let first = rows.next()?;
            Some([first, rows.next_back().unwrap_or(first)])
        };
        Self { scores, windows: windows.iter().filter_map(rows).collect() }
    }

    /// Number of rows at the start that are not scored.
    fn probation_rows(&self) -> usize {
        (PROBATION * self.scores.len() as f64).min(PROBATION * MAX_PROBATION_ROWS) as usize
    }

    /// The window of each row, and the worth of a detection there: 1 at the start of a window.
    fn row_worths(&self) -> Vec<RowWorth> {
        let mut previous: Option<[usize; 2]> = None;
        let worth = |row: usize| {
            let window = self.windows.iter().position(|[first, last]| (*first..=*last).contains(&row));
            let worth = match (window, previous) {
                (Some(window), _) => {
                    let [first, last] = self.windows[window];
                    previous = Some([first, last]);
                    let place = (last - row + 1) as f64 / (last - first + 1) as f64;
                    sigmoid(-place) / sigmoid(-1.0)
                }
                (None, None) => -FALSE_ALARM_COST,
                (None, Some([first, last])) => {
                    FALSE_ALARM_COST * sigmoid((row - last) as f64 / (last - first).max(1) as f64)
                }
            };
            RowWorth { window, worth }
        };
        (0..self.scores.len()).map(worth).collect()
    }
}

/// Worth of a detection in one row.
struct RowWorth {
    /// Index of the window; `None` outside the windows.
    window: Option<usize>,
    /// Worth of a detection; negative outside the windows.
    worth: f64,
}

/// One scored row of one file.
struct ScoredRow {
    score: f32,
    file: usize,
    worth: RowWorth,
}

/// The benchmark's scaled sigmoid: 1 far before the end of a window, 0 at its end, -1 far behind it. `place` is the
/// distance from the end in window lengths.
fn sigmoid(place: f64) -> f64 {
    if place > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * place).exp()) - 1.0 }
}

/// The score with the best threshold; `None` without windows.
pub fn nab_score(files: &[FileScores]) -> Option<NabScore> {
    let mut rows: Vec<ScoredRow> = Vec::new();
    let mut windows = 0;
    for (file, scores) in files.iter().enumerate() {
        let probation = scores.probation_rows();
        windows += scores.windows.iter().filter(|[_, last]| *last >= probation).count();
        let scored = scores.row_worths().into_iter().zip(&scores.scores).skip(probation);
        rows.extend(scored.map(|(worth, score)| ScoredRow { score: *score, file, worth }));
    }
    if windows == 0 {
        return None;
    }
    // Lowers the threshold row by row: every row so far is a detection.
    rows.sort_by(|one, other| other.score.total_cmp(&one.score));
    let mut best = NabScore { score: 0.0, threshold: f64::INFINITY, windows, found: 0, false_alarms: 0 };
    let (mut total, mut false_alarms) = (0.0, 0);
    let mut found: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for (index, &ScoredRow { score, file, worth: RowWorth { window, worth } }) in rows.iter().enumerate() {
        match window {
            Some(window) => {
                // A missed window costs 1.
                let known = found.entry((file, window)).or_insert(-1.0);
                total += (worth - *known).max(0.0);
                *known = known.max(worth);
            }
            None => {
                total += worth;
                false_alarms += 1;
            }
        }
        let is_last_of_score = rows.get(index + 1).is_none_or(|next| next.score < score);
        let normalised = 100.0 * total / (2.0 * windows as f64);
        if is_last_of_score && score > 0.0 && normalised > best.score {
            let (threshold, found) = (f64::from(score), found.len());
            best = NabScore { score: normalised, threshold, windows, found, false_alarms };
        }
    }
    Some(best)
}

impl NabScore {
    /// One JSON object.
    pub fn json(&self) -> String {
        let Self { score, threshold, windows, found, false_alarms } = self;
        let threshold = if threshold.is_finite() { threshold.to_string() } else { "null".to_owned() };
        format!(
            "{{\"profile\":\"standard\",\"score\":{score},\"threshold\":{threshold},\"windows\":{windows},\
             \"found\":{found},\"false_alarms\":{false_alarms}}}"
        )
    }

    /// One line of text.
    pub fn table(&self) -> String {
        let Self { score, threshold, windows, found, false_alarms } = self;
        format!(
            "NAB, standard profile: {score:.1} (anomaly score from {threshold:.5} on: {found} of {windows} windows \
             found, {false_alarms} false alarms)\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rows: usize, detections: &[usize], windows: &[[usize; 2]]) -> FileScores {
        let score = |row: usize| if detections.contains(&row) { 0.9 } else { 0.0 };
        FileScores { scores: (0..rows).map(score).collect(), windows: windows.to_vec() }
    }

    fn score(files: &[FileScores]) -> f64 {
        nab_score(files).unwrap().score
    }

    #[test]
    fn early_detections_count_most_and_no_detection_counts_zero() {
        let at = |row: usize| score(&[file(1000, &[row], &[[400, 499]])]);
        assert_eq!(at(400), 100.0);
        assert!(at(400) > at(450) && at(450) > at(490) && at(499) > 50.0, "{} {}", at(450), at(499));
        // The middle of a window: 2 / (1 + e^-2.5) - 1 of 2 / (1 + e^-5) - 1, and the window is no longer missed.
        let middle = (2.0 / (1.0 + (-2.5_f64).exp()) - 1.0) / (2.0 / (1.0 + (-5.0_f64).exp()) - 1.0);
        assert!((at(450) - 50.0 * (1.0 + middle)).abs() < 1e-9);
        assert_eq!(score(&[file(1000, &[], &[[400, 499]])]), 0.0);
        assert_eq!(score(&[file(1000, &[400, 420, 430], &[[400, 499]])]), 100.0);
    }

    #[test]
    fn false_alarms_cost_less_shortly_after_a_window() {
        let with = |row: usize| score(&[file(1000, &[400, row], &[[400, 499]])]);
        let cost = |row: usize| 100.0 - with(row);
        assert!((cost(300) - 50.0 * 0.11).abs() < 1e-9 && (cost(900) - 50.0 * 0.11).abs() < 1e-9);
        assert!(cost(505) < cost(560) && cost(560) < cost(900));
        assert_eq!(cost(100), 0.0, "the first rows are not scored");
    }

    #[test]
    fn one_threshold_applies_to_all_files() {
        let mut quiet = file(1000, &[400], &[[400, 499]]);
        quiet.scores[400] = 0.5;
        let mut noisy = file(1000, &[], &[]);
        (200..300).for_each(|row| noisy.scores[row] = 0.6);
        let both = nab_score(&[quiet.clone(), noisy]).unwrap();
        assert_eq!((both.score, both.windows, both.found), (0.0, 1, 0));
        let quiet = nab_score(&[quiet]).unwrap();
        assert_eq!((quiet.score, quiet.threshold, quiet.found, quiet.false_alarms), (100.0, 0.5, 1, 0));
        assert_eq!(nab_score(&[file(100, &[50], &[])]), None);
    }

    #[test]
    fn labels_are_parsed_and_found_by_the_end_of_a_path() {
        let text = r#"{"a/b.csv": [["2014-04-10 07:15:00.000000", "2014-04-11 16:45:00.000000"]], "a/c.csv": []}"#;
        let labels = Labels::parse(text, &TimeZone::UTC).unwrap();
        let windows = labels.windows_of(Path::new("data/a/b.csv")).unwrap();
        assert_eq!(windows, [[EventTime(1_397_114_100_000), EventTime(1_397_234_700_000)]]);
        assert_eq!(labels.windows_of(Path::new("a/c.csv")), Some(&[][..]));
        assert_eq!(labels.windows_of(Path::new("c.csv")), None);
        for wrong in ["[]", r#"{"a": [["x", "y"]]}"#, r#"{"a": [["2014-04-10 07:15:00", "2014-04-09 07:15:00"]]}"#] {
            assert!(Labels::parse(wrong, &TimeZone::UTC).is_err(), "{wrong}");
        }
    }
}
