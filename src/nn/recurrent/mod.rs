//! Recurrent layers: packed for serving, and over whole sequences for training.
//!
//! [`cell`] describes a recurrent cell by its gates, and [`layer`] makes a layer of it. [`run`] picks the fastest way
//! to train it: one fused CPU operation ([`fused`]), the CUDA kernels, a scan in log space ([`log_space`]), or candle's
//! operations step by step ([`reference`]).

mod buffer;
pub mod cell;
mod dilation;
pub mod fused;
pub mod layer;
pub(super) mod log_space;
pub(super) mod packing;
pub(super) mod reference;
pub mod run;
pub(super) mod sizes;
mod tile;
mod tile_backward;
