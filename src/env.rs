//! Clocks and the process environment. Only this file reads them; everything else takes them as arguments.

/// The environment variables. Those that are not Unicode are skipped.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The name of this host, if it has one.
pub fn host_name() -> Option<String> {
    sysinfo::System::host_name().filter(|name| !name.is_empty())
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
