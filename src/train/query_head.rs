//! The query decoder and the pinball loss of its quantiles as one operation, on the CPU.
//!
//! The loss is the geometric mean over the strata of leads, so the gradient of each lead is that of its own losses
//! times a factor of its stratum, which is known only after all leads. A first pass computes the losses and keeps what
//! the gradients need, a second one the gradients. Sections of rows run on several threads; their results are added in
//! order, so that the sum does not depend on the number of threads.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::lead_sample::LEADS;
use super::optimiser::contiguous_values;
use super::query_loss::{QueryLoss, Strata};
use crate::nn::QUANTILE_GRID;
use crate::nn::kernel::{
    InstructionSet, LANES, OuterProduct, OutputMode, Panel, Rows, RowsMut, dense_rows, outer_rows, padded,
    query_gradients, query_units_with_slopes,
};
use crate::series::QUERY_FEATURES;

/// Rows of one section.
const SECTION: usize = 64;
/// Quantiles of a lead.
const LEVELS: usize = QUANTILE_GRID.len();
/// The tensors of a decoder, in the order in which one tensor holds their values.
const TENSORS: [&str; 5] = ["state", "query", "decoder_bias", "weight", "bias"];

/// The loss on the network's outputs `[.., hidden]`, a scalar. `tensor` finds the decoder's tensors.
pub(super) fn loss(queries: &QueryLoss, outputs: &Tensor, tensor: &dyn Fn(&str) -> Result<Tensor>) -> Result<Tensor> {
    if !outputs.device().is_cpu() {
        return queries.unfused(outputs, tensor);
    }
    let tensors = TENSORS.iter().map(|name| tensor(name)?.flatten_all()).collect::<Result<Vec<_>>>()?;
    let head = QueryHead { queries: queries.clone(), gradients: OnceLock::new() };
    outputs.contiguous()?.apply_op2(&Tensor::cat(&tensors, 0)?, head)
}

struct QueryHead {
    queries: QueryLoss,
    /// The gradients of the loss by outputs and decoder.
    gradients: OnceLock<[Tensor; 2]>,
}

/// Sizes of the decoder.
#[derive(Clone, Copy)]
struct Sizes {
    hidden: usize,
    units: usize,
    /// Units, padded.
    width: usize,
}

impl Sizes {
    /// The sizes of a decoder of so many values for `hidden` outputs.
    fn of(values: usize, hidden: usize) -> Result<Self> {
        let units = values.saturating_sub(LEVELS) / (hidden + QUERY_FEATURES + 1 + LEVELS);
        let sizes = Self { hidden, units, width: padded(units) };
        if sizes.lengths().iter().sum::<usize>() != values {
            candle_core::bail!("a query decoder of {values} values for {hidden} outputs");
        }
        Ok(sizes)
    }

    /// Values of each of [`TENSORS`].
    fn lengths(self) -> [usize; 5] {
        let Self { hidden, units, .. } = self;
        [units * hidden, units * QUERY_FEATURES, units, LEVELS * units, LEVELS]
    }
}

/// What the first pass keeps of a section.
struct Section {
    /// `[row][lead][unit]`
    units: Vec<f32>,
    /// Derivatives of the units by their sums, `[row][lead][unit]`.
    slopes: Vec<f32>,
    /// Gradients by the raw outputs without their strata's factors, `[row][lead][16]`.
    by_raw: Vec<f32>,
    /// Losses by stratum.
    losses: [f64; LEADS],
}

/// The gradients of a section, summed over its rows.
struct Products {
    /// `[hidden][unit]`
    state: Vec<f32>,
    /// `[feature][unit]`
    query: Vec<f32>,
    /// `[unit]`
    decoder_bias: Vec<f32>,
    /// `[unit][16]`
    weight: Vec<f32>,
    /// `[16]`
    bias: Vec<f32>,
}

/// Both passes over all rows.
struct QueryPass<'a> {
    on: InstructionSet,
    sizes: Sizes,
    /// `[row][hidden]`
    outputs: &'a [f32],
    queries: &'a QueryLoss,
    state: Panel,
    query: Panel,
    output: Panel,
    state_back: Panel,
    output_back: Panel,
}

/// Rows that follow each other in a buffer.
fn rows(data: &[f32], stride: usize) -> Rows<'_> {
    Rows { data, stride, offset: 0 }
}

fn rows_mut(data: &mut [f32], stride: usize) -> RowsMut<'_> {
    RowsMut { data, stride, offset: 0 }
}

impl<'a> QueryPass<'a> {
    fn new(sizes: Sizes, outputs: &'a [f32], decoder: &[f32], queries: &'a QueryLoss) -> Self {
        let Sizes { hidden, units, .. } = sizes;
        let mut rest = decoder;
        let [state, query, decoder_bias, weight, bias] = sizes.lengths().map(|length| {
            let (tensor, behind) = rest.split_at(length);
            rest = behind;
            tensor
        });
        Self {
            on: InstructionSet::best(),
            sizes,
            outputs,
            queries,
            state: Panel::of_matrix(hidden, state, decoder_bias),
            query: Panel::of_matrix(QUERY_FEATURES, query, &vec![0.0; units]),
            output: Panel::of_matrix(units, weight, bias),
            state_back: Panel::new(hidden, (units, 0), |to, from| state[from * hidden + to], |_| 0.0),
            output_back: Panel::new(units, (LEVELS, 0), |to, from| weight[from * units + to], |_| 0.0),
        }
    }

    /// The first pass over the section from row `from` on.
    fn forward(&self, from: usize) -> Section {
        let Sizes { hidden, width, .. } = self.sizes;
        let count = SECTION.min(self.outputs.len() / hidden - from);
        let leads = count * LEADS;
        let mut by_state = vec![0.0; count * width];
        let outputs = rows(&self.outputs[from * hidden..], hidden);
        dense_rows(self.on, &self.state, count, outputs, rows_mut(&mut by_state, width), OutputMode::Padded);
        let mut units = Vec::with_capacity(leads * width);
        for by_state in by_state.chunks_exact(width) {
            (0..LEADS).for_each(|_| units.extend_from_slice(by_state));
        }
        let queries = rows(self.queries_from(from), QUERY_FEATURES);
        dense_rows(self.on, &self.query, leads, queries, rows_mut(&mut units, width), OutputMode::Accumulated);
        let mut slopes = vec![0.0; leads * width];
        query_units_with_slopes(self.on, &mut units, &mut slopes);
        let mut by_raw = vec![0.0; leads * LANES];
        let out = rows_mut(&mut by_raw, LANES);
        dense_rows(self.on, &self.output, leads, rows(&units, width), out, OutputMode::Padded);
        let mut losses = [0.0; LEADS];
        query_gradients(self.on, &self.queries.targets()[from * LEADS..][..leads], &mut by_raw, &mut losses);
        Section { units, slopes, by_raw, losses }
    }

    /// The second pass over a section. Writes the gradient by its outputs.
    fn backward(&self, from: usize, mut section: Section, strata: &Strata, by_outputs: &mut [f32]) -> Products {
        let Sizes { hidden, width, .. } = self.sizes;
        let (count, blocks) = (by_outputs.len() / hidden, width / LANES);
        let leads = count * LEADS;
        let one = Rows { data: &[1.0], stride: 0, offset: 0 };
        for (by_raw, factor) in section.by_raw.chunks_exact_mut(LANES).zip(strata.factors.iter().cycle()) {
            by_raw.iter_mut().for_each(|by| *by *= factor);
        }
        let right = rows(&section.by_raw, LANES);
        let product = OuterProduct { rows: leads, left: rows(&section.units, width), inputs: width, right, blocks: 1 };
        let mut products = Products {
            state: vec![0.0; hidden * width],
            query: vec![0.0; QUERY_FEATURES * width],
            decoder_bias: vec![0.0; width],
            weight: vec![0.0; width * LANES],
            bias: vec![0.0; LANES],
        };
        outer_rows(self.on, product, &mut products.weight, LANES);
        outer_rows(self.on, OuterProduct { left: one, inputs: 1, ..product }, &mut products.bias, LANES);
        // The gradients by the sums take the units' place.
        let mut by_sums = section.units;
        let out = rows_mut(&mut by_sums, width);
        dense_rows(self.on, &self.output_back, leads, rows(&section.by_raw, LANES), out, OutputMode::Padded);
        by_sums.iter_mut().zip(&section.slopes).for_each(|(by, slope)| *by *= slope);
        let left = rows(self.queries_from(from), QUERY_FEATURES);
        let product = OuterProduct { rows: leads, left, inputs: QUERY_FEATURES, right: rows(&by_sums, width), blocks };
        outer_rows(self.on, product, &mut products.query, width);
        let mut by_state = vec![0.0; count * width];
        for (sum, leads) in by_state.chunks_exact_mut(width).zip(by_sums.chunks_exact(LEADS * width)) {
            for lead in leads.chunks_exact(width) {
                sum.iter_mut().zip(lead).for_each(|(sum, by)| *sum += by);
            }
        }
        let left = rows(&self.outputs[from * hidden..], hidden);
        let product = OuterProduct { rows: count, left, inputs: hidden, right: rows(&by_state, width), blocks };
        outer_rows(self.on, product, &mut products.state, width);
        outer_rows(self.on, OuterProduct { left: one, inputs: 1, ..product }, &mut products.decoder_bias, width);
        let out = rows_mut(by_outputs, hidden);
        dense_rows(self.on, &self.state_back, count, rows(&by_state, width), out, OutputMode::Exact);
        products
    }

    fn queries_from(&self, row: usize) -> &[f32] {
        &self.queries.queries()[row * LEADS * QUERY_FEATURES..]
    }

    /// The gradients of all sections in the order of [`TENSORS`].
    fn decoder_gradient(&self, sections: &[Products]) -> Vec<f32> {
        let Sizes { hidden, units, width } = self.sizes;
        let sum = |of: fn(&Products) -> &Vec<f32>| {
            let mut sum = vec![0.0; of(&sections[0]).len()];
            for section in sections {
                sum.iter_mut().zip(of(section)).for_each(|(sum, part)| *sum += part);
            }
            sum
        };
        let (state, query, weight) = (sum(|of| &of.state), sum(|of| &of.query), sum(|of| &of.weight));
        let (decoder_bias, bias) = (sum(|of| &of.decoder_bias), sum(|of| &of.bias));
        let by_unit = |matrix: &[f32], inputs: usize| -> Vec<f32> {
            (0..units).flat_map(|unit| (0..inputs).map(move |input| matrix[input * width + unit])).collect()
        };
        let weight =
            (0..LEVELS).flat_map(|level| (0..units).map(|unit| weight[unit * LANES + level]).collect::<Vec<_>>());
        let mut gradient = by_unit(&state, hidden);
        gradient.extend(by_unit(&query, QUERY_FEATURES));
        gradient.extend_from_slice(&decoder_bias[..units]);
        gradient.extend(weight);
        gradient.extend_from_slice(&bias[..LEVELS]);
        gradient
    }
}

impl CustomOp2 for QueryHead {
    fn name(&self) -> &'static str {
        "query-head"
    }

    fn cpu_fwd(
        &self,
        outputs: &CpuStorage,
        outputs_layout: &Layout,
        decoder: &CpuStorage,
        decoder_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let hidden = *outputs_layout.dims().last().unwrap_or(&1);
        let outputs = contiguous_values(outputs, outputs_layout)?;
        let decoder = contiguous_values(decoder, decoder_layout)?;
        let targets = self.queries.targets().len();
        if targets == 0 || targets != outputs.len() / hidden * LEADS {
            candle_core::bail!("{targets} targets of queries for {} outputs", outputs.len() / hidden);
        }
        let pass = QueryPass::new(Sizes::of(decoder.len(), hidden)?, outputs, decoder, &self.queries);
        let starts: Vec<usize> = (0..outputs.len() / hidden).step_by(SECTION).collect();
        let sections: Vec<Section> = starts.into_par_iter().map(|from| pass.forward(from)).collect();
        let mut losses = [0.0; LEADS];
        for section in &sections {
            losses.iter_mut().zip(section.losses).for_each(|(sum, loss)| *sum += loss);
        }
        let strata = Strata::new(&losses, &self.queries.matured_by_stratum());
        let mut by_outputs = vec![0.0; outputs.len()];
        let parts = by_outputs.par_chunks_mut(SECTION * hidden).zip(sections).enumerate();
        let products: Vec<Products> = parts
            .map(|(at, (by_outputs, section))| pass.backward(at * SECTION, section, &strata, by_outputs))
            .collect();
        let gradients = [
            Tensor::from_vec(by_outputs, outputs_layout.shape(), &Device::Cpu)?,
            Tensor::from_vec(pass.decoder_gradient(&products), decoder_layout.shape(), &Device::Cpu)?,
        ];
        self.gradients.get_or_init(|| gradients);
        Ok((CpuStorage::F32(vec![strata.loss as f32]), ().into()))
    }

    fn bwd(
        &self,
        _outputs: &Tensor,
        _decoder: &Tensor,
        _loss: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some([by_outputs, by_decoder]) = self.gradients.get() else {
            candle_core::bail!("backward pass of the query decoder without a forward pass")
        };
        // The loss is usually the root of the graph, with gradient one.
        let factor = f64::from(gradient.to_scalar::<f32>()?);
        let by = |tensor: &Tensor| if factor == 1.0 { Ok(tensor.clone()) } else { tensor * factor };
        Ok((Some(by(by_outputs)?), Some(by(by_decoder)?)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    #[test]
    fn fused_loss_and_gradients_equal_those_of_candles_operations() {
        let (rows, hidden, units) = (150, 20, 24);
        let wave = |count: usize, rate: f32| (0..count).map(|at| (at as f32 * rate).sin()).collect::<Vec<f32>>();
        let mut targets: Vec<f32> = wave(rows * LEADS, 0.37).iter().map(|target| target * 3.0).collect();
        targets.iter_mut().step_by(7).for_each(|target| *target = f32::NAN);
        // One stratum has not matured.
        targets.iter_mut().skip(5).step_by(LEADS).for_each(|target| *target = f32::NAN);
        let loss = QueryLoss::new(wave(rows * LEADS * QUERY_FEATURES, 0.53), targets);
        let names = ["outputs", "state", "query", "decoder_bias", "weight", "bias"];
        let levels = QUANTILE_GRID.len();
        let shapes: [&[usize]; 6] =
            [&[rows, hidden], &[units, hidden], &[units, QUERY_FEATURES], &[units], &[levels, units], &[levels]];
        let variables: Vec<Var> = (shapes.iter().zip(1..))
            .map(|(shape, at)| {
                let values = wave(shape.iter().product(), 0.29 * at as f32);
                Var::from_vec(values, *shape, &Device::Cpu).unwrap()
            })
            .collect();
        let tensor =
            |name: &str| Ok(variables[names.iter().position(|other| *other == name).unwrap()].as_tensor().clone());
        let fused = super::loss(&loss, &variables[0], &tensor).unwrap();
        let plain = loss.unfused(&variables[0], &tensor).unwrap();
        let difference = fused.to_scalar::<f32>().unwrap() - plain.to_scalar::<f32>().unwrap();
        assert!(difference.abs() < 1e-5, "{difference}");
        let [fused, plain] = [fused, plain].map(|loss| (loss * 3.0).unwrap().backward().unwrap());
        for (variable, name) in variables.iter().zip(names) {
            let [fused, plain] = [&fused, &plain]
                .map(|store| store.get(variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
            let largest = plain.iter().fold(0.0_f32, |largest, gradient| largest.max(gradient.abs()));
            assert!(largest > 1e-4 && fused.len() == plain.len(), "{name}");
            for (left, right) in fused.iter().zip(&plain) {
                assert!((left - right).abs() < 1e-3 * largest, "{name}: {left} {right}");
            }
        }
    }
}
