//! Bytes as the snapshot of a series.

use std::cell::RefCell;

use foretide::engine::Engine;

use super::forecasting::{commit, engine, feed, open, restore, streams};

thread_local! {
    static ENGINE: RefCell<Engine> = RefCell::new(engine());
}

/// What is worth putting in between: numbers that few series come to, as they are written.
pub const TOKENS: &[&str] = &[
    "\0\0\0\0",
    "\0\0\0\0\0\0\0\0",
    "\u{7f}",
    "\u{1}\u{1}\u{1}\u{1}",
    "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}",
    "\0\0\0\u{7f}",
    "\0\0\0\0\0\0\0\u{7f}",
];

/// The stream's number, then what was kept of a series after so many observations.
pub fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for (number, spec) in (0_u8..).zip(streams()) {
        for observations in [1, 2, 12, 70] {
            let mut engine = engine();
            let task = open(&mut engine, &spec.name);
            let epoch = feed(&mut engine, task, 0..observations);
            let bodies = epoch.snapshots.iter().map(|snapshot| [&[number][..], &snapshot.body].concat());
            samples.extend(bodies);
            commit(&mut engine, task, epoch);
        }
    }
    samples
}

/// A snapshot is refused, or becomes a series that goes on: at once, and after a gap that reaches beyond what it knows.
pub fn check(bytes: &[u8]) {
    let Some((number, body)) = bytes.split_first() else { return };
    let streams = ["regular", "irregular", "described", "one_number"];
    ENGINE.with_borrow_mut(|engine| {
        let task = open(engine, streams[usize::from(*number) % streams.len()]);
        if restore(engine, task, body) {
            for minutes in [70..74, 4_000_000_000..4_000_000_004] {
                let epoch = feed(engine, task, minutes);
                commit(engine, task, epoch);
            }
        }
        engine.close(task);
    });
}
