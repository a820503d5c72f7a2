//! Network training by truncated backpropagation through time, and the choice between champion and challenger.
//!
//! The histories of many series run side by side in the rows of a [`batch`], and hidden states are carried from chunk
//! to chunk ([`bptt`]). The newest part of every sequence is for validation: one half selects the best weights of a
//! training, the other compares them with the weights that serve ([`champion_challenger`]). [`pretrain`] learns from an
//! endless source of series instead. The [`imputer`] learns to fill gaps.

mod batch;
mod champion_challenger;
mod checkpoint;
pub mod device;
mod evaluation;
mod gaps;
mod gradient_flow;
mod imputation;
mod lead_sample;
mod optimiser;
mod pinball_loss;
mod pretraining;
mod query_head;
mod query_loss;
mod spec;
mod trainer;
mod training_sequence;
mod training_state;
mod training_thread;
mod truncated_bptt;

pub use champion_challenger::{Losses, RejectionReason, Verdict};
pub use checkpoint::Checkpoint;
pub use device::{DeviceChoice, DeviceError};
pub use evaluation::{Comparison, compare};
pub use gaps::{GapSegment, Gaps, Window, interpolate, mask_gaps};
pub use gradient_flow::{EXPLODING_RATIO, GradientFate, GradientFlow, VANISHING_RATIO, gradient_flow, long_lag_task};
pub use imputation::{Imputer, ImputerSpec};
pub use optimiser::Moments;
pub use pretraining::{Pretrained, SequenceSource, pretrain};
pub use spec::{ExperienceReplay, Fit, Outcome, Progress, TrainError, TrainSpec};
pub use trainer::{resume, train};
pub use training_sequence::{SequenceBuilder, TrainingSequence, stream_prior};
