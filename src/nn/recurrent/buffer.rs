//! Large buffers of training that are reused from update to update. Every thread keeps the buffers of its last updates
//! and frees them when it ends. Allocating them for every update makes training 3 to 8 % slower.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::nn::kernel::Line;

/// Most free buffers that a thread keeps: more than an update of the deepest network uses at the same time.
const MAX_FREE: usize = 32;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that returns to the free buffers of its thread when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    lines: Vec<Line>,
    length: usize,
}

impl Buffer {
    /// A buffer of `length` lines with arbitrary contents, which the caller overwrites before it reads them.
    pub fn reused(length: usize) -> Self {
        let found = FREE.with_borrow_mut(|free| {
            let fits = |lines: &Vec<Line>| lines.len() >= length;
            let best = (0..free.len()).filter(|at| fits(&free[*at])).min_by_key(|at| free[*at].len());
            // Where none fits, the largest one is freed, so that the number of buffers stays that of the largest
            // concurrent use.
            let at = best.or_else(|| (0..free.len()).max_by_key(|at| free[*at].len()));
            at.map(|at| free.swap_remove(at))
        });
        let lines = found.filter(|lines| lines.len() >= length).unwrap_or_else(|| vec![Line::ZERO; length]);
        Self { lines, length }
    }
}

impl Deref for Buffer {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        &self.lines[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [Line] {
        &mut self.lines[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // A thread that is ending has no free list any more.
        _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < MAX_FREE {
                free.push(lines);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_fitting_buffer_is_reused_and_smaller_ones_are_freed() {
        let free = || FREE.with_borrow(|free| free.iter().map(Vec::len).collect::<Vec<_>>());
        let (small, large) = (Buffer::reused(10), Buffer::reused(100));
        let at = small.as_ptr();
        drop((small, large));
        let again = Buffer::reused(7);
        assert_eq!((again.as_ptr(), again.len()), (at, 7));
        assert_eq!(free(), [100]);
        let larger = Buffer::reused(200);
        assert_eq!((larger.len(), free()), (200, vec![]));
        drop((again, larger));
        assert_eq!(free(), [10, 200]);
    }
}
