//! The parallel scan of `h' = a * h + b` in log space.

use candle_core::{Result, Tensor};

use super::{cell::RecurrentCell, reference::state_vectors};
use crate::nn::kernel::padded;
use crate::nn::sequence::{Sequence, SequenceOutput};

/// Stands for the logarithm of zero, as a finite number that arithmetic does not turn into NaN.
const LOG_ZERO: f32 = -1e30;

/// Runs a cell whose gates depend on the inputs only in candle's differentiable operations. After round `k` every step
/// combines the `2^k` steps up to it (Hillis, Steele, Communications of the ACM 29(12), 1986; in log space Heinsen
/// 2023, arXiv:2311.06281). The states and candidates of these cells are never negative.
pub(super) fn run(cell: &'static dyn RecurrentCell, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    let (steps, rows, width) = sequence.inputs.dims3()?;
    let bias = sequence.tensor("bias")?;
    let (count, device) = (cell.gates().recurrence.gate_count(), sequence.inputs.device());
    let hidden = bias.dim(0)? / count;
    let all = sequence.inputs.reshape((steps * rows, width))?.matmul(&sequence.tensor("input")?.t()?)?;
    let all = all.broadcast_add(bias)?.reshape((steps, rows, count * hidden))?;
    let sums = (0..count).map(|gate| all.narrow(2, gate * hidden, hidden)).collect::<Result<Vec<_>>>()?;
    let Some((mut log_a, mut log_b)) = cell.log_coefficients(&sums)? else {
        candle_core::bail!("{:?} has no form in log space", cell.gates().recurrence)
    };
    // A reset row keeps nothing of its state: `a` is zero.
    let resets = (0..steps * rows).map(|index| sequence.resets.is_reset(index / rows, index % rows));
    let resets: Vec<f32> = resets.map(|reset| if reset { LOG_ZERO } else { 0.0 }).collect();
    log_a = log_a.broadcast_add(&Tensor::from_vec(resets, (steps, rows, 1), device)?)?;
    // The first state is the `b` of a step before the first.
    let first = state_vectors(cell, sequence, hidden)?[0].affine(1.0, 1e-30)?.log()?.unsqueeze(0)?;
    log_b = Tensor::cat(&[first.clone(), log_b], 0)?;
    log_a = Tensor::cat(&[first.affine(0.0, f64::from(LOG_ZERO))?, log_a], 0)?;
    let mut reach = 1;
    while reach <= steps {
        let rest = steps + 1 - reach;
        let earlier = log_b.narrow(0, 0, rest)?;
        let (later, keep) = (log_b.narrow(0, reach, rest)?, log_a.narrow(0, reach, rest)?);
        let through = (earlier + &keep)?;
        let max = later.maximum(&through)?.detach();
        let sum = ((later - &max)?.exp()? + (through - &max)?.exp()?)?;
        log_b = Tensor::cat(&[log_b.narrow(0, 0, reach)?, (sum.log()? + max)?], 0)?;
        let combined = (log_a.narrow(0, 0, rest)? + keep)?.maximum(f64::from(LOG_ZERO))?;
        log_a = Tensor::cat(&[log_a.narrow(0, 0, reach)?, combined], 0)?;
        reach *= 2;
    }
    let outputs = log_b.narrow(0, 1, steps)?.exp()?;
    let newest = outputs.detach();
    Ok(SequenceOutput::new(outputs, move |step| newest.get(step)?.pad_with_zeros(1, 0, padded(hidden) - hidden)))
}
