//! A Kafka with access control: TLS with client certificates, SASL over TLS, and ACLs. A further listener without
//! authentication gives the tests all permissions.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{
    certificates::Authority,
    free_port,
    kafka::{Kafka, properties},
};

/// User with all permissions and the SASL mechanism PLAIN, with its password.
pub const PLAIN: (&str, &str) = ("plain", "plain-password-7f31");
/// User with all permissions and the SASL mechanisms SCRAM, with its password.
pub const SCRAM: (&str, &str) = ("scram", "scram-password-90ab");
/// User without permissions, with its password.
pub const LEAST: (&str, &str) = ("least", "least-password-e08c");
/// Another user without permissions, with its password.
pub const LEARNER: (&str, &str) = ("learner", "learner-password-2b6f");
/// User with all permissions that has no password at the start.
pub const LATE: &str = "late";
/// Like [`LATE`], for a password that changes.
pub const ROTATED: &str = "rotated";
/// User of the client certificate, with all permissions.
pub const CLIENT: &str = "client";
/// Password of the encrypted key of the client.
pub const KEY_PASSWORD: &str = "key-password-c55d";

/// The cluster.
pub struct SecuredCluster {
    /// The listener without authentication, which has all permissions.
    pub kafka: Kafka,
    /// Port with TLS and client certificates.
    pub tls: u16,
    /// Port with SASL over TLS.
    pub sasl: u16,
    /// Folder of the certificates: `authority.pem`, `client.pem`, `client.encrypted.key`; `stranger.pem` is another
    /// authority, which has signed `impostor.pem` with `impostor.key`.
    pub folder: PathBuf,
}

/// The cluster, started on first use.
pub fn secured() -> &'static SecuredCluster {
    static SECURED: OnceLock<SecuredCluster> = OnceLock::new();
    SECURED.get_or_init(|| {
        let (tls, sasl) = (free_port(), free_port());
        let [first, second] =
            ["256", "512"].map(|bits| format!("SCRAM-SHA-{bits}=[name={},password={}]", SCRAM.0, SCRAM.1));
        // The folder of the broker, which is removed with it.
        let keys = RefCell::new(PathBuf::new());
        let kafka = Kafka::start(
            &|folder, port, controller| {
                make_certificates(folder);
                folder.clone_into(&mut keys.borrow_mut());
                secured_properties(&properties(folder, port, controller), folder, [port, controller, tls, sasl])
            },
            &["--add-scram", &first, "--add-scram", &second],
        );
        SecuredCluster { kafka, tls, sasl, folder: keys.into_inner() }
    })
}

fn make_certificates(folder: &Path) {
    let authority = Authority::new(folder, "authority");
    let (certificate, key) = authority.sign("broker");
    let both = [key, certificate].map(|file| std::fs::read_to_string(file).expect("it was made"));
    std::fs::write(folder.join("broker.both.pem"), both.concat()).expect("written");
    authority.encrypt(&authority.sign(CLIENT).1, KEY_PASSWORD);
    Authority::new(folder, "stranger").sign("impostor");
}

/// The properties of a broker without authentication, with further listeners, users and access control.
fn secured_properties(plain: &str, keys: &Path, [port, controller, tls, sasl]: [u16; 4]) -> String {
    let replaced = ["listeners=", "advertised.listeners=", "listener.security.protocol.map="];
    let kept = plain.lines().filter(|line| !replaced.iter().any(|key| line.starts_with(key)));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    let users: String =
        [PLAIN, LEAST, LEARNER].iter().map(|(user, password)| format!(" user_{user}=\"{password}\"")).collect();
    let super_users =
        format!("User:ANONYMOUS;User:{};User:{};User:{LATE};User:{ROTATED};User:CN={CLIENT}", PLAIN.0, SCRAM.0);
    let open = format!("PLAINTEXT://127.0.0.1:{port},TLS://127.0.0.1:{tls},SASL://127.0.0.1:{sasl}");
    let (keys, login) = (keys.display(), "org.apache.kafka.common.security");
    format!(
        "{kept}listeners={open},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={open}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={keys}/broker.both.pem
ssl.truststore.type=PEM
ssl.truststore.location={keys}/authority.pem
listener.name.tls.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config={login}.plain.PlainLoginModule required{users};
listener.name.sasl.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users={super_users}
"
    )
}

impl SecuredCluster {
    /// Path of a file in the folder of the certificates.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// `[kafka]` for a SASL user.
    pub fn with_password(&self, mechanism: &str, (user, password): (&str, &str)) -> String {
        format!(
            "[kafka]\nbrokers = [\"127.0.0.1:{}\"]\nsecurity_protocol = \"sasl_ssl\"\nsasl_mechanism = {mechanism:?}\n\
             sasl_username = {user:?}\nsasl_password = {password:?}\nssl_ca_file = {:?}\n",
            self.sasl,
            self.file("authority.pem"),
        )
    }

    /// Sets the password of a user.
    pub fn set_password(&self, user: &str, password: &str) {
        let added = format!("SCRAM-SHA-512=[password={password}]");
        let server = ["--bootstrap-server", &self.kafka.servers];
        let rest = ["--alter", "--entity-type", "users", "--entity-name", user, "--add-config", &added];
        self.kafka.tool("kafka.admin.ConfigCommand", &[&server[..], &rest].concat());
    }

    /// Runs Kafka's ACL tool through the listener without authentication.
    pub fn acls(&self, arguments: &[&str]) {
        let server = ["--bootstrap-server", &self.kafka.servers];
        self.kafka.tool("org.apache.kafka.tools.AclCommand", &[&server[..], arguments].concat());
    }
}
