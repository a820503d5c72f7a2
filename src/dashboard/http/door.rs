//! Where the server listens, whether over TLS, and whom it lets in.

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use super::{ServeError, tls, token::Token};
use crate::settings;

/// The way in. Without a token everybody is let in who can reach the address.
#[derive(Debug, Clone)]
pub struct ListenerSpec {
    pub(super) listen: String,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) token: Option<Token>,
    pub(super) connections: usize,
    pub(super) body_bytes: u64,
}

impl ListenerSpec {
    /// A plain door without a lock at `listen` (`ADDRESS:PORT`).
    pub fn plain(listen: impl Into<String>) -> Self {
        let settings::Http { connections, body_bytes, .. } = settings::Http::default();
        Self {
            listen: listen.into(),
            tls: None,
            token: None,
            connections: connections as usize,
            body_bytes: body_bytes.0,
        }
    }

    /// The door that `[http]` asks for.
    ///
    /// # Errors
    /// When certificate or key cannot be used.
    pub fn from_settings(http: &settings::Http) -> Result<Self, ServeError> {
        let tls = match (&http.tls_certificate_file, &http.tls_key_file) {
            (Some(certificate), Some(key)) => Some(tls::load(certificate, key)?),
            _ => None,
        };
        Ok(Self {
            listen: http.listen.to_string(),
            tls,
            token: http.bearer_token.clone().map(Token::new),
            connections: http.connections as usize,
            body_bytes: http.body_bytes.0,
        })
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
