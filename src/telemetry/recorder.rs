//! The recorder of the metrics, and the text that Prometheus scrapes.

use std::sync::Arc;

use metrics::{KeyName, Recorder, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::metrics::{ALL, Kind, Unit};
use super::process;

/// Why the recorder could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The process has a recorder already.
    #[error("this process has a metrics recorder already; install it only once, at the start")]
    Installed,
    /// The exporter refused the buckets of a histogram.
    #[error("the metrics exporter refused its settings: {0}")]
    Builder(String),
}

/// Renders the answer of `/metrics`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exposition {
    handle: Arc<PrometheusHandle>,
}

impl Exposition {
    /// Installs a recorder for all metrics of [`super::metrics`] in this process.
    ///
    /// # Errors
    /// When the process has one already.
    pub fn install() -> Result<Self, RecorderError> {
        let (recorder, exposition) = Self::build()?;
        metrics::set_global_recorder(recorder).map_err(|_| RecorderError::Installed)?;
        super::metrics::BUILD_INFO.gauge(&[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        Ok(exposition)
    }

    /// Creates a recorder without installing it, for a server in a test. It stays empty.
    ///
    /// # Errors
    /// When the exporter refuses the buckets of [`super::metrics`].
    pub fn detached() -> Result<Self, RecorderError> {
        Self::build().map(|(_, exposition)| exposition)
    }

    pub(super) fn build() -> Result<(PrometheusRecorder, Self), RecorderError> {
        let mut builder = PrometheusBuilder::new();
        for metric in ALL {
            if let Kind::Histogram(bounds) = metric.kind {
                builder = builder
                    .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
                    .map_err(|error| RecorderError::Builder(error.to_string()))?;
            }
        }
        let recorder = builder.build_recorder();
        describe_all(&recorder);
        let handle = Arc::new(recorder.handle());
        Ok((recorder, Self { handle }))
    }

    /// The text that Prometheus scrapes, with current process metrics.
    pub fn render(&self) -> String {
        for (metric, value) in process::read() {
            let handle = if metric.kind == Kind::Sum { metric.sum(&[]) } else { metric.gauge(&[]) };
            value.into_iter().for_each(|value| handle.set(value));
        }
        exposed(&self.handle.render())
    }

    /// Moves samples of histograms into their buckets. Call it every few seconds: without it and without requests to
    /// `/metrics`, samples accumulate.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Registers help and unit of every metric.
pub fn describe_all(recorder: &dyn Recorder) {
    for metric in ALL {
        let (name, help) = (KeyName::from_const_str(metric.name), SharedString::const_str(metric.help));
        let unit = match metric.unit {
            Unit::Count => Some(metrics::Unit::Count),
            Unit::Seconds => Some(metrics::Unit::Seconds),
            Unit::Bytes => Some(metrics::Unit::Bytes),
            Unit::Ratio | Unit::None => None,
        };
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Sum | Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, unit, help),
        }
    }
}

/// Declares sums as counters: the `metrics` crate has only whole-number counters, so fractional sums are recorded as
/// gauges. Leaves out samples that are not a number: so a gauge says that its value is unknown.
fn exposed(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.split_inclusive('\n').filter(|line| line.starts_with('#') || !line.ends_with(" NaN\n")) {
        let sum = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.trim_end().strip_suffix(" gauge"))
            .filter(|name| ALL.iter().any(|metric| metric.name == *name && metric.kind == Kind::Sum));
        match sum {
            Some(name) => {
                out.push_str("# TYPE ");
                out.push_str(name);
                out.push_str(" counter\n");
            }
            None => out.push_str(line),
        }
    }
    out
}
