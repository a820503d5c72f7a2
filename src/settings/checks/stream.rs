//! Checks of one stream.

use super::super::root::Settings;
use super::super::stream::{Anomaly, Stream};
use super::super::values::Size;
use super::checker::Checker;
use super::{fields, future_covariates, grid, model, topics, training};

/// Most outputs of the network per step.
const MOST_OUTPUTS: usize = 8_192;

/// Checks one stream.
pub fn check(stream: &Stream, settings: &Settings, table: &mut Checker<'_>) {
    let valid = (1..=100).contains(&stream.name.len()) && topics::is_plain(&stream.name);
    let name = "1 to 100 ASCII letters, digits, dots, underscores and hyphens";
    table.expect(valid, "name", name, format!("{:?}", stream.name), "it is part of topic names");
    table.expect(!stream.topics.is_empty(), "topics", "at least one topic", "none", "such as [\"meters\"]");
    for (index, topic) in stream.topics.iter().enumerate() {
        table.expect_item(
            topics::is_topic(topic),
            ("topics", index),
            topics::TOPIC,
            format!("{topic:?}"),
            "patterns are not supported; list the topics",
        );
    }
    table.distinct("topics", &stream.topics);
    fields::check(stream, table);
    fields::check_times(stream, table);
    grid::check(stream, table);
    grid::check_season_and_gap(stream, table);
    forecast(stream, table);
    model::check(stream, &mut table.within("model", None));
    training::check(stream, settings, &mut table.within("training", None));
    anomaly(&stream.anomaly, &mut table.within("anomaly", None));
    future_covariates::check(stream, &mut table.within("future_covariates", None));
    let limits = &stream.limits;
    let mut within = table.within("limits", None);
    within.range("series", limits.series, 1..=100_000_000, "");
    within.range("record_bytes", limits.record_bytes, Size::bytes(1)..=Size::mebibytes(128), "");
    within.range("key_bytes", limits.key_bytes, Size::bytes(1)..=Size::bytes(64 << 10), "");
}

fn forecast(stream: &Stream, table: &mut Checker<'_>) {
    table.range("horizon", stream.horizon, 1..=1_024, "a number of steps");
    let levels = &stream.quantiles;
    for (index, level) in levels.iter().enumerate() {
        let hint = if (1.0..100.0).contains(level) { format!("{level} % is {}", level / 100.0) } else { String::new() };
        table.expect_item(*level > 0.0 && *level < 1.0, ("quantiles", index), "a level between 0 and 1", level, hint);
    }
    let sorted = levels.is_sorted_by(|one, next| one < next);
    let found = || format!("{levels:?}");
    let mut repaired = levels.clone();
    repaired.sort_by(f64::total_cmp);
    repaired.dedup();
    if table.is_valid(&["quantiles"]) {
        table.expect(sorted, "quantiles", "increasing levels", found(), format!("write {repaired:?}"));
    }
    if table.is_valid(&["quantiles"]) {
        table.expect(levels.len() <= 64, "quantiles", "at most 64 levels", levels.len(), "");
    }
    if table.is_valid(&["quantiles"]) {
        let hint = "forecasts need the median";
        table.expect(levels.contains(&0.5), "quantiles", "0.5 among the levels", found(), hint);
    }
    let outputs = levels.len().saturating_mul(usize::try_from(stream.horizon).unwrap_or(usize::MAX));
    let expected = format!("at most {MOST_OUTPUTS} horizon × quantiles");
    table.contradicts(
        outputs > MOST_OUTPUTS,
        &["horizon", "quantiles"],
        expected,
        outputs,
        "forecast fewer steps or fewer levels",
    );
}

fn anomaly(anomaly: &Anomaly, table: &mut Checker<'_>) {
    table.range("start", anomaly.start, 0.5..=1.0, "about one value in a hundred scores 0.99");
    table.range("end", anomaly.end, 0.0..=1.0, "a score is a share");
    let expected = format!("at most start, {}", anomaly.start);
    table.contradicts(
        anomaly.end > anomaly.start,
        &["end", "start"],
        expected,
        anomaly.end,
        "the score that ends an anomaly cannot exceed the one that starts it",
    );
    table.range("clear_after", anomaly.clear_after, 1..=10_000, "consecutive values");
}
