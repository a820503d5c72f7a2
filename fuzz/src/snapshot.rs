//! Bytes as the snapshot of a series.

use std::cell::RefCell;

use foretide::engine::Engine;

use super::forecasting::{commit, engine, feed, open, restore, streams};

thread_local! {
    static ENGINE: RefCell<Engine> = RefCell::new(engine());
}

/// Tokens that mutations insert: the bytes of values that few series reach.
pub const TOKENS: &[&str] = &[
    "\0\0\0\0",
    "\0\0\0\0\0\0\0\0",
    "\u{7f}",
    "\u{1}\u{1}\u{1}\u{1}",
    "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}",
    "\0\0\0\u{7f}",
    "\0\0\0\0\0\0\0\u{7f}",
];

/// The index of the stream, then the snapshot of a series after so many observations.
pub fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for (number, spec) in (0_u8..).zip(streams()) {
        for observations in [1, 2, 12, 70] {
            let mut engine = engine();
            let task = open(&mut engine, &spec.name);
            let transaction = feed(&mut engine, task, 0..observations);
            let bodies = transaction.snapshots.iter().map(|snapshot| [&[number][..], &snapshot.body].concat());
            samples.extend(bodies);
            commit(&mut engine, task, transaction);
        }
    }
    samples
}

/// A snapshot is rejected, or its series goes on: at once, and after a gap that is longer than its context.
pub fn check(bytes: &[u8]) {
    let Some((number, body)) = bytes.split_first() else { return };
    let streams = ["regular", "irregular", "with_covariates", "many_to_one"];
    ENGINE.with_borrow_mut(|engine| {
        let task = open(engine, streams[usize::from(*number) % streams.len()]);
        if restore(engine, task, body) {
            for minutes in [70..74, 4_000_000_000..4_000_000_004] {
                let transaction = feed(engine, task, minutes);
                commit(engine, task, transaction);
            }
        }
        engine.close(task);
    });
}
