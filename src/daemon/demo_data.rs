//! The demo's records: simulated series and readings of this machine.

mod machine;
mod simulated;

pub use machine::{Machine, Reading};
pub use simulated::{Injected, Simulated, Simulation, SimulationSpec};

/// A record's value as the demo writes it: `{"time": milliseconds, "value": number}`.
pub fn encode(time: i64, value: f64) -> Vec<u8> {
    format!(r#"{{"time":{time},"value":{value}}}"#).into_bytes()
}
