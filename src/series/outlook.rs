//! What is told in advance of slots to come.

use std::collections::VecDeque;

use super::spec::LIMIT;

/// Numbers that were told in advance, by slot; the same for all series of one key. A number holds until the next one that is
/// told of a later slot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FutureCovariateTable {
    /// Ascending by slot.
    told: VecDeque<Told>,
}

/// What was told of one slot.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    slot: i64,
    /// Where it was told.
    offset: i64,
    /// NaN where a number is missing.
    numbers: Box<[f64]>,
}

/// What became of what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Insertion {
    /// Whether it is held now; a slot before all that are held has no room where there are as many as there may be.
    pub stored: bool,
    /// The slot and the offset of what it replaced: that of the same slot, or of the earliest one.
    pub replaced: Option<(i64, i64)>,
}

impl FutureCovariateTable {
    /// Takes in what is told of a slot, at `offset`, in the place of what was told before. Of more than `most` slots the
    /// earliest goes: what is held is a function of what was told, in any number of pieces.
    pub fn insert(&mut self, slot: i64, offset: i64, numbers: &[f64], most: usize) -> Insertion {
        let numbers = numbers.iter().map(|number| number.clamp(-LIMIT, LIMIT)).collect();
        let told = Told { slot, offset, numbers };
        let at = self.told.partition_point(|told| told.slot < slot);
        if let Some(known) = self.told.get_mut(at).filter(|known| known.slot == slot) {
            let before = std::mem::replace(known, told);
            return Insertion { stored: true, replaced: Some((before.slot, before.offset)) };
        }
        if self.told.len() < most.max(1) {
            self.told.insert(at, told);
            return Insertion { stored: true, replaced: None };
        }
        if at == 0 {
            return Insertion::default();
        }
        let gone = self.told.pop_front().map(|gone| (gone.slot, gone.offset));
        self.told.insert(at - 1, told);
        Insertion { stored: true, replaced: gone }
    }

    /// Slots of which something is held.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Copies the number at `place` for the slots from `slot` on; NaN where none is told.
    pub(super) fn copy(&self, place: usize, slot: i64, out: &mut [f64]) {
        let number = |told: &Told| told.numbers.get(place).copied().filter(|number| !number.is_nan());
        let mut next = self.told.partition_point(|told| told.slot < slot);
        let mut holds = self.told.range(..next).rev().find_map(number).unwrap_or(f64::NAN);
        for (slot, out) in (slot..).zip(out) {
            while let Some(told) = self.told.get(next).filter(|told| told.slot <= slot) {
                holds = number(told).unwrap_or(holds);
                next += 1;
            }
            *out = holds;
        }
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        let numbers = |told: &Told| size_of_val(&*told.numbers);
        self.told.capacity() * size_of::<Told>() + self.told.iter().map(numbers).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(outlook: &FutureCovariateTable, slot: i64, count: usize) -> Vec<Option<f64>> {
        let mut out = vec![0.0; count];
        outlook.copy(0, slot, &mut out);
        out.into_iter().map(|number| (!number.is_nan()).then_some(number)).collect()
    }

    #[test]
    fn a_number_holds_until_the_next_and_newer_words_replace_older_ones() {
        let mut outlook = FutureCovariateTable::default();
        assert!(outlook.is_empty() && seen(&outlook, 0, 1) == [None]);
        assert_eq!(outlook.insert(7, 0, &[70.0], 9), Insertion { stored: true, replaced: None });
        outlook.insert(4, 1, &[40.0], 9);
        outlook.insert(6, 2, &[f64::NAN], 9);
        assert_eq!(seen(&outlook, 3, 6), [None, Some(40.0), Some(40.0), Some(40.0), Some(70.0), Some(70.0)]);
        assert_eq!(outlook.insert(4, 3, &[41.0], 9), Insertion { stored: true, replaced: Some((4, 1)) });
        assert_eq!((seen(&outlook, 6, 1), outlook.len()), (vec![Some(41.0)], 3));
    }

    #[test]
    fn the_latest_slots_are_held() {
        let mut outlook = FutureCovariateTable::default();
        for (offset, slot) in (0..).zip([5, 6, 9]) {
            outlook.insert(slot, offset, &[slot as f64], 3);
        }
        assert_eq!(outlook.insert(4, 3, &[4.0], 3), Insertion::default());
        assert_eq!(outlook.insert(7, 4, &[7.0], 3), Insertion { stored: true, replaced: Some((5, 0)) });
        assert_eq!(seen(&outlook, 5, 5), [None, Some(6.0), Some(7.0), Some(7.0), Some(9.0)]);
    }

    proptest! {
        /// A replay begins at the oldest word that is held and comes to the same.
        #[test]
        fn what_is_held_follows_from_the_oldest_word_held_on(
            slots in prop::collection::vec(-9_i64..9, 1..60), after in prop::collection::vec(-9_i64..12, 0..20), most in 1_usize..8,
        ) {
            let tell = |outlook: &mut FutureCovariateTable, from: usize, slots: &[i64]| {
                for (offset, slot) in slots.iter().enumerate() {
                    let offset = (from + offset) as i64;
                    outlook.insert(*slot, offset, &[offset as f64], most);
                }
            };
            let (mut all, mut replayed) = (FutureCovariateTable::default(), FutureCovariateTable::default());
            tell(&mut all, 0, &slots);
            let oldest = all.told.iter().map(|told| told.offset).min().unwrap() as usize;
            tell(&mut replayed, oldest, &slots[oldest..]);
            prop_assert_eq!(&replayed, &all);
            tell(&mut all, slots.len(), &after);
            tell(&mut replayed, slots.len(), &after);
            prop_assert_eq!(&replayed, &all);
        }
    }
}
