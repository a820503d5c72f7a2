//! A process with a guard. Tests kill, suspend and resume it, and it ends with the tests in any case.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use super::wait_for;

/// Runs a command, prints its process id, and kills it when our end of the standard input closes.
const GUARD: &str = r#"
    exec 3<&0
    log=$1
    shift
    "$@" </dev/null >>"$log" 2>&1 3<&- &
    child=$!
    echo "$child"
    { cat <&3 >/dev/null; kill -9 "$child"; } &
    guard=$!
    wait "$child"
    code=$?
    kill "$guard"
    exit "$code"
"#;

/// A running process. Dropping it kills the process.
pub struct GuardedProcess {
    shell: Child,
    id: u32,
}

impl GuardedProcess {
    /// Runs `command` in `folder`. Its output goes to `log`.
    pub fn start(folder: &Path, log: &Path, command: &[&str]) -> Self {
        File::options().create(true).append(true).open(log).expect("the log can be written");
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(log)
            .args(command)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let mut id = String::new();
        let read = shell.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut id));
        assert!(matches!(read, Some(Ok(_))), "the guard prints the process id");
        Self { shell, id: id.trim().parse().expect("a process id") }
    }

    /// Whether the process runs or is suspended.
    pub fn runs(&mut self) -> bool {
        matches!(self.shell.try_wait(), Ok(None))
    }

    /// Kills the process (SIGKILL), even where it is suspended, and waits for its end.
    pub fn kill(&mut self) {
        if self.runs() {
            self.signal("KILL");
        }
        self.shell.wait().expect("the process ends");
    }

    /// Suspends the process (SIGSTOP).
    pub fn suspend(&self) {
        self.signal("STOP");
    }

    /// Resumes the process (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Asks the process to end (SIGTERM).
    pub fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// Waits for the end of the process. Returns how it ended, unless with success.
    pub fn failure(&mut self, limit: Duration) -> Option<ExitStatus> {
        let end = wait_for("a process to end", limit, || self.shell.try_wait().expect("it can be waited for"));
        (!end.success()).then_some(end)
    }

    // Signals that are sent after the end of the process are ignored.
    fn signal(&self, name: &str) {
        let _sent =
            Command::new("kill").arg(format!("-{name}")).arg(self.id.to_string()).stderr(Stdio::null()).status();
    }
}

impl Drop for GuardedProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
