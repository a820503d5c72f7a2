//! `foretide backtest --nab`: anomaly scores of every file below a folder, against labelled windows.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Arguments, backtest_spec, print};
use crate::{
    backtest::{self, FileScores, Labels, Observer, nab_score},
    cli::failure::{BAD_DATA, Failure, NO_INPUT},
    engine::{Engine, Transaction},
};

/// What has no part in scores of anomalies.
const OTHERS: [&str; 11] =
    ["file", "long", "report", "scale_rows", "score_rows", "impute", "m4", "compare", "plot", "emit", "network_alone"];

/// Where files and labels are.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct NabArguments {
    /// Score the anomaly scores of all CSV files below this folder by the rules of the Numenta Anomaly Benchmark, standard profile. The network stays untrained
    #[arg(long, value_name = "DIR", requires = "labels", conflicts_with_all = OTHERS, help_heading = "NAB")]
    pub(super) nab: Option<PathBuf>,
    /// Their labelled windows: JSON, by each file's folder and name
    #[arg(long, value_name = "FILE", requires = "nab", help_heading = "NAB")]
    labels: Option<PathBuf>,
}

/// Runs each file that has labels by itself, and prints the score of all.
pub(super) fn run(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    let read_spec = arguments.reading.read_spec(arguments.forecast.interval);
    let labels = arguments.nab.labels.as_deref().map(|path| Labels::read(path, &read_spec.zone)).transpose()?;
    let mut files = Vec::new();
    find(folder, &mut files)
        .map_err(|error| Failure(NO_INPUT, format!("{}: {error}; expected a folder", folder.display())))?;
    files.sort();
    let arguments = &Arguments { no_training: true, ..arguments.clone() };
    let mut judged = Vec::new();
    for path in files {
        let Some(windows) = labels.as_ref().and_then(|labels| labels.windows_of(&path)) else {
            eprintln!("{}: left out, it has no entry in the labels", path.display());
            continue;
        };
        let table = backtest::read_file(&path, &read_spec)?;
        let spec = backtest_spec(arguments, &table, 0, 0..table.rows)?;
        let mut scores = Scores(vec![0.0; table.rows]);
        backtest::run(&spec, &table, &mut scores)?;
        judged.push(FileScores::new(&table, scores.0, windows));
    }
    let nothing = || format!("{}: no window is to be found; expected CSV files named in the labels", folder.display());
    let score = nab_score(&judged).ok_or_else(|| Failure(BAD_DATA, nothing()))?;
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

/// The anomaly score of each row, where it is news: whoever was told of an anomaly is not told again.
struct Scores(Vec<f32>);

impl Observer for Scores {
    fn on_transaction(&mut self, _engine: &Engine, epoch: &Transaction) -> io::Result<()> {
        for row in &epoch.forecasts {
            let news = row.anomaly.filter(|anomaly| anomaly.is_new).map(|anomaly| anomaly.score);
            if let (Some(score), Some(at)) = (news, usize::try_from(row.offset).ok().and_then(|at| self.0.get_mut(at)))
            {
                *at = score;
            }
        }
        Ok(())
    }
}
