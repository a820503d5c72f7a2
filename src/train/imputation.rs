//! Imputation: fills gaps between known values. A bidirectional encoder of a window feeds a linear head that predicts
//! the deviation of each step from linear interpolation, in the scale of the window. The head starts at zero, so that
//! an untrained imputer interpolates linearly.
//!
//! Training masks values of its windows at random; only those give loss, the Huber loss (Huber, Annals of Mathematical
//! Statistics 35(1), 1964).

use candle_core::{Device, Result as TensorResult, Tensor, Var};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;

use super::gaps::{GapSegment, Gaps, INPUTS, Window, interpolate, mask_gaps, uniform};
use super::optimiser::{AdamW, Moments, Tensors, clip, global_norm, learning_rate};
use super::pinball_loss::Pinball;
use super::spec::{TrainError, TrainSpec};
use crate::nn::{Bidirectional, CellKind, NamedTensor, NetworkError};

/// Threshold of the Huber loss, in standard deviations of the window.
const HUBER: f32 = 0.5;
/// Windows that are filled side by side: bounds the memory.
const BATCH: usize = 64;

/// The network and the training of an imputer.
#[derive(Debug, Clone, PartialEq)]
pub struct ImputerSpec {
    /// LSTM or GRU.
    pub cell: CellKind,
    /// Hidden units of each direction.
    pub hidden: usize,
    /// The gaps that it learns to fill.
    pub gaps: Gaps,
    /// Steps in a season; 0 for none.
    pub season: usize,
    /// Updates of the weights.
    pub updates: usize,
    /// Windows of one update.
    pub windows: usize,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// Seed of the weights, the windows and the masks.
    pub seed: u64,
}

/// A network that fills gaps. It computes on the CPU, where equal arguments give equal results.
#[derive(Debug)]
pub struct Imputer {
    spec: ImputerSpec,
    encoder: Bidirectional,
    variables: Tensors<Var>,
}

impl Imputer {
    /// An untrained imputer, which interpolates linearly.
    ///
    /// # Errors
    /// Where the network or the gaps are invalid.
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

    /// Trains on windows drawn from the segments. `observe` receives the number and the loss of each update.
    ///
    /// # Errors
    /// Where no segment is as long as a window, or candle fails.
    pub fn train(&mut self, segments: &[GapSegment], observe: &mut dyn FnMut(usize, f64)) -> Result<(), TrainError> {
        if self.spec.updates == 0 {
            return Ok(());
        }
        let defaults = TrainSpec::default();
        let windows = Windows::new(self.spec.gaps.window(), segments)?;
        let mut optimiser = AdamW::new(&self.variables, defaults.weight_decay, &Moments::default())?;
        let mut random = Pcg64::seed_from_u64(self.spec.seed);
        for update in 0..self.spec.updates {
            let (inputs, targets) = windows.draw(&self.spec, &mut random);
            let pinball = Pinball::new(targets, &[0.5], HUBER);
            if pinball.matured() == 0 {
                continue;
            }
            let outputs = self.encoder.run(&|name| self.tensor(name), &stack(&inputs)?)?;
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

    /// The filled values of windows of equal length, `[windows][steps]`.
    ///
    /// # Errors
    /// Where candle fails.
    pub fn fill(&self, windows: &[Window]) -> Result<Vec<Vec<f64>>, TrainError> {
        let mut filled = Vec::with_capacity(windows.len());
        let constant = |name: &str| Ok(self.tensor(name)?.detach());
        for batch in windows.chunks(BATCH) {
            let outputs = self.encoder.run(&constant, &stack(batch)?)?;
            let (steps, rows, width) = outputs.dims3()?;
            let deviations = outputs.reshape((steps * rows, width))?.matmul(&constant("head.weight")?.t()?)?;
            let deviations = deviations.broadcast_add(&constant("head.bias")?)?.flatten_all()?.to_vec1::<f32>()?;
            for (row, window) in batch.iter().enumerate() {
                let value =
                    |(step, line): (usize, &f64)| line + window.scale * f64::from(deviations[step * rows + row]);
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

/// The inputs of windows, `[steps, windows, INPUTS]`.
fn stack(windows: &[Window]) -> TensorResult<Tensor> {
    let steps = windows.first().map_or(0, |window| window.line.len());
    let mut inputs = Vec::with_capacity(steps * windows.len() * INPUTS);
    for step in 0..steps {
        windows.iter().for_each(|window| inputs.extend_from_slice(&window.inputs[step * INPUTS..][..INPUTS]));
    }
    Tensor::from_vec(inputs, (steps, windows.len(), INPUTS), &Device::Cpu)
}

/// All windows of some segments.
struct Windows<'a> {
    steps: usize,
    segments: &'a [GapSegment],
    /// Number of windows in the segments up to each one (inclusive).
    until: Vec<usize>,
}

impl<'a> Windows<'a> {
    fn new(steps: usize, segments: &'a [GapSegment]) -> Result<Self, TrainError> {
        let mut count = 0;
        let mut add = |segment: &GapSegment| {
            count += (segment.values.len() + 1).saturating_sub(steps);
            count
        };
        let until: Vec<usize> = segments.iter().map(&mut add).collect();
        if count == 0 {
            let longest = segments.iter().map(|segment| segment.values.len()).max().unwrap_or(0);
            return Err(TrainError::TooLittle(format!(
                "the longest run of values to learn from has {longest} steps, expected at least one window of {steps}"
            )));
        }
        Ok(Self { steps, segments, until })
    }

    /// Draws windows with masked values. Returns them and the deviations of the masked values from the interpolation,
    /// `[steps, windows]`, in the scale of each window; NaN where nothing is masked or known.
    fn draw(&self, spec: &ImputerSpec, random: &mut Pcg64) -> (Vec<Window>, Vec<f32>) {
        let clip = f64::from(TrainSpec::default().target_clip);
        let mut windows = Vec::with_capacity(spec.windows);
        let mut deviations: Vec<Vec<f32>> = Vec::with_capacity(spec.windows);
        let count = self.until.last().copied().unwrap_or(0);
        for _ in 0..spec.windows {
            let drawn = uniform(random, 1, count);
            let segment = &self.segments[self.until.partition_point(|until| *until < drawn)];
            let last = segment.values.len() - self.steps;
            let begin = uniform(random, 0, last);
            let values = &segment.values[begin..begin + self.steps];
            let gaps = spec.gaps.draw(random, 0..self.steps);
            let seen = mask_gaps(values, &gaps);
            let first = segment.first + begin as i64;
            let Some(window) = Window::new(spec.gaps, spec.season, first, &seen, &interpolate(&seen)) else {
                continue;
            };
            let mut targets = vec![f32::NAN; self.steps];
            for step in gaps.into_iter().flatten() {
                targets[step] = ((values[step] - window.line[step]) / window.scale).clamp(-clip, clip) as f32;
            }
            windows.push(window);
            deviations.push(targets);
        }
        let targets = (0..self.steps).flat_map(|step| deviations.iter().map(move |targets| targets[step])).collect();
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

    fn sine() -> GapSegment {
        let value = |step: i32| 50.0 + 9.0 * (f64::from(step) * std::f64::consts::TAU / 12.0).sin();
        GapSegment { first: -5, values: (-5..300).map(value).collect() }
    }

    fn window(values: &[f64]) -> Window {
        let seen = mask_gaps(values, &[GAP]);
        Window::new(spec().gaps, 12, 7, &seen, &interpolate(&seen)).unwrap()
    }

    #[test]
    fn an_untrained_imputer_interpolates_linearly_to_the_last_bit() {
        let values = sine().values[12..60].to_vec();
        let imputer = Imputer::new(&ImputerSpec { cell: CellKind::Lstm, ..spec() }).unwrap();
        let filled = imputer.fill(&[window(&values)]).unwrap();
        assert_eq!(filled[0], interpolate(&mask_gaps(&values, &[GAP])));
    }

    #[test]
    fn training_is_reproducible_and_beats_interpolation() {
        let values = sine().values[12..60].to_vec();
        let error = |filled: &[f64]| GAP.map(|step| (filled[step] - values[step]).abs()).sum::<f64>();
        let runs = [0, 1].map(|_| {
            let mut imputer = Imputer::new(&spec()).unwrap();
            let mut losses = Vec::new();
            imputer.train(&[sine()], &mut |_, loss| losses.push(loss)).unwrap();
            assert!(losses[39] < 0.5 * losses[0], "{losses:?}");
            imputer.fill(&[window(&values)]).unwrap().remove(0)
        });
        assert_eq!(runs[0], runs[1]);
        let line = interpolate(&mask_gaps(&values, &[GAP]));
        assert!(error(&runs[0]) < 0.5 * error(&line), "{} against {}", error(&runs[0]), error(&line));
    }

    #[test]
    fn invalid_specs_and_short_histories_are_rejected() {
        let reject = |spec: ImputerSpec| Imputer::new(&spec).unwrap_err().to_string();
        assert!(reject(ImputerSpec { cell: CellKind::Tcn, ..spec() }).contains("expected lstm or gru"));
        assert!(reject(ImputerSpec { gaps: Gaps { shortest: 3, longest: 2 }, ..spec() }).contains("gaps are 3 to 2"));
        let short = GapSegment { first: 0, values: vec![1.0; 47] };
        let error = Imputer::new(&spec()).unwrap().train(&[short], &mut |_, _| {}).unwrap_err().to_string();
        assert!(error.contains("has 47 steps, expected at least one window of 48"), "{error}");
    }
}
