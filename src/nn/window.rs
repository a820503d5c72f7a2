//! Windows over the newest steps: a register of past inputs in a series' state for serving, shifted copies of the
//! sequence for training.

use candle_core::{Result, Tensor};

use super::kernel::{Input, Rows, RowsMut, padded};
use super::sequence::ResetMask;

/// A window: the input of this step and of `taps - 1` earlier steps at distances of `dilation` steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Inputs per step.
    pub inputs: usize,
    /// Steps in the window.
    pub taps: usize,
    /// Steps from one tap to the next.
    pub dilation: usize,
}

impl Window {
    /// Number of past steps in the register.
    fn reach(&self) -> usize {
        (self.taps - 1) * self.dilation
    }

    /// Number of `f32` values of the register in a series' state, a multiple of 16.
    pub fn state_len(&self) -> usize {
        padded(self.reach() * self.inputs)
    }

    /// Number of values in a window. The oldest step comes first.
    pub fn width(&self) -> usize {
        self.taps * self.inputs
    }

    /// Writes the windows of rows `0..rows` to `out` `[rows, width]` and appends the newest inputs to the registers,
    /// which begin each row of `states`.
    pub fn gather(&self, rows: usize, input: Input<'_>, states: &mut RowsMut<'_>, out: &mut Vec<f32>) {
        let (inputs, register_len) = (self.inputs, self.reach() * self.inputs);
        out.resize(rows * self.width(), 0.0);
        for (row, out) in out.chunks_exact_mut(self.width()).enumerate() {
            let from = states.offset + row * states.stride;
            let (past, newest) = out.split_at_mut(self.width() - inputs);
            match input {
                Input::Rows(Rows { data, stride, offset }) => {
                    newest.copy_from_slice(&data[offset + row * stride..][..inputs]);
                }
                Input::LayerBelow { offset } => {
                    newest.copy_from_slice(&states.data[offset + row * states.stride..][..inputs]);
                }
            }
            let register = &mut states.data[from..from + register_len];
            for (tap, past) in past.chunks_exact_mut(inputs).enumerate() {
                past.copy_from_slice(&register[tap * self.dilation * inputs..][..inputs]);
            }
            if register_len > 0 {
                register.copy_within(inputs.., 0);
                register[register_len - inputs..].copy_from_slice(newest);
            }
        }
    }
}

/// A sequence preceded by the steps of the register, from which the windows of all steps are cut.
#[derive(Debug, Clone)]
pub(super) struct WindowedSequence {
    window: Window,
    /// `[reach + steps, rows, inputs]`.
    extended: Tensor,
    /// What [`last_resets`] gives.
    last_resets: Vec<Option<usize>>,
    steps: usize,
    rows: usize,
}

impl WindowedSequence {
    /// Prepends the registers, which begin at the value `at` of each row of `states` `[rows, ...]`, to `inputs`
    /// `[steps, rows, inputs]`. Fails where shapes do not fit.
    pub fn new(window: Window, inputs: &Tensor, states: &Tensor, at: usize, resets: &ResetMask) -> Result<Self> {
        let (steps, rows, width) = inputs.dims3()?;
        let reach = window.reach();
        let extended = if reach == 0 {
            inputs.clone()
        } else {
            let register = states.narrow(1, at, reach * width)?.contiguous()?.reshape((rows, reach, width))?;
            Tensor::cat(&[register.transpose(0, 1)?.contiguous()?, inputs.clone()], 0)?
        };
        Ok(Self { window, extended, last_resets: last_resets(steps, rows, resets), steps, rows })
    }

    /// The inputs `back` steps before each of `from..from + count`: `[count, rows, inputs]`, zero where the row has
    /// been reset since.
    fn shifted(&self, from: usize, count: usize, back: usize) -> Result<Tensor> {
        let shifted = self.extended.narrow(0, self.window.reach() + from - back, count)?;
        let visible = |index: usize| {
            let step = from + index / self.rows;
            self.last_resets[step * self.rows + index % self.rows].is_none_or(|reset| step >= reset + back)
        };
        if (0..count * self.rows).all(visible) {
            return Ok(shifted);
        }
        let mask: Vec<f32> = (0..count * self.rows).map(|index| f32::from(u8::from(visible(index)))).collect();
        shifted.broadcast_mul(&Tensor::from_vec(mask, (count, self.rows, 1), shifted.device())?)
    }

    /// The windows of all steps `[steps, rows, width]`, the oldest tap first.
    pub fn windows(&self) -> Result<Tensor> {
        let taps = (0..self.window.taps).rev();
        let taps =
            taps.map(|tap| self.shifted(0, self.steps, tap * self.window.dilation)).collect::<Result<Vec<_>>>()?;
        match taps.as_slice() {
            [only] => Ok(only.clone()),
            many => Tensor::cat(many, 2),
        }
    }

    /// The registers after a step, `[rows, state_len]`, detached from the gradient.
    pub fn register_after(&self, step: usize) -> Result<Tensor> {
        let (reach, width) = (self.window.reach(), self.window.inputs);
        if reach == 0 {
            return Tensor::zeros((self.rows, 0), self.extended.dtype(), self.extended.device());
        }
        let past = (0..reach).rev().map(|back| self.shifted(step, 1, back)).collect::<Result<Vec<_>>>()?;
        let past =
            Tensor::cat(&past, 0)?.detach().transpose(0, 1)?.contiguous()?.reshape((self.rows, reach * width))?;
        past.pad_with_zeros(1, 0, self.window.state_len() - reach * width)
    }
}

/// For each step and row `[step][row]` the latest step at which the row was reset; `None` where it was not reset within
/// the sequence so far.
pub(super) fn last_resets(steps: usize, rows: usize, resets: &ResetMask) -> Vec<Option<usize>> {
    let mut last = vec![None; rows];
    let mut all = Vec::with_capacity(steps * rows);
    for step in 0..steps {
        for (last, _) in last.iter_mut().zip(resets.at(step)).filter(|(_, reset)| **reset) {
            *last = Some(step);
        }
        all.extend_from_slice(&last);
    }
    all
}
