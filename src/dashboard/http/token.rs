//! The token that a caller must know, where one is asked for.

use axum::http::HeaderValue;
use base64::{Engine, prelude::BASE64_STANDARD};
use subtle::ConstantTimeEq;

use crate::settings::Secret;

/// What `http.bearer_token` says.
#[derive(Debug, Clone)]
pub struct Token(Secret);

impl Token {
    /// The token itself.
    pub fn new(token: Secret) -> Self {
        Self(token)
    }

    /// Whether an `Authorization` header carries it: as a bearer token, as Prometheus and scripts send it, or as the
    /// password of the basic scheme, for which a browser asks by itself (the user's name may be any).
    pub fn opens(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some(text) = authorization.and_then(|value| value.to_str().ok()) else { return false };
        match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => self.is(token.trim().as_bytes()),
            Some((scheme, coded)) if scheme.eq_ignore_ascii_case("basic") => {
                let Ok(pair) = BASE64_STANDARD.decode(coded.trim()) else { return false };
                let colon = pair.iter().position(|byte| *byte == b':');
                colon.is_some_and(|colon| self.is(&pair[colon + 1..]))
            }
            _ => false,
        }
    }

    /// Takes as long for a guess that is nearly right as for one that is not.
    fn is(&self, guess: &[u8]) -> bool {
        self.0.reveal().as_bytes().ct_eq(guess).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_as_bearer_token_and_as_a_browsers_password() {
        let token = Token::new(Secret::new("correct-horse-battery".into()));
        let opens = |text: &str| token.opens(Some(&HeaderValue::from_str(text).unwrap()));
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        assert!(opens("Bearer correct-horse-battery") && opens("bearer  correct-horse-battery"));
        assert!(opens(&basic("anybody:correct-horse-battery")) && opens(&basic(":correct-horse-battery")));
        assert!(!token.opens(None));
        for wrong in ["Bearer", "Bearer ", "Bearer correct-horse-batter", "Digest correct-horse-battery", "Basic %%%"] {
            assert!(!opens(wrong), "{wrong}");
        }
        assert!(!opens(&basic("correct-horse-battery")) && !opens(&basic("correct-horse-battery:")));
        assert!(!format!("{token:?}").contains("horse"));
    }
}
