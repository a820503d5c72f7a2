//! Mistakes in `[http]`, and the warning about a server without protection.

use super::super::{parse, summary};
use super::{STREAM, assert_report};

#[test]
fn a_token_must_be_long_and_a_certificate_needs_its_key() {
    let text =
        format!("[http]\nbearer_token = \"hunter2\"\ntls_key_file = \"Cargo.toml\"\ntls_certificate = \"x\"\n{STREAM}");
    let report = r#"error: wrong value
 --> f.toml:2:16
  |
2 | bearer_token = ***
  |                ^^^
  = key: http.bearer_token
  = expected: at least 16 printable ASCII characters without spaces
  = found: a token that is not shown
  = hint: `openssl rand -hex 32` prints a good one

error: conflicting values
 --> f.toml:3:16
  |
3 | tls_key_file = "Cargo.toml"
  |                ^^^^^^^^^^^^
  = key: http.tls_key_file
  = expected: a certificate and its key
  = found: no tls_certificate_file
  = see: http.tls_certificate_file by default
  = hint: add tls_certificate_file

error: unknown key `tls_certificate`; did you mean `tls_certificate_file`?
 --> f.toml:4:1
  |
4 | tls_certificate
  | ^^^^^^^^^^^^^^^
  = key: http.tls_certificate

f.toml: 3 problems; nothing was started"#;
    assert_report(&text, &[], report);
}

#[test]
fn the_summary_warns_of_a_server_that_other_machines_reach_without_protection() {
    let summarise = |http: &str| {
        let settings = parse("f.toml", &format!("[http]\n{http}\n{STREAM}"), []).unwrap();
        summary(&settings, |_| None)
    };
    assert!(!summarise("").contains("warning"));
    let open = summarise("listen = \"0.0.0.0:9464\"");
    assert!(open.contains("0.0.0.0:9464 (no TLS, no token)") && open.contains("set http.bearer_token_file"), "{open}");
    let token = "listen = \"0.0.0.0:9464\"\nbearer_token = \"0123456789abcdef\"";
    assert!(summarise(token).contains("the HTTP token is sent unencrypted"));
    let both = "\ntls_certificate_file = \"Cargo.toml\"\ntls_key_file = \"Cargo.toml\"";
    let closed = summarise(&(token.to_owned() + both));
    assert!(closed.contains("(TLS, token)") && !closed.contains("warning"), "{closed}");
}
