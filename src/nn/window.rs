//! Windows over the newest steps: a register of past inputs in a series' state for serving, shifted copies of the
//! sequence for training.

use candle_core::{Result, Tensor};

use super::kernel::{Input, Rows, States, padded};
use super::sequence::Starts;

/// A window: the input of this step and of `taps - 1` steps before it, each `apart` steps from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Numbers per step.
    pub inputs: usize,
    /// Steps in the window.
    pub taps: usize,
    /// Steps from one to the next.
    pub apart: usize,
}

impl Window {
    /// Past steps that the register holds.
    fn reach(&self) -> usize {
        (self.taps - 1) * self.apart
    }

    /// `f32` numbers of the register in a series' state, a multiple of 16.
    pub fn state_len(&self) -> usize {
        padded(self.reach() * self.inputs)
    }

    /// Numbers of a whole window, the oldest step first.
    pub fn width(&self) -> usize {
        self.taps * self.inputs
    }

    /// Lays the windows of rows `0..rows` side by side into `out` `[rows, width]` and takes the newest inputs into the
    /// registers, which begin each row of `states`.
    pub fn gather(&self, rows: usize, input: Input<'_>, states: &mut States<'_>, out: &mut Vec<f32>) {
        let (inputs, held) = (self.inputs, self.reach() * self.inputs);
        out.resize(rows * self.width(), 0.0);
        for (row, out) in out.chunks_exact_mut(self.width()).enumerate() {
            let from = states.offset + row * states.stride;
            let (past, newest) = out.split_at_mut(self.width() - inputs);
            match input {
                Input::Rows(Rows { data, stride, offset }) => {
                    newest.copy_from_slice(&data[offset + row * stride..][..inputs]);
                }
                Input::Below { offset } => {
                    newest.copy_from_slice(&states.data[offset + row * states.stride..][..inputs]);
                }
            }
            let register = &mut states.data[from..from + held];
            for (tap, past) in past.chunks_exact_mut(inputs).enumerate() {
                past.copy_from_slice(&register[tap * self.apart * inputs..][..inputs]);
            }
            if held > 0 {
                register.copy_within(inputs.., 0);
                register[held - inputs..].copy_from_slice(newest);
            }
        }
    }
}

/// A sequence with the register's steps before it.
#[derive(Debug, Clone)]
pub(super) struct Unfolded {
    window: Window,
    /// `[reach + steps, rows, inputs]`.
    extended: Tensor,
    /// Per step and row the step at which it last began anew, counted from the sequence's first; `None`: before it.
    begun: Vec<Option<usize>>,
    steps: usize,
    rows: usize,
}

impl Unfolded {
    /// Puts the registers in `states` `[rows, ...]`, from the number `at` of each row on, before `inputs`
    /// `[steps, rows, inputs]`.
    ///
    /// # Errors
    /// Those of candle: shapes that do not fit.
    pub fn new(window: Window, inputs: &Tensor, states: &Tensor, at: usize, starts: &Starts) -> Result<Self> {
        let (steps, rows, width) = inputs.dims3()?;
        let reach = window.reach();
        let extended = if reach == 0 {
            inputs.clone()
        } else {
            let register = states.narrow(1, at, reach * width)?.contiguous()?.reshape((rows, reach, width))?;
            Tensor::cat(&[register.transpose(0, 1)?.contiguous()?, inputs.clone()], 0)?
        };
        Ok(Self { window, extended, begun: begun(steps, rows, starts), steps, rows })
    }

    /// The step `back` steps before each of `from..from + count`: `[count, rows, inputs]`, zero where the row has begun
    /// anew since.
    fn shifted(&self, from: usize, count: usize, back: usize) -> Result<Tensor> {
        let shifted = self.extended.narrow(0, self.window.reach() + from - back, count)?;
        let seen = |index: usize| {
            let step = from + index / self.rows;
            self.begun[step * self.rows + index % self.rows].is_none_or(|begun| step >= begun + back)
        };
        if (0..count * self.rows).all(seen) {
            return Ok(shifted);
        }
        let mask: Vec<f32> = (0..count * self.rows).map(|index| f32::from(u8::from(seen(index)))).collect();
        shifted.broadcast_mul(&Tensor::from_vec(mask, (count, self.rows, 1), shifted.device())?)
    }

    /// The windows of all steps `[steps, rows, width]`, the oldest step first.
    pub fn windows(&self) -> Result<Tensor> {
        let taps = (0..self.window.taps).rev();
        let shifted =
            taps.map(|tap| self.shifted(0, self.steps, tap * self.window.apart)).collect::<Result<Vec<_>>>()?;
        match shifted.as_slice() {
            [only] => Ok(only.clone()),
            many => Tensor::cat(many, 2),
        }
    }

    /// The registers after a step, `[rows, state_len]`, cut off from the gradient.
    pub fn register_after(&self, step: usize) -> Result<Tensor> {
        let (reach, width) = (self.window.reach(), self.window.inputs);
        if reach == 0 {
            return Tensor::zeros((self.rows, 0), self.extended.dtype(), self.extended.device());
        }
        let held = (0..reach).rev().map(|back| self.shifted(step, 1, back)).collect::<Result<Vec<_>>>()?;
        let held =
            Tensor::cat(&held, 0)?.detach().transpose(0, 1)?.contiguous()?.reshape((self.rows, reach * width))?;
        held.pad_with_zeros(1, 0, self.window.state_len() - reach * width)
    }
}

/// For each step and row the step at which it last began anew.
pub(super) fn begun(steps: usize, rows: usize, starts: &Starts) -> Vec<Option<usize>> {
    let mut last = vec![None; rows];
    let mut all = Vec::with_capacity(steps * rows);
    for step in 0..steps {
        for (last, start) in last.iter_mut().zip(starts.at(step)) {
            if *start {
                *last = Some(step);
            }
        }
        all.extend_from_slice(&last);
    }
    all
}
