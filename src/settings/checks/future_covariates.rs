//! Checks of `[stream.future_covariates]`.

use super::super::grid::Interval;
use super::super::record::{Format, Key, Time};
use super::super::stream::Stream;
use super::super::values::Auto;
use super::checker::Checker;
use super::fields::MOST_COVARIATES;
use super::topics;

/// Most slots that are kept for one key: it bounds the memory of the table.
const MOST_SLOTS: u32 = 10_000_000;

/// Checks `[stream.future_covariates]`.
pub fn check(stream: &Stream, table: &mut Checker<'_>) {
    let covariates = &stream.future_covariates;
    let Some(topic) = &covariates.topic else {
        let is_set = !covariates.values.is_empty() || covariates.time.is_some() || covariates.key.is_some();
        table.expect(!is_set, "topic", "the topic with the future covariates", "none", "such as topic = \"weather\"");
        return;
    };
    table.expect(topics::is_topic(topic), "topic", topics::TOPIC, format!("{topic:?}"), "");
    let is_input = stream.topics.contains(topic);
    let hint = "fields of the input records are past covariates";
    table.expect(!is_input, "topic", "a topic other than the input topics", format!("{topic:?}, an input"), hint);
    let hint = "such as values = [\"temperature\"]";
    table.expect(!covariates.values.is_empty(), "values", "at least one field", "none", hint);
    table.distinct("values", &covariates.values);
    let (count, expected) = (covariates.values.len(), format!("at most {MOST_COVARIATES} fields"));
    table.expect(count <= MOST_COVARIATES, "values", expected, count, "each series stores all of them");
    let is_field = matches!(covariates.time, Some(Time::Field { .. }));
    let found = if covariates.time.is_some() { "the time of the record itself" } else { "none" };
    let expected = "a field with the time that the covariates are for";
    table.expect(is_field, "time", expected, found, "such as time = { field = \"at\" }");
    let is_regular = stream.interval != Interval::Irregular;
    let hint = "future steps of an irregular stream have no times";
    table.expect(is_regular, "topic", "a stream with a regular interval", "interval = \"irregular\"", hint);
    if let Auto::Set(slots) = covariates.slots {
        let range = stream.horizon.saturating_add(1)..=MOST_SLOTS;
        table.range("slots", slots, range, "at least the horizon and one step before it");
    }
    columns(stream, table);
}

/// Fields have names, and are columns where there are columns.
fn columns(stream: &Stream, table: &mut Checker<'_>) {
    let covariates = &stream.future_covariates;
    let (csv, none) = (covariates.format == Format::Csv, covariates.columns.is_empty());
    table.contradicts(
        csv == none,
        &["format", "columns"],
        "columns with format = \"csv\", and only with it",
        if none { "no columns" } else { "columns" },
        "such as columns = [\"at\", \"temperature\"]",
    );
    table.distinct("columns", &covariates.columns);
    let path = table.path.key("values");
    let mut fields: Vec<_> =
        covariates.values.iter().enumerate().map(|(index, field)| (path.index(index), field)).collect();
    if let Some(Key::Fields(names)) = &covariates.key {
        let path = table.path.key("key").key("fields");
        let hint = "remove the key where all series share the covariates";
        table.expect(!names.is_empty(), "key", "at least one field", "none", hint);
        fields.extend(names.iter().enumerate().map(|(index, field)| (path.index(index), field)));
    }
    if let Some(Time::Field { field, .. }) = &covariates.time {
        fields.push((table.path.key("time").key("field"), field));
    }
    for (path, field) in fields {
        table.expect_at(!field.is_empty(), path.clone(), "the name of a field", "an empty text", "");
        let is_column = !csv || none || covariates.columns.contains(field);
        let expected = format!("one of the columns {}", covariates.columns.join(", "));
        table.expect_at(is_column, path, expected, format!("{field:?}"), "");
    }
}
