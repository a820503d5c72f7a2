//! Arguments of training that several commands share.

use crate::train::TrainSpec;

/// Overrides of the training settings.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Training")]
pub(super) struct TrainingArguments {
    /// Steps between two updates of the weights
    #[arg(long, value_name = "STEPS")]
    k1: Option<usize>,
    /// Steps over which gradients flow back, at least k1
    #[arg(long, value_name = "STEPS")]
    k2: Option<usize>,
    /// Highest learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Training sequences per batch
    #[arg(long, value_name = "SEQUENCES")]
    batch_size: Option<usize>,
    /// Largest gradient norm; larger gradients are clipped to it
    #[arg(long, value_name = "NORM")]
    clip: Option<f64>,
    /// The loss is quadratic below this error, in units of the series' scale; 0 for nowhere
    #[arg(long, value_name = "ERROR")]
    huber: Option<f64>,
    /// First steps of each segment of history, which contribute no loss
    #[arg(long, value_name = "STEPS")]
    burn_in: Option<usize>,
    /// CPU threads
    #[arg(long, value_name = "THREADS")]
    threads: Option<usize>,
}

impl TrainingArguments {
    /// Replaces the settings that were given as arguments.
    pub(super) fn apply(&self, spec: &mut TrainSpec) {
        spec.k1 = self.k1.unwrap_or(spec.k1);
        spec.k2 = self.k2.unwrap_or(spec.k2.max(spec.k1));
        spec.learning_rate = self.learning_rate.unwrap_or(spec.learning_rate);
        spec.batch_size = self.batch_size.unwrap_or(spec.batch_size);
        spec.clip = self.clip.unwrap_or(spec.clip);
        spec.huber = self.huber.unwrap_or(spec.huber);
        spec.burn_in = self.burn_in.unwrap_or(spec.burn_in);
        spec.threads = self.threads.unwrap_or(spec.threads);
    }
}
