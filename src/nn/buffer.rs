//! Large buffers of training, used again from update to update: every thread keeps what its updates needed last, and
//! gives it back when it ends. New ones for every update cost training 3 to 8 %.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use super::kernel::Line;

/// More than an update of the deepest network has at work at a time.
const MOST: usize = 32;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Lines that go back to their thread's free ones when they are dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    lines: Vec<Line>,
    length: usize,
}

impl Buffer {
    /// A buffer of `length` lines with any numbers in them: whoever takes it writes before reading.
    pub fn stale(length: usize) -> Self {
        let found = FREE.with_borrow_mut(|free| {
            let fits = |lines: &Vec<Line>| lines.len() >= length;
            let best = (0..free.len()).filter(|at| fits(&free[*at])).min_by_key(|at| free[*at].len());
            // Where none fits the largest makes room, so that there are never more than were at work together.
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
        // A thread that is ending keeps nothing.
        _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < MOST {
                free.push(lines);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_fits_is_used_again_and_too_small_ones_make_room() {
        let kept = || FREE.with_borrow(|free| free.iter().map(Vec::len).collect::<Vec<_>>());
        let (small, large) = (Buffer::stale(10), Buffer::stale(100));
        let at = small.as_ptr();
        drop((small, large));
        let again = Buffer::stale(7);
        assert_eq!((again.as_ptr(), again.len()), (at, 7));
        assert_eq!(kept(), [100]);
        let larger = Buffer::stale(200);
        assert_eq!((larger.len(), kept()), (200, vec![]));
        drop((again, larger));
        assert_eq!(kept(), [10, 200]);
    }
}
