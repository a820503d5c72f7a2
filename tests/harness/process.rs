//! Child processes of the `foretide` binary.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use super::wait_for;

/// A running process. Dropping it kills the process.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Runs `foretide` with `arguments` in `folder`. Its output goes to `folder/NAME.log`.
    pub fn foretide<A: AsRef<OsStr>>(folder: &Path, name: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::foretide_with(folder, name, arguments, &[])
    }

    /// [`Process::foretide`] with further environment variables.
    pub fn foretide_with<A: AsRef<OsStr>>(
        folder: &Path,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("the log can be written");
        let errors = out.try_clone().expect("the log can be written");
        let child = Command::new(env!("CARGO_BIN_EXE_foretide"))
            .args(arguments)
            .current_dir(folder)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .expect("foretide starts");
        Self { child, log }
    }

    /// The output so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for `text` in the output. Panics with the log where it does not appear, or where the process ends before.
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) {
        let log = self.log.clone();
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        wait_for(&format!("{text:?} in {}", log.display()), limit, || {
            if read().contains(text) {
                return Some(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the process ended with {status} before it printed {text:?}:\n{}", read());
            }
            None
        });
    }

    /// Whether the process runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills the process (SIGKILL), as a machine failure would, and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process ends");
    }

    /// Asks the process to stop (SIGTERM) and waits for its end. Panics where it takes longer than `limit`.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        let log = self.log.clone();
        let what = format!("the process to stop; its log is {}", log.display());
        wait_for(&what, limit, || self.child.try_wait().expect("the process can be waited for"))
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_for("the process to end", limit, || self.child.try_wait().expect("the process can be waited for"))
    }

    /// Suspends the process (SIGSTOP): it sends no heartbeats.
    pub fn suspend(&self) {
        self.signal("STOP");
    }

    /// Resumes the process (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Tells the process that its terminal is gone, or that it should read its configuration again (SIGHUP).
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("sh runs");
        assert!(status.success(), "{command} failed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
