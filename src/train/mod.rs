//! Truncated backpropagation through time and the gate between challenger and champion.

pub mod device;
pub mod gate;
pub mod lanes;
pub mod optimiser;
mod spec;

use std::ops::ControlFlow;

pub use device::{DeviceChoice, DeviceError};
pub use gate::{Refusal, Verdict};
pub use lanes::Lane;
pub use optimiser::Moments;
pub use spec::{Outcome, Progress, TrainError, TrainSpec};

use crate::nn::{NetworkSpec, Weights};

/// Trains a challenger from the champion's weights and judges the two.
///
/// # Errors
/// Where settings, lanes, weights or device do not allow it.
pub fn train(
    _spec: &TrainSpec,
    _network: &NetworkSpec,
    _champion: &Weights,
    _lanes: &[Lane],
    _observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Outcome, TrainError> {
    Err(TrainError::Invalid("being built".to_owned()))
}
