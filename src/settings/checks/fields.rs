//! Checks of the fields of a record, its columns, and its times.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::super::origin::{Path, Place};
use super::super::record::{Format, Key, Time, TimeFormat};
use super::super::stream::Stream;
use super::super::suggestion::closest;
use super::checker::Checker;

/// Most past covariates, and most future covariates, of a stream: the linear experts have so many regressors for them.
pub const MOST_COVARIATES: usize = 8;

/// Checks which fields a stream reads.
pub fn check(stream: &Stream, table: &mut Checker<'_>) {
    table.expect(!stream.values.is_empty(), "values", "at least one field", "none", "such as [\"load\"]");
    let values = stream.fields();
    table.distinct("values", &values);
    bounds(stream, table);
    table.distinct("past_covariates", &stream.past_covariates);
    let count = stream.past_covariates.len();
    let expected = format!("at most {MOST_COVARIATES} fields");
    table.expect(count <= MOST_COVARIATES, "past_covariates", expected, count, "each series stores all of them");
    columns(stream, table);
    if let Key::Fields(fields) = &stream.key {
        table.within("key", None).distinct("fields", fields);
    }
    names(stream, table);
    table.distinct("columns", &stream.columns);
    let both = stream.past_covariates.iter().find(|field| values.contains(field));
    table.contradicts(
        both.is_some(),
        &["past_covariates", "values"],
        "past covariates that are not values",
        format!("{:?} as both", both.map_or("", String::as_str)),
        "remove it from one of them",
    );
    if let Time::Field { field, .. } = &stream.time {
        table.contradicts(
            values.contains(field),
            &["values", "time"],
            "values that are not the time",
            format!("{field:?} as both"),
            "remove it from values",
        );
    }
}

/// There are values between the bounds of a field.
fn bounds(stream: &Stream, table: &mut Checker<'_>) {
    for (index, value) in stream.values.iter().enumerate() {
        let (Some(minimum), Some(maximum)) = (value.minimum, value.maximum) else { continue };
        let mut within = table.within("values", Some(index));
        within.contradicts(
            minimum > maximum,
            &["minimum", "maximum"],
            format!("at most the maximum, {maximum}"),
            minimum,
            "swap them",
        );
        within.contradicts(
            minimum <= maximum && value.integer && minimum.ceil() > maximum.floor(),
            &["integer", "minimum", "maximum"],
            format!("a whole number from {minimum} to {maximum}"),
            "none",
            "remove integer, or widen the bounds",
        );
    }
}

fn columns(stream: &Stream, table: &mut Checker<'_>) {
    let (csv, none) = (stream.format == Format::Csv, stream.columns.is_empty());
    table.contradicts(
        csv && none,
        &["format", "columns"],
        "the names of the columns with format = \"csv\"",
        "no columns",
        "such as columns = [\"at\", \"meter\", \"load\"]",
    );
    table.contradicts(
        !csv && !none,
        &["columns", "format"],
        "columns only with format = \"csv\"",
        format!("format = \"{}\"", stream.format),
        "set format = \"csv\", or remove the columns",
    );
    let separates = !matches!(stream.delimiter, '"' | '\n' | '\r' | '\0');
    let (expected, found) = ("a character that can separate columns", format!("{:?}", stream.delimiter));
    table.expect(separates, "delimiter", expected, found, "such as \",\" or \";\"");
}

/// Fields have names, and are columns where there are columns.
fn names(stream: &Stream, table: &mut Checker<'_>) {
    let path = table.path.key("values");
    let values = stream.values.iter().enumerate();
    let mut fields: Vec<_> =
        values.map(|(index, value)| (path_of_name(table, path.index(index)), &value.field)).collect();
    let path = table.path.key("past_covariates");
    fields.extend(stream.past_covariates.iter().enumerate().map(|(index, field)| (path.index(index), field)));
    if let Key::Fields(names) = &stream.key {
        let path = table.path.key("key").key("fields");
        fields.extend(names.iter().enumerate().map(|(index, field)| (path.index(index), field)));
    }
    if let Time::Field { field, .. } = &stream.time {
        fields.push((table.path.key("time").key("field"), field));
    }
    let has_columns = stream.format == Format::Csv && !stream.columns.is_empty();
    for (path, field) in fields {
        table.expect_at(!field.is_empty(), path.clone(), "the name of a field", "an empty text", "");
        let is_absent = has_columns && !stream.columns.contains(field);
        if is_absent && table.is_valid(&["format", "columns"]) && !table.reader.is_refused(&path) {
            let hint = closest(field, stream.columns.iter().map(String::as_str))
                .map(|column| format!("did you mean {column:?}?"));
            let columns = vec![table.path.key("columns")];
            let expected = format!("one of the columns {}", stream.columns.join(", "));
            table.contradiction(path, columns, expected, format!("{field:?}"), hint.unwrap_or_default());
        }
    }
}

/// Where a value field has its name: in the key `field` where the item is a table.
fn path_of_name(table: &Checker<'_>, item: Path) -> Path {
    let key = item.key("field");
    let is_table = table.reader.is_refused(&key) || table.reader.origins.exact_place(&key) != Place::Default;
    if is_table { key } else { item }
}

/// Checks time zones, formats of times, holidays, and the range of event times.
pub fn check_times(stream: &Stream, table: &mut Checker<'_>) {
    let expected = "the IANA name of a time zone";
    let hint = "such as \"Europe/Berlin\" or \"UTC\"";
    let name = &stream.time_zone;
    table.expect(TimeZone::get(name).is_ok(), "time_zone", expected, format!("{name:?}"), hint);
    let holidays: Vec<String> = stream.holidays.iter().map(ToString::to_string).collect();
    table.distinct("holidays", &holidays);
    if let Time::Field { format, zone, .. } = &stream.time {
        let mut within = table.within("time", None);
        if let Some(name) = zone {
            within.expect(TimeZone::get(name).is_ok(), "zone", expected, format!("{name:?}"), hint);
            within.contradicts(
                !matches!(format, TimeFormat::Pattern(_)),
                &["zone", "format"],
                "a zone only with a pattern",
                "a format that needs none",
                "remove the zone",
            );
        }
        if let TimeFormat::Pattern(pattern) = format {
            let expected = "a pattern that a date can be parsed with";
            let hint = "such as \"%Y-%m-%d %H:%M:%S\"; see https://docs.rs/jiff/latest/jiff/fmt/strtime";
            within.expect(parses_dates(pattern), "format", expected, format!("{pattern:?}"), hint);
        }
    }
    let (earliest, latest) = (stream.earliest, stream.latest);
    let expected = "a time before latest";
    table.contradicts(earliest >= latest, &["earliest", "latest"], expected, "a later one, or the same", "swap them");
}

/// Whether a timestamp that `pattern` formats can be parsed with it.
fn parses_dates(pattern: &str) -> bool {
    let Ok(sample) = jiff::civil::date(2026, 11, 23).at(12, 34, 56, 0).to_zoned(TimeZone::UTC) else { return false };
    let Ok(text) = strtime::format(pattern, &sample) else { return false };
    strtime::parse(pattern, text).is_ok_and(|parsed| parsed.to_timestamp().is_ok() || parsed.to_datetime().is_ok())
}
