//! The query decoder: quantiles of any lead from the state and a query of the lead.
//!
//! With the top layer's outputs `h` and the query `q(l)` of lead `l`, `z = silu(A h + B q(l) + b)` and
//! `raw = C z + c`, from which monotone quantiles are made (see `kernel/query.rs`). `A h` is computed once a step.
//!
//! Tensors: `head.state` `[units, hidden]` (A), `head.query` `[units, QUERY_FEATURES]` (B), `head.decoder_bias`
//! `[units]` (b), `head.weight` `[13, units]` (C) and `head.bias` `[13]` (c).

use candle_core::{D, Result, Tensor};

use super::kernel::{self, InstructionSet, LANES, OutputMode, Panel, Rows, RowsMut, padded};
use super::quantile_grid::{MEDIAN, QUANTILE_GRID};
use super::{cell::LayerScratch, initialiser::Initialiser, parameter::Parameter, spec::NetworkSpec};
use crate::series::QUERY_FEATURES;

/// Quantiles of a lead.
const LEVELS: usize = QUANTILE_GRID.len();
/// Queries that are decoded at once: their units stay in the cache.
const QUERIES: usize = 96;

/// The tensors of the decoder. The last layer is zero: the median of an untrained network is the last value.
pub(super) fn parameters(spec: &NetworkSpec) -> Vec<Parameter> {
    let units = spec.decoder;
    vec![
        Parameter::zero("weight", &[LEVELS, units]),
        Parameter::zero("bias", &[LEVELS]),
        Parameter::uniform("state", units, spec.hidden),
        Parameter::new("query", &[units, QUERY_FEATURES], Initialiser::Uniform { fan_out: units }),
        Parameter::zero("decoder_bias", &[units]),
    ]
}

/// Queries of several rows, and where their answers go.
#[derive(Debug)]
pub struct QueryBatch<'a> {
    /// `[rows, leads, QUERY_FEATURES]`
    pub queries: &'a [f32],
    /// The quantiles of the grid, `[rows, leads, 13]`.
    pub quantiles: &'a mut [f32],
}

/// The decoder, packed for serving.
pub(super) struct QueryDecoder {
    state: Panel,
    query: Panel,
    output: Panel,
    units: usize,
}

impl QueryDecoder {
    /// Packs the decoder; `tensor` finds its tensors by name.
    pub fn new<'a>(spec: &NetworkSpec, tensor: &dyn Fn(&str) -> &'a [f32]) -> Self {
        let (units, hidden) = (spec.decoder, spec.hidden);
        let no_bias = vec![0.0; units];
        Self {
            state: Panel::of_matrix(hidden, tensor("state"), tensor("decoder_bias")),
            query: Panel::of_matrix(QUERY_FEATURES, tensor("query"), &no_bias),
            output: Panel::of_matrix(units, tensor("weight"), tensor("bias")),
            units,
        }
    }

    /// Size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.state.bytes() + self.query.bytes() + self.output.bytes()
    }

    /// Answers the queries from the top layer's outputs.
    pub fn step(
        &self,
        isa: InstructionSet,
        rows: usize,
        top: Rows<'_>,
        batch: QueryBatch<'_>,
        scratch: &mut LayerScratch,
    ) {
        let QueryBatch { queries, quantiles: y } = batch;
        let (leads, width) = (queries.len() / (rows * QUERY_FEATURES), padded(self.units));
        let [by_state, units, raw, ..] = &mut scratch.rows;
        by_state.resize(rows * width, 0.0);
        let out = RowsMut { data: &mut *by_state, stride: width, offset: 0 };
        kernel::dense_rows(isa, &self.state, rows, top, out, OutputMode::Padded);
        for (row, (queries, y)) in
            queries.chunks_exact(leads * QUERY_FEATURES).zip(y.chunks_exact_mut(leads * LEVELS)).enumerate()
        {
            let by_state = &by_state[row * width..][..width];
            for (queries, y) in queries.chunks(QUERIES * QUERY_FEATURES).zip(y.chunks_mut(QUERIES * LEVELS)) {
                let count = queries.len() / QUERY_FEATURES;
                units.clear();
                (0..count).for_each(|_| units.extend_from_slice(by_state));
                let queries = Rows { data: queries, stride: QUERY_FEATURES, offset: 0 };
                let out = RowsMut { data: &mut *units, stride: width, offset: 0 };
                kernel::dense_rows(isa, &self.query, count, queries, out, OutputMode::Accumulated);
                kernel::query_units(isa, units);
                raw.resize(count * LANES, 0.0);
                let units = Rows { data: units, stride: width, offset: 0 };
                let out = RowsMut { data: &mut *raw, stride: LANES, offset: 0 };
                kernel::dense_rows(isa, &self.output, count, units, out, OutputMode::Padded);
                kernel::query_quantiles(isa, raw);
                for (y, quantiles) in y.chunks_exact_mut(LEVELS).zip(raw.chunks_exact(LANES)) {
                    y.copy_from_slice(&quantiles[..LEVELS]);
                }
            }
        }
    }
}

/// The same in candle's operations, for training: quantiles `[rows * leads, 13]` from outputs `[.., hidden]` and
/// queries `[rows * leads, QUERY_FEATURES]`. `tensor` finds the decoder's tensors.
pub fn quantiles(outputs: &Tensor, queries: &Tensor, tensor: &dyn Fn(&str) -> Result<Tensor>) -> Result<Tensor> {
    let outputs = outputs.flatten_to(outputs.rank() - 2)?;
    let (rows, _) = outputs.dims2()?;
    let leads = queries.dim(0)? / rows;
    let by_state = outputs.matmul(&tensor("state")?.t()?)?.broadcast_add(&tensor("decoder_bias")?)?.unsqueeze(1)?;
    let by_query = queries.matmul(&tensor("query")?.t()?)?;
    let units = by_query.dim(1)?;
    let sum = by_query.reshape((rows, leads, units))?.broadcast_add(&by_state)?.reshape((rows * leads, units))?;
    let raw = sum.silu()?.matmul(&tensor("weight")?.t()?)?.broadcast_add(&tensor("bias")?)?;
    let increments = (raw.relu()? + (raw.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    let part = |from: usize, count: usize| increments.narrow(1, from, count);
    let median = raw.narrow(1, MEDIAN, 1)?;
    let steps = Tensor::cat(&[&part(0, MEDIAN)?, &median, &part(MEDIAN + 1, LEVELS - MEDIAN - 1)?], D::Minus1)?;
    steps.matmul(&Tensor::from_slice(&summation(), (LEVELS, LEVELS), outputs.device())?)
}

/// The matrix `[step, quantile]` that adds the increments up from the median outwards.
fn summation() -> [f32; LEVELS * LEVELS] {
    let mut matrix = [0.0; LEVELS * LEVELS];
    for (step, row) in matrix.chunks_exact_mut(LEVELS).enumerate() {
        match step {
            MEDIAN => row.fill(1.0),
            step if step > MEDIAN => row[step..].fill(1.0),
            step => row[..=step].fill(-1.0),
        }
    }
    matrix
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::nn::{Network, Scratch, Weights};

    fn spec() -> NetworkSpec {
        NetworkSpec {
            hidden: 20,
            decoder: 24,
            inputs: 5,
            horizon: 7,
            levels: LEVELS,
            seed: 4,
            ..NetworkSpec::default()
        }
    }

    /// Initial weights with a last layer that is not zero.
    fn weights(spec: &NetworkSpec) -> Weights {
        let mut tensors = Weights::initial(spec).tensors().clone();
        for name in ["head.weight", "head.bias", "head.decoder_bias"] {
            let values = &mut tensors.get_mut(name).unwrap().values;
            values.iter_mut().enumerate().for_each(|(at, value)| *value = (at as f32 * 0.7).sin() * 0.5);
        }
        Weights::from_tensors(tensors)
    }

    fn numbers(count: usize, rate: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * rate).sin()).collect()
    }

    #[test]
    fn serving_computes_what_training_does_for_any_number_of_leads_with_the_same_bits_in_any_batch() {
        let (spec, rows) = (spec(), 9);
        let weights = weights(&spec);
        for leads in [1, 7, 150] {
            let (x, queries) = (numbers(rows * 5, 0.3), numbers(rows * leads * QUERY_FEATURES, 0.37));
            let mut seen: Vec<Vec<f32>> = Vec::new();
            for kind in InstructionSet::available() {
                let network = Network::with_instructions(&spec, &weights, kind).unwrap();
                let width = network.state_len();
                let (mut state, mut y) = (vec![0.0; rows * width], vec![0.0; rows * leads * LEVELS]);
                let mut scratch = Scratch::default();
                let batch = QueryBatch { queries: &queries, quantiles: &mut y };
                network.step_queries(&mut scratch, rows, &x, &mut state, batch);
                let (mut alone, mut own) = (vec![0.0; width], vec![0.0; leads * LEVELS]);
                let query = &queries[4 * leads * QUERY_FEATURES..][..leads * QUERY_FEATURES];
                let batch = QueryBatch { queries: query, quantiles: &mut own };
                network.step_queries(&mut scratch, 1, &x[20..25], &mut alone, batch);
                assert_eq!(own, y[4 * leads * LEVELS..][..leads * LEVELS]);
                let device = Device::Cpu;
                let hidden: Vec<f32> = state.chunks(width).flat_map(|row| row[..20].to_vec()).collect();
                let outputs = Tensor::from_vec(hidden, (rows, 20), &device).unwrap();
                let queries = Tensor::from_slice(&queries, (rows * leads, QUERY_FEATURES), &device).unwrap();
                let tensor = |name: &str| {
                    let tensor = &weights.tensors()[&format!("head.{name}")];
                    Tensor::from_slice(&tensor.values, tensor.shape.as_slice(), &device)
                };
                let expected = quantiles(&outputs, &queries, &tensor).unwrap();
                let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert!(y.iter().zip(&expected).all(|(one, other)| (one - other).abs() < 2e-4));
                assert!(y.chunks(LEVELS).all(|grid| grid.windows(2).all(|pair| pair[0] < pair[1])));
                seen.push(y);
            }
            assert!(seen.iter().all(|other| *other == seen[0]));
        }
    }

    /// The decoder in f64, for finite differences: the sum of its quantiles weighted by `by`.
    fn weighted(tensors: &[Vec<f64>; 6], queries: &[f64], by: &[f64]) -> f64 {
        let [outputs, state, query, decoder_bias, weight, bias] = tensors;
        let (units, hidden, leads) = (decoder_bias.len(), 3, 2);
        let mut sum = 0.0;
        for (at, query_values) in queries.chunks(QUERY_FEATURES).enumerate() {
            let h = &outputs[at / leads * hidden..][..hidden];
            let dot = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(one, other)| one * other).sum::<f64>();
            let unit = |unit: usize| {
                let by_state = dot(&state[unit * hidden..][..hidden], h);
                let x = by_state
                    + dot(&query[unit * QUERY_FEATURES..][..QUERY_FEATURES], query_values)
                    + decoder_bias[unit];
                x / (1.0 + (-x).exp())
            };
            let z: Vec<f64> = (0..units).map(unit).collect();
            let mut raw: Vec<f64> =
                (0..LEVELS).map(|level| dot(&weight[level * units..][..units], &z) + bias[level]).collect();
            let softplus = |x: f64| (1.0 + x.exp()).ln();
            (MEDIAN + 1..LEVELS).for_each(|at| raw[at] = raw[at - 1] + softplus(raw[at]));
            (0..MEDIAN).rev().for_each(|at| raw[at] = raw[at + 1] - softplus(raw[at]));
            sum += dot(&raw, &by[at * LEVELS..][..LEVELS]);
        }
        sum
    }

    #[test]
    fn gradients_equal_finite_differences_in_f64() {
        let (rows, hidden, units, leads) = (2, 3, 4, 2);
        let shapes =
            [[rows, hidden], [units, hidden], [units, QUERY_FEATURES], [1, units], [LEVELS, units], [1, LEVELS]];
        let names = ["", "state", "query", "decoder_bias", "weight", "bias"];
        let values: Vec<Vec<f32>> =
            shapes.iter().zip(1..).map(|([m, n], at)| numbers(m * n, 0.41 * at as f32)).collect();
        let (queries, by) = (numbers(rows * leads * QUERY_FEATURES, 0.77), numbers(rows * leads * LEVELS, 0.59));
        let device = Device::Cpu;
        let variables: Vec<Var> = values
            .iter()
            .zip(shapes)
            .map(|(values, [m, n])| {
                let shape = if m == 1 { vec![n] } else { vec![m, n] };
                Var::from_slice(values, shape, &device).unwrap()
            })
            .collect();
        let tensor =
            |name: &str| Ok(variables[names.iter().position(|other| *other == name).unwrap()].as_tensor().clone());
        let asked = Tensor::from_slice(&queries, (rows * leads, QUERY_FEATURES), &device).unwrap();
        let found = quantiles(variables[0].as_tensor(), &asked, &tensor).unwrap();
        let by_tensor = Tensor::from_slice(&by, (rows * leads, LEVELS), &device).unwrap();
        let sum = (found * by_tensor).unwrap().sum_all().unwrap();
        let store = sum.backward().unwrap();
        let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
        let exact: [Vec<f64>; 6] = std::array::from_fn(|at| wide(&values[at]));
        let value = |tensors: &[Vec<f64>; 6]| weighted(tensors, &wide(&queries), &wide(&by));
        assert!((value(&exact) - f64::from(sum.to_scalar::<f32>().unwrap())).abs() < 1e-3);
        for (which, variable) in variables.iter().enumerate() {
            let gradient = store.get(variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (at, gradient) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut tensors = exact.clone();
                    tensors[which][at] += by;
                    value(&tensors)
                };
                let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let error = (f64::from(*gradient) - expected).abs();
                assert!(error < 1e-4 * (1.0 + expected.abs()), "{} {at}: {gradient} {expected}", names[which]);
            }
        }
    }
}
