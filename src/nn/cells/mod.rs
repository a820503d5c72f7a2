//! The cells: one file per architecture. [`super::cell_registry`] maps their names to these implementations.

pub mod attention;
pub mod convolution;
pub mod elman;
pub mod gru;
pub mod lstm;
pub mod minimal;
pub mod slstm;
