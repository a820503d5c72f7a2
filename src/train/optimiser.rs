//! AdamW with moments that checkpoints can store, clipping by the global norm, and the learning rate schedule.

use std::collections::BTreeMap;

use candle_core::{CpuStorage, DType, Device, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var};

use crate::nn::NamedTensor;

/// Decay rates of the first and the second moments (`beta1` and `beta2` of the paper, with its values).
const DECAY: (f64, f64) = (0.9, 0.999);
/// Keeps the quotient of the moments finite (the paper's value).
const EPSILON: f64 = 1e-8;

/// Variables or gradients by name.
pub(super) type Tensors<T> = BTreeMap<String, T>;

/// The state of the optimiser: first and second moments of the gradient of every tensor, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Moments {
    /// Updates so far.
    pub steps: u64,
    /// Exponentially decaying means of the gradients.
    pub first: BTreeMap<String, NamedTensor>,
    /// Exponentially decaying means of the squared gradients.
    pub second: BTreeMap<String, NamedTensor>,
}

/// Adam (Kingma, Ba, ICLR 2015, arXiv:1412.6980) with decoupled weight decay (Loshchilov, Hutter, ICLR 2019,
/// arXiv:1711.05101).
pub(super) struct AdamW {
    weight_decay: f64,
    steps: u64,
    moments: Tensors<(Tensor, Tensor)>,
}

impl AdamW {
    /// Continues from the moments `from`; those of tensors missing there, or of another shape, are zero.
    pub(super) fn new(variables: &Tensors<Var>, weight_decay: f64, from: &Moments) -> Result<Self> {
        let mut moments = Tensors::new();
        for (name, variable) in variables {
            let initial = |tensors: &BTreeMap<String, NamedTensor>| match tensors.get(name) {
                Some(tensor) if tensor.shape == variable.dims() && tensor.values.iter().all(|v| v.is_finite()) => {
                    Tensor::from_slice(&tensor.values, variable.shape(), variable.device())
                }
                _ => Tensor::zeros(variable.shape(), DType::F32, variable.device()),
            };
            let pair = (initial(&from.first)?, initial(&from.second)?);
            moments.insert(name.clone(), pair);
        }
        Ok(Self { weight_decay, steps: from.steps, moments })
    }

    /// Updates every variable that has a gradient. Matrices decay, biases do not.
    pub(super) fn update(&mut self, variables: &Tensors<Var>, gradients: &Tensors<Tensor>, rate: f64) -> Result<()> {
        self.steps += 1;
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let (first_correction, second_correction) = (1.0 - DECAY.0.powi(steps), 1.0 - DECAY.1.powi(steps));
        for (name, gradient) in gradients {
            let (Some(variable), Some((first, second))) = (variables.get(name), self.moments.get_mut(name)) else {
                candle_core::bail!("the optimiser has no variable {name}");
            };
            let (rate, decay) =
                (rate / first_correction, if variable.rank() > 1 { rate * self.weight_decay } else { 0.0 });
            if gradient.device().is_cpu() {
                let gradient = gradient.contiguous()?;
                first.inplace_op2(&gradient, &DecayingMean { keep: DECAY.0, squares: false })?;
                second.inplace_op2(&gradient, &DecayingMean { keep: DECAY.1, squares: true })?;
                variable.inplace_op3(first, second, &AdamUpdate { rate, second_correction, keep: 1.0 - decay })?;
                continue;
            }
            *first = ((&*first * DECAY.0)? + (gradient * (1.0 - DECAY.0))?)?;
            *second = ((&*second * DECAY.1)? + (gradient.sqr()? * (1.0 - DECAY.1))?)?;
            let size = ((&*second / second_correction)?.sqrt()? + EPSILON)?;
            variable.set(&((variable.detach() * (1.0 - decay))? - ((&*first * rate)? / size)?)?)?;
        }
        Ok(())
    }
    pub(super) fn moments(&self) -> Result<Moments> {
        let mut moments = Moments { steps: self.steps, ..Moments::default() };
        for (name, (first, second)) in &self.moments {
            moments.first.insert(name.clone(), named(first)?);
            moments.second.insert(name.clone(), named(second)?);
        }
        Ok(moments)
    }
}

/// The values of a contiguous tensor on the CPU.
pub(super) fn contiguous_values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("the operation needs contiguous tensors"),
    }
}

/// The values of a contiguous tensor on the CPU, for writing.
fn contiguous_values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (layout.contiguous_offsets(), storage) {
        (Some((from, to)), CpuStorage::F32(values)) => Ok(&mut values[from..to]),
        _ => candle_core::bail!("the optimiser needs contiguous tensors of f32"),
    }
}

/// Updates an exponentially decaying mean with a gradient or its square, in place. With candle's own operations, each
/// of which allocates a tensor, a training takes a quarter longer (GRU of 64 units, 8 rows of 32 steps).
struct DecayingMean {
    keep: f64,
    squares: bool,
}

impl InplaceOp2 for DecayingMean {
    fn name(&self) -> &'static str {
        "decaying-mean"
    }

    fn cpu_fwd(
        &self,
        mean: &mut CpuStorage,
        mean_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let means = contiguous_values_mut(mean, mean_layout)?;
        let (keep, take) = (self.keep as f32, (1.0 - self.keep) as f32);
        for (mean, gradient) in means.iter_mut().zip(contiguous_values(gradient, gradient_layout)?) {
            let value = if self.squares { gradient * gradient } else { *gradient };
            *mean = *mean * keep + value * take;
        }
        Ok(())
    }
}

/// Updates a variable from its moments, in place.
struct AdamUpdate {
    rate: f64,
    second_correction: f64,
    keep: f64,
}

impl InplaceOp3 for AdamUpdate {
    fn name(&self) -> &'static str {
        "adamw-update"
    }

    fn cpu_fwd(
        &self,
        variable: &mut CpuStorage,
        variable_layout: &Layout,
        first: &CpuStorage,
        first_layout: &Layout,
        second: &CpuStorage,
        second_layout: &Layout,
    ) -> Result<()> {
        let (rate, weigh, keep) = (self.rate as f32, (1.0 / self.second_correction) as f32, self.keep as f32);
        let moments = contiguous_values(first, first_layout)?.iter().zip(contiguous_values(second, second_layout)?);
        for (value, (first, second)) in contiguous_values_mut(variable, variable_layout)?.iter_mut().zip(moments) {
            *value = *value * keep - rate * first / ((second * weigh).sqrt() + EPSILON as f32);
        }
        Ok(())
    }
}

/// The shape and values of a tensor, on the CPU.
pub(super) fn named(tensor: &Tensor) -> Result<NamedTensor> {
    let values = tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    Ok(NamedTensor { shape: tensor.dims().to_vec(), values })
}

/// The norm of all gradients together; not finite if one of their values is not.
pub(super) fn global_norm(gradients: &Tensors<Tensor>) -> Result<f64> {
    let mut sum = 0.0;
    for gradient in gradients.values() {
        sum += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    Ok(sum.sqrt())
}

/// Scales gradients with norm `norm` down to norm `max_norm` (Pascanu, Mikolov, Bengio, ICML 2013, arXiv:1211.5063).
/// Returns whether it had to.
pub(super) fn clip(gradients: &mut Tensors<Tensor>, norm: f64, max_norm: f64) -> Result<bool> {
    if norm <= max_norm {
        return Ok(false);
    }
    for gradient in gradients.values_mut() {
        *gradient = (&*gradient * (max_norm / norm))?;
    }
    Ok(true)
}

/// The learning rate of update `update` (from 0): a linear rise over `warm_up` updates, then a cosine decay to a tenth
/// of `largest` at `max_updates`.
pub(super) fn learning_rate(largest: f64, update: usize, warm_up: usize, max_updates: usize) -> f64 {
    if update < warm_up {
        return largest * (update + 1) as f64 / (warm_up + 1) as f64;
    }
    let progress = (update - warm_up) as f64 / max_updates.saturating_sub(warm_up).max(1) as f64;
    largest * (0.55 + 0.45 * (std::f64::consts::PI * progress.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap()
    }

    fn gradient(name: &str, values: &[f32]) -> Tensors<Tensor> {
        Tensors::from([(name.to_owned(), tensor(values))])
    }

    fn variables() -> Tensors<Var> {
        let matrix = Var::from_slice(&[1.0_f32, -2.0], (2, 1), &Device::Cpu).unwrap();
        let bias = Var::from_slice(&[0.5_f32, 0.5], 2, &Device::Cpu).unwrap();
        Tensors::from([("matrix".to_owned(), matrix), ("bias".to_owned(), bias)])
    }

    fn values_of(variables: &Tensors<Var>, name: &str) -> Vec<f32> {
        variables[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn updates_match_the_paper() {
        let variables = variables();
        let mut optimiser = AdamW::new(&variables, 0.1, &Moments::default()).unwrap();
        let gradients = [[0.3_f64, -0.7], [0.1, 0.2]];
        let (mut first, mut second, mut expected) = ([0.0; 2], [0.0; 2], [1.0, -2.0]);
        for (step, gradient) in gradients.iter().enumerate() {
            let tensor = tensor(&gradient.map(|value| value as f32)).reshape((2, 1)).unwrap();
            optimiser.update(&variables, &Tensors::from([("matrix".to_owned(), tensor)]), 0.01).unwrap();
            for at in 0..2 {
                first[at] = 0.9 * first[at] + 0.1 * gradient[at];
                second[at] = 0.999 * second[at] + 0.001 * gradient[at] * gradient[at];
                let correction = |decay: f64| 1.0 - decay.powi(step as i32 + 1);
                let root = f64::sqrt(second[at] / correction(0.999));
                expected[at] = expected[at] * (1.0 - 0.01 * 0.1) - 0.01 * first[at] / correction(0.9) / (root + 1e-8);
            }
        }
        for (value, expected) in values_of(&variables, "matrix").iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{value} {expected}");
        }
        assert_eq!(values_of(&variables, "bias"), [0.5, 0.5], "no gradient, no change, no decay");
        assert!(optimiser.update(&variables, &gradient("other", &[1.0]), 0.01).is_err());
    }

    #[test]
    fn an_optimiser_continues_from_saved_moments() {
        let (one, other) = (variables(), variables());
        let mut uninterrupted = AdamW::new(&one, 0.1, &Moments::default()).unwrap();
        let mut saved = AdamW::new(&other, 0.1, &Moments::default()).unwrap();
        for (optimiser, variables) in [(&mut uninterrupted, &one), (&mut saved, &other)] {
            optimiser.update(variables, &gradient("bias", &[0.3, -0.1]), 0.01).unwrap();
        }
        let moments = saved.moments().unwrap();
        let mut resumed = AdamW::new(&other, 0.1, &moments).unwrap();
        uninterrupted.update(&one, &gradient("bias", &[-0.2, 0.4]), 0.01).unwrap();
        resumed.update(&other, &gradient("bias", &[-0.2, 0.4]), 0.01).unwrap();
        assert_eq!(values_of(&one, "bias"), values_of(&other, "bias"));
    }

    #[test]
    fn large_gradients_are_clipped_to_the_norm_and_keep_their_direction() {
        let mut gradients = gradient("a", &[3.0, 0.0]);
        gradients.extend(gradient("b", &[0.0, 4.0]));
        let norm = global_norm(&gradients).unwrap();
        assert!((norm - 5.0).abs() < 1e-6);
        assert!(!clip(&mut gradients, norm, 5.5).unwrap());
        assert!(clip(&mut gradients, norm, 1.0).unwrap());
        assert!((global_norm(&gradients).unwrap() - 1.0).abs() < 1e-6);
        let b = gradients["b"].to_vec1::<f32>().unwrap();
        assert!(b[0] == 0.0 && (b[1] - 0.8).abs() < 1e-6, "{b:?}");
        assert!(!global_norm(&gradient("a", &[1.0, f32::NAN])).unwrap().is_finite());
        assert!(!global_norm(&gradient("a", &[1.0, f32::INFINITY])).unwrap().is_finite());
    }

    #[test]
    fn the_learning_rate_rises_and_then_decays() {
        let rate = |update| learning_rate(1.0, update, 10, 110);
        assert!((rate(0) - 1.0 / 11.0).abs() < 1e-12 && (rate(10) - 1.0).abs() < 1e-12);
        assert!((rate(60) - 0.55).abs() < 1e-12 && (rate(110) - 0.1).abs() < 1e-12 && rate(500) == rate(110));
        assert!((1..=10).all(|step| rate(step) > rate(step - 1)) && (11..=110).all(|step| rate(step) < rate(step - 1)));
        assert!((learning_rate(1.0, 0, 0, 0) - 1.0).abs() < 1e-12);
    }
}
