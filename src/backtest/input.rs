//! Reads CSV files into a [`Table`](super::Table). The content is not trusted: every error names the file, the line,
//! the column and what was expected.

mod cells;
mod columns;
mod grid_detection;
mod location;
pub(super) mod m4_rows;
mod read;
mod spec;
#[cfg(test)]
mod tests;

pub use grid_detection::GridRequest;
pub use read::{read, read_file};
pub use spec::{Layout, ReadSpec, TimeColumn};
