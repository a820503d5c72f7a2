//! Where the server listens, over which protocol, and within which limits.

use super::{error::ServeError, tls::ServerCertificate, token::Token};
use crate::settings;

/// The server's address, protocol and limits. Without a token everybody has access who can reach the address.
#[derive(Debug, Clone)]
pub struct ListenerSpec {
    /// `ADDRESS:PORT`.
    pub(super) listen: String,
    /// The certificate; plain HTTP without one.
    pub(super) tls: Option<ServerCertificate>,
    pub(super) token: Option<Token>,
    /// Most connections at a time.
    pub(super) connections: usize,
    /// Most bytes of a request's body.
    pub(super) body_bytes: u64,
}

impl ListenerSpec {
    /// Plain HTTP without a token at `listen` (`ADDRESS:PORT`), with the default limits.
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

    /// The listener that `[http]` describes.
    ///
    /// # Errors
    /// When the certificate or the key cannot be used.
    pub fn from_settings(http: &settings::Http) -> Result<Self, ServeError> {
        let tls = match (&http.tls_certificate_file, &http.tls_key_file) {
            (Some(certificate), Some(key)) => Some(ServerCertificate::load(certificate, key)?),
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
