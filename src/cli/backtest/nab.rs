//! `foretide backtest --nab`: scores anomaly detection on every file below a folder against labelled windows.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{arguments::Arguments, plan::backtest_spec};
use crate::{
    backtest::{self, FileScores, Labels, Observer, nab_score},
    cli::{
        failure::{BAD_DATA, Failure, NO_INPUT},
        output::print,
    },
    engine::{Engine, Transaction},
};

/// Runs each labelled file by itself and prints the score over all files.
pub(super) fn run(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    let read_spec = arguments.reading.read_spec(&arguments.forecast.grid);
    let labels = arguments.nab.labels.as_deref().map(|path| Labels::read(path, &read_spec.zone)).transpose()?;
    let mut files = Vec::new();
    find(folder, &mut files)
        .map_err(|error| Failure(NO_INPUT, format!("{}: {error}; expected a folder", folder.display())))?;
    files.sort();
    let arguments = &Arguments { no_training: true, ..arguments.clone() };
    let mut all = Vec::new();
    for path in files {
        let Some(windows) = labels.as_ref().and_then(|labels| labels.windows_of(&path)) else {
            eprintln!("{}: skipped, the labels have no entry for it", path.display());
            continue;
        };
        let table = backtest::read_file(&path, &read_spec)?;
        let spec = backtest_spec(arguments, &table, 0, 0..table.rows)?;
        let mut scores = Scores(vec![0.0; table.rows]);
        backtest::run(&spec, &table, &mut scores)?;
        all.push(FileScores::new(&table, scores.0, windows));
    }
    let nothing = || format!("{}: no labelled window found; expected CSV files named in the labels", folder.display());
    let score = nab_score(&all).ok_or_else(|| Failure(BAD_DATA, nothing()))?;
    print(&if arguments.json { score.json() + "\n" } else { score.table() })
}

/// All CSV files below a folder.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "csv") {
            files.push(path);
        }
    }
    Ok(())
}

/// The anomaly score of each row where the anomaly is new, else 0: the benchmark counts a repeated detection as false.
struct Scores(Vec<f32>);

impl Observer for Scores {
    fn on_transaction(&mut self, _engine: &Engine, transaction: &Transaction) -> io::Result<()> {
        for row in &transaction.forecasts {
            let new = row.anomaly.filter(|anomaly| anomaly.is_new).map(|anomaly| anomaly.score);
            if let (Some(score), Some(at)) = (new, usize::try_from(row.offset).ok().and_then(|at| self.0.get_mut(at))) {
                *at = score;
            }
        }
        Ok(())
    }
}
