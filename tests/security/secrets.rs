//! No secret is ever printed: not in the most verbose logs, in metrics, on the dashboard, or by any command.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::harness::{
    process::Process,
    secured::{KEY_PASSWORD, LEAST, PLAIN, SCRAM, secured},
    unique,
};
use crate::support::{Daemon, LIMIT, Setup, ask, feed, foretide, printed};

const TOKEN: &str = "bearer-token-41aa9e";
const PROPERTY: &str = "property-secret-6b17";
const VARIABLE: &str = "variable-secret-0c9d";
const MISPLACED: &str = "misplaced-secret-77ef";

/// Fails where `text` contains a secret, in the clear or in Base64.
fn expect_no_secret(place: &str, text: &str) {
    assert!(!text.is_empty(), "{place}: there is no output to check");
    for secret in [PLAIN.1, SCRAM.1, LEAST.1, KEY_PASSWORD, TOKEN, PROPERTY, VARIABLE, MISPLACED] {
        for form in [secret.to_owned(), BASE64_STANDARD.encode(secret)] {
            let line = text.lines().find(|line| line.contains(&form));
            assert!(line.is_none(), "{place} shows a secret: {}", line.unwrap_or_default());
        }
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let kafka = secured();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let topic = kafka.kafka.topic("secrets", 1);
    feed(&topic, 0..20);
    // All settings that hold a secret, some in the configuration, some in files.
    let password_file = file("password", &format!("{}\n", SCRAM.1));
    let token_file = file("token", &format!("{TOKEN}\n"));
    let section = kafka
        .with_password("SCRAM-SHA-512", SCRAM)
        .replace(&format!("sasl_password = {:?}", SCRAM.1), &format!("sasl_password_file = {password_file:?}"))
        + &format!(
            "ssl_certificate_file = {:?}\nssl_key_file = {:?}\nssl_key_password = {KEY_PASSWORD:?}\n\
             properties = {{ \"ssl.keystore.password\" = {PROPERTY:?}, debug = \"all\" }}\n",
            kafka.file("client.pem"),
            kafka.file("client.encrypted.key"),
        );
    let http = format!(
        "tls_certificate_file = {:?}\ntls_key_file = {:?}\nbearer_token_file = {token_file:?}\n",
        kafka.file("client.pem"),
        kafka.file("client.key"),
    );
    let app = unique("secrets");
    let setup = Setup { http: &http, level: "trace", ..Setup::new(&app, &section, &topic) };
    let mut daemon = Daemon::start(&setup);
    daemon.forecasts(&setup, 20);

    let authority = kafka.folder.join("authority.pem");
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let chart = "/api/chart?stream=stream&series=s1";
    for path in ["/", "/page.js", "/charts.js", "/metrics", "/livez", "/readyz", "/api/overview", "/api/series", chart]
    {
        for headers in [bearer.as_str(), "", "Authorization: Bearer wrong\r\n"] {
            let answer = ask(daemon.port, &authority, &format!("GET {path}"), headers).unwrap();
            assert!(headers != bearer || path == "/readyz" || answer.contains(" 200 "), "{path}: {answer}");
            expect_no_secret(path, &answer);
        }
    }
    expect_no_secret("POST", &ask(daemon.port, &authority, "POST /api/series", &bearer).unwrap());

    let config = daemon.config.to_str().unwrap().to_owned();
    for arguments in [&["check"][..], &["check", "--acls", "User:me"], &["check", "--connect"]] {
        let output = foretide(&[arguments, &["--config", &config]].concat());
        assert!(output.status.success(), "{}", printed(&output));
        expect_no_secret("check", &printed(&output));
    }
    assert!(daemon.process.stop(LIMIT).success());
    let log = daemon.process.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is verbose");
    expect_no_secret("the log", &log);

    // Authentication fails, with a password from the environment.
    let wrong = kafka.with_password("PLAIN", LEAST).replace(LEAST.0, PLAIN.0);
    let verbose = wrong.clone() + "properties = { debug = \"all\" }\n";
    let app = unique("refused");
    let setup = Setup { level: "trace", ..Setup::new(&app, &verbose, &topic) };
    let mut refused = Daemon::start_with(&setup, &[("FORETIDE__KAFKA__SASL_PASSWORD", VARIABLE)]);
    let reason = refused.waits_for(&["kafka.sasl_password"]);
    expect_no_secret("the reason", &reason);
    let output = foretide(&["check", "--connect", "--config", refused.config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(69));
    expect_no_secret("check --connect", &printed(&output));
    assert!(refused.process.stop(LIMIT).success());
    expect_no_secret("the log of the refused daemon", &refused.process.log());

    // Mistakes in secrets and near them.
    let mistakes = [
        section.replace("sasl_password_file", "sasl_pasword_file = \"/x\"\nsasl_password_file"),
        section
            .replace(&format!("ssl_key_password = {KEY_PASSWORD:?}"), &format!("ssl_key_password = [{MISPLACED:?}]")),
        section.replace("ssl_key_password", "ssl_key_pasword"),
        section.replace("ssl_key_password = ", "ssl_key_password == "),
        section.replace(&password_file, MISPLACED).replace("sasl_password_file", "sasl_passwort"),
        section.replace(&format!("ssl_key_password = {KEY_PASSWORD:?}"), &format!("ssl_key_password = {MISPLACED:?}")),
        section.replace("debug = ", "\"no.such.property\" = "),
        format!("{section}[http]\nbearer_token = [{MISPLACED:?}]\n[ignored"),
    ];
    for (number, mistake) in mistakes.iter().enumerate() {
        let path = file(&format!("{number}.toml"), &Setup::new("mistakes", mistake, &topic).toml(0));
        for command in ["check", "run"] {
            let mut process =
                Process::foretide(folder.path(), &format!("{command}-{number}"), [command, "--config", &path]);
            let status = process.wait(LIMIT);
            assert_eq!(status.code(), Some(78), "{number}: {}", process.log());
            expect_no_secret(&format!("{command} of mistake {number}"), &process.log());
        }
    }
}
