//! Checks of `[http]`.

use super::super::{Http, Size};
use super::Checker;
use super::cluster::{readable, secret, together};

/// A token that is shorter can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Checks `[http]`; reads the file that holds the token.
pub fn check(http: &mut Http, at: &mut Checker<'_>) {
    secret(&mut http.bearer_token, http.bearer_token_file.as_ref(), ("bearer_token", "bearer_token_file"), at);
    let key = if http.bearer_token_file.is_some() { "bearer_token_file" } else { "bearer_token" };
    if let Some(token) = http.bearer_token.as_ref().map(|token| token.reveal()) {
        let fine = token.len() >= SHORTEST_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic());
        let expected = format!("at least {SHORTEST_TOKEN} printable ASCII characters without spaces");
        at.expect(fine, key, expected, "a token that is not shown", "such as what `openssl rand -hex 32` prints");
    }
    at.range("connections", http.connections, 1..=10_000, "");
    at.range("body_bytes", http.body_bytes, Size::bytes(0)..=Size::mebibytes(1), "");
    readable(http.tls_certificate_file.as_deref(), "tls_certificate_file", at);
    readable(http.tls_key_file.as_deref(), "tls_key_file", at);
    let given = [http.tls_certificate_file.is_some(), http.tls_key_file.is_some()];
    together(["tls_certificate_file", "tls_key_file"], given, at);
}
