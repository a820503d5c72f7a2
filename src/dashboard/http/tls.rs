//! The server's certificate, and its reload when the files change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum_server::tls_rustls::RustlsConfig;
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::error::ServeError;

/// How often the files are read again. A renewed certificate serves after at most this long.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// A certificate and its key. Clones share the TLS configuration, so a reload reaches all of them.
#[derive(Debug, Clone)]
pub(super) struct ServerCertificate {
    certificate: PathBuf,
    key: PathBuf,
    config: RustlsConfig,
    /// Hash of the contents of both files when they were loaded.
    fingerprint: [u8; 32],
}

impl ServerCertificate {
    /// Loads a certificate chain and its key from PEM files.
    ///
    /// # Errors
    /// When a file cannot be read or is not PEM, or the key does not belong to the certificate. The message names the
    /// configuration key.
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Self, ServeError> {
        let pem = Pem::read(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            config: RustlsConfig::from_config(pem.server_config(certificate, key)?),
            fingerprint: pem.fingerprint(),
        })
    }

    /// The TLS configuration. It changes with a reload.
    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Reloads the files whenever they change, for as long as it is polled. The old certificate stays in use while the
    /// new files cannot be used.
    pub(super) async fn watch(mut self) {
        let mut reported = String::new();
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let (certificate, key, old) = (self.certificate.clone(), self.key.clone(), self.fingerprint);
            let changed = tokio::task::spawn_blocking(move || {
                let pem = Pem::read(&certificate, &key)?;
                let fingerprint = pem.fingerprint();
                let changed = fingerprint != old;
                changed.then(|| pem.server_config(&certificate, &key).map(|config| (config, fingerprint))).transpose()
            });
            match changed.await {
                Ok(Ok(None)) => reported.clear(),
                Ok(Ok(Some((config, fingerprint)))) => {
                    self.config.reload_from_config(config);
                    self.fingerprint = fingerprint;
                    reported.clear();
                    tracing::info!(file = %self.certificate.display(), "reloaded the HTTP certificate");
                }
                Ok(Err(error)) => {
                    let error = error.to_string();
                    if error != reported {
                        tracing::warn!(error, "cannot reload the HTTP certificate; the old one stays in use");
                        reported = error;
                    }
                }
                // The runtime shuts down.
                Err(_) => return,
            }
        }
    }
}

/// Contents of the two files.
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pem {
    fn read(certificate: &Path, key: &Path) -> Result<Self, ServeError> {
        let read = |setting, file: &Path| std::fs::read(file).map_err(|error| invalid(setting, file, &error));
        Ok(Self { certificate: read(CERTIFICATE, certificate)?, key: read(KEY, key)? })
    }

    fn fingerprint(&self) -> [u8; 32] {
        Sha256::new().chain_update(Sha256::digest(&self.certificate)).chain_update(&self.key).finalize().into()
    }

    fn server_config(&self, certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ServeError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|error| invalid(CERTIFICATE, certificate, &error))?;
        if chain.is_empty() {
            return Err(invalid(CERTIFICATE, certificate, &"it has no certificate"));
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| invalid(KEY, key, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|error| invalid(KEY, key, &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Configuration keys below `http`.
const CERTIFICATE: &str = "tls_certificate_file";
const KEY: &str = "tls_key_file";

fn invalid(setting: &'static str, file: &Path, reason: &dyn std::fmt::Display) -> ServeError {
    ServeError::Certificate { setting, file: file.to_owned(), reason: reason.to_string() }
}
