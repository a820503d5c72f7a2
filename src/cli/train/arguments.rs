//! Arguments of `foretide train`.

use std::path::PathBuf;

use crate::{
    backtest::plot::PlotFile,
    cli::{
        data::{FileArguments, ForecastArguments},
        training::TrainingArguments,
    },
    train::{DeviceChoice, TrainSpec},
};

/// Arguments of `foretide train`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// CSV, plain or gzipped. Wide: a timestamp column and one column per series
    #[arg(required_unless_present_any = ["config", "diagnose"])]
    pub(super) file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) reading: FileArguments,
    #[command(flatten)]
    pub(super) forecast: ForecastArguments,
    /// Seed of the initial weights and of training [default: the stream's, or 1]
    #[arg(long, value_name = "NUMBER", help_heading = "Training")]
    pub(super) seed: Option<u64>,

    /// Train from the topics of a stream of this configuration instead of a file; writes nothing to the cluster
    #[arg(
        long,
        value_name = "FILE",
        // A clap group that contains another group has no members of its own: the forecast's arguments are listed.
        conflicts_with_all = [
            "file", "diagnose", "FileArguments", "NetworkArguments", "horizon", "GridArguments", "season",
            "quantiles"
        ],
        help_heading = "Stream"
    )]
    pub(super) config: Option<PathBuf>,
    /// Name of the stream [default: the only one]
    #[arg(long, value_name = "NAME", requires = "config", help_heading = "Stream")]
    pub(super) stream: Option<String>,

    /// Updates of the weights in total, including those before --resume [default: the stream's, or 1000; 200 with
    /// --diagnose]
    #[arg(long, value_name = "UPDATES", help_heading = "Training")]
    pub(super) updates: Option<usize>,
    /// Device: auto, cpu or cuda. Only on the CPU are two runs identical to the last bit
    #[arg(long, value_name = "DEVICE", help_heading = "Training")]
    pub(super) device: Option<DeviceChoice>,
    #[command(flatten)]
    pub(super) training: TrainingArguments,

    /// File for the best weights (safetensors)
    #[arg(long, value_name = "FILE", default_value = "foretide-weights.safetensors", help_heading = "Output")]
    pub(super) out: PathBuf,
    /// File for checkpoints, from which --resume continues; it is renewed during training
    #[arg(long, value_name = "FILE", conflicts_with = "diagnose", help_heading = "Output")]
    pub(super) checkpoint: Option<PathBuf>,
    /// Continue from this checkpoint. With the same data and options the result equals that of an uninterrupted run
    #[arg(long, value_name = "FILE", conflicts_with_all = ["weights", "diagnose"], help_heading = "Training")]
    pub(super) resume: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,

    /// Show how far back the gradients of each recurrent cell reach, before and after training, and write no weights;
    /// without FILE on a built-in task with a long lag
    #[arg(long, conflicts_with = "weights", help_heading = "Diagnosis")]
    pub(super) diagnose: bool,
    /// Steps over which gradients are followed
    #[arg(long, value_name = "STEPS", default_value_t = 128, requires = "diagnose", help_heading = "Diagnosis")]
    pub(super) steps: usize,
    /// File for the chart
    #[arg(
        long,
        value_name = "FILE.svg|png",
        default_value = "foretide-diagnosis.svg",
        value_parser = PlotFile::parse,
        requires = "diagnose",
        help_heading = "Diagnosis"
    )]
    pub(super) plot: PlotFile,
}

impl Arguments {
    /// Replaces the settings that were given as arguments.
    pub(super) fn apply(&self, spec: &mut TrainSpec) {
        if let Some(updates) = self.updates {
            // The number of updates ends the training, not the number of passes over the data.
            (spec.max_updates, spec.epochs) = (updates, usize::MAX);
        }
        spec.device = self.device.unwrap_or(spec.device);
        self.training.apply(spec);
    }
}
