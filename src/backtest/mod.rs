//! A file instead of Kafka, through the same engine.
//!
//! The way of a file: [`read`](mod@read) makes it a [`Table`] of readings in the order in which they are fed; [`run`](fn@run) feeds them row by
//! row, each row an observation with its row number as position, scores what matures and trains at fixed rows from what
//! was fed before them; [`report`] tells the outcome, [`plot`] draws it.
//!
//! [`compare()`] does so several times, as a whole and with parts of the engine alone.
//!
//! [`impute()`] hides values instead, and tells how well the gaps are filled. [`M4`] makes a table of series without time
//! stamps, and measures against the M4 competition's benchmark. [`nab_score`] holds anomaly scores against labelled windows.
//!
//! No forecast looks ahead: at each row the values are taken in, the forecasts that target them are scored, and only then is
//! the next forecast made. The scale of the errors is a matter of the report and never reaches the engine.

mod compare;
mod crossing;
mod error;
mod gallery;
mod impute;
mod m4;
mod nab;
mod naive2;
pub mod plot;
pub mod read;
pub mod report;
pub mod run;
mod score;
mod stamps;
mod table;
mod training;
mod units;

pub use compare::{Comparison, TimedObserver, compare};
pub use crossing::Crossing;
pub use error::{BacktestError, DataError};
pub use gallery::{Gallery, Shown};
pub use impute::{ImputationSpec, Imputed, impute};
pub use m4::{M4, M4Errors};
pub use nab::{FileScores, Labels, NabScore, nab_score};
pub use read::{Layout, ReadSpec, TimeColumn, read, read_file};
pub use report::{Method, MethodErrors, Report};
pub use run::{BacktestSpec, Counts, NoObserver, Observer, run};
pub use table::{Reading, Table};
pub use training::{TrainingPlan, TrainingRound, default_training_rows, training_sequences};
