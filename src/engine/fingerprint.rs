//! Fingerprints of the configuration values that decide what the parts of a snapshot mean.

use std::fmt::{Display, Write};

use super::stream_spec::StreamSpec;
use crate::nn::{builtin, fnv_1a};
use crate::series::Aggregation;
use crate::snapshot::{Part, PartShapes};

/// The shapes of all parts of the snapshots of a stream: each covers the values that its part depends on, and no
/// others.
pub(super) fn part_shapes(spec: &StreamSpec) -> PartShapes {
    let (series, forecast) = (&spec.series, &spec.forecast);
    let grid = Fingerprint::default().with("interval", &series.grid);
    let values = grid.clone().with("aggregation", aggregation_name(series.aggregation));
    let past_covariates = grid.clone().with_all("past_covariates", series.extra.past_covariates.iter());
    let future_covariates = grid.with_all("future_covariates", series.extra.future_covariates.names.iter());
    let mut leads = values.clone().with("horizon", forecast.horizon).with("season", forecast.season);
    if let Some(target) = forecast.target {
        leads = leads.with("target", target);
    }
    let levels = leads.clone().with_all("levels", forecast.levels.iter());
    let history = leads.clone().with("holidays", forecast.holidays());
    let regressors = history.clone().with("past_covariates", past_covariates.value());
    let future_regressors =
        leads.clone().with("future_covariates", future_covariates.value()).with("holidays", forecast.counts_holidays());
    let mut network = Fingerprint::default().with("network", spec.network.fingerprint());
    if spec.network.builtin {
        network = network.with("builtin", builtin::fingerprint());
    }
    let mut shapes = PartShapes::default();
    for (part, fingerprint) in [
        (Part::SLOTS, &values),
        (Part::VALUES, &values),
        (Part::CORRECTIONS, &values),
        (Part::PAST_COVARIATES, &past_covariates),
        (Part::FUTURE_COVARIATES, &future_covariates),
        (Part::OUTPUT_BOUNDS, &values),
        (Part::HISTORY, &history),
        (Part::LINEAR_EXPERTS, &regressors),
        (Part::FUTURE_COVARIATE_EXPERTS, &future_regressors),
        (Part::MIXTURE, &leads),
        (Part::CALIBRATION, &levels),
        (Part::ANOMALY_DETECTOR, &levels),
        (Part::PENDING_FORECASTS, &levels),
        (Part::PHASES, &values.clone().with("season", series.season)),
        (Part::NETWORK_STATE, &network),
        (Part::LAST_OBSERVATION, &Fingerprint::default()),
    ] {
        shapes.set(part, fingerprint.value());
    }
    shapes
}

/// Stated values, `name=value` one after the other.
#[derive(Clone, Default)]
struct Fingerprint(String);

impl Fingerprint {
    /// Adds a value. It is preceded by its length, so that no text can be taken for two values.
    fn with(mut self, name: &str, value: impl Display) -> Self {
        let value = value.to_string();
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{name}={}:{value};", value.len());
        self
    }

    /// Adds values of one name, in order.
    fn with_all(self, name: &str, values: impl Iterator<Item = impl Display>) -> Self {
        values.fold(self, |fingerprint, value| fingerprint.with(name, value))
    }

    /// The hash of the stated values: the same across builds and machines.
    fn value(&self) -> u32 {
        let hash = fnv_1a(self.0.bytes());
        (hash ^ (hash >> 32)) as u32
    }
}

fn aggregation_name(aggregation: Aggregation) -> &'static str {
    match aggregation {
        Aggregation::Mean => "mean",
        Aggregation::Sum => "sum",
        Aggregation::Min => "min",
        Aggregation::Max => "max",
        Aggregation::First => "first",
        Aggregation::Last => "last",
        Aggregation::Count => "count",
    }
}
