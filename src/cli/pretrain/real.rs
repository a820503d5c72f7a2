//! Reads real series for pre-training from a folder of CSV files.

use std::{fs, path::Path};

use crate::{
    backtest::{self, GridRequest, Layout, ReadSpec, Table},
    cli::failure::{BAD_DATA, Failure, NO_INPUT},
    pretrain::RealSeries,
    time::Length,
};

/// The newest steps of a series that are read.
const STEPS: i64 = 50_000;
/// A series with fewer values is left out.
const LEAST: usize = 64;

/// Reads all files of a folder whose names say an interval. Others (documents, irregular series, months) are left out.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<RealSeries>, Failure> {
    let unreadable = |error: std::io::Error| Failure(NO_INPUT, format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        files.push(entry.map_err(unreadable)?.path());
    }
    files.sort();
    let mut series = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let Some((stem, interval)) = name.split_once(".csv").and_then(|(stem, _)| Some((stem, interval(stem)?))) else {
            continue;
        };
        let layout = if stem.ends_with("_long") {
            Layout::Long { key: "series".to_owned(), value: None }
        } else {
            Layout::Wide { columns: Vec::new() }
        };
        let grid = GridRequest { length: Some(Length::Clock(interval)), ..GridRequest::default() };
        let table = backtest::read_file(file, &ReadSpec { layout, grid, ..ReadSpec::default() })?;
        series.extend(on_grid(&table));
    }
    if series.is_empty() {
        let what = "no series found; expected CSV files named by their interval, such as traffic_1h.csv.gz";
        return Err(Failure(BAD_DATA, format!("{}: {what}", folder.display())));
    }
    Ok(series)
}

/// The interval in the name of a file, in milliseconds: the last part that is one, as in `traffic_5min_long`.
fn interval(stem: &str) -> Option<i64> {
    let millis = |part: &str| {
        let unit = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let count: i64 = part[..part.len() - unit.len()].parse().ok()?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return None,
        };
        count.checked_mul(unit).filter(|millis| *millis > 0)
    };
    stem.split('_').rev().find_map(millis)
}

/// The newest steps of all series of a table, one value a step.
fn on_grid(table: &Table) -> Vec<RealSeries> {
    let mut slots: Vec<Vec<(i64, f64)>> = vec![Vec::new(); table.series.len()];
    for reading in &table.readings {
        slots[reading.series as usize].push((table.grid.slot(reading.time), reading.value));
    }
    let series = slots.into_iter().filter(|slots| slots.len() >= LEAST).filter_map(|slots| {
        let newest = slots.iter().map(|(slot, _)| *slot).max()?;
        let oldest = slots.iter().map(|(slot, _)| *slot).filter(|slot| newest - slot < STEPS).min()?;
        let mut values = vec![f64::NAN; (newest - oldest + 1) as usize];
        for (slot, value) in slots {
            if let Some(into) = usize::try_from(slot - oldest).ok().and_then(|at| values.get_mut(at)) {
                *into = value;
            }
        }
        Some(RealSeries { interval: table.interval(), start: table.grid.start(oldest).0, values })
    });
    series.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_interval() {
        let read = ["air_1h", "a_5min_long", "requests_10s_code", "x_500ms", "y_1w"].map(interval);
        assert_eq!(read, [3_600_000, 300_000, 10_000, 500, 604_800_000].map(Some));
        assert_eq!(["README", "fuel_1mo", "a_irregular", "b_0s"].map(interval), [None; 4]);
    }

    #[test]
    fn series_lie_on_their_grid_and_other_files_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let row = |at: i64| format!("{},{at}\n", 1_699_999_980 + at * 60);
        let rows: String = (0..100).filter(|at| at % 10 != 3).map(row).collect();
        fs::write(folder.path().join("load_1min.csv"), format!("time,s001\n{rows}")).unwrap();
        fs::write(folder.path().join("README.md"), "none of these").unwrap();
        let series = read_folder(folder.path()).unwrap();
        assert_eq!((series.len(), series[0].interval, series[0].values.len()), (1, 60_000, 100));
        assert!(series[0].values[3].is_nan() && series[0].values[97] == 97.0);
        let Failure(code, _) = read_folder(&folder.path().join("nowhere")).unwrap_err();
        assert_eq!(code, NO_INPUT);
    }
}
