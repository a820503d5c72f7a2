//! Clocks and the process environment. Only this file reads them; everything else takes them as arguments.

/// The environment variables. Those that are not Unicode are skipped.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The name of this host, if it has one.
pub fn host_name() -> Option<String> {
    sysinfo::System::host_name().filter(|name| !name.is_empty())
}

/// The nice value of threads in the background: they get a ninth of what another thread gets that competes with them.
#[cfg(target_os = "linux")]
const BACKGROUND_NICE: i32 = 10;

/// Gives the calling thread, and the threads that it starts, a processor only where no other thread wants it much: for
/// work in the background. Elsewhere than on Linux it does nothing.
///
/// # Errors
/// The system's.
pub fn lower_thread_priority() -> std::io::Result<()> {
    // Nice values are of a thread on Linux, and of a process elsewhere.
    #[cfg(target_os = "linux")]
    if rustix::process::getpriority_process(None)? < BACKGROUND_NICE {
        rustix::process::setpriority_process(None, BACKGROUND_NICE)?;
    }
    Ok(())
}

/// A wall clock and a monotonic clock. A simulation replaces them.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn wall_millis(&self) -> i64;
    /// Microseconds since an arbitrary start. Never decreases.
    fn monotonic_micros(&self) -> u64;
}

/// The clocks of this machine.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Starts a monotonic clock at zero.
    #[expect(clippy::disallowed_methods, reason = "all other code takes a Clock")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "all other code takes a Clock")]
    fn wall_millis(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when it is advanced, for simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    micros: std::sync::atomic::AtomicU64,
}

impl ManualClock {
    /// Advances both clocks.
    pub fn advance_millis(&self, millis: u64) {
        self.micros.fetch_add(millis * 1000, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn wall_millis(&self) -> i64 {
        i64::try_from(self.monotonic_micros() / 1000).unwrap_or(i64::MAX)
    }

    fn monotonic_micros(&self) -> u64 {
        self.micros.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_lower_priority_is_of_one_thread_and_of_those_that_it_starts() {
        // The 19th field; the second is a name in brackets.
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = nice();
        let lowered = std::thread::spawn(move || {
            super::lower_thread_priority().unwrap();
            (nice(), std::thread::spawn(nice).join().unwrap())
        });
        let expected = before.max(super::BACKGROUND_NICE);
        assert_eq!(lowered.join().unwrap(), (expected, expected));
        assert_eq!(nice(), before);
    }
}
