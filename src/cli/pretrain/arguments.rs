//! Arguments of `foretide pretrain`.

use std::path::PathBuf;

use crate::{
    cli::{network::NetworkArguments, training::TrainingArguments},
    settings::Stream,
    train::DeviceChoice,
};

/// Quantile levels by default.
const LEVELS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// The longest lead that is trained by default: two days of quarters of an hour, eight of hours.
const LONGEST_LEAD: u32 = 192;

/// Arguments of `foretide pretrain`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// File for the weights (safetensors)
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Seed of the initial weights and of the series
    #[arg(long, value_name = "NUMBER", default_value_t = Stream::default().model.seed)]
    pub(super) seed: u64,
    /// Updates of the weights in total, including those before --resume
    #[arg(long, value_name = "UPDATES", default_value_t = 20_000)]
    pub(super) updates: usize,
    /// Stop after so many minutes; go on later with --resume
    #[arg(long, value_name = "MINUTES")]
    pub(super) minutes: Option<f64>,
    /// File for checkpoints, renewed during training
    #[arg(long, value_name = "FILE")]
    pub(super) checkpoint: Option<PathBuf>,
    /// Continue from the file of --checkpoint. On the CPU the result equals that of an uninterrupted run, to the last
    /// bit, if the number of updates is the same
    #[arg(long, requires = "checkpoint")]
    pub(super) resume: bool,

    /// Steps to forecast
    #[arg(long, value_name = "STEPS", default_value_t = LONGEST_LEAD, help_heading = "Forecast")]
    pub(super) horizon: u32,
    /// Units of the decoder that answers queries of any lead; 0 for a head of --horizon steps and --quantiles. With it
    /// --horizon is the longest lead that is trained
    #[arg(long, value_name = "UNITS", default_value_t = 48, help_heading = "Network")]
    pub(super) decoder: usize,
    /// Quantile levels of a network without decoder [default: .1 to .9]
    #[arg(long, value_name = "LEVEL,…", value_delimiter = ',', help_heading = "Forecast")]
    quantiles: Vec<f64>,

    /// Steps of each series
    #[arg(long, value_name = "STEPS", default_value_t = 1024, help_heading = "Corpus")]
    pub(super) steps: usize,
    /// Folder of CSV files whose names say their interval (such as traffic_1h.csv.gz): real series for a share of the
    /// corpus
    #[arg(long, value_name = "FOLDER", help_heading = "Corpus")]
    pub(super) real: Option<PathBuf>,
    /// Share of the real series
    #[arg(long, value_name = "SHARE", default_value_t = 0.3, requires = "real", help_heading = "Corpus")]
    pub(super) real_share: f64,

    /// Device: auto, cpu or cuda. Only on the CPU are two runs identical to the last bit
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "Training")]
    pub(super) device: DeviceChoice,
    #[command(flatten)]
    pub(super) training: TrainingArguments,
    #[command(flatten)]
    pub(super) network: NetworkArguments,
}

impl Arguments {
    /// The quantile levels.
    pub(super) fn quantiles(&self) -> Vec<f64> {
        if self.quantiles.is_empty() { LEVELS.to_vec() } else { self.quantiles.clone() }
    }
}
