//! Names of topics: what Kafka takes, and that no topic has two uses.

use super::super::Settings;
use super::super::origin::Path;
use super::Checker;

/// The longest name of a topic.
const LONGEST_TOPIC: usize = 249;

/// Whether all characters may stand in the name of a topic.
pub fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Whether Kafka takes it as the name of a topic.
pub fn is_topic(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_TOPIC && is_plain(name) && name != "." && name != ".."
}

/// What [`is_topic`] takes, for people.
pub const TOPIC: &str = "the name of a topic: 1 to 249 ASCII letters, digits, dots, underscores and hyphens";

/// Checks that outputs have legal names, and that no topic is written to twice or written to and read.
pub fn check(settings: &Settings, root: &mut Checker<'_>) {
    let topics = Path::default().key("topics");
    let streams = Path::default().key("stream");
    let mut outputs: Vec<(Path, String, String)> = vec![
        (topics.key("state"), "snapshots".into(), settings.state_topic()),
        (topics.key("models"), "weights".into(), settings.models_topic()),
        (topics.key("dead_letters"), "dead letters".into(), settings.dead_letters_topic()),
    ];
    // A wrong name of the application or of a stream is told once, not again for each topic made of it.
    if !root.fine(&["app"]) {
        return;
    }
    for (index, stream) in settings.stream.iter().enumerate() {
        let doubled = settings.stream[..index].iter().any(|other| other.name == stream.name);
        if !doubled && root.within("stream", Some(index)).fine(&["name"]) {
            let own = streams.index(index).key("outputs").key("topic");
            let path = if stream.outputs.topic.is_some() { own } else { topics.key("forecasts") };
            outputs.push((path, format!("the forecasts of {:?}", stream.name), settings.forecasts_topic(stream)));
        }
    }
    for (index, (path, usage, topic)) in outputs.iter().enumerate() {
        let hint = "the only placeholders are {app} and, for forecasts, {stream}";
        let hint = if topic.contains(['{', '}']) { hint } else { "" };
        root.expect_at(is_topic(topic), path.clone(), TOPIC, format!("{topic:?} for {usage}"), hint);
        if root.reader.is_refused(path) {
            continue;
        }
        if let Some((other, other_usage, _)) = outputs[..index].iter().find(|(_, _, other)| other == topic) {
            let same = other == path;
            let hint = if same { "put {stream} into it" } else { "name another topic" };
            let related = if same { vec![] } else { vec![other.clone()] };
            let found = format!("{topic:?} for {other_usage} and for {usage}");
            root.contradiction(path.clone(), related, "a topic for each output".into(), found, hint.into());
        }
        for (number, stream) in settings.stream.iter().enumerate() {
            if let Some(item) = stream.topics.iter().position(|input| input == topic) {
                let input = streams.index(number).key("topics").index(item);
                let found = format!("{topic:?} for {usage} and as an input");
                let hint = "what is written there would be read again; name another topic".into();
                root.contradiction(path.clone(), vec![input], "outputs that are not inputs".into(), found, hint);
            }
            if stream.future_covariates.topic.as_ref() == Some(topic) {
                let input = streams.index(number).key("known").key("topic");
                let found = format!("{topic:?} for {usage} and for what is known in advance");
                let hint = "name another topic".into();
                root.contradiction(path.clone(), vec![input], "outputs that are not inputs".into(), found, hint);
            }
        }
    }
}
