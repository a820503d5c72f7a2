//! Checks of `[http]`.

use super::super::cluster::Http;
use super::super::values::Size;
use super::checker::Checker;
use super::files::{certificate_and_key, readable, secret};

/// Least length of a token, in bytes. A shorter one can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Checks `[http]`, and reads the token from its file.
pub fn check(http: &mut Http, table: &mut Checker<'_>) {
    secret(&mut http.bearer_token, http.bearer_token_file.as_ref(), ("bearer_token", "bearer_token_file"), table);
    let key = if http.bearer_token_file.is_some() { "bearer_token_file" } else { "bearer_token" };
    if let Some(token) = http.bearer_token.as_ref().map(|token| token.reveal()) {
        let valid = token.len() >= SHORTEST_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic());
        let expected = format!("at least {SHORTEST_TOKEN} printable ASCII characters without spaces");
        table.expect(valid, key, expected, "a token that is not shown", "`openssl rand -hex 32` prints a good one");
    }
    table.range("connections", http.connections, 1..=10_000, "");
    table.range("body_bytes", http.body_bytes, Size::bytes(0)..=Size::mebibytes(1), "");
    readable(http.tls_certificate_file.as_deref(), "tls_certificate_file", table);
    readable(http.tls_key_file.as_deref(), "tls_key_file", table);
    let given = [http.tls_certificate_file.is_some(), http.tls_key_file.is_some()];
    certificate_and_key(["tls_certificate_file", "tls_key_file"], given, table);
}
