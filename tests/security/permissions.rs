//! Permissions: the ones that `foretide check --acls` prints are enough, and a missing one is reported.

use std::time::Duration;

use foretide::broker::{Broker, Partition};

use crate::harness::{
    http_get,
    secured::{LEARNER, LEAST, secured},
    unique, wait_for,
};
use crate::support::{Daemon, LIMIT, Setup, feed, foretide, printed};

/// Runs the commands that `foretide check --acls` prints, without the permissions on the topic `without`.
fn grant(config: &str, user: &str, without: &str) {
    let output = foretide(&["check", "--acls", user, "--config", config]);
    let text = printed(&output);
    let commands = text.lines().filter_map(|line| line.trim().strip_prefix("kafka-acls.sh --bootstrap-server "));
    let mut granted = 0;
    for command in commands {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let words = match words.iter().position(|word| *word == without) {
            Some(place) => [&words[..place - 1], &words[place + 1..]].concat(),
            None => words,
        };
        secured().acls(&words);
        granted += 1;
    }
    assert!(output.status.success() && granted >= 5, "{text}");
}

/// All topics without permission are reported, even where the topic of future covariates has it.
#[test]
fn check_reports_all_missing_permissions() {
    let kafka = secured();
    let (input, weather) = (kafka.kafka.topic("closed", 1), kafka.kafka.topic("weather", 1));
    let section = kafka.with_password("PLAIN", LEAST);
    let app = unique("forbidden");
    let time = "time = { field = \"at\", format = \"rfc3339\" }";
    let covariates = format!("future_covariates = {{ topic = {weather:?}, values = [\"t\"], {time} }}\n");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("foretide.toml");
    std::fs::write(&config, Setup::new(&app, &section, &input).toml(0) + &covariates).unwrap();
    let check = || printed(&foretide(&["check", "--connect", "--config", config.to_str().unwrap()]));
    let text = check();
    assert!(text.contains(&format!("future {weather}: FORBIDDEN")), "{text}");

    let user = format!("User:{}", LEAST.0);
    kafka.acls(&["--add", "--allow-principal", &user, "--operation", "Read", "--topic", &weather]);
    let text = wait_for("the permission to reach the broker", LIMIT, || {
        Some(check()).filter(|text| text.contains(&format!("future {weather}: 1 partitions")))
    });
    assert!(text.contains(&format!("in     {input}: FORBIDDEN")), "{text}");
    assert!(text.contains(&format!("out    {app}.state: FORBIDDEN")), "{text}");
}

/// A scorer and a trainer with different users.
#[test]
fn the_printed_permissions_are_enough_and_the_daemon_waits_for_a_missing_one() {
    let kafka = secured();
    let (topic, app) = (kafka.kafka.topic("least", 1), unique("least"));
    feed(&topic, 0..400);
    let [scores, learns] = [LEAST, LEARNER].map(|user| kafka.with_password("PLAIN", user));
    let [scorer, learner] = [LEAST, LEARNER].map(|(user, _)| format!("User:{user}"));
    let training =
        "every = \"1s\", min_steps = 200, max_updates = 60, batch_size = 8, margin = 0.001, learning_rate = 0.01";
    let setup = Setup { training, ..Setup::new(&app, &scores, &topic) };
    let mut daemon = Daemon::start(&setup);
    let config = daemon.config.to_str().unwrap().to_owned();
    let forecasts = format!("{app}.stream.forecasts");

    daemon.waits_for(&["authorization failed", &topic, "check --acls"]);
    let output = foretide(&["check", "--connect", "--config", &config]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(69), "{text}");
    for forbidden in [&topic, &forecasts, &format!("{app}.state"), &format!("{app}.models"), &format!("{app}.…")] {
        assert!(text.contains(&format!("{forbidden}: FORBIDDEN")), "{forbidden}: {text}");
    }

    grant(&config, &scorer, &forecasts);
    let see = ["--add", "--allow-principal", &scorer, "--operation", "Describe", "--operation", "Create"];
    kafka.acls(&[&see[..], &["--topic", &forecasts]].concat());
    daemon.waits_for(&["writing", &forecasts, "Topic authorization failed", "check --acls"]);
    assert!(daemon.process.log().contains("retry_in="), "{}", daemon.process.log());
    for _ in 0..200 {
        let (status, body) = http_get(daemon.port, "/readyz").unwrap();
        assert!(
            status == 503 && body.contains(&forecasts),
            "a new group membership alone does not make the daemon ready: {body}"
        );
        std::thread::sleep(Duration::from_millis(25));
    }

    kafka.acls(&["--add", "--allow-principal", &scorer, "--operation", "Write", "--topic", &forecasts]);
    daemon.ready();
    daemon.forecasts(&setup, 400);

    let mut trainer = Daemon::start(&Setup { role: "train", kafka: &learns, ..setup });
    trainer.waits_for(&["authorization failed"]);
    grant(trainer.config.to_str().unwrap(), &learner, "");
    wait_for("weights to be published and served", LIMIT, || {
        assert!(daemon.process.runs(), "the process has ended:\n{}", daemon.process.log());
        assert!(trainer.process.runs(), "the process has ended:\n{}", trainer.process.log());
        let (_, metrics) = http_get(daemon.port, "/metrics")?;
        let line = metrics.lines().find(|line| line.starts_with("foretide_weights_version{"))?;
        line.rsplit(' ').next()?.parse::<f64>().ok().filter(|version| *version >= 1.0)
    });
    for mut daemon in [daemon, trainer] {
        let output = foretide(&["check", "--connect", "--config", daemon.config.to_str().unwrap()]);
        assert!(output.status.success(), "{}", printed(&output));
        assert!(daemon.process.stop(LIMIT).success(), "{}", daemon.process.log());
    }
}

/// Copies, and positions in topics that the group does not subscribe to, need no more than what is printed.
#[test]
fn the_printed_permissions_are_enough_to_repartition() {
    let kafka = secured();
    let (topic, app) = (kafka.kafka.topic("least-spread", 1), unique("least-spread"));
    feed(&topic, 0..40);
    let scores = kafka.with_password("PLAIN", LEAST);
    let stream = "repartition = true\nstart = \"earliest\"";
    let mut daemon = Daemon::start(&Setup { stream, ..Setup::new(&app, &scores, &topic) });
    let config = daemon.config.to_str().unwrap().to_owned();
    daemon.waits_for(&["authorization failed", "check --acls"]);
    grant(&config, &format!("User:{}", LEAST.0), "");
    daemon.ready();
    let forecasts = Partition { topic: format!("{app}.stream.forecasts").into(), number: 0 };
    wait_for("all readings to be forecast", LIMIT, || {
        assert!(daemon.process.runs(), "the daemon has ended:\n{}", daemon.process.log());
        (kafka.kafka.broker().offsets(&forecasts).unwrap().end >= 8 * 40).then_some(())
    });
    let output = foretide(&["check", "--connect", "--config", &config]);
    let text = printed(&output);
    assert!(output.status.success() && text.contains(&format!("out    {app}.stream.repartition: 1 part")), "{text}");
    assert!(daemon.process.stop(LIMIT).success(), "{}", daemon.process.log());
}
