//! Pre-training: networks learn from generated series before they see a stream.
//!
//! The [`Corpus`] is endless and a pure function of a seed: nothing of it is stored. Each [`PretrainSeries`] comes from
//! one [`Family`] of generators, with its events (incidents, shifts, missing stretches) and augmentations. A
//! [`CorpusSource`] turns series, generated and real, into training sequences by the code that serves.

mod augmentation;
mod corpus;
mod events;
mod families;
mod frame;
mod random;
mod real;
mod source;

pub use corpus::{Corpus, PretrainSeries};
pub use families::Family;
pub use real::RealSeries;
pub use source::CorpusSource;
