//! The name that distinguishes this process from its replicas.

#[cfg(target_os = "linux")]
use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixListener},
};

use anyhow::Context;

use crate::{
    env,
    settings::{Auto, Settings},
};

/// The most processes of one app on a host that `instance = "auto"` gives names.
const MOST_PROCESSES: u32 = 256;

/// The name of this process, claimed until it is dropped.
#[derive(Debug)]
pub struct Instance {
    /// Part of client ids and transactional ids.
    pub name: String,
    /// Held open: an abstract socket, which the kernel frees when the process ends in any way. It needs no folder, and
    /// private temporary folders and users do not hide it.
    #[cfg(target_os = "linux")]
    _claim: Option<UnixListener>,
}

impl Instance {
    /// The configured name, or with `"auto"` the host's name. Further processes of the same app on this host are
    /// `<host>-2`, `<host>-3` and so on: the first free name, so that a restart finds its old one.
    ///
    /// # Errors
    /// Where the host has no name, or too many processes run.
    pub fn claim(settings: &Settings) -> anyhow::Result<Self> {
        match &settings.instance {
            Auto::Set(name) => Ok(Self::unclaimed(name.clone())),
            Auto::Auto => {
                let host = env::host_name().context("this host has no name; set `instance` in the configuration")?;
                Self::first_free(&settings.app, &host)
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn first_free(_app: &str, host: &str) -> anyhow::Result<Self> {
        Ok(Self::unclaimed(host.to_owned()))
    }

    #[cfg(not(target_os = "linux"))]
    fn unclaimed(name: String) -> Self {
        Self { name }
    }

    #[cfg(target_os = "linux")]
    fn unclaimed(name: String) -> Self {
        Self { name, _claim: None }
    }

    #[cfg(target_os = "linux")]
    fn first_free(app: &str, host: &str) -> anyhow::Result<Self> {
        for number in 1..=MOST_PROCESSES {
            let name = if number == 1 { host.to_owned() } else { format!("{host}-{number}") };
            match claim(app, &name) {
                Ok(claim) => return Ok(Self { name, _claim: Some(claim) }),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    tracing::warn!(
                        instance = name, %error,
                        "cannot claim the name of this process on this host; set `instance` where several run here"
                    );
                    return Ok(Self::unclaimed(name));
                }
            }
        }
        anyhow::bail!("{MOST_PROCESSES} processes of app {app:?} run on this host; set `instance` in the configuration")
    }
}

/// Claims a name of an app among the processes of this host (its network namespace).
#[cfg(target_os = "linux")]
fn claim(app: &str, name: &str) -> std::io::Result<UnixListener> {
    // The address has room for 107 bytes.
    let digest = crc32fast::hash(format!("{app}\n{name}").as_bytes());
    let start: String = name.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let address = SocketAddr::from_abstract_name(format!("foretide/instance/{start}/{digest:08x}"))?;
    UnixListener::bind_addr(&address)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn processes_of_one_app_on_a_host_have_different_names_that_are_used_again() {
        let app = format!("instance-test-{}", std::process::id());
        let claim = |app: &str| Instance::first_free(app, "host.example").unwrap();
        let (first, second) = (claim(&app), claim(&app));
        assert_eq!([&*first.name, &*second.name], ["host.example", "host.example-2"]);
        assert_eq!(claim(&format!("{app}-other")).name, "host.example", "another app has names of its own");
        drop(first);
        assert_eq!(claim(&app).name, "host.example", "the first free name");
        assert_eq!(claim(&app).name, "host.example");
    }
}
