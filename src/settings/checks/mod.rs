//! Checks of what a type cannot express: ranges, forms of names, and values that conflict.

mod checker;
mod fields;
mod files;
mod future_covariates;
mod grid;
mod http;
mod kafka;
mod model;
mod root;
mod stream;
mod topics;
mod training;

pub use root::check;
