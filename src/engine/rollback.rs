//! Undo copies: the states of the series that the open transaction touches, as they were before it.

use super::series::{Series, Undo};
use super::series_table::SeriesTable;
use super::task::{TaskHandle, Tasks};

/// The most undo copies that are kept for reuse: about 25 MB with default settings.
const MAX_SPARE_COPIES: usize = 8_192;

/// The undo copies of the open transaction.
#[derive(Default)]
pub(super) struct UndoLog {
    copies: Vec<UndoCopy>,
    /// Copies that are no longer needed, whose memory the next ones use.
    spare: Vec<Series>,
}

struct UndoCopy {
    task: TaskHandle,
    /// The index of the series in its task.
    series: u32,
    state: Series,
}

impl UndoLog {
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Copies a series of a task, once a transaction, before it changes, moves or ends. A series that the transaction
    /// itself has begun needs no copy.
    pub fn copy(&mut self, task: TaskHandle, table: &mut SeriesTable, series: u32) {
        let state = table.get_mut(series);
        if state.undo != Undo::Untouched {
            return;
        }
        let copy = match self.spare.pop() {
            Some(mut spare) => {
                spare.clone_from(state);
                spare
            }
            None => state.clone(),
        };
        self.copies.push(UndoCopy { task, series, state: copy });
        state.undo = Undo::Copied;
    }

    /// Drops the copies: the transaction is final.
    pub fn commit(&mut self, tasks: &mut Tasks) {
        for UndoCopy { task, series, state, .. } in self.copies.drain(..) {
            tasks.get_mut(task).series.get_mut(series).undo = Undo::Untouched;
            if self.spare.len() < MAX_SPARE_COPIES {
                self.spare.push(state);
            }
        }
    }

    /// Puts the copies back.
    pub fn roll_back(&mut self, tasks: &mut Tasks) {
        for UndoCopy { task, series, state } in self.copies.drain(..) {
            tasks.get_mut(task).series.put_back(series, state);
        }
    }
}
