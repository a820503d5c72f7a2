//! What a configuration amounts to, in a few lines.

use super::stream::{Interval, Key, Strategy, Stream};
use super::values::{Auto, Millis, Size};
use super::{Http, Role, Settings};

/// What one series takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Memory of its state.
    pub state: u64,
    /// Memory of the copy that a standby keeps of it.
    pub copy: u64,
}

/// What `settings` amounts to, for people. `footprint` predicts what one series of a stream takes, where it can: only the
/// rooms that hold the state know.
pub fn summary(settings: &Settings, footprint: impl Fn(&Stream) -> Option<Footprint>) -> String {
    let mut lines = vec![
        format!("app      {}: role {}, {}", settings.app, settings.role, shards(settings)),
        format!("brokers  {} ({})", settings.kafka.brokers.join(", "), settings.kafka.security_protocol),
        format!("commits  every {}, snapshots {}", settings.commit_interval, snapshots(settings.checkpoint_interval)),
        format!("topics   {}, {}, {}", settings.state_topic(), settings.models_topic(), settings.dead_letters_topic()),
        format!("http     {} ({})", settings.http.listen, door(&settings.http)),
    ];
    lines.extend(settings.http.security_warning().map(|caution| format!("  mind   {caution}")));
    for stream in &settings.stream {
        lines.push(format!("stream   {}", stream.name));
        lines.push(format!("  in     {} ({}), {}", stream.topics.join(", "), stream.format, series(stream)));
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
        if let Some(Footprint { state, copy }) = footprint(stream) {
            let most = stream.limits.series;
            let (million, full) = (binary(state.saturating_mul(1_000_000)), binary(state.saturating_mul(most)));
            lines.push(format!("  memory {state} B a series, {million} a million; {full} at the limit of {most}"));
            let (limit, million) = (settings.limits.standby_bytes, binary(copy.saturating_mul(1_000_000)));
            if limit > Size::bytes(0) {
                lines.push(format!(
                    "  standby {copy} B for each series of another instance, {million} a million; at most {limit} a shard"
                ));
            }
        }
    }
    lines.join("\n")
}

fn shards(settings: &Settings) -> String {
    match settings.shards {
        Auto::Auto => "one serving thread fewer than cores".into(),
        Auto::Set(1) => "1 serving thread".into(),
        Auto::Set(shards) => format!("{shards} serving threads"),
    }
}

fn door(http: &Http) -> &'static str {
    match (http.tls_certificate_file.is_some(), http.bearer_token.is_some()) {
        (false, false) => "plain, no token",
        (false, true) => "plain, a token",
        (true, false) => "TLS, no token",
        (true, true) => "TLS, a token",
    }
}

fn snapshots(interval: Millis) -> String {
    if interval == Millis(0) { "at each commit".into() } else { format!("spread over {interval}") }
}

fn series(stream: &Stream) -> String {
    let key = match &stream.key {
        Key::Record => "record key".into(),
        Key::Fields(fields) if fields.is_empty() => "stream".into(),
        Key::Fields(fields) => fields.join(", "),
    };
    format!("a series for each {key} and each of {}", stream.values.join(", "))
}

fn grid(stream: &Stream) -> String {
    let gap = Millis(stream.max_gap_millis());
    let Interval::Every(interval) = stream.interval else { return format!("irregular, afresh after a gap of {gap}") };
    let season = match stream.season_steps() {
        0 => "no season".into(),
        steps => format!("season {} ({steps} steps)", Millis(interval.0.saturating_mul(i64::from(steps)))),
    };
    let lateness = stream.allowed_lateness;
    format!(
        "every {interval}, {}, late by at most {lateness}, {season}, afresh after a gap of {gap}",
        stream.aggregation
    )
}

fn training(stream: &Stream, role: Role) -> String {
    let training = &stream.training;
    if !training.enabled {
        return "never trains".into();
    }
    if role == Role::Score {
        return "trained elsewhere".into();
    }
    format!("trains every {} on {} of history ({})", training.every, Millis(stream.history_millis()), training.device)
}

/// A size to three figures, for people.
fn binary(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(factor, _)| bytes >= *factor) {
        Some((factor, unit)) => format!("{:.2} {unit}", bytes as f64 / factor as f64),
        None => format!("{bytes} B"),
    }
}
