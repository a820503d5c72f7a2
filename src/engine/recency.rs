//! The order of a task's series by their last observation, the longest silent first: a doubly linked list over the
//! indices of the series.

/// No series.
const NONE: u32 = u32::MAX;
/// The links of a series that is not in the list.
const ABSENT: Links = Links { previous: NONE - 1, next: NONE - 1 };

#[derive(Clone, Copy, PartialEq, Eq)]
struct Links {
    previous: u32,
    next: u32,
}

/// Series in an order.
pub(super) struct Recency {
    /// By the series' index.
    links: Vec<Links>,
    first: u32,
    last: u32,
}

impl Default for Recency {
    fn default() -> Self {
        Self { links: Vec::new(), first: NONE, last: NONE }
    }
}

impl Recency {
    /// The longest silent series.
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// The series that was observed last.
    pub fn last(&self) -> Option<u32> {
        (self.last != NONE).then_some(self.last)
    }

    /// The series before `series`, which is in the list.
    pub fn previous(&self, series: u32) -> Option<u32> {
        let previous = self.links[series as usize].previous;
        (previous < NONE - 1).then_some(previous)
    }

    pub fn contains(&self, series: u32) -> bool {
        self.links.get(series as usize).is_some_and(|links| *links != ABSENT)
    }

    /// Adds a series, which is not in the list, after another one; `None` for the beginning.
    pub fn insert_after(&mut self, previous: Option<u32>, series: u32) {
        if self.links.len() <= series as usize {
            self.links.resize(series as usize + 1, ABSENT);
        }
        let previous = previous.unwrap_or(NONE);
        let next = if previous == NONE { self.first } else { self.links[previous as usize].next };
        self.links[series as usize] = Links { previous, next };
        self.set_next(previous, series);
        self.set_previous(next, series);
    }

    /// Removes a series where it is in the list.
    pub fn remove(&mut self, series: u32) {
        if !self.contains(series) {
            return;
        }
        let Links { previous, next } = std::mem::replace(&mut self.links[series as usize], ABSENT);
        self.set_next(previous, next);
        self.set_previous(next, previous);
    }

    /// Empties the list.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Memory in bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.links.capacity() * size_of::<Links>()
    }

    fn set_next(&mut self, series: u32, next: u32) {
        if series == NONE { self.first = next } else { self.links[series as usize].next = next }
    }

    fn set_previous(&mut self, series: u32, previous: u32) {
        if series == NONE { self.last = previous } else { self.links[series as usize].previous = previous }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(list: &Recency) -> Vec<u32> {
        let mut order: Vec<u32> = std::iter::successors(list.last(), |series| list.previous(*series)).collect();
        order.reverse();
        order
    }

    #[test]
    fn series_are_added_moved_and_removed_anywhere() {
        let mut list = Recency::default();
        assert_eq!((list.first(), list.last(), list.contains(0)), (None, None, false));
        for series in [2, 0, 3, 1] {
            list.insert_after(list.last(), series);
        }
        assert_eq!(order(&list), [2, 0, 3, 1]);
        for (moved, expected) in [(3, [2, 0, 1, 3]), (2, [0, 1, 3, 2]), (2, [0, 1, 3, 2])] {
            list.remove(moved);
            list.remove(moved);
            assert!(!list.contains(moved));
            list.insert_after(list.last(), moved);
            assert_eq!(order(&list), expected);
        }
        list.remove(3);
        list.insert_after(Some(0), 3);
        list.remove(2);
        list.insert_after(None, 2);
        assert_eq!(order(&list), [2, 0, 3, 1]);
        order(&list).into_iter().for_each(|series| list.remove(series));
        assert_eq!((list.first(), list.last()), (None, None));
    }
}
