//! Certificates for tests, made with the `openssl` command.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A certificate authority, and the folder of its certificates.
pub struct Authority {
    folder: PathBuf,
    name: String,
}

impl Authority {
    /// Creates an authority in `folder`: `NAME.pem` and `NAME.key`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let authority = Self { folder: folder.to_owned(), name: name.to_owned() };
        let (key, certificate, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
        authority.openssl(&[
            &["req", "-x509", "-days", "2", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &certificate][..],
            EC,
        ]);
        authority
    }

    /// Signs a certificate for `name` that is valid for 127.0.0.1, but not for `localhost`. Returns its file and the
    /// file of its key.
    pub fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let [key, request, certificate, subject] =
            [format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"), format!("/CN={name}")];
        let (own, own_key) = (format!("{}.pem", self.name), format!("{}.key", self.name));
        self.openssl(&[&["req", "-new", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &request][..], EC]);
        let extensions = format!("{name}.ext");
        std::fs::write(self.folder.join(&extensions), "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1\n")
            .expect("written");
        self.openssl(&[
            &["x509", "-req", "-days", "2", "-in", &request, "-CA", &own, "-CAkey", &own_key][..],
            &["-CAcreateserial", "-extfile", &extensions, "-out", &certificate],
        ]);
        (self.folder.join(certificate), self.folder.join(key))
    }

    /// Encrypts a key with a password, and returns the new file.
    pub fn encrypt(&self, key: &Path, password: &str) -> PathBuf {
        let encrypted = key.with_extension("encrypted.key");
        let (from, to, password) =
            (key.display().to_string(), encrypted.display().to_string(), format!("pass:{password}"));
        self.openssl(&[&["pkcs8", "-topk8", "-v2", "aes256", "-in", &from, "-out", &to, "-passout", &password][..]]);
        encrypted
    }

    /// The certificate of the authority.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    fn openssl(&self, arguments: &[&[&str]]) {
        let arguments = arguments.concat();
        let output = Command::new("openssl").args(&arguments).current_dir(&self.folder).output();
        let output = output.unwrap_or_else(|error| panic!("these tests need the command openssl: {error}"));
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// An elliptic-curve key: small, and generated quickly.
const EC: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
