//! Rows and cells of a file that are refused before the engine sees them.

/// How often something was refused, and the first time in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RefusalCount {
    /// Number of rows or cells.
    pub count: u64,
    /// The first one: its line, what was found, and what was expected.
    pub first: String,
}

/// What was refused in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusals {
    /// Rows whose time cannot be read.
    pub times: RefusalCount,
    /// Rows with another number of cells than most.
    pub widths: RefusalCount,
    /// Cells that hold neither a number nor a gap.
    pub cells: RefusalCount,
}

impl RefusalCount {
    /// Counts one; `describe` is called for the first.
    pub(super) fn add(&mut self, describe: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = describe();
        }
        self.count += 1;
    }
}

impl Refusals {
    /// Number of refused rows.
    pub fn rows(&self) -> u64 {
        self.times.count + self.widths.count
    }

    /// The most frequent refusal.
    pub(super) fn commonest(&self) -> &RefusalCount {
        [&self.widths, &self.cells]
            .into_iter()
            .fold(&self.times, |best, other| if other.count > best.count { other } else { best })
    }
}
