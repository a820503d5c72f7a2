//! Metrics of this process, under the names of Prometheus' own client libraries.

use super::metrics::{self, Metric};

/// The current values; `None` for what this system does not provide.
pub(super) fn read() -> [(Metric, Option<f64>); 8] {
    let process = metrics_process::collector::collect();
    let float = |value: Option<u64>| value.map(|value| value as f64);
    [
        (metrics::RESIDENT_BYTES, float(process.resident_memory_bytes)),
        (metrics::VIRTUAL_BYTES, float(process.virtual_memory_bytes)),
        (metrics::VIRTUAL_MAX_BYTES, float(process.virtual_memory_max_bytes)),
        (metrics::CPU_SECONDS, process.cpu_seconds_total),
        (metrics::OPEN_FDS, float(process.open_fds)),
        (metrics::MAX_FDS, float(process.max_fds)),
        (metrics::THREADS, float(process.threads)),
        (metrics::START_TIME, float(process.start_time_seconds)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn every_metric_of_the_process_has_a_plausible_value() {
        let read = read();
        let value = |metric: Metric| read.iter().find(|(name, _)| *name == metric).unwrap().1.unwrap();
        assert!(read.iter().all(|(_, value)| value.is_some()), "{read:?}");
        assert!(value(metrics::RESIDENT_BYTES) > 1e6 && value(metrics::THREADS) >= 1.0, "{read:?}");
        assert!(value(metrics::START_TIME) > 1.5e9, "started after 2017: {read:?}");
    }
}
