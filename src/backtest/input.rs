//! Reads CSV files as people have them into a [`Table`](super::Table): finds out encoding, separator, header, the
//! columns of time and values, how numbers are written, the layout, the order of rows and the step. The content is not
//! trusted: every error names the file, the line, the column and what was expected.

mod assemble;
mod cells;
mod columns;
mod dialect;
mod encoding;
mod findings_text;
mod header;
mod location;
mod long;
pub(super) mod m4_rows;
mod names;
mod number_style;
mod order;
mod profile;
mod read;
mod rows;
mod sample;
mod spec;
mod step;
#[cfg(test)]
mod tests;
mod time_columns;
mod time_parts;
mod times;

pub use read::{read, read_file};
pub use spec::{Layout, ReadSpec, TimeColumn};
