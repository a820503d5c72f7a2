//! Checks of one stream.

use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::super::reader::closest;
use super::super::stream::{
    Anomaly, Cell, Device, Format, Interval, Key, Season, Strategy, Stream, Time, TimeFormat, Training,
};
use super::super::values::{Auto, Millis, Size};
use super::super::{Role, Settings};
use super::{Checker, known, names};

/// Most slots of a series that may be open at once: a reading later than that would need more memory than it is worth.
const MOST_OPEN_SLOTS: i64 = 1_024;
/// Most empty steps that are stepped over one by one.
const MOST_GAP_STEPS: i64 = 65_536;
/// Most steps of a season: each series remembers one.
const MOST_SEASON_STEPS: i64 = 20_160;
/// Most covariates: what the linear experts can weigh.
const MOST_COVARIATES: usize = 8;
/// Most numbers that the network gives for one step.
const MOST_OUTPUTS: usize = 8_192;

/// Checks one stream.
pub fn check(stream: &Stream, settings: &Settings, at: &mut Checker<'_>) {
    let plain = (1..=100).contains(&stream.name.len()) && names::is_plain(&stream.name);
    let name = "1 to 100 ASCII letters, digits, dots, underscores and hyphens";
    at.expect(plain, "name", name, format!("{:?}", stream.name), "it is part of topic names");
    at.expect(!stream.topics.is_empty(), "topics", "at least one topic", "none", "such as [\"meters\"]");
    for (index, topic) in stream.topics.iter().enumerate() {
        at.expect_item(
            names::is_topic(topic),
            ("topics", index),
            names::TOPIC,
            format!("{topic:?}"),
            "patterns of names are not supported: list the topics",
        );
    }
    at.distinct("topics", &stream.topics);
    fields(stream, at);
    time(stream, at);
    grid(stream, at);
    season_and_gap(stream, at);
    forecast(stream, at);
    model(stream, &mut at.within("model", None));
    training(stream, settings, &mut at.within("training", None));
    anomaly(&stream.anomaly, &mut at.within("anomaly", None));
    known::check(stream, &mut at.within("known", None));
    let limits = &stream.limits;
    let mut within = at.within("limits", None);
    within.range("series", limits.series, 1..=100_000_000, "");
    within.range("record_bytes", limits.record_bytes, Size::bytes(1)..=Size::mebibytes(128), "");
    within.range("key_bytes", limits.key_bytes, Size::bytes(1)..=Size::bytes(64 << 10), "");
}

fn anomaly(anomaly: &Anomaly, at: &mut Checker<'_>) {
    at.range("start", anomaly.start, 0.5..=1.0, "a score of 0.99 comes about once in a hundred values");
    at.range("end", anomaly.end, 0.0..=1.0, "a score");
    let expected = format!("at most start, {}", anomaly.start);
    at.contradicts(
        anomaly.end > anomaly.start,
        &["end", "start"],
        expected,
        anomaly.end,
        "an anomaly ends below its start",
    );
    at.range("calm", anomaly.clear_after, 1..=10_000, "values in a row");
}

fn fields(stream: &Stream, at: &mut Checker<'_>) {
    at.expect(!stream.values.is_empty(), "values", "at least one field", "none", "such as [\"load\"]");
    at.distinct("values", &stream.values);
    at.distinct("covariates", &stream.past_covariates);
    let (most, found) = (MOST_COVARIATES, stream.past_covariates.len());
    at.expect(
        found <= most,
        "covariates",
        format!("at most {most} fields"),
        found,
        "each series remembers all of them",
    );
    let csv = stream.format == Format::Csv;
    let none = stream.columns.is_empty();
    at.contradicts(
        csv && none,
        &["format", "columns"],
        "the names of the columns with format = \"csv\"",
        "no columns",
        "such as columns = [\"at\", \"meter\", \"load\"]",
    );
    at.contradicts(
        !csv && !none,
        &["columns", "format"],
        "columns only with format = \"csv\"",
        format!("format = \"{}\"", stream.format),
        "set format = \"csv\", or take the columns out",
    );
    let separates = !matches!(stream.delimiter, '"' | '\n' | '\r' | '\0');
    at.expect(
        separates,
        "delimiter",
        "a character that can stand between columns",
        format!("{:?}", stream.delimiter),
        "such as \",\" or \";\"",
    );

    let mut named: Vec<(super::Path, &str)> = Vec::new();
    named.extend(
        stream.values.iter().enumerate().map(|(index, field)| (at.at.key("values").index(index), field.as_str())),
    );
    let covariates = stream.past_covariates.iter().enumerate();
    named.extend(covariates.map(|(index, field)| (at.at.key("covariates").index(index), field.as_str())));
    if let Key::Fields(fields) = &stream.key {
        let key = at.at.key("key").key("fields");
        named.extend(fields.iter().enumerate().map(|(index, field)| (key.index(index), field.as_str())));
        at.within("key", None).distinct("fields", fields);
    }
    if let Time::Field { field, .. } = &stream.time {
        named.push((at.at.key("time").key("field"), field));
    }
    for (path, field) in named {
        at.expect_at(!field.is_empty(), path.clone(), "the name of a field", "an empty text", "");
        let known = !csv || none || stream.columns.iter().any(|column| column == field);
        if !known && at.fine(&["format", "columns"]) && !at.reader.is_refused(&path) {
            let hint = closest(field, stream.columns.iter().map(String::as_str))
                .map(|column| format!("did you mean {column:?}?"));
            let columns = vec![at.at.key("columns")];
            let expected = format!("one of the columns {}", stream.columns.join(", "));
            at.contradiction(path, columns, expected, format!("{field:?}"), hint.unwrap_or_default());
        }
    }
    at.distinct("columns", &stream.columns);
    let both = stream.past_covariates.iter().find(|field| stream.values.contains(field));
    at.contradicts(
        both.is_some(),
        &["covariates", "values"],
        "covariates that are no values",
        format!("{:?} as both", both.map_or("", String::as_str)),
        "take it out of one of them",
    );
    if let Time::Field { field, .. } = &stream.time {
        let both = stream.values.contains(field);
        at.contradicts(
            both,
            &["values", "time"],
            "values that are not the time",
            format!("{field:?} as both"),
            "take it out of values",
        );
    }
}

fn time(stream: &Stream, at: &mut Checker<'_>) {
    let zone = "the IANA name of a time zone";
    let hint = "such as \"Europe/Berlin\" or \"UTC\"";
    at.expect(TimeZone::get(&stream.time_zone).is_ok(), "time_zone", zone, format!("{:?}", stream.time_zone), hint);
    let holidays: Vec<String> = stream.holidays.iter().map(ToString::to_string).collect();
    at.distinct("holidays", &holidays);
    if let Time::Field { format, zone: of_stamps, .. } = &stream.time {
        let mut within = at.within("time", None);
        if let Some(name) = of_stamps {
            within.expect(TimeZone::get(name).is_ok(), "zone", zone, format!("{name:?}"), hint);
            let needs_none = !matches!(format, TimeFormat::Pattern(_));
            within.contradicts(
                needs_none,
                &["zone", "format"],
                "a zone only with a pattern",
                "a format that needs none",
                "take the zone out",
            );
        }
        if let TimeFormat::Pattern(pattern) = format {
            let expected = "a pattern from which a date can be read";
            let hint = "such as \"%Y-%m-%d %H:%M:%S\"; https://docs.rs/jiff/latest/jiff/fmt/strtime lists what may stand there";
            within.expect(reads_dates(pattern), "format", expected, format!("{pattern:?}"), hint);
        }
    }
    let (earliest, latest) = (stream.earliest, stream.latest);
    at.contradicts(earliest >= latest, &["earliest", "latest"], "a time before latest", "one that is not", "swap them");
}

/// Whether a stamp written by `pattern` can be read back.
fn reads_dates(pattern: &str) -> bool {
    let Ok(sample) = jiff::civil::date(2026, 11, 23).at(12, 34, 56, 0).to_zoned(TimeZone::UTC) else { return false };
    let Ok(text) = strtime::format(pattern, &sample) else { return false };
    strtime::parse(pattern, text).is_ok_and(|parsed| parsed.to_timestamp().is_ok() || parsed.to_datetime().is_ok())
}

fn grid(stream: &Stream, at: &mut Checker<'_>) {
    match stream.interval {
        Interval::Every(interval) => {
            at.range(
                "interval",
                interval,
                Millis(1)..=Millis::days(366),
                "write \"irregular\" for series without a grid",
            );
            let most = interval.0.saturating_mul(MOST_OPEN_SLOTS);
            let expected = format!("at most {MOST_OPEN_SLOTS} intervals, {}", Millis(most));
            let hint = "a slot stays open for so long; choose a longer interval or less lateness";
            at.contradicts(
                stream.allowed_lateness.0 > most,
                &["allowed_lateness", "interval"],
                expected,
                stream.allowed_lateness,
                hint,
            );
        }
        Interval::Irregular => {
            at.range("allowed_lateness", stream.allowed_lateness, Millis(0)..=Millis::days(7), "");
            let hint = "take readings_per_slot out, or set an interval";
            at.contradicts(
                stream.readings_per_slot.is_some(),
                &["readings_per_slot", "interval"],
                "a regular interval",
                "\"irregular\"",
                hint,
            );
            let seasonal = matches!(stream.season, Season::Every(_));
            at.contradicts(
                seasonal,
                &["season", "interval"],
                "a regular interval",
                "\"irregular\"",
                "take season out, or set an interval",
            );
        }
    }
    if let Some(readings) = stream.readings_per_slot {
        at.range("readings_per_slot", readings, 1..=1_000_000, "");
    }
}

fn season_and_gap(stream: &Stream, at: &mut Checker<'_>) {
    let Interval::Every(interval) = stream.interval else {
        if let Auto::Set(gap) = stream.max_gap {
            at.range("max_gap", gap, Millis(1)..=Millis::days(3_660), "");
        }
        return;
    };
    // Wrong intervals are told already; nothing can be said about multiples of them.
    let length = interval.0.max(1);
    if let Season::Every(season) = stream.season {
        let keys = &["season", "interval"];
        let steps = season.0 / length;
        let whole = season.0 % length == 0;
        let hint = format!("such as {:?}", Millis(length.saturating_mul(steps.saturating_add(1).max(2))).to_string());
        at.contradicts(!whole, keys, format!("a multiple of the interval, {interval}"), season, hint);
        let expected = format!("2 to {MOST_SEASON_STEPS} intervals of {interval}");
        let wrong = whole && !(2..=MOST_SEASON_STEPS).contains(&steps);
        at.contradicts(
            wrong,
            keys,
            expected,
            format!("{season}, which is {steps}"),
            "each series remembers a season; write \"none\" for none",
        );
    }
    if let Auto::Set(gap) = stream.max_gap {
        let keys = &["max_gap", "interval"];
        at.contradicts(
            gap < interval,
            keys,
            format!("at least the interval, {interval}"),
            gap,
            "write \"auto\" for two seasons",
        );
        let expected = format!("at most {MOST_GAP_STEPS} intervals of {interval}");
        at.contradicts(
            gap.0 / length > MOST_GAP_STEPS,
            keys,
            expected,
            gap,
            "an empty step costs as much as a full one",
        );
    }
}

fn forecast(stream: &Stream, at: &mut Checker<'_>) {
    at.range("horizon", stream.horizon, 1..=1_024, "steps ahead");
    let levels = &stream.quantiles;
    for (index, level) in levels.iter().enumerate() {
        let hint = if (1.0..100.0).contains(level) { format!("{level} % is {}", level / 100.0) } else { String::new() };
        at.expect_item(*level > 0.0 && *level < 1.0, ("quantiles", index), "a level between 0 and 1", level, hint);
    }
    let sorted = levels.is_sorted_by(|one, next| one < next);
    let found = || format!("{levels:?}");
    let mut wanted = levels.clone();
    wanted.sort_by(f64::total_cmp);
    wanted.dedup();
    if at.fine(&["quantiles"]) {
        at.expect(sorted, "quantiles", "levels that increase", found(), format!("write {wanted:?}"));
    }
    if at.fine(&["quantiles"]) {
        at.expect(levels.len() <= 64, "quantiles", "at most 64 levels", levels.len(), "");
    }
    if at.fine(&["quantiles"]) {
        let hint = "the median is the centre of all intervals";
        at.expect(levels.contains(&0.5), "quantiles", "0.5 among the levels", found(), hint);
    }
    let outputs = levels.len().saturating_mul(usize::try_from(stream.horizon).unwrap_or(usize::MAX));
    let expected = format!("at most {MOST_OUTPUTS} horizon × quantiles");
    at.contradicts(
        outputs > MOST_OUTPUTS,
        &["horizon", "quantiles"],
        expected,
        outputs,
        "forecast fewer steps or fewer levels",
    );
}

fn model(stream: &Stream, at: &mut Checker<'_>) {
    let model = &stream.model;
    at.range("layers", model.layers, 1..=8, "");
    at.range("hidden", model.hidden, 1..=1_024, "");
    at.range("burn_in", model.burn_in, 1..=4_096, "each series remembers so many steps");
    at.range("context", model.context, 1..=512, "each series remembers so many steps");
    at.range("window", model.window, 1..=128, "each series remembers so many steps");
    at.range("segment", model.segment, 0..=64, "each series remembers so many steps");
    at.range("chrono", model.chrono, 0..=100_000, "");
    at.range("linear_experts", model.linear_experts, 0..=3, "");
    for (index, dilation) in model.dilations.iter().enumerate() {
        let hint = "each series remembers so many states of the layer";
        at.expect_item((1..=64).contains(dilation), ("dilations", index), "1 to 64 steps", dilation, hint);
    }
    let (given, layers) = (model.dilations.len(), model.layers as usize);
    at.contradicts(
        given > 0 && given != layers,
        &["dilations", "layers"],
        format!("a dilation for each of the {layers} layers, or none"),
        given,
        "the lowest layer's comes first",
    );
    let windowed = matches!(model.cell, Cell::Feedforward | Cell::Tcn | Cell::Attention);
    at.contradicts(
        windowed && model.segment > 0,
        &["segment", "cell"],
        format!("segment = 0 with cell = \"{}\"", model.cell),
        model.segment,
        "segments need a recurrent cell",
    );
    at.contradicts(
        model.cell == Cell::Attention && !model.hidden.is_multiple_of(8),
        &["hidden", "cell"],
        "a multiple of 8 with cell = \"attention\"",
        model.hidden,
        "such as 64",
    );
    at.contradicts(
        model.strategy == Strategy::OneToMany && model.segment == 0,
        &["segment", "strategy"],
        "segment >= 1 with strategy = \"one_to_many\"",
        model.segment,
        "it decodes the horizon segment by segment",
    );
    let one = matches!(model.strategy, Strategy::Recursive | Strategy::ManyToOne);
    at.contradicts(
        one && model.segment > 1,
        &["segment", "strategy"],
        format!("segment = 0 with strategy = \"{}\"", model.strategy),
        model.segment,
        "the network gives one number only",
    );
    if let Some(threshold) = model.threshold {
        at.range("threshold", threshold, -1e100..=1e100, "in the values' own unit");
        at.contradicts(
            model.strategy != Strategy::ManyToOne,
            &["threshold", "strategy"],
            "no threshold, or strategy = \"many_to_one\"",
            threshold,
            "only one number can cross it",
        );
    }
    at.expect(
        one || model.segment == 0 || stream.horizon.is_multiple_of(model.segment),
        "segment",
        format!("0 or a divisor of horizon = {}", stream.horizon),
        model.segment,
        "the horizon is decoded segment by segment",
    );
}

fn training(stream: &Stream, settings: &Settings, at: &mut Checker<'_>) {
    let training: &Training = &stream.training;
    at.range("every", training.every, Millis::seconds(1)..=Millis::days(366), "");
    at.range("refresh", training.refresh, Millis::seconds(0)..=Millis::days(366), "0s for none");
    at.range("refresh_updates", training.refresh_updates, 1..=100_000, "");
    at.range("cpu_share", training.cpu_share, 0.05..=1.0, "a share of the time");
    at.range("k1", training.k1, 1..=4_096, "");
    at.range("k2", training.k2, 1..=4_096, "the backward pass holds so many steps in memory");
    let expected = format!("at least k1, {}", training.k1);
    at.contradicts(
        training.k2 < training.k1,
        &["k2", "k1"],
        expected,
        training.k2,
        "steps between two cuts would never be learnt from",
    );
    at.range("learning_rate", training.learning_rate, 1e-8..=1.0, "");
    at.range("clip", training.clip, 1e-6..=1e6, "");
    at.range("huber", training.huber, 0.0..=100.0, "in a series' own scale; 0 for none");
    let expected = format!("at most k2, {}", training.k2);
    let hint = "a state settles within the steps that gradients reach";
    at.contradicts(training.burn_in > training.k2, &["burn_in", "k2"], expected, training.burn_in, hint);
    at.range("lanes", training.batch_size, 1..=65_536, "");
    at.range("epochs", training.epochs, 1..=10_000, "");
    at.range("max_updates", training.max_updates, 1..=100_000_000, "");
    at.range("held_out", training.validation_share, 0.01..=0.9, "a share of the steps");
    at.range("margin", training.margin, 0.0..=0.9, "a share of the champion's loss");
    at.range("min_steps", training.min_steps, 2..=1_000_000_000, "");
    at.range("max_series", training.max_series, 1..=100_000_000, "");
    at.range("max_steps_per_series", training.max_steps_per_series, 2..=100_000_000, "");
    let expected = format!("at least min_steps, {}", training.min_steps);
    let keys = &["max_steps_per_series", "min_steps"];
    at.contradicts(
        training.max_steps_per_series < training.min_steps,
        keys,
        expected,
        training.max_steps_per_series,
        "no series would ever train",
    );
    if let (Auto::Set(history), Interval::Every(interval)) = (training.history, stream.interval) {
        let least = interval.0.saturating_mul(i64::from(training.min_steps));
        let expected = format!("at least min_steps × interval, {}", Millis(least));
        at.contradicts(
            history.0 < least,
            &["history", "min_steps"],
            expected,
            history,
            "no series would ever train; write \"auto\", or lower min_steps",
        );
    }
    let trains = training.enabled && settings.role != Role::Score;
    let missing = training.device == Device::Cuda && trains && !cfg!(feature = "cuda");
    at.expect(
        !missing,
        "device",
        "\"auto\" or \"cpu\", since this binary was built without CUDA",
        "\"cuda\"",
        "build with --features cuda",
    );
}
