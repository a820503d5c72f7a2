//! The one room that reads clocks and the process environment: everything else takes them as arguments.

/// The environment's variables; those that are not Unicode are left out.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// This host's name, where it has one.
pub fn host_name() -> Option<String> {
    sysinfo::System::host_name().filter(|name| !name.is_empty())
}

/// The wall clock and a monotonic clock, as values that simulation can replace.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn wall_millis(&self) -> i64;
    /// Microseconds since an arbitrary start; never goes back.
    fn monotonic_micros(&self) -> u64;
}

/// The machine's own clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Starts a monotonic clock at zero.
    #[expect(clippy::disallowed_methods, reason = "this is the room of the clock")]
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
    #[expect(clippy::disallowed_methods, reason = "this is the room of the clock")]
    fn wall_millis(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that only moves when it is told to: for simulation.
#[derive(Debug, Default)]
pub struct ManualClock {
    micros: std::sync::atomic::AtomicU64,
}

impl ManualClock {
    /// Moves both clocks on.
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
