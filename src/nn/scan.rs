//! Whole sequences of the minimal cells as one operation of candle's graph, on the processor: the gates of many steps in
//! one matrix product, then a scan of `h' = a * h + b` and its hand-written reverse.
//!
//! The scan runs in plain numbers: `a` lies between 0 and 1 and nothing is divided by it, so there is nothing that the
//! logarithms of [`super::sequence::log_space`] would have to save.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor};

use super::fused::{Sizes, products, read, sizes, slice};
use super::kernel::{Instructions, Line, Rows, Scan, scan_forward, scan_reverse};
use super::recurrent::{Gates, pack};
use super::sequence::{Sequence, SequenceOutput};

/// Runs a cell whose gates look at the inputs only over a sequence.
pub(super) fn run(gates: &'static dyn Gates, sequence: &Sequence<'_>) -> Result<SequenceOutput> {
    let (sizes, flat) = sizes(gates, sequence)?;
    let saved = Arc::new(OnceLock::new());
    let begins = |step| (0..sizes.rows).map(move |row| (step, row));
    let begins = (0..sizes.steps).flat_map(begins);
    let begins = begins.map(|(step, row)| sequence.starts.at(step).get(row).copied().unwrap_or(false)).collect();
    let input_gradient = sequence.inputs.track_op();
    let operation = Operation { gates, sizes, begins, input_gradient, saved: saved.clone() };
    let outputs = sequence.inputs.contiguous()?.apply_op3(&flat, &sequence.states.contiguous()?, operation)?;
    Ok(SequenceOutput::new(outputs, move |step| {
        let Some(Forward { after, .. }) = saved.get() else { candle_core::bail!("the scan has not run forward") };
        let states = sizes.rows * sizes.width();
        Tensor::from_slice(&after[step * states..(step + 1) * states], (sizes.rows, sizes.width()), &Device::Cpu)
    }))
}

/// What the forward pass leaves for the backward one.
struct Forward {
    /// `[gate][step][row][block]`.
    kept: Vec<Line>,
    /// The states after each step, `[step][row][block]`.
    after: Vec<f32>,
}

struct Operation {
    gates: &'static dyn Gates,
    sizes: Sizes,
    begins: Vec<bool>,
    input_gradient: bool,
    saved: Arc<OnceLock<Forward>>,
}

impl Operation {
    fn scan<'a>(&'a self, first: &'a [f32]) -> Scan<'a> {
        Scan { steps: self.sizes.steps, rows: self.sizes.rows, begins: &self.begins, first }
    }
}

impl CustomOp3 for Operation {
    fn name(&self) -> &'static str {
        "scan"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
        states: &CpuStorage,
        states_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes @ Sizes { steps, rows, hidden, .. } = self.sizes;
        let weights = slice(weights, weights_layout)?;
        let (input, recurrent, bias) = sizes.weights(self.gates);
        let widths = (sizes.inputs, hidden);
        let layer = pack(self.gates, widths, &weights[input], &weights[recurrent], &weights[bias]);
        let all = steps * rows;
        let mut kept = vec![Line::ZERO; sizes.gates * all * layer.blocks()];
        let mut after = vec![0.0; all * sizes.padded()];
        let x = Rows { data: slice(inputs, inputs_layout)?, stride: sizes.inputs, offset: 0 };
        let scan = self.scan(slice(states, states_layout)?);
        scan_forward(Instructions::best(), &layer, scan, x, &mut kept, &mut after);
        let outputs = after.chunks_exact(sizes.padded()).flat_map(|row| &row[..hidden]).copied().collect();
        self.saved.get_or_init(|| Forward { kept, after });
        Ok((CpuStorage::F32(outputs), (steps, rows, hidden).into()))
    }

    fn bwd(
        &self,
        inputs: &Tensor,
        weights: &Tensor,
        states: &Tensor,
        _outputs: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(Forward { kept, after }) = self.saved.get() else {
            candle_core::bail!("the scan has not run forward")
        };
        let sizes @ Sizes { steps, rows, hidden, .. } = self.sizes;
        let (gate, combination) = (sizes.padded(), self.gates.combination());
        let mut sums = vec![0.0; steps * rows * sizes.gates * gate];
        let mut first = vec![0.0; rows * gate];
        read(states, |states| {
            read(&gradient.contiguous()?, |gradient| {
                let (on, scan) = (Instructions::best(), self.scan(states));
                scan_reverse(on, combination, scan, hidden, kept, after, gradient, &mut sums, &mut first);
                Ok(())
            })
        })?;
        let mut bias = vec![0.0; sizes.gates * gate];
        for row in sums.chunks_exact(sizes.gates * gate) {
            bias.iter_mut().zip(row).for_each(|(bias, sum)| *bias += sum);
        }
        let bias = bias.chunks_exact(gate).flat_map(|gate| &gate[..hidden]).copied().collect();
        let inputs = (inputs, self.input_gradient);
        let (by_inputs, by_weights) = products(self.gates, sizes, weights, inputs, None, sums, bias)?;
        Ok((by_inputs, Some(by_weights), Some(Tensor::from_vec(first, (rows, gate), &Device::Cpu)?)))
    }
}
