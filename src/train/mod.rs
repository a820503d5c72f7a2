//! Truncated backpropagation through time and the gate between challenger and champion.
//!
//! The lanes of many series run side by side in the rows of a batch, with their hidden states carried from chunk to
//! chunk ([`bptt`]); the newest part of every lane is held out, one half of it to choose among the weights on the way
//! and the other to judge ([`gate`]). Beside it stands the [`imputer`], which learns to fill gaps.

mod bptt;
mod checkpoint;
pub mod device;
mod evaluate;
pub mod flow;
pub mod gaps;
pub mod gate;
mod head;
pub mod imputer;
pub mod lanes;
pub mod optimiser;
mod run;
mod spec;
mod tracks;

pub use checkpoint::Checkpoint;
pub use device::{DeviceChoice, DeviceError};
pub use evaluate::{Comparison, compare};
pub use gaps::{Gaps, Stretch};
pub use gate::{Rejection, Verdict};
pub use imputer::{Imputer, ImputerSpec};
pub use lanes::{SequenceBuilder, TrainingSequence, prior};
pub use optimiser::Moments;
pub use run::{resume, train};
pub use spec::{Fit, Outcome, Progress, Replay, TrainError, TrainSpec};
