//! The demo's records: simulated series and readings of this machine.

mod machine;
mod simulated;

pub use machine::{Machine, Reading};
pub use simulated::{InjectedAnomaly, SimulatedValue, Simulation, SimulationSpec};

/// A record's value as the demo writes it: `{"time": milliseconds, "value": number}`.
pub fn encode(time: i64, value: f64) -> Vec<u8> {
    format!(r#"{{"time":{time},"value":{value}}}"#).into_bytes()
}

#[cfg(test)]
mod tests {
    #[test]
    fn records_are_json_with_the_exact_value() {
        let read: serde_json::Value = serde_json::from_slice(&super::encode(1_790_000_000_000, -0.1)).unwrap();
        assert_eq!(read, serde_json::json!({ "time": 1_790_000_000_000i64, "value": -0.1 }));
    }
}
