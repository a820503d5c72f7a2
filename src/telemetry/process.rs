//! What the kernel knows of this process, in the names that Prometheus' own clients use.

use super::metrics::{self, Metric};

/// Ticks of the kernel's clock per second as `/proc` counts them: fixed at 100 by Linux' interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of `/proc/self/stat` after the command's name, counted from the state (proc(5), field 3) as 0.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const THREADS: usize = 17;
const START_TIME: usize = 19;
const VIRTUAL_SIZE: usize = 20;

/// The process' metrics; `None` for what cannot be read here (systems without `/proc`).
pub(super) fn read() -> [Option<(Metric, f64)>; 6] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let fields: Vec<f64> = fields(&stat);
    let at = |index: usize| fields.get(index).copied();
    let cpu = at(USER_TIME).zip(at(SYSTEM_TIME)).map(|(user, system)| (user + system) / TICKS_PER_SECOND);
    let fds = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    let start = at(START_TIME).zip(boot_time()).map(|(ticks, boot)| boot + ticks / TICKS_PER_SECOND);
    [
        resident(&status).map(|value| (metrics::RESIDENT_BYTES, value)),
        at(VIRTUAL_SIZE).map(|value| (metrics::VIRTUAL_BYTES, value)),
        cpu.map(|value| (metrics::CPU_SECONDS, value)),
        fds.map(|value| (metrics::OPEN_FDS, value)),
        at(THREADS).map(|value| (metrics::THREADS, value)),
        start.map(|value| (metrics::START_TIME, value)),
    ]
}

/// The numbers after the command's name, which stands in brackets and may hold blanks itself; 0 for the state's letter.
fn fields(stat: &str) -> Vec<f64> {
    let Some((_, rest)) = stat.rsplit_once(')') else { return Vec::new() };
    rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect()
}

fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kibibytes| kibibytes * 1024.0)
}

fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_names_with_blanks_and_brackets_do_not_shift_the_fields() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 7 0 1234 99999 1";
        let fields = fields(stat);
        assert_eq!((fields[USER_TIME], fields[SYSTEM_TIME]), (250.0, 50.0));
        assert_eq!((fields[THREADS], fields[START_TIME], fields[VIRTUAL_SIZE]), (7.0, 1234.0, 99999.0));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_read() {
        let read = read();
        assert!(read.iter().all(Option::is_some), "{read:?}");
        let (_, resident) = read[0].unwrap();
        assert!(resident > 1e6, "{resident}");
        assert!(read[4].unwrap().1 >= 1.0);
        assert!(read[5].unwrap().1 > 1.5e9, "started after 2017: {read:?}");
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\nOther: 1"), Some(1234.0 * 1024.0));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
