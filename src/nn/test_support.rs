//! Shared helpers of the tests of this module.

use candle_core::{Device, Tensor, Var};
use serde_json::Value;

/// A sine of `count` values with the given angular frequency and amplitude.
pub(super) fn sine(count: usize, frequency: f64, amplitude: f64) -> Vec<f32> {
    (0..count).map(|at| ((at as f64 * frequency).sin() * amplitude) as f32).collect()
}

/// All values of a tensor in row-major order.
pub(super) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The reference values that `reference/cells.py` computes with PyTorch.
pub(super) fn reference() -> Value {
    serde_json::from_str(include_str!("reference/cells.json")).unwrap()
}

/// A tensor of the reference values.
pub(super) fn reference_tensor(value: &Value) -> Var {
    let list = |key: &str| value[key].as_array().unwrap_or_else(|| panic!("{key} of {value}"));
    let shape: Vec<usize> = list("shape").iter().map(|size| size.as_u64().unwrap() as usize).collect();
    let values: Vec<f32> = list("values").iter().map(|value| value.as_f64().unwrap() as f32).collect();
    Var::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Asserts that values differ by at most `tolerance`.
pub(super) fn assert_close(ours: &[f32], theirs: &[f32], tolerance: f32, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() <= tolerance, "{what} at {at}: {ours} against {theirs}");
    }
}

/// The largest absolute value, at least `min`.
pub(super) fn largest(values: &[f32], min: f32) -> f32 {
    values.iter().fold(min, |max, value| max.max(value.abs()))
}
