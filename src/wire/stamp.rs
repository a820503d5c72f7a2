//! Timestamps as people write them: a date with or without a time of day and a zone, in the forms that databases,
//! spreadsheets, logs and programming languages print.

mod cursor;
mod date;
mod moment;
mod parse;
#[cfg(test)]
mod tests;
mod time_of_day;
mod words;
mod zone;

pub use moment::{DateOrder, Moment};
pub use parse::{Stamp, parse_stamp, parse_time_of_day, stamp_pattern};
