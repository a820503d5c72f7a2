//! Checks of topics: their names, and that no topic has two uses.

use super::super::origin::Path;
use super::super::root::Settings;
use super::checker::Checker;

/// Longest name of a topic in Kafka.
const LONGEST_TOPIC: usize = 249;

/// Whether the name of a topic may have all characters of `name`.
pub fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Whether Kafka accepts `name` as the name of a topic.
pub fn is_topic(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_TOPIC && is_plain(name) && name != "." && name != ".."
}

/// Describes what [`is_topic`] accepts.
pub const TOPIC: &str = "the name of a topic: 1 to 249 ASCII letters, digits, dots, underscores and hyphens";

/// An output topic.
struct Output {
    /// Path of the key that names it.
    path: Path,
    /// What is written to it, for people.
    usage: String,
    name: String,
}

/// Checks that no other stream reads the topics of a stream that is repartitioned: the group has one position in each
/// of them, and that is where its copies have got to.
fn check_repartitioned(settings: &Settings, root: &mut Checker<'_>) {
    let input = |stream: usize, item: usize| {
        let path = Path::default().key("stream").index(stream);
        path.key("topics").index(item)
    };
    for (number, stream) in settings.stream.iter().enumerate().filter(|(_, stream)| stream.repartition) {
        for (item, topic) in stream.topics.iter().enumerate() {
            let others = settings.stream.iter().enumerate().filter(|(index, other)| {
                // Of two that are repartitioned, the later one is refused.
                *index != number && !(other.repartition && *index > number)
            });
            let mut shared = others.filter_map(|(index, other)| {
                Some((index, other.topics.iter().position(|candidate| candidate == topic)?, &other.name))
            });
            if let Some((other, place, name)) = shared.next() {
                let expected = "a topic that no other stream reads, since repartition = true".into();
                let found = format!("{topic:?}, which {name:?} reads, too");
                let hint = "give one of the streams an `app` of its own, in another configuration".into();
                root.contradiction(input(number, item), vec![input(other, place)], expected, found, hint);
            }
        }
    }
}

/// Checks that the output topics have valid names, and that no output topic has a second use as output or input.
pub fn check(settings: &Settings, root: &mut Checker<'_>) {
    check_repartitioned(settings, root);
    let topics = Path::default().key("topics");
    let streams = Path::default().key("stream");
    // Topic names contain the names of the application and of streams: those are refused once, not for each topic.
    if !root.is_valid(&["app"]) {
        return;
    }
    let output = |key, usage: &str, name| Output { path: topics.key(key), usage: usage.into(), name };
    let mut outputs = vec![
        output("state", "snapshots", settings.state_topic()),
        output("models", "weights", settings.models_topic()),
        output("dead_letters", "dead letters", settings.dead_letters_topic()),
    ];
    for (index, stream) in settings.stream.iter().enumerate() {
        let is_repeated = settings.stream[..index].iter().any(|other| other.name == stream.name);
        if !is_repeated && root.within("stream", Some(index)).is_valid(&["name"]) {
            let own = streams.index(index).key("outputs").key("topic");
            let path = if stream.outputs.topic.is_some() { own } else { topics.key("forecasts") };
            let usage = format!("the forecasts of {:?}", stream.name);
            outputs.push(Output { path, usage, name: settings.forecasts_topic(stream) });
            if stream.repartition {
                let usage = format!("the copies of {:?}", stream.name);
                let (path, name) = (topics.key("repartition"), settings.repartition_topic(stream));
                outputs.push(Output { path, usage, name });
            }
        }
    }
    for (index, Output { path, usage, name }) in outputs.iter().enumerate() {
        let hint = "the only placeholders are {app} and, for forecasts and copies, {stream}";
        let hint = if name.contains(['{', '}']) { hint } else { "" };
        root.expect_at(is_topic(name), path.clone(), TOPIC, format!("{name:?} for {usage}"), hint);
        if root.reader.is_refused(path) {
            continue;
        }
        if let Some(other) = outputs[..index].iter().find(|other| other.name == *name) {
            let is_same_key = other.path == *path;
            let hint = if is_same_key { "put {stream} into it" } else { "name another topic" };
            let related = if is_same_key { vec![] } else { vec![other.path.clone()] };
            let found = format!("{name:?} for {} and for {usage}", other.usage);
            root.contradiction(path.clone(), related, "a different topic for each output".into(), found, hint.into());
        }
        for (number, stream) in settings.stream.iter().enumerate() {
            if let Some(item) = stream.topics.iter().position(|input| input == name) {
                let input = streams.index(number).key("topics").index(item);
                let found = format!("{name:?} for {usage} and as an input");
                let hint = "Foretide would read its own output; name another topic".into();
                root.contradiction(path.clone(), vec![input], "outputs that are not inputs".into(), found, hint);
            }
            if stream.future_covariates.topic.as_ref() == Some(name) {
                let input = streams.index(number).key("future_covariates").key("topic");
                let found = format!("{name:?} for {usage} and for future covariates");
                let hint = "name another topic".into();
                root.contradiction(path.clone(), vec![input], "outputs that are not inputs".into(), found, hint);
            }
        }
    }
}
