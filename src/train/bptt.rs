//! The network in training: its weights as variables, a window of steps forward and backward.

use candle_core::{Device, Result, Tensor, Var};

use super::head::Pinball;
use super::optimiser::{Tensors, named};
use super::tracks::Window;
use crate::nn::sequence::Starts;
use crate::nn::stack::{self, StackOutput};
use crate::nn::{NetworkSpec, Weights, head};

/// A network whose weights are candle's variables.
pub(super) struct Model {
    spec: NetworkSpec,
    device: Device,
    variables: Tensors<Var>,
}

/// What a window gave.
pub(super) struct Learnt {
    /// Mean loss.
    pub loss: f64,
    /// By every variable.
    pub gradients: Tensors<Tensor>,
}

impl Model {
    pub(super) fn new(spec: &NetworkSpec, weights: &Weights, device: &Device) -> Result<Self> {
        let variable = |(name, tensor): (&String, &crate::nn::NamedTensor)| {
            Ok((name.clone(), Var::from_slice(&tensor.values, tensor.shape.as_slice(), device)?))
        };
        let variables = weights.tensors().iter().map(variable).collect::<Result<_>>()?;
        Ok(Self { spec: spec.clone(), device: device.clone(), variables })
    }

    pub(super) fn variables(&self) -> &Tensors<Var> {
        &self.variables
    }

    /// The weights as they are now.
    pub(super) fn weights(&self) -> Result<Weights> {
        let tensors = self.variables.iter().map(|(name, variable)| Ok((name.clone(), named(variable)?)));
        Ok(Weights::from_tensors(tensors.collect::<Result<_>>()?))
    }

    /// States of rows that begin anew, one tensor per layer.
    pub(super) fn fresh(&self, rows: usize) -> Result<Vec<Tensor>> {
        stack::fresh(&self.spec, rows, &self.device)
    }

    fn variable(&self, name: &str) -> Result<Tensor> {
        let variable = self.variables.get(name).map(|variable| variable.as_tensor().clone());
        variable.ok_or_else(|| candle_core::Error::Msg(format!("no tensor {name}")))
    }

    /// Runs all layers over a window of `rows` rows from `states` on, bottom up.
    pub(super) fn forward(&self, window: &Window, rows: usize, states: &[Tensor]) -> Result<StackOutput> {
        let steps = window.starts.len() / rows;
        let starts = Starts::new(rows, window.starts.clone());
        let inputs = Tensor::from_slice(&window.features, (steps, rows, self.spec.inputs), &self.device)?;
        self.run(&inputs, &starts, states)
    }

    /// The same over inputs `[steps, rows, inputs]`, which may be variables themselves.
    pub(super) fn run(&self, inputs: &Tensor, starts: &Starts, states: &[Tensor]) -> Result<StackOutput> {
        stack::run(&self.spec, &|name| self.variable(name), inputs, states, starts)
    }

    /// Loss and gradients of the head on the newest `steps` of the top layer's outputs; nothing where none of their
    /// targets `[steps, rows, targets]` has matured.
    pub(super) fn learn(&self, stack: &StackOutput, steps: usize, pinball: &Pinball) -> Result<Option<Learnt>> {
        if pinball.matured() == 0 {
            return Ok(None);
        }
        let newest = stack.outputs.narrow(0, stack.outputs.dim(0)? - steps, steps)?;
        let newest = head::decoded(&self.spec, &newest, &|name| self.variable(&format!("head.{name}")))?;
        let loss = pinball.mean(&newest, &self.variable("head.weight")?, &self.variable("head.bias")?)?;
        let store = loss.backward()?;
        let mut gradients = Tensors::new();
        for (name, variable) in &self.variables {
            match store.get(variable) {
                Some(gradient) => _ = gradients.insert(name.clone(), gradient.detach()),
                None => candle_core::bail!("no gradient for {name}"),
            }
        }
        Ok(Some(Learnt { loss: f64::from(loss.to_scalar::<f32>()?), gradients }))
    }
}
