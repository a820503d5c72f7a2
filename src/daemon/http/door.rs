//! Where the server listens, whether over TLS, and whom it lets in.

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use super::{ServeError, tls, token::Token};
use crate::settings;

/// The way in. Without a token everybody is let in who can reach the address.
#[derive(Debug, Clone)]
pub struct Door {
    pub(super) listen: String,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) token: Option<Token>,
}

impl Door {
    /// A plain door without a lock at `listen` (`ADDRESS:PORT`).
    pub fn open(listen: impl Into<String>) -> Self {
        Self { listen: listen.into(), tls: None, token: None }
    }

    /// The door that `[http]` asks for.
    ///
    /// # Errors
    /// When certificate or key cannot be used.
    pub fn new(http: &settings::Http) -> Result<Self, ServeError> {
        let tls = match (&http.tls_certificate_file, &http.tls_key_file) {
            (Some(certificate), Some(key)) => Some(tls::load(certificate, key)?),
            _ => None,
        };
        Ok(Self { listen: http.listen.to_string(), tls, token: http.bearer_token.clone().map(Token::new) })
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
