//! Layer normalisation (Ba, Kiros, Hinton 2016, arXiv:1607.06450): a row's units are shifted and scaled to mean zero and
//! deviation one, then to a scale and a shift that are learnt.

use candle_core::{D, Result, Tensor};

use super::cell::{Parameter, Start};

/// Keeps the quotient finite where all units are equal; PyTorch's.
const EPSILON: f32 = 1e-5;

/// The tensors of a layer's normalisation.
pub(super) fn parameters(hidden: usize) -> [Parameter; 2] {
    [Parameter { name: "norm_scale", shape: vec![hidden], start: Start::One }, Parameter::zero("norm_shift", &[hidden])]
}

/// Normalises one row in place. A row's numbers depend on nothing else.
pub(super) fn normalise(row: &mut [f32], scale: &[f32], shift: &[f32]) {
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let variance = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / count;
    let deviation = (variance + EPSILON).sqrt();
    for (value, (scale, shift)) in row.iter_mut().zip(scale.iter().zip(shift)) {
        *value = (*value - mean) / deviation * scale + shift;
    }
}

/// Normalises the last dimension in operations whose gradients candle knows.
pub(super) fn normalised(values: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let centred = values.broadcast_sub(&values.mean_keepdim(D::Minus1)?)?;
    let deviation = centred.sqr()?.mean_keepdim(D::Minus1)?.affine(1.0, f64::from(EPSILON))?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(scale)?.broadcast_add(shift)
}
