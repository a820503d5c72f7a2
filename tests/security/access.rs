//! Authentication at the cluster: accepted, refused, and repeated.

use std::time::Duration;

use crate::harness::{
    secured::{KEY_PASSWORD, LATE, PLAIN, ROTATED, SCRAM, secured},
    unique, wait_for,
};
use crate::support::{Daemon, LIMIT, Setup, feed, foretide, printed, with_certificate};

#[test]
fn forecasts_are_published_with_tls_and_with_each_sasl_mechanism() {
    let kafka = secured();
    let topic = kafka.kafka.topic("secured", 1);
    feed(&topic, 0..20);
    let methods = [
        ("mutual", with_certificate(kafka, "client.pem", "client.encrypted.key", KEY_PASSWORD)),
        ("plain", kafka.with_password("PLAIN", PLAIN)),
        ("scram256", kafka.with_password("SCRAM-SHA-256", SCRAM)),
        ("scram512", kafka.with_password("SCRAM-SHA-512", SCRAM)),
    ];
    let apps: Vec<String> = methods.iter().map(|(name, _)| unique(name)).collect();
    let setups: Vec<Setup<'_>> =
        methods.iter().zip(&apps).map(|((_, section), app)| Setup::new(app, section, &topic)).collect();
    let daemons: Vec<Daemon> = setups.iter().map(Daemon::start).collect();
    for (mut daemon, setup) in daemons.into_iter().zip(&setups) {
        daemon.ready();
        daemon.forecasts(setup, 20);
        assert!(daemon.process.stop(LIMIT).success(), "{}", daemon.process.log());
    }
}

#[test]
fn a_daemon_with_a_wrong_password_retries_until_the_password_is_right() {
    let kafka = secured();
    let (topic, app) = (kafka.kafka.topic("late", 1), unique("late"));
    feed(&topic, 0..20);
    let section = kafka.with_password("SCRAM-SHA-512", (LATE, "later-password-5d2e"));
    let setup = Setup::new(&app, &section, &topic);
    let mut daemon = Daemon::start(&setup);
    daemon.waits_for(&["authentication failed", "kafka.sasl_password"]);
    let pauses = wait_for("four attempts", LIMIT, || {
        assert!(daemon.process.runs(), "the daemon must not end:\n{}", daemon.process.log());
        let log = daemon.process.log();
        let pauses = log.lines().filter_map(|line| line.split_once("retry_in=")?.1.split(' ').next());
        let pauses: Vec<String> = pauses.map(str::to_owned).collect();
        (pauses.len() >= 4).then_some(pauses)
    });
    assert_eq!(pauses[..4], ["500ms", "1s", "2s", "4s"], "the pauses grow");
    assert_eq!(crate::harness::http_get(daemon.port, "/livez").unwrap().0, 200, "a waiting daemon is alive");
    kafka.set_password(LATE, "later-password-5d2e");
    daemon.ready();
    daemon.forecasts(&setup, 20);
}

/// The password that the file has at the start is refused. The process authenticates with a later one.
#[test]
fn a_replaced_password_file_is_read_at_the_next_attempt() {
    let kafka = secured();
    let (topic, app) = (kafka.kafka.topic("rotated", 1), unique("rotated"));
    feed(&topic, 0..20);
    kafka.set_password(ROTATED, "new-3c41");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "old-9b20\n").unwrap();
    let section = kafka.with_password("SCRAM-SHA-512", (ROTATED, "in-a-file"));
    let section = section.replace("sasl_password = \"in-a-file\"", &format!("sasl_password_file = {file:?}"));
    let setup = Setup::new(&app, &section, &topic);
    let mut daemon = Daemon::start(&setup);
    daemon.waits_for(&["authentication failed", "kafka.sasl_password"]);
    std::fs::remove_file(&file).unwrap();
    daemon.process.wait_for_log("cannot read a secret's file again", LIMIT);
    std::fs::write(&file, "new-3c41\n").unwrap();
    daemon.ready();
    daemon.forecasts(&setup, 20);
    assert!(daemon.process.stop(LIMIT).success(), "{}", daemon.process.log());
}

#[test]
fn a_refused_daemon_reports_what_to_check_and_does_not_end() {
    let kafka = secured();
    let topic = kafka.kafka.topic("refused", 1);
    let authority = kafka.file("authority.pem");
    let certificate = |lines: &str| {
        format!(
            "[kafka]\nbrokers = [\"127.0.0.1:{}\"]\nsecurity_protocol = \"ssl\"\nssl_ca_file = {authority:?}\n{lines}",
            kafka.tls
        )
    };
    let password = kafka.with_password("SCRAM-SHA-512", SCRAM);
    let cases: [(&str, String, &[&str]); 6] = [
        ("authority", password.replace("authority.pem", "stranger.pem"), &["kafka.ssl_ca_file"]),
        ("host", password.replace("127.0.0.1", "localhost"), &["must name the host"]),
        ("nothing", certificate(""), &["kafka.ssl_certificate_file"]),
        ("impostor", with_certificate(kafka, "impostor.pem", "impostor.key", ""), &["kafka.ssl_certificate_file"]),
        ("mechanism", kafka.with_password("SCRAM-SHA-256", PLAIN), &["kafka.sasl_mechanism"]),
        ("clear", format!("[kafka]\nbrokers = [\"127.0.0.1:{}\"]\n", kafka.tls), &["kafka.security_protocol"]),
    ];
    let start = |(name, section, words): (&str, String, &'static [&'static str])| {
        (Daemon::start(&Setup::new(&unique(name), &section, &topic)), words)
    };
    let mut daemons = cases.map(start);
    for (daemon, words) in &mut daemons {
        daemon.waits_for(words);
    }
    std::thread::sleep(Duration::from_secs(2));
    for (daemon, _) in &mut daemons {
        assert!(daemon.process.runs(), "the daemon must not end:\n{}", daemon.process.log());
        assert!(
            daemon.process.stop(LIMIT).success(),
            "SIGTERM ends the daemon with success:\n{}",
            daemon.process.log()
        );
    }
}

#[test]
fn check_reports_why_authentication_fails_and_which_key_is_wrong() {
    let kafka = secured();
    let topic = kafka.kafka.topic("check", 1);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("foretide.toml");
    let check = |section: &str| {
        let app = unique("check");
        std::fs::write(&config, Setup::new(&app, section, &topic).toml(0)).unwrap();
        let output = foretide(&["check", "--connect", "--config", config.to_str().unwrap()]);
        (output.status.code(), printed(&output))
    };
    let (code, text) = check(&kafka.with_password("SCRAM-SHA-512", SCRAM));
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = check(&kafka.with_password("SCRAM-SHA-512", (SCRAM.0, "wrong")));
    assert!(code == Some(69) && text.contains("kafka.sasl_password"), "{code:?}: {text}");
    let (code, text) = check(&with_certificate(kafka, "client.pem", "client.encrypted.key", "wrong"));
    assert!(code == Some(78) && text.contains("kafka.ssl_key_password"), "{code:?}: {text}");
    let (code, text) = check(&with_certificate(kafka, "client.pem", "impostor.key", ""));
    assert!(code == Some(78) && text.contains("kafka.ssl_key_file"), "{code:?}: {text}");
    let (code, text) = check(&with_certificate(kafka, "nowhere.pem", "impostor.key", ""));
    assert!(code == Some(78) && text.contains("nowhere.pem: No such file"), "{code:?}: {text}");
}
