//! The token that requests must carry, where `http.bearer_token` asks for one.

use axum::http::HeaderValue;
use base64::{Engine, prelude::BASE64_STANDARD};
use subtle::ConstantTimeEq;

use crate::settings::Secret;

/// The value of `http.bearer_token`.
#[derive(Debug, Clone)]
pub struct Token(Secret);

impl Token {
    /// A token of this value.
    pub fn new(token: Secret) -> Self {
        Self(token)
    }

    /// Whether an `Authorization` header carries the token: as a bearer token, which Prometheus and scripts send, or as
    /// the password of the basic scheme, which a browser asks for. The user name does not matter.
    pub fn authorizes(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some(text) = authorization.and_then(|value| value.to_str().ok()) else { return false };
        match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => self.matches(token.trim().as_bytes()),
            Some((scheme, coded)) if scheme.eq_ignore_ascii_case("basic") => {
                let Ok(pair) = BASE64_STANDARD.decode(coded.trim()) else { return false };
                let colon = pair.iter().position(|byte| *byte == b':');
                colon.is_some_and(|colon| self.matches(&pair[colon + 1..]))
            }
            _ => false,
        }
    }

    /// Compares in constant time: the duration does not reveal how much of a guess is right.
    fn matches(&self, guess: &[u8]) -> bool {
        self.0.reveal().as_bytes().ct_eq(guess).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_authorizes_as_bearer_token_and_as_password() {
        let token = Token::new(Secret::new("correct-horse-battery".into()));
        let authorizes = |text: &str| token.authorizes(Some(&HeaderValue::from_str(text).unwrap()));
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        assert!(authorizes("Bearer correct-horse-battery") && authorizes("bearer  correct-horse-battery"));
        assert!(authorizes(&basic("anybody:correct-horse-battery")) && authorizes(&basic(":correct-horse-battery")));
        assert!(!token.authorizes(None));
        for wrong in ["Bearer", "Bearer ", "Bearer correct-horse-batter", "Digest correct-horse-battery", "Basic %%%"] {
            assert!(!authorizes(wrong), "{wrong}");
        }
        assert!(!authorizes(&basic("correct-horse-battery")) && !authorizes(&basic("correct-horse-battery:")));
        assert!(!format!("{token:?}").contains("horse"));
    }
}
