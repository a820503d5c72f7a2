//! Checks of what is known in advance.

use super::super::stream::{Format, Interval, Key, Stream, Time};
use super::super::values::Auto;
use super::{Checker, names};

/// Most numbers: what the linear experts can weigh.
const MOST_KNOWN: usize = 8;
/// Most slots of one key of which they are held.
const MOST_SLOTS: u32 = 10_000_000;

/// Checks `[stream.known]`.
pub fn check(stream: &Stream, at: &mut Checker<'_>) {
    let known = &stream.future_covariates;
    let Some(topic) = &known.topic else {
        let named = !known.values.is_empty() || known.time.is_some() || known.key.is_some();
        at.expect(!named, "topic", "the topic whose records tell the numbers", "none", "such as topic = \"weather\"");
        return;
    };
    at.expect(names::is_topic(topic), "topic", names::TOPIC, format!("{topic:?}"), "");
    let input = stream.topics.contains(topic);
    let hint = "numbers of the same records are covariates";
    at.expect(!input, "topic", "a topic other than the inputs", format!("{topic:?}, an input"), hint);
    let hint = "such as values = [\"temperature\"]";
    at.expect(!known.values.is_empty(), "values", "at least one field", "none", hint);
    at.distinct("values", &known.values);
    let expected = format!("at most {MOST_KNOWN} fields");
    at.expect(
        known.values.len() <= MOST_KNOWN,
        "values",
        expected,
        known.values.len(),
        "each series remembers all of them",
    );
    let field = matches!(known.time, Some(Time::Field { .. }));
    let expected = "a field that holds the time of which a record tells";
    let found = if known.time.is_some() { "the record's own time" } else { "none" };
    at.expect(field, "time", expected, found, "such as time = { field = \"at\" }");
    let regular = stream.interval != Interval::Irregular;
    let hint = "without a grid no step ahead has a time";
    at.expect(regular, "topic", "a regular interval beside it", "interval = \"irregular\"", hint);
    if let Auto::Set(slots) = known.slots {
        at.range(
            "slots",
            slots,
            stream.horizon.saturating_add(1)..=MOST_SLOTS,
            "the horizon and the step before it at least",
        );
    }
    columns(stream, at);
}

/// The fields are columns where there are columns.
fn columns(stream: &Stream, at: &mut Checker<'_>) {
    let known = &stream.future_covariates;
    let (csv, none) = (known.format == Format::Csv, known.columns.is_empty());
    let hint = "such as columns = [\"at\", \"temperature\"]";
    at.contradicts(
        csv == none,
        &["format", "columns"],
        "columns with format = \"csv\", and only with it",
        if none { "no columns" } else { "columns" },
        hint,
    );
    at.distinct("columns", &known.columns);
    let mut named: Vec<_> =
        known.values.iter().enumerate().map(|(index, field)| (at.at.key("values").index(index), field)).collect();
    if let Some(Key::Fields(fields)) = &known.key {
        let key = at.at.key("key").key("fields");
        let hint = "leave the key out where the numbers are the same for all series";
        at.expect(!fields.is_empty(), "key", "at least one field", "none", hint);
        named.extend(fields.iter().enumerate().map(|(index, field)| (key.index(index), field)));
    }
    if let Some(Time::Field { field, .. }) = &known.time {
        named.push((at.at.key("time").key("field"), field));
    }
    for (path, field) in named {
        at.expect_at(!field.is_empty(), path.clone(), "the name of a field", "an empty text", "");
        let column = !csv || none || known.columns.contains(field);
        let expected = format!("one of the columns {}", known.columns.join(", "));
        at.expect_at(column, path, expected, format!("{field:?}"), "");
    }
}
