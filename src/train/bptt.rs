//! The network in training: its weights as variables, a window of steps forward and backward.

use candle_core::{Device, Result, Tensor, Var};

use super::head::Pinball;
use super::optimiser::{Tensors, named};
use super::tracks::Window;
use crate::nn::cell::name;
use crate::nn::sequence::{LayerTensors, Sequence, SequenceOutput, Starts};
use crate::nn::{NetworkSpec, Weights, cell};

/// A network whose weights are candle's variables.
pub(super) struct Model {
    spec: NetworkSpec,
    device: Device,
    variables: Tensors<Var>,
}

/// What a window gave.
pub(super) struct Learnt {
    /// Mean pinball loss.
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
        let width = self.spec.state_len() / self.spec.layers;
        (0..self.spec.layers).map(|_| Tensor::zeros((rows, width), candle_core::DType::F32, &self.device)).collect()
    }

    fn variable(&self, name: &str) -> Result<&Tensor> {
        self.variables.get(name).map(Var::as_tensor).ok_or_else(|| candle_core::Error::Msg(format!("no tensor {name}")))
    }

    /// Runs all layers over a window of `rows` rows from `states` on, bottom up.
    pub(super) fn forward(&self, window: &Window, rows: usize, states: &[Tensor]) -> Result<Vec<SequenceOutput>> {
        let steps = window.starts.len() / rows;
        let starts = Starts::new(rows, window.starts.clone());
        let mut inputs = Tensor::from_slice(&window.features, (steps, rows, self.spec.inputs), &self.device)?;
        let mut layers = Vec::with_capacity(self.spec.layers);
        for (layer, states) in states.iter().enumerate() {
            let tensor = |tensor| self.variable(&name(layer, tensor)).cloned();
            let weights =
                LayerTensors { input: tensor("input")?, recurrent: tensor("recurrent")?, bias: tensor("bias")? };
            let sequence = Sequence { inputs: &inputs, weights: &weights, states, starts: &starts };
            let output = cell(self.spec.cell).sequence(&sequence)?;
            inputs = output.outputs.clone();
            layers.push(output);
        }
        Ok(layers)
    }

    /// Loss and gradients of the head on the newest `steps` of the top layer's outputs; nothing where none of their
    /// targets `[steps, rows, horizon]` has matured.
    pub(super) fn learn(
        &self,
        layers: &[SequenceOutput],
        steps: usize,
        targets: Vec<f32>,
        levels: &[f32],
    ) -> Result<Option<Learnt>> {
        let pinball = Pinball::new(targets, levels);
        let Some(top) = layers.last().filter(|_| pinball.matured() > 0) else { return Ok(None) };
        let newest = top.outputs.narrow(0, top.outputs.dim(0)? - steps, steps)?.flatten(0, 1)?;
        let loss = pinball.mean(&newest, self.variable("head.weight")?, self.variable("head.bias")?)?;
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
