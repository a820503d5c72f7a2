//! The least that must be permitted is enough, and less is explained.

use crate::harness::{
    http_get,
    secured::{LEAST, secured},
    unique, wait_for,
};
use crate::support::{Daemon, LIMIT, Setup, feed, foretide, printed};

#[test]
fn the_least_permissions_are_enough_and_a_missing_one_is_named_and_waited_for() {
    let kafka = secured();
    let (topic, app) = (kafka.kafka.topic("least", 1), unique("least"));
    feed(&topic, 0..400);
    let section = kafka.with_password("PLAIN", LEAST);
    let training = "every = \"1s\", min_steps = 200, max_updates = 60, lanes = 8, margin = 0.001, learning_rate = 0.01";
    let setup = Setup { role: "all", training, ..Setup::new(&app, &section, &topic) };
    let mut daemon = Daemon::start(&setup);
    let config = daemon.config.to_str().unwrap().to_owned();
    let forecasts = format!("{app}.stream.forecasts");

    daemon.waits_for(&["does not permit", &topic, "check --acls"]);
    let output = foretide(&["check", "--connect", "--config", &config]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(69), "{text}");
    for forbidden in [&topic, &forecasts, &format!("{app}.state"), &format!("{app}.models"), &format!("{app}.…")] {
        let told = |line: &str| line.contains(&format!("{forbidden}: FORBIDDEN"));
        assert!(text.lines().any(told), "{forbidden}: {text}");
    }

    let user = format!("User:{}", LEAST.0);
    let output = foretide(&["check", "--acls", &user, "--config", &config]);
    let text = printed(&output);
    let commands: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("kafka-acls.sh --bootstrap-server "))
        .map(|line| line.split(' ').skip(1).collect())
        .collect();
    assert!(output.status.success() && commands.len() >= 5, "{text}");
    for command in &commands {
        // All but the leave to write forecasts.
        let place = command.iter().position(|word| *word == forecasts);
        let without: Vec<&str> = match place {
            Some(place) => [&command[..place - 1], &command[place + 1..]].concat(),
            None => command.clone(),
        };
        kafka.acls(&without);
    }
    kafka.acls(&[
        "--add",
        "--allow-principal",
        &user,
        "--operation",
        "Describe",
        "--operation",
        "Create",
        "--topic",
        &forecasts,
    ]);
    daemon.waits_for(&["writing", &forecasts, "Topic authorization failed", "check --acls"]);
    assert!(daemon.process.log().contains("again_in="), "{}", daemon.process.log());

    kafka.acls(&["--add", "--allow-principal", &user, "--operation", "Write", "--topic", &forecasts]);
    daemon.ready();
    daemon.forecasts(&setup, 400);
    wait_for("weights to be published and served", LIMIT, || {
        assert!(daemon.process.runs(), "it has ended:\n{}", daemon.process.log());
        let (_, metrics) = http_get(daemon.port, "/metrics")?;
        let line = metrics.lines().find(|line| line.starts_with("foretide_weights_version{"))?;
        line.rsplit(' ').next()?.parse::<f64>().ok().filter(|version| *version >= 1.0)
    });
    assert!(daemon.process.stop(LIMIT).success(), "{}", daemon.process.log());
    let output = foretide(&["check", "--connect", "--config", &config]);
    assert!(output.status.success(), "{}", printed(&output));
}
