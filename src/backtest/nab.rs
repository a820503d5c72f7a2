//! Anomaly scores against labelled windows, by the rules of the Numenta Anomaly Benchmark (Lavin and Ahmad, Evaluating Real-time
//! Anomaly Detection Algorithms, ICMLA 2015), standard profile.
//!
//! Within each window the earliest detection counts, the more the earlier it comes; each detection outside costs, the less the
//! nearer it follows a window; a window without any costs most. The first rows of a file are not scored. One
//! threshold serves all files: the best one.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::tz::TimeZone;

use super::{error::DataError, stamps::StampFormat, table::Table};
use crate::time::EventTime;

/// Share of a file's rows, at most [`LONGEST`] rows counted, in which a detector may learn and is not scored.
const PROBATION: f64 = 0.15;
const LONGEST: f64 = 5000.0;
/// What a detection outside of any window costs of what one inside is worth (standard profile).
const FALSE_ALARM: f64 = 0.11;

/// The labelled windows of each file, by its path below the folder of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    windows: BTreeMap<String, Vec<[EventTime; 2]>>,
}

/// One file's scores, row by row, and its windows as first and last row.
#[derive(Debug, Clone, PartialEq)]
pub struct FileScores {
    /// A score for each row; 0 where there is none.
    pub scores: Vec<f32>,
    /// Windows in order, none overlapping.
    pub windows: Vec<[usize; 2]>,
}

/// How well anomalies were found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NabScore {
    /// 0: as good as never to say anything; 100: each window found at its first row and nothing else.
    pub score: f64,
    /// Detections are scores of at least this.
    pub threshold: f64,
    /// Windows that are scored.
    pub windows: usize,
    /// Windows with a detection.
    pub found: usize,
    /// Detections outside of windows.
    pub false_alarms: usize,
}

impl Labels {
    /// Reads the benchmark's file of windows: an object of lists of pairs of times, in `zone` where they name none.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn read(path: &Path, zone: &TimeZone) -> Result<Self, DataError> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| DataError::Unreadable { file: file.clone(), source })?;
        Self::parse(&text, zone).map_err(|found| DataError::Whole {
            file,
            found,
            expected: "{\"folder/file.csv\": [[\"2014-04-10 07:15:00\", \"2014-04-11 16:45:00\"], …], …}".to_owned(),
        })
    }

    fn parse(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let labels: BTreeMap<String, Vec<[String; 2]>> =
            serde_json::from_str(text).map_err(|error| format!("it is no list of windows: {error}"))?;
        let stamps: Vec<&str> = labels.values().flatten().flatten().map(String::as_str).collect();
        let format = StampFormat::detect(&stamps, zone).ok_or("its times are not all of one form")?;
        let mut windows = BTreeMap::new();
        for (name, pairs) in &labels {
            let mut times = Vec::with_capacity(pairs.len());
            for [start, end] in pairs {
                match [start, end].map(|stamp| format.read(stamp, 1)) {
                    [Some(start), Some(end)] if start <= end => times.push([start, end]),
                    _ => return Err(format!("a window of \"{name}\" is from {start} to {end}")),
                }
            }
            times.sort_unstable();
            windows.insert(name.clone(), times);
        }
        Ok(Self { windows })
    }

    /// The windows of the file at `path`, whose end is its name in the labels; none where it has no entry.
    pub fn windows_of(&self, path: &Path) -> Option<&[[EventTime; 2]]> {
        let named = |name: &&String| path.ends_with(Path::new(name.as_str()));
        self.windows.keys().find(named).and_then(|name| self.windows.get(name)).map(Vec::as_slice)
    }
}

impl FileScores {
    /// The scores of a file's rows and its windows; one in which no row lies is left out.
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

    /// Rows at the file's start that are not scored.
    fn probation(&self) -> usize {
        (PROBATION * self.scores.len() as f64).min(PROBATION * LONGEST) as usize
    }

    /// For each row the window that it lies in, and what a detection there is worth, 1 at the very start of a window.
    fn worth(&self) -> Vec<(Option<usize>, f64)> {
        let mut worth = Vec::with_capacity(self.scores.len());
        let mut before: Option<[usize; 2]> = None;
        for row in 0..self.scores.len() {
            let inside = self.windows.iter().position(|[first, last]| (*first..=*last).contains(&row));
            worth.push(match (inside, before) {
                (Some(window), _) => {
                    let [first, last] = self.windows[window];
                    before = Some([first, last]);
                    let place = (last - row + 1) as f64 / (last - first + 1) as f64;
                    (Some(window), sigmoid(-place) / sigmoid(-1.0))
                }
                (None, None) => (None, -FALSE_ALARM),
                (None, Some([first, last])) => {
                    let past = (row - last) as f64 / (last - first).max(1) as f64;
                    (None, FALSE_ALARM * sigmoid(past))
                }
            });
        }
        worth
    }
}

/// 1 far before the end of a window, 0 at its end, -1 far behind it; the place is in lengths of the window.
fn sigmoid(place: f64) -> f64 {
    if place > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * place).exp()) - 1.0 }
}

/// The score with the best threshold; none where no window is to be found.
pub fn nab_score(files: &[FileScores]) -> Option<NabScore> {
    // (score, file, window, worth)
    let mut rows: Vec<(f32, usize, Option<usize>, f64)> = Vec::new();
    let mut windows = 0;
    for (at, file) in files.iter().enumerate() {
        let probation = file.probation();
        windows += file.windows.iter().filter(|[_, last]| *last >= probation).count();
        let worth = file.worth().into_iter().zip(&file.scores).skip(probation);
        rows.extend(worth.map(|((window, worth), score)| (*score, at, window, worth)));
    }
    if windows == 0 {
        return None;
    }
    rows.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut best = NabScore { score: 0.0, threshold: f64::INFINITY, windows, found: 0, false_alarms: 0 };
    let (mut total, mut false_alarms) = (0.0, 0);
    let mut found: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for (at, &(score, file, window, worth)) in rows.iter().enumerate() {
        match window {
            Some(window) => {
                // A window that is missed costs 1.
                let known = found.entry((file, window)).or_insert(-1.0);
                total += (worth - *known).max(0.0);
                *known = known.max(worth);
            }
            None => {
                total += worth;
                false_alarms += 1;
            }
        }
        let last_of_its_score = rows.get(at + 1).is_none_or(|next| next.0 < score);
        let whole = 100.0 * total / (2.0 * windows as f64);
        if last_of_its_score && score > 0.0 && whole > best.score {
            best = NabScore { score: whole, threshold: f64::from(score), windows, found: found.len(), false_alarms };
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
            "{{\"profile\":\"standard\",\"score\":{score},\"threshold\":{threshold},\"windows\":{windows},\"found\":{found},\"false_alarms\":{false_alarms}}}"
        )
    }

    /// A line for people.
    pub fn table(&self) -> String {
        let Self { score, threshold, windows, found, false_alarms } = self;
        format!(
            "NAB, standard profile: {score:.1} (anomaly score from {threshold:.5} on: {found} of {windows} windows found, {false_alarms} false alarms)\n"
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
    fn early_detections_are_worth_most_and_none_is_worth_nothing() {
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
    fn false_alarms_cost_less_right_behind_a_window() {
        let with = |row: usize| score(&[file(1000, &[400, row], &[[400, 499]])]);
        let cost = |row: usize| 100.0 - with(row);
        assert!((cost(300) - 50.0 * 0.11).abs() < 1e-9 && (cost(900) - 50.0 * 0.11).abs() < 1e-9);
        assert!(cost(505) < cost(560) && cost(560) < cost(900));
        assert_eq!(cost(100), 0.0, "in the first rows nothing is scored");
    }

    #[test]
    fn one_threshold_serves_all_files() {
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
    fn labels_are_read_and_found_by_the_end_of_a_path() {
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
