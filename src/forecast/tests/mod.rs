//! Tests of whole forecasts.

mod accuracy;
mod coverage;
mod run;
mod state;
