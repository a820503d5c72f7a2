//! TLS for the page, on request.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use super::ServeError;

/// How long a caller may take to shake hands.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most callers that shake hands at the same time; others wait in the system's queue.
const MOST_HANDSHAKES: usize = 64;

/// Reads a certificate, with those of the authorities between, and its key.
///
/// # Errors
/// When a file cannot be read, is not PEM, or the two do not belong together; the message names the setting.
pub fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ServeError> {
    let wrong = |setting, file: &Path, reason: &dyn std::fmt::Display| ServeError::Certificate {
        setting,
        file: file.to_owned(),
        reason: reason.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong("tls_certificate_file", certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong("tls_certificate_file", certificate, &"it holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("tls_key_file", key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| wrong("tls_key_file", key, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Hands out connections whose handshake is done, so that a caller who dawdles holds nobody up.
pub struct TlsListener {
    address: SocketAddr,
    greeted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// Begins to greet callers; must be called within a tokio runtime. It ends when the listener is dropped.
    pub fn start(listener: TcpListener, address: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let (greeter, greeted) = mpsc::channel(1);
        tokio::spawn(greet(listener, config.into(), greeter));
        Self { address, greeted }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.greeted.recv().await {
            Some(caller) => caller,
            // The greeter ends after us only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn greet(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    greeter: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let room = Arc::new(Semaphore::new(MOST_HANDSHAKES));
    loop {
        let caller = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, Listener::accept(&mut listener).await)
        };
        let (place, (stream, address)) = tokio::select! {
            caller = caller => caller,
            () = greeter.closed() => return,
        };
        let (acceptor, greeter) = (acceptor.clone(), greeter.clone());
        tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                // It fails only when the server has ended.
                Ok(Ok(stream)) => drop(greeter.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS with this caller"),
                Err(_) => tracing::debug!(%address, "this caller took too long to shake hands"),
            }
        });
    }
}
