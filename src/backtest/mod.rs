//! Backtests: runs a file through the engine instead of Kafka.
//!
//! [`read_file`] turns a file into a [`Table`] of readings, in the order in which the engine receives them. [`run`]
//! feeds the table row by row, scores each forecast when its target arrives, and trains at fixed rows on earlier rows.
//! A [`Report`] holds the errors; [`plot`] draws them.
//!
//! [`score_windows`] scores the last windows of each series, as GIFT-Eval does, and [`score_cold_start`] the first
//! forecasts of each series.
//!
//! [`compare`] runs the whole engine and its parts. [`impute`] hides values and scores how well an imputer fills the
//! gaps. [`M4`] runs the M4 competition, and [`nab_score`] the Numenta Anomaly Benchmark.
//!
//! No forecast sees the future: at each row the engine observes the values, the forecasts that target them are scored,
//! and only then does the next forecast begin. The scale of the errors is computed for the report and never reaches the
//! engine.

mod brier;
mod cold_start;
mod cold_start_report;
mod comparison;
mod error;
mod error_scale;
mod imputation;
mod input;
mod m4;
mod method;
mod nab;
mod naive2;
mod observer;
mod origin_forecasts;
pub mod plot;
mod plot_series;
mod report;
mod report_format;
mod run;
mod scorer;
mod seasonal_reference;
mod slot_values;
mod table;
mod timestamps;
mod training;
mod window_report;
mod window_sums;
mod windows;

pub use brier::BrierScores;
pub use cold_start::{ColdStartReport, OBSERVATIONS_SEEN, score_cold_start};
pub use comparison::{Comparison, compare};
pub use error::{BacktestError, DataError};
pub use imputation::{ImputationReport, ImputationSpec, impute};
pub use input::{GridRequest, Layout, ReadSpec, TimeColumn, read, read_file};
pub use m4::{M4, M4Errors};
pub use method::{Method, MethodErrors};
pub use nab::{FileScores, Labels, NabScore, nab_score};
pub use observer::{NoObserver, Observer, TimedObserver};
pub use plot_series::{PlotForecast, PlotSeries};
pub use report::{HorizonTarget, ReadingCounts, Report};
pub use run::{BacktestSpec, run};
pub use table::{Reading, Table};
pub use training::{RefreshPlan, TrainingPlan, TrainingRound, default_training_rows, training_sequences};
pub use windows::{WINDOW_LEVELS, WindowReport, score_windows};
