//! What reads bytes from outside, each as a function that panics where it does not keep its promise: cargo-fuzz calls
//! them, and so does `tests/fuzz_targets_hold.rs`, which needs nothing but a stable toolchain.

mod decode;
pub mod decode_csv;
pub mod decode_json;
mod forecasting;
pub mod http;
pub mod model;
pub mod settings;
pub mod snapshot;
pub mod state;

/// One thing that reads bytes from outside.
pub struct Target {
    /// Its name, also that of the program that cargo-fuzz runs.
    pub name: &'static str,
    /// Lets it read them; panics where a promise is broken.
    pub check: fn(&[u8]),
    /// Good bytes, of which others are made.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// What is worth putting in between.
    pub tokens: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "decode_json",
        check: decode_json::check,
        samples: decode_json::samples,
        tokens: decode_json::TOKENS,
    },
    Target { name: "decode_csv", check: decode_csv::check, samples: decode_csv::samples, tokens: decode_csv::TOKENS },
    Target { name: "settings", check: settings::check, samples: settings::samples, tokens: settings::TOKENS },
    Target { name: "state", check: state::check, samples: state::samples, tokens: state::TOKENS },
    Target { name: "snapshot", check: snapshot::check, samples: snapshot::samples, tokens: snapshot::TOKENS },
    Target { name: "model", check: model::check, samples: model::samples, tokens: model::TOKENS },
    Target { name: "http", check: http::check, samples: http::samples, tokens: http::TOKENS },
];
