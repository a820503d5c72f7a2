//! Readings of this machine, for the demo: load, memory, network and disk.

use sysinfo::{Disks, Networks, System};

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The series' key, e.g. `cpu.use`, `network.eth0.received`.
    pub key: String,
    /// The value: a share in `0..=1`, bytes, bytes per second, or the load average.
    pub value: f64,
}

/// This machine's counters.
#[derive(Debug)]
pub struct Machine {
    system: System,
    networks: Networks,
    disks: Disks,
    read_at: Option<u64>,
}

impl Machine {
    /// Reads the counters for the first time.
    pub fn new() -> Self {
        let mut system = System::new();
        system.refresh_cpu_usage();
        system.refresh_memory();
        Self {
            system,
            networks: Networks::new_with_refreshed_list(),
            disks: Disks::new_with_refreshed_list(),
            read_at: None,
        }
    }

    /// Reads all counters. Rates are over the time since the previous call, so the first call returns none.
    /// `monotonic_micros` is the caller's monotonic clock.
    pub fn read(&mut self, monotonic_micros: u64) -> Vec<Reading> {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.networks.refresh(true);
        self.disks.refresh(true);
        let elapsed =
            self.read_at.map(|at| monotonic_micros.saturating_sub(at) as f64 / 1e6).filter(|&seconds| seconds > 0.0);
        self.read_at = Some(monotonic_micros);
        let mut readings = Vec::new();
        let mut add = |key: String, value: f64| readings.push(Reading { key, value });
        add("load.1m".into(), System::load_average().one);
        add("memory.used_bytes".into(), self.system.used_memory() as f64);
        if let Some(seconds) = elapsed {
            add("cpu.use".into(), f64::from(self.system.global_cpu_usage()) / 100.0);
            for (index, cpu) in self.system.cpus().iter().enumerate() {
                add(format!("cpu.{index}.use"), f64::from(cpu.cpu_usage()) / 100.0);
            }
            let mut networks: Vec<_> = self.networks.iter().collect();
            networks.sort_by_key(|(name, _)| name.as_str());
            for (name, data) in networks {
                add(format!("network.{name}.received_bytes_per_second"), data.received() as f64 / seconds);
                add(format!("network.{name}.sent_bytes_per_second"), data.transmitted() as f64 / seconds);
            }
            let usage = self.disks.iter().map(sysinfo::Disk::usage);
            let (read, written) = usage.fold((0.0, 0.0), |(read, written), usage| {
                (read + usage.read_bytes as f64, written + usage.written_bytes as f64)
            });
            add("disk.read_bytes_per_second".into(), read / seconds);
            add("disk.written_bytes_per_second".into(), written / seconds);
        }
        readings
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_finite_and_the_second_reading_has_rates() {
        let mut machine = Machine::new();
        let first = machine.read(0);
        let second = machine.read(500_000);
        assert!(first.len() < second.len(), "{first:?}");
        assert!(second.iter().all(|reading| reading.value.is_finite() && reading.value >= 0.0), "{second:?}");
        let memory = second.iter().find(|reading| reading.key == "memory.used_bytes").unwrap();
        assert!(memory.value > 1e6, "{memory:?}");
        let mut keys: Vec<_> = second.iter().map(|reading| reading.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), second.len(), "keys are unique");
    }
}
