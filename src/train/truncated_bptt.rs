//! Truncated backpropagation through time: the network's weights as variables, a chunk of steps forward and backward.

use candle_core::{Device, Result, Tensor, Var};

use super::batch::Chunk;
use super::optimiser::{Tensors, named};
use super::pinball_loss::Pinball;
use super::query_head;
use super::query_loss::QueryLoss;
use super::spec::TrainSpec;
use crate::nn::stack::{self, StackOutput};
use crate::nn::{NetworkSpec, ResetMask, Weights, head};

/// A network whose weights are candle variables.
pub(super) struct Model {
    spec: NetworkSpec,
    device: Device,
    variables: Tensors<Var>,
}

/// The result of a backward pass.
pub(super) struct LossAndGradients {
    pub loss: f64,
    /// Its gradient with respect to every variable.
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
    pub(super) fn weights(&self) -> Result<Weights> {
        let tensors = self.variables.iter().map(|(name, variable)| Ok((name.clone(), named(variable)?)));
        Ok(Weights::from_tensors(tensors.collect::<Result<_>>()?))
    }

    /// Initial hidden states of `rows` rows, one tensor per layer.
    pub(super) fn fresh(&self, rows: usize) -> Result<Vec<Tensor>> {
        stack::zero_states(&self.spec, rows, &self.device)
    }

    fn variable(&self, name: &str) -> Result<Tensor> {
        let variable = self.variables.get(name).map(|variable| variable.as_tensor().clone());
        variable.ok_or_else(|| candle_core::Error::Msg(format!("no tensor {name}")))
    }

    /// Runs all layers over a chunk of `rows` rows, starting from `states`.
    pub(super) fn forward(&self, chunk: &Chunk, rows: usize, states: &[Tensor]) -> Result<StackOutput> {
        let steps = chunk.reset_mask.len() / rows;
        let resets = ResetMask::new(rows, chunk.reset_mask.clone());
        let inputs = Tensor::from_slice(&chunk.features, (steps, rows, self.spec.inputs), &self.device)?;
        self.run(&inputs, &resets, states)
    }

    /// Runs all layers over inputs `[steps, rows, inputs]`, which may be variables themselves.
    pub(super) fn run(&self, inputs: &Tensor, resets: &ResetMask, states: &[Tensor]) -> Result<StackOutput> {
        stack::run(&self.spec, &|name| self.variable(name), inputs, states, resets)
    }

    /// Loss and gradients of a chunk, over which the layers have run; `None` where none of its targets has matured.
    pub(super) fn backward_chunk(
        &self,
        spec: &TrainSpec,
        chunk: Chunk,
        stack: &StackOutput,
    ) -> Result<Option<LossAndGradients>> {
        if self.spec.decoder > 0 {
            self.backward_queries(stack, spec.k1, &QueryLoss::new(chunk.queries, chunk.targets))
        } else {
            self.backward(stack, spec.k1, &Pinball::new(chunk.targets, &spec.levels, spec.huber as f32))
        }
    }

    /// Loss and gradients of the head on the newest `steps` outputs of the top layer; `None` where none of their
    /// targets `[steps, rows, targets]` has matured.
    pub(super) fn backward(
        &self,
        stack: &StackOutput,
        steps: usize,
        pinball: &Pinball,
    ) -> Result<Option<LossAndGradients>> {
        if pinball.matured() == 0 {
            return Ok(None);
        }
        let newest = head::decode(&self.spec, &newest(stack, steps)?, &|name| self.variable(&format!("head.{name}")))?;
        let loss = pinball.mean(&newest, &self.variable("head.weight")?, &self.variable("head.bias")?)?;
        self.gradients(&loss).map(Some)
    }

    /// The same of a query decoder.
    fn backward_queries(
        &self,
        stack: &StackOutput,
        steps: usize,
        queries: &QueryLoss,
    ) -> Result<Option<LossAndGradients>> {
        if queries.matured() == 0 {
            return Ok(None);
        }
        let loss = query_head::loss(queries, &newest(stack, steps)?, &|name| self.variable(&format!("head.{name}")))?;
        self.gradients(&loss).map(Some)
    }

    fn gradients(&self, loss: &Tensor) -> Result<LossAndGradients> {
        let store = loss.backward()?;
        let mut gradients = Tensors::new();
        for (name, variable) in &self.variables {
            match store.get(variable) {
                Some(gradient) => _ = gradients.insert(name.clone(), gradient.detach()),
                None => candle_core::bail!("no gradient for {name}"),
            }
        }
        Ok(LossAndGradients { loss: f64::from(loss.to_scalar::<f32>()?), gradients })
    }
}

/// The newest `steps` outputs of the top layer.
fn newest(stack: &StackOutput, steps: usize) -> Result<Tensor> {
    stack.outputs.narrow(0, stack.outputs.dim(0)? - steps, steps)
}
