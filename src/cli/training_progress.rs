//! Progress of training on standard error: a bar on a terminal, else a line every few seconds.

use indicatif::{ProgressBar, ProgressStyle};

use crate::{env::Clock, train::Progress};

/// Time between two lines in microseconds, where there is no terminal.
const LINE_INTERVAL: u64 = 5_000_000;

/// Shows progress.
pub(super) struct TrainingProgress<'a> {
    bar: ProgressBar,
    clock: &'a dyn Clock,
    /// Time in microseconds, series steps and updates when training started; a resumed training starts above zero.
    first: Option<(u64, u64, usize)>,
    next_line: u64,
}

impl<'a> TrainingProgress<'a> {
    /// Shows the bar.
    pub(super) fn open(clock: &'a dyn Clock) -> Self {
        // indicatif draws on standard error, and only where that is a terminal.
        let bar = ProgressBar::new(1);
        if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan/blue} {pos}/{len}  {eta:>4} left  {msg}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        Self { bar, clock, first: None, next_line: 0 }
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Shows the state of the training.
    pub(super) fn show(&mut self, progress: &Progress) {
        let now = self.clock.monotonic_micros();
        let (begin, steps, updates) = *self.first.get_or_insert_with(|| {
            self.bar.set_length(progress.max_updates as u64);
            self.bar.set_position(progress.update as u64);
            self.bar.reset_eta();
            (now, progress.series_steps, progress.update)
        });
        let seconds = (now - begin) as f64 / 1e6;
        let speed = (progress.series_steps - steps) as f64 / seconds.max(1e-6);
        let mut text = format!("loss {:.4}, gradient {:.3}", progress.loss, progress.gradient_norm);
        if progress.skipped_non_finite > 0 {
            text += &format!(", {} skipped", progress.skipped_non_finite);
        }
        if progress.update > updates {
            text += &format!(", {speed:.0} steps/s");
        }
        if self.bar.is_hidden() && now >= self.next_line {
            self.next_line = now + LINE_INTERVAL;
            let left =
                (progress.max_updates - progress.update) as f64 * seconds / (progress.update - updates).max(1) as f64;
            let left = if progress.update > updates { format!(", {left:.0} s left") } else { String::new() };
            eprintln!("update {} of {}: {text}{left}", progress.update, progress.max_updates);
        }
        self.bar.set_position(progress.update as u64);
        self.bar.set_message(text);
    }

    /// Removes the bar.
    pub(super) fn close(self) {
        self.bar.finish_and_clear();
    }
}
