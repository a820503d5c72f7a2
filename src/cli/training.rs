//! How a network is trained, on the command line.

use crate::train::TrainSpec;

/// What overrides the settings of training.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TrainingArguments {
    /// Steps between two updates
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    k1: Option<usize>,
    /// Steps that gradients flow back, at least k1
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    k2: Option<usize>,
    /// The largest learning rate
    #[arg(long, value_name = "RATE", help_heading = "Training")]
    learning_rate: Option<f64>,
    /// Series trained on side by side
    #[arg(long, value_name = "LANES", help_heading = "Training")]
    batch_size: Option<usize>,
    /// The largest norm of a gradient
    #[arg(long, value_name = "NORM", help_heading = "Training")]
    clip: Option<f64>,
    /// Below this error, in a series' own scale, the loss is a parabola; 0: nowhere
    #[arg(long, value_name = "ERROR", help_heading = "Training")]
    huber: Option<f64>,
    /// First steps of each stretch of history that give no loss
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    burn_in: Option<usize>,
    /// Threads of the processor
    #[arg(long, value_name = "THREADS", help_heading = "Training")]
    threads: Option<usize>,
}

impl TrainingArguments {
    /// Puts what was asked for in the place of the settings.
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
