//! A process under a guard: killed outright, put to sleep, woken; and it never outlives the tests, however they end.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::wait_for;

/// Runs a command, tells its process id, and kills it when our end of its standard input closes.
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

/// A running process; killed when dropped.
pub struct Guarded {
    shell: Child,
    id: u32,
}

impl Guarded {
    /// Runs `command` in `folder`; what it prints goes to `log`.
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
        let told = shell.stdout.take().map(|told| BufReader::new(told).read_line(&mut id));
        assert!(matches!(told, Some(Ok(_))), "the guard tells the process id");
        Self { shell, id: id.trim().parse().expect("a process id") }
    }

    /// Whether it still runs, asleep or awake.
    pub fn runs(&mut self) -> bool {
        matches!(self.shell.try_wait(), Ok(None))
    }

    /// Kills it outright (SIGKILL), also in its sleep, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.runs() {
            self.signal("KILL");
        }
        self.shell.wait().expect("the process ends");
    }

    /// Puts it to sleep (SIGSTOP).
    pub fn sleep(&self) {
        self.signal("STOP");
    }

    /// Wakes it (SIGCONT).
    pub fn wake(&self) {
        self.signal("CONT");
    }

    /// Asks it to end (SIGTERM).
    pub fn ask_to_stop(&self) {
        self.signal("TERM");
    }

    /// Waits for its end; true where it ended with success.
    pub fn ended_well(&mut self, limit: Duration) -> bool {
        wait_for("a process to end", limit, || self.shell.try_wait().expect("it can be waited for")).success()
    }

    // It may have ended in between, which is no fault of ours.
    fn signal(&self, name: &str) {
        let _sent =
            Command::new("kill").arg(format!("-{name}")).arg(self.id.to_string()).stderr(Stdio::null()).status();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}
