//! Layer normalisation (Ba, Kiros, Hinton 2016, arXiv:1607.06450): a row's units are normalised to mean zero and
//! standard deviation one, then scaled and shifted by learned tensors.

use candle_core::{D, Result, Tensor};

use super::{initialiser::Initialiser, parameter::Parameter};

/// Added to the variance so that the quotient is finite where all units are equal. The value is PyTorch's default.
const EPSILON: f32 = 1e-5;

/// The tensors of a layer's normalisation: `norm_scale` and `norm_shift`, both `[hidden]`.
pub(super) fn parameters(hidden: usize) -> [Parameter; 2] {
    [Parameter::new("norm_scale", &[hidden], Initialiser::One), Parameter::zero("norm_shift", &[hidden])]
}

/// Normalises one row `[hidden]` in place, for serving.
pub(super) fn normalise(row: &mut [f32], scale: &[f32], shift: &[f32]) {
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let variance = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / count;
    let deviation = (variance + EPSILON).sqrt();
    for (value, (scale, shift)) in row.iter_mut().zip(scale.iter().zip(shift)) {
        *value = (*value - mean) / deviation * scale + shift;
    }
}

/// Normalises the last dimension of a tensor in candle's differentiable operations, for training.
pub(super) fn normalise_tensor(values: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let centred = values.broadcast_sub(&values.mean_keepdim(D::Minus1)?)?;
    let deviation = centred.sqr()?.mean_keepdim(D::Minus1)?.affine(1.0, f64::from(EPSILON))?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(scale)?.broadcast_add(shift)
}
