//! The weights of a dense layer in bfloat16.

use super::dense::Panel;
use super::lanes::{LANES, Line};

/// The weights of two neighbouring inputs for sixteen outputs, one pair per lane.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Pair([u32; LANES]);

/// A [`Panel`] in bfloat16: for each block of 16 outputs the pairs of inputs in order. An odd last input is paired with
/// zero.
#[derive(Debug, Clone)]
pub(super) struct Bf16Panel {
    /// Number of pairs of inputs from the first and from the second place.
    pub(super) pairs: (usize, usize),
    pub(super) weights: Vec<Pair>,
}

impl Bf16Panel {
    pub(super) fn new(panel: &Panel) -> Self {
        let (first, second) = panel.sides();
        let pairs = (first.div_ceil(2), second.div_ceil(2));
        let mut weights = Vec::with_capacity(panel.blocks() * (pairs.0 + pairs.1));
        for block in 0..panel.blocks() {
            let line = |input: usize| panel.line(block, input);
            for (from, count, pairs) in [(0, first, pairs.0), (first, second, pairs.1)] {
                for pair in 0..pairs {
                    let input = |at: usize| if at < count { line(from + at) } else { Line::ZERO };
                    let (low, high) = (input(2 * pair), input(2 * pair + 1));
                    weights.push(Pair(std::array::from_fn(|lane| to_bf16(low.0[lane]) | to_bf16(high.0[lane]) << 16)));
                }
            }
        }
        Self { pairs, weights }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice())
    }
}

/// The bfloat16 bits of a finite number, rounded to nearest, ties to even.
fn to_bf16(value: f32) -> u32 {
    let bits = value.to_bits();
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}
