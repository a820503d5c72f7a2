//! The definition of a recurrent layer over a sequence, one step at a time in candle's operations.

use candle_core::{Result, Tensor};

use super::cell::RecurrentCell;
use crate::nn::kernel::padded;
use crate::nn::sequence::{Sequence, SequenceOutput};

/// The first states as the cell's vectors, each `[rows, hidden]`.
pub(super) fn state_vectors(cell: &dyn RecurrentCell, sequence: &Sequence<'_>, hidden: usize) -> Result<Vec<Tensor>> {
    (0..cell.gates().recurrence.states())
        .map(|vector| sequence.states.narrow(1, vector * padded(hidden), hidden)?.contiguous())
        .collect()
}

/// Runs a cell step by step in candle's differentiable operations. The graph grows with the number of steps, and so
/// does the call stack that its backward pass needs.
pub(super) fn run(cell: &'static dyn RecurrentCell, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    let (steps, rows, _) = sequence.inputs.dims3()?;
    let (input, bias) = (sequence.tensor("input")?.t()?, sequence.tensor("bias")?);
    let (recurrence, recurrents) = (cell.gates().recurrence, cell.gates().recurrent);
    let hidden = bias.dim(0)? / recurrence.gate_count();
    let recurrent = if recurrents.is_empty() { None } else { Some(sequence.tensor("recurrent")?.t()?.contiguous()?) };
    let part = |matrix: &Tensor, gate: usize| matrix.narrow(1, (gate - recurrents.start) * hidden, hidden);
    let gate_after_reset = recurrence.gate_after_reset();
    let candidate = match (&recurrent, gate_after_reset) {
        (Some(matrix), Some(gate)) => Some(part(matrix, gate)?.contiguous()?),
        _ => None,
    };
    let mut states = state_vectors(cell, sequence, hidden)?;
    let (mut outputs, mut history) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    for step in 0..steps {
        let resets = sequence.resets.at(step);
        if resets.contains(&true) {
            let keep: Vec<f32> = resets.iter().map(|reset| f32::from(u8::from(!reset))).collect();
            let keep = Tensor::from_vec(keep, (rows, 1), sequence.inputs.device())?;
            states = states.iter().map(|state| state.broadcast_mul(&keep)).collect::<Result<_>>()?;
        }
        let from_input = sequence.inputs.get(step)?.matmul(&input)?;
        let from_recurrent = recurrent.as_ref().map(|matrix| states[0].matmul(matrix)).transpose()?;
        let sums = (0..recurrence.gate_count())
            .map(|gate| {
                let mut sum = bias.narrow(0, gate * hidden, hidden)?.broadcast_as((rows, hidden))?;
                if cell.gates().input.contains(&gate) {
                    let at = (gate - cell.gates().input.start) * hidden;
                    sum = (sum + from_input.narrow(1, at, hidden)?)?;
                }
                match &from_recurrent {
                    Some(from) if recurrents.contains(&gate) && gate_after_reset != Some(gate) => {
                        sum + part(from, gate)?
                    }
                    _ => Ok(sum),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        states = cell.reference_step(&sums, &states, candidate.as_ref())?;
        outputs.push(states[0].clone());
        let wide = |state: &Tensor| state.detach().pad_with_zeros(1, 0, padded(hidden) - hidden);
        history.push(Tensor::cat(&states.iter().map(wide).collect::<Result<Vec<_>>>()?, 1)?);
    }
    Ok(SequenceOutput::new(Tensor::stack(&outputs, 0)?, move |step| Ok(history[step].clone())))
}
