//! One time series: its grid, its scale, its recent values and the features of each step.
//!
//! A [`SeriesState`] is a deterministic function of the observations of its own series, in order of arrival.
//! [`SeriesState::observe`] assigns a reading to a slot and returns the slots that close; [`SeriesState::update`] makes
//! each closed slot the newest step; [`SeriesState::features`] describes that step to the network.

mod aggregation;
mod arithmetic;
mod calendar;
mod clone_in_place;
mod context;
mod corrections;
mod covariate_history;
mod feature_layout;
mod features;
mod future_covariates;
mod holidays;
mod local_slots;
mod past_covariates;
mod phase_store;
mod queries;
mod recent_readings;
mod recent_values;
mod recorded_steps;
mod robust_scale;
mod scale_prior;
mod season_detection;
mod spec;
mod state;
mod target;
mod time_doubt;
mod value_limit;
mod watermark;

pub use aggregation::Aggregation;
pub(crate) use arithmetic::{exponential, logarithm, sine};
pub use calendar::Calendar;
pub(crate) use clone_in_place::clone_in_place;
pub use corrections::Correction;
pub use feature_layout::{FEATURE_NAMES, FEATURES};
pub use future_covariates::{
    FutureCovariateSpec, FutureCovariateTable, FutureValues, Insertion, MAX_FUTURE_COVARIATES,
};
pub(crate) use holidays::Holiday;
pub use holidays::Holidays;
pub use local_slots::LocalSlots;
pub(crate) use past_covariates::PAST_COVARIATE_REGRESSORS;
pub use queries::{QUERY_FEATURES, QUERY_NAMES};
pub use recorded_steps::{RecordedStep, RecordedSteps};
pub use scale_prior::{ScaleEstimate, ScalePrior};
pub use season_detection::{detect_seasons, values_on_grid};
pub use spec::{Absence, CloseBy, ExtraFeatures, MAX_PAST_COVARIATES, SeriesSpec};
pub use state::SeriesState;
pub use target::Target;
pub use value_limit::VALUE_LIMIT;
pub(crate) use value_limit::is_within_limit;
pub use watermark::{ClosedSlot, ImplausibleTime, Placement, Reading};
