//! One series: the grid, its scale, its recent context and the features made of them.
//!
//! A [`SeriesState`] is a deterministic function of the observations of its own series, in the order in which they came.
//! The way through it: [`SeriesState::observe`] puts a reading on the grid and hands out the slots that close;
//! [`SeriesState::take`] takes each of them in as the newest step; [`SeriesState::features`] describes that step.

mod arithmetic;
mod calendar;
mod clone_in_place;
mod context;
mod covariates;
mod features;
mod foreknown;
mod holidays;
mod outlook;
mod scale;
mod season;
mod size;
mod slots;
mod spec;
mod state;
mod target;

pub(crate) use arithmetic::{exponential, logarithm, sine};
pub use calendar::Calendar;
pub(crate) use clone_in_place::clone_in_place;
pub(crate) use covariates::PAST_COVARIATE_REGRESSORS;
pub use features::{FEATURE_NAMES, FEATURES};
pub(crate) use holidays::Holiday;
pub use holidays::Holidays;
pub use outlook::{FutureCovariateTable, Insertion};
pub use season::{seasons, values_on_grid};
pub use size::{ScalePrior, Size};
pub use slots::{ClosedSlot, MAX_OPEN_SLOTS, Placement};
pub(crate) use spec::is_within_limit;
pub use spec::{Aggregation, ExtraFeatures, Known, LIMIT, MAX_FUTURE_COVARIATES, MAX_PAST_COVARIATES, SeriesSpec};
pub use state::SeriesState;
pub use target::Target;
