//! Safe entry points of the kernels: each generic kernel is compiled once per instruction set and chosen at run time.

use super::dense::{OutputMode, Panel};
use super::instruction_set::{InstructionSet, Kind};
use super::lanes::{Line, Portable};
use super::layer::{Input, Layer};
use super::recurrence::{Recurrence, SavedStep};
use super::rows::{Rows, RowsMut};
use super::scan::{Scan, ScanBackward};
#[cfg(target_arch = "x86_64")]
use super::{bf16, x86};
use super::{dense, layer, loss, outer, query, recurrence, scan};
use super::{loss::QuantileLoss, outer::OuterProduct};

/// Defines a safe function from a generic kernel: one copy per instruction set, and the choice between them.
macro_rules! dispatched {
    ($(#[$documentation:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?)
        = $module:ident::$generic:ident $(, $constant:tt)?) => {
        $(#[$documentation])*
        pub fn $name(instructions: InstructionSet, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512($($argument: $type),*) {
                // SAFETY: this function enables AVX-512, which is all that `Avx512` needs.
                unsafe { $module::$generic::<x86::Avx512 $(, $constant)?>($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $type),*) {
                // SAFETY: this function enables AVX2 and FMA, which is all that `Avx2` needs.
                unsafe { $module::$generic::<x86::Avx2 $(, $constant)?>($($argument),*) }
            }
            match instructions.0 {
                // SAFETY: `Portable` needs no special instructions.
                Kind::Portable => unsafe { $module::$generic::<Portable $(, $constant)?>($($argument),*) },
                // SAFETY: an `InstructionSet` of this kind exists only where the CPU supports it.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 | Kind::Bf16 => unsafe { avx512($($argument),*) },
            }
        }
    };
}

dispatched! {
    /// A dense layer for rows `0..rows`; see [`dense::dense`].
    fn dense_rows(panel: &Panel, rows: usize, input: Rows<'_>, out: RowsMut<'_>, mode: OutputMode) = dense::dense_rows
}

dispatched! {
    /// Replaces the quantiles of rows by the gradients of a loss and adds the losses to `sum`; see [`loss::gradients`].
    fn loss_gradients(loss: QuantileLoss<'_>, targets: &[f32], quantiles: &mut [f32], sum: &mut f64) = loss::gradients
}

dispatched! {
    /// Adds sums of products over rows to `into`, where input `i` begins at `i * stride`; see [`outer::outer`].
    fn outer_rows(product: OuterProduct<'_>, into: &mut [f32], stride: usize) = outer::outer
}

dispatched! {
    /// Replaces sums by `silu` of them; see [`query::silu`].
    fn query_units(sums: &mut [f32]) = query::silu
}

dispatched! {
    /// The same in training, with its derivatives.
    fn query_units_with_slopes(sums: &mut [f32], slopes: &mut [f32]) = query::silu_with_slopes
}

dispatched! {
    /// Replaces raw outputs of a query decoder by quantiles; see [`query::quantiles`].
    fn query_quantiles(raw: &mut [f32]) = query::quantiles
}

dispatched! {
    /// Replaces raw outputs of a query decoder by the gradients of their losses; see [`query::gradients`].
    fn query_gradients(targets: &[f32], raw: &mut [f32], sums: &mut [f64]) = query::gradients
}

dispatched! {
    /// One step of a layer in `f32`.
    fn layer_step_f32(layer: &Layer, rows: usize, input: Input<'_>, states: RowsMut<'_>, scratch: &mut Vec<Line>)
        = layer::step
}

dispatched! {
    /// One step of a layer in training: the bits of [`layer_step`] in `f32`. `saved` `[gate][row][block]` receives what
    /// [`layer_backward`] needs.
    fn layer_step_saving(layer: &Layer, rows: usize, input: Input<'_>, states: RowsMut<'_>, saved: &mut [Line])
        = layer::chunk, true
}

dispatched! {
    /// The backward pass of a step, for cells that have one; see [`recurrence::backward`].
    fn layer_backward(recurrence: Recurrence, step: SavedStep<'_>, states: &mut [f32], sums: &mut [f32])
        = recurrence::backward
}

dispatched! {
    /// A whole sequence of a layer whose gates depend on the inputs only; see [`scan::forward`].
    fn scan_forward(layer: &Layer, scan: Scan<'_>, input: Rows<'_>, saved: &mut [Line], after: &mut [f32])
        = scan::forward
}

dispatched! {
    /// The backward pass of [`scan_forward`]; see [`scan::backward`].
    fn scan_backward(recurrence: Recurrence, pass: ScanBackward<'_>, sums: &mut [f32], carried: &mut [f32])
        = scan::backward
}

/// One step of a layer: advances the states of rows `0..rows` by their inputs, in place.
pub fn layer_step(
    instructions: InstructionSet,
    layer: &Layer,
    rows: usize,
    input: Input<'_>,
    states: RowsMut<'_>,
    scratch: &mut Vec<Line>,
) {
    #[cfg(target_arch = "x86_64")]
    if instructions.0 == Kind::Bf16 && layer.recurrence.gate_after_reset().is_none() {
        // SAFETY: an `InstructionSet` of this kind exists only where the CPU supports it.
        return unsafe { bf16::step(layer, rows, input, states, scratch) };
    }
    layer_step_f32(instructions, layer, rows, input, states, scratch);
}
