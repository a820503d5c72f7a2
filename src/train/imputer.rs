//! Fills gaps between known values: a bidirectional encoder of a window under a linear head that says, in the scale of
//! the window's seen values, how far each step is from the straight line across the gap. The head begins at zero, so that
//! untrained this is linear interpolation.
//!
//! It learns from windows in which it hides values itself; only those give loss, the Huber loss (Huber, Annals of
//! Mathematical Statistics 35(1), 1964).

use candle_core::{Device, Result as TensorResult, Tensor, Var};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;

use super::gaps::{Gaps, INPUTS, Stretch, Window, between, hidden, interpolated};
use super::head::Pinball;
use super::optimiser::{AdamW, Moments, Tensors, clip, global_norm, learning_rate};
use super::spec::{TrainError, TrainSpec};
use crate::nn::{Bidirectional, CellKind, NamedTensor, NetworkError};

/// Errors below this part of a window's deviation are squared, larger ones count as they are.
const HUBER: f32 = 0.5;
/// Windows that are filled in one go.
const BATCH: usize = 64;

/// What an imputer looks like and how it learns.
#[derive(Debug, Clone, PartialEq)]
pub struct ImputerSpec {
    /// LSTM or GRU.
    pub cell: CellKind,
    /// Units in each direction.
    pub hidden: usize,
    /// The gaps that it learns to fill.
    pub gaps: Gaps,
    /// Steps in a season, 0 for none.
    pub season: usize,
    /// Updates of the weights.
    pub updates: usize,
    /// Windows in one update.
    pub windows: usize,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// Seed of the weights and of what is drawn.
    pub seed: u64,
}

/// An imputer: computes on the processor, where the same arguments give the same numbers.
#[derive(Debug)]
pub struct Imputer {
    spec: ImputerSpec,
    encoder: Bidirectional,
    variables: Tensors<Var>,
}

impl Imputer {
    /// An imputer that has learnt nothing: it interpolates linearly.
    ///
    /// # Errors
    /// Where the network cannot be, or the gaps make no sense.
    pub fn new(spec: &ImputerSpec) -> Result<Self, TrainError> {
        let encoder = Bidirectional::new(spec.cell, INPUTS, spec.hidden).map_err(NetworkError::from)?;
        let Gaps { shortest, longest } = spec.gaps;
        if shortest == 0 || longest < shortest || longest > Gaps::LONGEST || spec.windows == 0 {
            return Err(TrainError::Invalid(format!(
                "gaps are {shortest} to {longest} steps long and windows {}, expected 1 <= shortest <= longest <= {} \
                 and at least 1 window",
                spec.windows,
                Gaps::LONGEST
            )));
        }
        let mut tensors = encoder.initial(spec.seed);
        let zero = |shape: Vec<usize>| NamedTensor { values: vec![0.0; shape.iter().product()], shape };
        tensors.insert("head.weight".to_owned(), zero(vec![1, encoder.outputs()]));
        tensors.insert("head.bias".to_owned(), zero(vec![1]));
        let variable = |(name, tensor): (String, NamedTensor)| {
            Ok((name, Var::from_vec(tensor.values, tensor.shape, &Device::Cpu)?))
        };
        let variables = tensors.into_iter().map(variable).collect::<TensorResult<_>>()?;
        Ok(Self { spec: spec.clone(), encoder, variables })
    }

    /// Learns from windows drawn from the stretches; `observe` is told updates and their losses.
    ///
    /// # Errors
    /// Where no stretch is as long as a window, or candle fails.
    pub fn train(&mut self, stretches: &[Stretch], observe: &mut dyn FnMut(usize, f64)) -> Result<(), TrainError> {
        if self.spec.updates == 0 {
            return Ok(());
        }
        let defaults = TrainSpec::default();
        let windows = Windows::new(self.spec.gaps.window(), stretches)?;
        let mut optimiser = AdamW::new(&self.variables, defaults.weight_decay, &Moments::default())?;
        let mut random = Pcg64::seed_from_u64(self.spec.seed);
        for update in 0..self.spec.updates {
            let (inputs, targets) = windows.draw(&self.spec, &mut random);
            let pinball = Pinball::new(targets, &[0.5], HUBER);
            if pinball.matured() == 0 {
                continue;
            }
            let outputs = self.encoder.run(&|name| self.tensor(name), &stacked(&inputs)?)?;
            let loss = pinball.mean(&outputs, &self.tensor("head.weight")?, &self.tensor("head.bias")?)?;
            let store = loss.backward()?;
            let gradient = |(name, variable): (&String, &Var)| Some((name.clone(), store.get(variable)?.detach()));
            let mut gradients: Tensors<Tensor> = self.variables.iter().filter_map(gradient).collect();
            let (loss, norm) = (f64::from(loss.to_scalar::<f32>()?), global_norm(&gradients)?);
            if loss.is_finite() && norm.is_finite() {
                clip(&mut gradients, norm, defaults.clip)?;
                let rate = learning_rate(self.spec.learning_rate, update, defaults.warm_up, self.spec.updates);
                optimiser.update(&self.variables, &gradients, rate)?;
            }
            observe(update + 1, loss);
        }
        Ok(())
    }

    /// What stands at every step of windows of the same length: `[windows][steps]`.
    ///
    /// # Errors
    /// Those of candle.
    pub fn fill(&self, windows: &[Window]) -> Result<Vec<Vec<f64>>, TrainError> {
        let mut filled = Vec::with_capacity(windows.len());
        let still = |name: &str| Ok(self.tensor(name)?.detach());
        for batch in windows.chunks(BATCH) {
            let outputs = self.encoder.run(&still, &stacked(batch)?)?;
            let (steps, rows, width) = outputs.dims3()?;
            let apart = outputs.reshape((steps * rows, width))?.matmul(&still("head.weight")?.t()?)?;
            let apart = apart.broadcast_add(&still("head.bias")?)?.flatten_all()?.to_vec1::<f32>()?;
            for (row, window) in batch.iter().enumerate() {
                let value = |(step, line): (usize, &f64)| line + window.scale * f64::from(apart[step * rows + row]);
                filled.push(window.line.iter().enumerate().map(value).collect());
            }
        }
        Ok(filled)
    }

    fn tensor(&self, name: &str) -> TensorResult<Tensor> {
        let variable = self.variables.get(name).map(|variable| variable.as_tensor().clone());
        variable.ok_or_else(|| candle_core::Error::Msg(format!("no tensor {name}")))
    }
}

/// Windows side by side, `[steps, windows, INPUTS]`.
fn stacked(windows: &[Window]) -> TensorResult<Tensor> {
    let steps = windows.first().map_or(0, |window| window.line.len());
    let mut inputs = Vec::with_capacity(steps * windows.len() * INPUTS);
    for step in 0..steps {
        windows.iter().for_each(|window| inputs.extend_from_slice(&window.inputs[step * INPUTS..][..INPUTS]));
    }
    Tensor::from_vec(inputs, (steps, windows.len(), INPUTS), &Device::Cpu)
}

/// All windows of some stretches.
struct Windows<'a> {
    steps: usize,
    stretches: &'a [Stretch],
    /// How many windows the stretches up to each one hold.
    until: Vec<usize>,
}

impl<'a> Windows<'a> {
    fn new(steps: usize, stretches: &'a [Stretch]) -> Result<Self, TrainError> {
        let mut count = 0;
        let mut add = |stretch: &Stretch| {
            count += (stretch.values.len() + 1).saturating_sub(steps);
            count
        };
        let until: Vec<usize> = stretches.iter().map(&mut add).collect();
        if count == 0 {
            let longest = stretches.iter().map(|stretch| stretch.values.len()).max().unwrap_or(0);
            return Err(TrainError::TooLittle(format!(
                "the longest stretch to learn to fill gaps from has {longest} steps, expected at least {steps}, a window"
            )));
        }
        Ok(Self { steps, stretches, until })
    }

    /// Windows with values hidden in them, and how far the hidden values are from the line, in the windows' scales:
    /// `[steps, windows]`, NaN for what is not hidden or not known.
    fn draw(&self, spec: &ImputerSpec, random: &mut Pcg64) -> (Vec<Window>, Vec<f32>) {
        let clip = f64::from(TrainSpec::default().target_clip);
        let mut windows = Vec::with_capacity(spec.windows);
        let mut apart: Vec<Vec<f32>> = Vec::with_capacity(spec.windows);
        let count = self.until.last().copied().unwrap_or(0);
        for _ in 0..spec.windows {
            let drawn = between(random, 1, count);
            let stretch = &self.stretches[self.until.partition_point(|until| *until < drawn)];
            let last = stretch.values.len() - self.steps;
            let begin = between(random, 0, last);
            let values = &stretch.values[begin..begin + self.steps];
            let gaps = spec.gaps.draw(random, 0..self.steps);
            let seen = hidden(values, &gaps);
            let first = stretch.first + begin as i64;
            let Some(window) = Window::new(spec.gaps, spec.season, first, &seen, &interpolated(&seen)) else {
                continue;
            };
            let mut targets = vec![f32::NAN; self.steps];
            for step in gaps.into_iter().flatten() {
                targets[step] = ((values[step] - window.line[step]) / window.scale).clamp(-clip, clip) as f32;
            }
            windows.push(window);
            apart.push(targets);
        }
        let targets = (0..self.steps).flat_map(|step| apart.iter().map(move |targets| targets[step])).collect();
        (windows, targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: std::ops::Range<usize> = 20..28;

    fn spec() -> ImputerSpec {
        ImputerSpec {
            cell: CellKind::Gru,
            hidden: 6,
            gaps: Gaps { shortest: 1, longest: 8 },
            season: 12,
            updates: 40,
            windows: 8,
            learning_rate: 0.02,
            seed: 3,
        }
    }

    fn wave() -> Stretch {
        let value = |step: i32| 50.0 + 9.0 * (f64::from(step) * std::f64::consts::TAU / 12.0).sin();
        Stretch { first: -5, values: (-5..300).map(value).collect() }
    }

    fn window(values: &[f64]) -> Window {
        let seen = hidden(values, &[GAP]);
        Window::new(spec().gaps, 12, 7, &seen, &interpolated(&seen)).unwrap()
    }

    #[test]
    fn untrained_is_linear_interpolation_to_the_last_bit() {
        let values = wave().values[12..60].to_vec();
        let imputer = Imputer::new(&ImputerSpec { cell: CellKind::Lstm, ..spec() }).unwrap();
        let filled = imputer.fill(&[window(&values)]).unwrap();
        assert_eq!(filled[0], interpolated(&hidden(&values, &[GAP])));
    }

    #[test]
    fn it_learns_what_bends_the_same_twice() {
        let values = wave().values[12..60].to_vec();
        let error = |filled: &[f64]| GAP.map(|step| (filled[step] - values[step]).abs()).sum::<f64>();
        let runs = [0, 1].map(|_| {
            let mut imputer = Imputer::new(&spec()).unwrap();
            let mut losses = Vec::new();
            imputer.train(&[wave()], &mut |_, loss| losses.push(loss)).unwrap();
            assert!(losses[39] < 0.5 * losses[0], "{losses:?}");
            imputer.fill(&[window(&values)]).unwrap().remove(0)
        });
        assert_eq!(runs[0], runs[1]);
        let line = interpolated(&hidden(&values, &[GAP]));
        assert!(error(&runs[0]) < 0.5 * error(&line), "{} against {}", error(&runs[0]), error(&line));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let refuse = |spec: ImputerSpec| Imputer::new(&spec).unwrap_err().to_string();
        assert!(refuse(ImputerSpec { cell: CellKind::Tcn, ..spec() }).contains("expected lstm or gru"));
        assert!(refuse(ImputerSpec { gaps: Gaps { shortest: 3, longest: 2 }, ..spec() }).contains("gaps are 3 to 2"));
        let short = Stretch { first: 0, values: vec![1.0; 47] };
        let error = Imputer::new(&spec()).unwrap().train(&[short], &mut |_, _| {}).unwrap_err().to_string();
        assert!(error.contains("has 47 steps, expected at least 48"), "{error}");
    }
}
