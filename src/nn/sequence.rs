//! Whole sequences of recurrent cells for training.
//!
//! On the processor a layer's sequence is one operation with its own backward pass (`fused`), and so it is on an
//! NVIDIA GPU for the cells that have kernels there (`cuda`); elsewhere it is made of candle's operations, a few per step,
//! from the cell's [`Gates::plain_step`], or in log space a few per doubling of the steps where the cell allows it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::cell::{Cell, Shape};
#[cfg(feature = "cuda")]
use super::cuda;
use super::fused;
use super::kernel::padded;
use super::recurrent::Gates;

/// Which rows begin anew before which steps: their state is zero there, and no gradient passes.
#[derive(Debug, Clone)]
pub struct Starts {
    rows: usize,
    flags: Arc<[bool]>,
}

impl Starts {
    /// Takes flags `[steps][rows]`; where they end, no row begins anew any more.
    pub fn new(rows: usize, flags: Vec<bool>) -> Self {
        Self { rows, flags: flags.into() }
    }

    /// The flags of one step; none beyond the last.
    pub fn at(&self, step: usize) -> &[bool] {
        self.flags.get(step * self.rows..(step + 1) * self.rows).unwrap_or(&[])
    }
}

/// A layer's run over a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Inputs `[steps, rows, inputs]`, `f32`.
    pub inputs: &'a Tensor,
    /// The layer's tensors by name.
    pub weights: &'a BTreeMap<&'static str, Tensor>,
    /// States before the first step `[rows, state]`, as in serving.
    pub states: &'a Tensor,
    /// Where rows begin anew.
    pub starts: &'a Starts,
}

/// The tensors of a layer of `cell` by their names within it, for [`Sequence::weights`].
///
/// # Errors
/// Those of `tensor`.
pub(super) fn weights(
    cell: &dyn Cell,
    shape: &Shape,
    tensor: impl Fn(&str) -> Result<Tensor>,
) -> Result<BTreeMap<&'static str, Tensor>> {
    cell.parameters(shape).into_iter().map(|parameter| Ok((parameter.name, tensor(parameter.name)?))).collect()
}

impl<'a> Sequence<'a> {
    /// One of the layer's tensors.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn tensor(&self, name: &str) -> Result<&'a Tensor> {
        self.weights.get(name).ok_or_else(|| candle_core::Error::Msg(format!("a layer without the tensor {name}")))
    }
}

type After = dyn Fn(usize) -> Result<Tensor> + Send + Sync;

/// What a layer gives over a sequence.
#[derive(Clone)]
pub struct SequenceOutput {
    /// Outputs `[steps, rows, hidden]`.
    pub outputs: Tensor,
    after: Arc<After>,
}

impl SequenceOutput {
    /// Outputs, and how to find the states after a step.
    pub(super) fn new(outputs: Tensor, after: impl Fn(usize) -> Result<Tensor> + Send + Sync + 'static) -> Self {
        Self { outputs, after: Arc::new(after) }
    }

    /// The states after a step `[rows, state]`, cut off from the gradient.
    ///
    /// # Errors
    /// Where there is no such step.
    pub fn states_after(&self, step: usize) -> Result<Tensor> {
        match self.outputs.dim(0)? {
            steps if step < steps => (self.after)(step),
            steps => candle_core::bail!("step {step} of a sequence of {steps}"),
        }
    }
}

impl fmt::Debug for SequenceOutput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SequenceOutput").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

/// Runs a cell over a sequence the fastest way that there is for it.
///
/// # Errors
/// Those of candle, where shapes do not fit.
pub fn run(gates: &'static dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    #[cfg(feature = "cuda")]
    if let (candle_core::Device::Cuda(device), true) = (sequence.inputs.device(), cuda::can_run(gates, sequence)?) {
        return cuda::run(Arc::new(cuda::device::Gpu::new(device)?), gates, sequence);
    }
    let (on_processor, scans) = (sequence.inputs.device().is_cpu(), gates.recurrent_gates().is_empty());
    match (on_processor, scans) {
        (true, true) => fused::scan(gates, sequence),
        (true, false) if gates.combination().has_reverse() => stepped(gates, sequence),
        (false, true) => log_space(gates, sequence),
        _ => plain(gates, sequence),
    }
}

/// Step after step with the kernels that serve and their reverse, on the processor: for cells that have a reverse.
///
/// # Errors
/// Those of candle, where shapes do not fit.
pub fn stepped(gates: &'static dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    fused::run(gates, sequence)
}

/// The first states as the cell's vectors `[rows, hidden]`.
fn vectors(gates: &dyn Gates, sequence: &Sequence<'_>, hidden: usize) -> Result<Vec<Tensor>> {
    (0..gates.combination().states())
        .map(|vector| sequence.states.narrow(1, vector * padded(hidden), hidden)?.contiguous())
        .collect()
}

/// The definition: a step at a time, in operations whose gradients candle knows. The graph grows with the steps and so
/// does the stack that its backward pass needs.
///
/// # Errors
/// Those of candle, where shapes do not fit.
pub fn plain(gates: &dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    let (steps, rows, _) = sequence.inputs.dims3()?;
    let (input, bias) = (sequence.tensor("input")?.t()?, sequence.tensor("bias")?);
    let (combination, recurrents) = (gates.combination(), gates.recurrent_gates());
    let hidden = bias.dim(0)? / combination.gates();
    let recurrent = if recurrents.is_empty() { None } else { Some(sequence.tensor("recurrent")?.t()?.contiguous()?) };
    let part = |matrix: &Tensor, gate: usize| matrix.narrow(1, (gate - recurrents.start) * hidden, hidden);
    let late = match (&recurrent, combination.late()) {
        (Some(matrix), Some(late)) => Some(part(matrix, late)?.contiguous()?),
        _ => None,
    };
    let mut states = vectors(gates, sequence, hidden)?;
    let (mut outputs, mut history) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    for step in 0..steps {
        let starts = sequence.starts.at(step);
        if starts.contains(&true) {
            let keep: Vec<f32> = starts.iter().map(|start| f32::from(u8::from(!start))).collect();
            let keep = Tensor::from_vec(keep, (rows, 1), sequence.inputs.device())?;
            states = states.iter().map(|state| state.broadcast_mul(&keep)).collect::<Result<_>>()?;
        }
        let from_input = sequence.inputs.get(step)?.matmul(&input)?;
        let from_recurrent = recurrent.as_ref().map(|matrix| states[0].matmul(matrix)).transpose()?;
        let sums = (0..combination.gates())
            .map(|gate| {
                let mut sum = bias.narrow(0, gate * hidden, hidden)?.broadcast_as((rows, hidden))?;
                if gates.input_gates().contains(&gate) {
                    let at = (gate - gates.input_gates().start) * hidden;
                    sum = (sum + from_input.narrow(1, at, hidden)?)?;
                }
                match &from_recurrent {
                    Some(from) if recurrents.contains(&gate) && combination.late() != Some(gate) => {
                        sum + part(from, gate)?
                    }
                    _ => Ok(sum),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        states = gates.plain_step(&sums, &states, late.as_ref())?;
        outputs.push(states[0].clone());
        let wide = |state: &Tensor| state.detach().pad_with_zeros(1, 0, padded(hidden) - hidden);
        history.push(Tensor::cat(&states.iter().map(wide).collect::<Result<Vec<_>>>()?, 1)?);
    }
    Ok(SequenceOutput::new(Tensor::stack(&outputs, 0)?, move |step| Ok(history[step].clone())))
}

/// The scan of `h' = a * h + b` in log space, in operations whose gradients candle knows: after round `k` every step
/// knows what the `2^k` steps up to it do together (Hillis, Steele, Communications of the ACM 29(12), 1986; in log space
/// Heinsen 2023, arXiv:2311.06281). States and candidates of these cells are never negative.
///
/// # Errors
/// Those of candle, where shapes do not fit.
pub fn log_space(gates: &dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    let (steps, rows, width) = sequence.inputs.dims3()?;
    let bias = sequence.tensor("bias")?;
    let (count, device) = (gates.combination().gates(), sequence.inputs.device());
    let hidden = bias.dim(0)? / count;
    let all = sequence.inputs.reshape((steps * rows, width))?.matmul(&sequence.tensor("input")?.t()?)?;
    let all = all.broadcast_add(bias)?.reshape((steps, rows, count * hidden))?;
    let sums = (0..count).map(|gate| all.narrow(2, gate * hidden, hidden)).collect::<Result<Vec<_>>>()?;
    let Some((mut kept, mut added)) = gates.log_space(&sums)? else { candle_core::bail!("no log space for this cell") };
    // Where a row begins anew nothing is kept: the logarithm of zero, in a number that can be calculated with.
    const NOTHING: f32 = -1e30;
    let anew: Vec<f32> = (0..steps)
        .flat_map(|step| {
            let starts = sequence.starts.at(step);
            (0..rows).map(|row| if starts.get(row).copied().unwrap_or(false) { NOTHING } else { 0.0 })
        })
        .collect();
    kept = kept.broadcast_add(&Tensor::from_vec(anew, (steps, rows, 1), device)?)?;
    // The first state is what a step before the first adds.
    let first = vectors(gates, sequence, hidden)?[0].affine(1.0, 1e-30)?.log()?.unsqueeze(0)?;
    added = Tensor::cat(&[first.clone(), added], 0)?;
    kept = Tensor::cat(&[first.affine(0.0, f64::from(NOTHING))?, kept], 0)?;
    let mut reach = 1;
    while reach <= steps {
        let rest = steps + 1 - reach;
        let before = added.narrow(0, 0, rest)?;
        let (late, keep) = (added.narrow(0, reach, rest)?, kept.narrow(0, reach, rest)?);
        let through = (before + &keep)?;
        let most = late.maximum(&through)?.detach();
        let sum = ((late - &most)?.exp()? + (through - &most)?.exp()?)?;
        added = Tensor::cat(&[added.narrow(0, 0, reach)?, (sum.log()? + most)?], 0)?;
        let together = (kept.narrow(0, 0, rest)? + keep)?.maximum(f64::from(NOTHING))?;
        kept = Tensor::cat(&[kept.narrow(0, 0, reach)?, together], 0)?;
        reach *= 2;
    }
    let outputs = added.narrow(0, 1, steps)?.exp()?;
    let newest = outputs.detach();
    Ok(SequenceOutput::new(outputs, move |step| newest.get(step)?.pad_with_zeros(1, 0, padded(hidden) - hidden)))
}

/// The logistic function in operations whose gradients candle knows.
pub(super) fn sigmoid(value: &Tensor) -> Result<Tensor> {
    value.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
}
