//! Summarises a configuration in a few lines.

use super::cluster::{Http, Role};
use super::grid::Interval;
use super::record::{Key, ValueField};
use super::root::Settings;
use super::stream::{CloseBy, Strategy, Stream, Training};
use super::values::{Auto, Millis, Size};
use crate::time::Origin;

/// Memory of one series, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Memory of its state.
    pub state: u64,
    /// Memory of the standby copy of its state.
    pub copy: u64,
    /// Memory of its history for training, at its most steps.
    pub history: u64,
    /// Memory that one update of the weights takes, about.
    pub update: u64,
}

/// Summarises `settings` for people. `footprint` predicts the memory of one series of a stream, where it can; the rooms
/// that hold the state provide it.
pub fn summary(settings: &Settings, footprint: impl Fn(&Stream) -> Option<Footprint>) -> String {
    let mut lines = vec![
        format!("app      {}: role {}, {}", settings.app, settings.role, shards(settings)),
        format!("brokers  {} ({})", settings.kafka.brokers.join(", "), settings.kafka.security_protocol),
        format!("commits  every {}, snapshots {}", settings.commit_interval, snapshots(settings)),
        format!("topics   {}, {}, {}", settings.state_topic(), settings.models_topic(), settings.dead_letters_topic()),
        format!("http     {} ({})", settings.http.listen, protection(&settings.http)),
    ];
    lines.extend(settings.http.security_warning().map(|warning| format!("  warning  {warning}")));
    for stream in &settings.stream {
        lines.push(format!("stream   {}", stream.name));
        lines.push(format!("  in     {} ({}), {}", stream.topics.join(", "), stream.format, series(stream)));
        if stream.repartition {
            lines.push(format!("  keyed  {}: copies of all observations", settings.repartition_topic(stream)));
        }
        lines.push(format!("  grid   {}", grid(stream)));
        let levels = stream.quantiles.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
        let topic = settings.forecasts_topic(stream);
        lines.push(format!("  out    {topic}: {} steps ahead, quantiles {levels}", stream.horizon));
        let (model, training) = (&stream.model, training(stream, settings.role));
        let name = match model.strategy {
            Strategy::Direct => model.cell.to_string(),
            Strategy::ManyToOne => format!("{} {} {}", model.cell, model.strategy, model.target),
            other => format!("{} {other}", model.cell),
        };
        lines.push(format!("  model  {name} {} × {}, {training}", model.layers, model.hidden));
        if let Some(footprint) = footprint(stream) {
            lines.extend(memory(stream, footprint, settings.limits.standby_bytes));
            if stream.training.enabled && settings.role != Role::Score {
                lines.push(training_memory(&stream.training, footprint));
            }
        }
    }
    lines.join("\n")
}

/// What a training takes: its history, for as long as this instance leads, and an update.
fn training_memory(training: &Training, Footprint { history, update, .. }: Footprint) -> String {
    let (most, series) = (training.memory, u64::from(training.max_series));
    let all = history.saturating_mul(series);
    let fits = if all <= most.0 {
        format!("{series} series take {}", binary(all))
    } else {
        format!("at its limit {most} that is {} of at most {series} series", most.0 / history.max(1))
    };
    format!(
        "  history {} per series of {} steps, {fits}; an update takes about {}",
        binary(history),
        training.max_steps_per_series,
        binary(update)
    )
}

fn memory(stream: &Stream, Footprint { state, copy, .. }: Footprint, standby: Size) -> Vec<String> {
    let most = stream.limits.series;
    let (million, full) = (binary(state.saturating_mul(1_000_000)), binary(state.saturating_mul(most)));
    let mut lines =
        vec![format!("  memory {state} B per series, {million} per million; {full} at the limit of {most} series")];
    if standby > Size::bytes(0) {
        let million = binary(copy.saturating_mul(1_000_000));
        lines.push(format!(
            "  standby {copy} B per series of another instance, {million} per million; at most {standby} per shard"
        ));
    }
    lines
}

fn shards(settings: &Settings) -> String {
    match settings.shards {
        Auto::Auto => "one serving thread fewer than cores".into(),
        Auto::Set(1) => "1 serving thread".into(),
        Auto::Set(shards) => format!("{shards} serving threads"),
    }
}

fn protection(http: &Http) -> &'static str {
    match (http.tls_certificate_file.is_some(), http.bearer_token.is_some()) {
        (false, false) => "no TLS, no token",
        (false, true) => "no TLS, token",
        (true, false) => "TLS, no token",
        (true, true) => "TLS, token",
    }
}

fn snapshots(settings: &Settings) -> String {
    match (settings.checkpoint_interval, settings.checkpoint_records) {
        (Millis(0), _) => "in each commit".into(),
        (interval, 0) => format!("spread over {interval}"),
        (interval, records) => format!("spread over {interval} or {records} records, whichever takes longer"),
    }
}

fn series(stream: &Stream) -> String {
    let key = match &stream.key {
        Key::Record => "record key".into(),
        Key::Fields(fields) if fields.is_empty() => "stream".into(),
        Key::Fields(fields) => fields.join(", "),
    };
    let values: Vec<String> = stream.values.iter().map(describe).collect();
    format!("a series per {key} and value field ({})", values.join(", "))
}

/// A field with what its values can be, such as `kwh from 0` or `persons from 0 to 300 in whole numbers`.
fn describe(value: &ValueField) -> String {
    let mut text = value.field.clone();
    text.extend(value.minimum.map(|minimum| format!(" from {minimum}")));
    text.extend(value.maximum.map(|maximum| format!(" to {maximum}")));
    text.extend(value.integer.then_some(" in whole numbers"));
    text
}

fn grid(stream: &Stream) -> String {
    let gap = Millis(stream.max_gap_millis());
    if stream.interval == Interval::Irregular {
        return format!("irregular, reset after a gap of {gap}");
    }
    let season = match stream.season_length() {
        None => "no season".into(),
        Some(season) => format!("season {season} ({} steps)", stream.season_steps()),
    };
    let (aggregation, lateness) = (stream.aggregation, stream.allowed_lateness);
    let life = match stream.series_ttl_millis() {
        Some(ttl) => format!("ends after {} of silence", Millis(ttl)),
        None => "never ends".into(),
    };
    let closing = match stream.close_by {
        CloseBy::Series => String::new(),
        CloseBy::Partition => format!(", silent series go on ({})", stream.absence),
    };
    format!(
        "every {}{}, {aggregation}, allowed lateness {lateness}{closing}, {season}, reset after a gap of {gap}, \
         {life}",
        stream.interval,
        beginning(stream)
    )
}

/// Where steps begin, unless it is with the clock and the calendar of UTC.
fn beginning(stream: &Stream) -> String {
    let is_weeks = matches!(stream.interval, Interval::Every(Millis(length)) if length % Millis::days(7).0 == 0);
    let mut text = String::new();
    if stream.origin != Origin::default() {
        text += &format!(" from {}", stream.origin);
    } else if is_weeks {
        text += &format!(" from {}", stream.week_starts);
    }
    if stream.time_zone != "UTC" {
        text += &format!(" in {}", stream.time_zone);
    }
    text
}

fn training(stream: &Stream, role: Role) -> String {
    let training = &stream.training;
    if !training.enabled {
        return "not trained".into();
    }
    if role == Role::Score {
        return "trained by another instance".into();
    }
    format!("trained every {} on {} of history ({})", training.every, Millis(stream.history_millis()), training.device)
}

/// A number of bytes with three figures.
fn binary(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(factor, _)| bytes >= *factor) {
        Some((factor, unit)) => format!("{:.2} {unit}", bytes as f64 / factor as f64),
        None => format!("{bytes} B"),
    }
}
