//! Checks of `[stream.training]`.

use super::super::cluster::Role;
use super::super::root::Settings;
use super::super::stream::{Device, Stream};
use super::super::values::{Auto, Millis, Size};
use super::checker::Checker;

/// Checks `[stream.training]`.
pub fn check(stream: &Stream, settings: &Settings, table: &mut Checker<'_>) {
    let training = &stream.training;
    table.range("every", training.every, Millis::seconds(1)..=Millis::days(366), "");
    table.range("refresh", training.refresh, Millis::seconds(0)..=Millis::days(366), "\"0s\" for no refreshes");
    table.range("refresh_updates", training.refresh_updates, 1..=100_000, "");
    table.range("cpu_share", training.cpu_share, 0.05..=1.0, "a share of the time");
    table.range("k1", training.k1, 1..=4_096, "");
    table.range("k2", training.k2, 1..=4_096, "the backward pass keeps this many steps in memory");
    let expected = format!("at least k1, {}", training.k1);
    table.contradicts(
        training.k2 < training.k1,
        &["k2", "k1"],
        expected,
        training.k2,
        "gradients would not reach all steps",
    );
    table.range("learning_rate", training.learning_rate, 1e-8..=1.0, "");
    table.range("clip", training.clip, 1e-6..=1e6, "");
    table.range("huber", training.huber, 0.0..=100.0, "in the scale of the series; 0 for the pinball loss");
    let expected = format!("at most k2, {}", training.k2);
    let hint = "a state settles within the steps that gradients flow back";
    table.contradicts(training.burn_in > training.k2, &["burn_in", "k2"], expected, training.burn_in, hint);
    table.range("batch_size", training.batch_size, 1..=65_536, "");
    table.range("epochs", training.epochs, 1..=10_000, "");
    table.range("max_updates", training.max_updates, 1..=100_000_000, "");
    table.range("validation_share", training.validation_share, 0.01..=0.9, "a share of the steps");
    table.range("margin", training.margin, 0.0..=0.9, "a share of the loss of the champion");
    table.range("min_steps", training.min_steps, 2..=1_000_000_000, "");
    table.range("max_series", training.max_series, 1..=100_000_000, "");
    table.range("max_steps_per_series", training.max_steps_per_series, 2..=100_000_000, "");
    table.range("memory", training.memory, Size::mebibytes(16)..=Size::mebibytes(1 << 20), "about 10 B for each step");
    let expected = format!("at least min_steps, {}", training.min_steps);
    let keys = &["max_steps_per_series", "min_steps"];
    table.contradicts(
        training.max_steps_per_series < training.min_steps,
        keys,
        expected,
        training.max_steps_per_series,
        "no series would have enough steps",
    );
    if let (Auto::Set(history), Some(interval)) = (training.history, stream.interval.nominal()) {
        let least = interval.0.saturating_mul(i64::from(training.min_steps));
        let expected = format!("at least min_steps × interval, {}", Millis(least));
        table.contradicts(
            history.0 < least,
            &["history", "min_steps"],
            expected,
            history,
            "no series would have enough steps; write \"auto\", or lower min_steps",
        );
    }
    let trains = training.enabled && settings.role != Role::Score;
    let is_available = training.device != Device::Cuda || cfg!(feature = "cuda");
    table.expect(
        is_available || !trains,
        "device",
        "\"auto\" or \"cpu\", since this binary was built without CUDA",
        "\"cuda\"",
        "build Foretide with --features cuda",
    );
}
