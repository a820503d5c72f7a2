//! Why the HTTP server cannot start.

use std::{io, path::PathBuf};

/// Why the HTTP server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be parsed or resolved.
    #[error(
        "cannot listen on {listen:?}: {reason}; expected ADDRESS:PORT, such as 127.0.0.1:9464 or [::]:9464 (port 0 \
         takes a free one)"
    )]
    Address {
        /// The address as configured.
        listen: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {listen}: {source}; {}", hint(source.kind()))]
    Bind {
        /// The address as configured.
        listen: String,
        /// The system's error.
        source: io::Error,
    },
    /// The certificate or the key cannot be used.
    #[error(
        "http.{setting}: {}: {reason}; expected PEM, a certificate and the key that belongs to it", file.display()
    )]
    Certificate {
        /// The configuration key.
        setting: &'static str,
        /// The file that it names.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What to do about an address that cannot be bound.
fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or choose another port (0 takes a free one)"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one",
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: use 127.0.0.1 for this machine only, 0.0.0.0 for all of its addresses"
        }
        _ => "choose another address",
    }
}
