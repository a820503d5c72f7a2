//! Mistakes in `[http]`, and what is said of a door that stands open.

use super::super::{parse, summary};
use super::{STREAM, assert_report};

#[test]
fn a_token_is_hard_to_guess_and_a_certificate_has_its_key() {
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
  = hint: such as what `openssl rand -hex 32` prints

error: contradiction
 --> f.toml:3:16
  |
3 | tls_key_file = "Cargo.toml"
  |                ^^^^^^^^^^^^
  = key: http.tls_key_file
  = expected: a certificate and its key
  = found: no tls_certificate_file
  = see: http.tls_certificate_file by default
  = hint: add tls_certificate_file

error: unknown key
 --> f.toml:4:1
  |
4 | tls_certificate
  | ^^^^^^^^^^^^^^^
  = key: http.tls_certificate
  = expected: one of listen, tls_certificate_file, tls_key_file, bearer_token, bearer_token_file, connections, body_bytes
  = hint: did you mean `tls_certificate_file`?

f.toml: 3 problems; nothing was started"#;
    assert_report(&text, &[], report);
}

#[test]
fn an_open_door_is_said() {
    let told = |http: &str| {
        let settings = parse("f.toml", &format!("[http]\n{http}\n{STREAM}"), []).unwrap();
        summary(&settings, |_| None)
    };
    assert!(!told("").contains("mind"));
    let open = told("listen = \"0.0.0.0:9464\"");
    assert!(open.contains("0.0.0.0:9464 (plain, no token)") && open.contains("set http.bearer_token_file"), "{open}");
    let token = "listen = \"0.0.0.0:9464\"\nbearer_token = \"0123456789abcdef\"";
    assert!(told(token).contains("the token travels in the clear"));
    let both = "\ntls_certificate_file = \"Cargo.toml\"\ntls_key_file = \"Cargo.toml\"";
    let closed = told(&(token.to_owned() + both));
    assert!(closed.contains("(TLS, a token)") && !closed.contains("mind"), "{closed}");
}
