//! What a series keeps of numbers that are known in advance: as they were, and as they are told to become.

use super::clone_in_place::clone_in_place;
use serde::{Deserialize, Serialize};

use super::covariates::Track;
use super::outlook::FutureCovariateTable;
use super::spec::is_within_limit;
use crate::time::Grid;

/// Features of one number: as it is, and its means over the first quarter, the second one and the second half of the horizon.
pub(super) const KNOWN_FEATURES: usize = 4;

/// The numbers of a series that are known in advance.
#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Foreknown {
    /// The slot at which the paths begin.
    from: i64,
    numbers: Vec<Number>,
}

clone_in_place!(Foreknown { from, numbers });

/// One of them.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Number {
    past: Track,
    /// What was told, when the newest step came, of its own slot and of those of the horizon; NaN where nothing was.
    path: Vec<f64>,
}

clone_in_place!(Number { past, path });

impl Foreknown {
    /// Looks up what is told of `slot`, the one that is taken next, and of the `horizon` after it.
    pub fn look_up(&mut self, outlook: Option<&FutureCovariateTable>, slot: i64, horizon: usize, count: usize) {
        self.from = slot;
        self.numbers.resize_with(count, Number::default);
        for (place, number) in self.numbers.iter_mut().enumerate() {
            number.path.resize(horizon + 1, f64::NAN);
            match outlook {
                Some(outlook) => outlook.copy(place, slot, &mut number.path),
                None => number.path.fill(f64::NAN),
            }
        }
    }

    /// Takes `slot` as the newest step of `count` numbers; the context holds `length` steps.
    pub fn take(&mut self, slot: i64, count: usize, length: usize, memory: u32) {
        self.numbers.resize_with(count, Number::default);
        let from = self.from;
        for number in &mut self.numbers {
            let value = number.told(slot.checked_sub(from));
            number.past.take(value, length, memory);
        }
    }

    /// The series starts anew.
    pub fn reset(&mut self) {
        self.numbers.iter_mut().for_each(|number| number.past.reset());
    }

    /// One number `lead` steps after the newest, `slot`, in today's scale; none where nothing is told.
    pub fn ahead(&self, place: usize, slot: i64, lead: usize) -> Option<f32> {
        let number = self.numbers.get(place)?;
        let told = number.told((slot - self.from).checked_add(lead as i64))?;
        Some(number.past.in_scale(told))
    }

    /// One number at the step `back` steps before the newest, carried over where it is missing, in today's scale.
    pub fn back(&self, place: usize, back: usize) -> Option<f32> {
        self.numbers.get(place)?.past.scaled(back)
    }

    /// Writes [`KNOWN_FEATURES`] of each number at the step `back` steps before the newest, `slot`; 0 where nothing is known.
    /// What has come since counts as what was told of it then.
    pub fn describe(&self, back: usize, slot: i64, horizon: usize, out: &mut [f32]) {
        out.fill(0.0);
        let ends = [horizon.div_ceil(4), horizon.div_ceil(2), horizon];
        for (place, out) in out.chunks_exact_mut(KNOWN_FEATURES).enumerate() {
            out[0] = self.back(place, back).unwrap_or(0.0);
            let at = |lead: usize| match lead.checked_sub(back) {
                Some(lead) if lead > 0 => self.ahead(place, slot, lead),
                _ => self.back(place, back - lead),
            };
            let mut first = 1;
            for (out, end) in out[1..].iter_mut().zip(ends) {
                let (count, sum) = (first.min(end)..=end)
                    .filter_map(at)
                    .fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
                *out = if count > 0 { sum / count as f32 } else { 0.0 };
                first = end + 1;
            }
        }
    }

    /// Whether its paths begin within event time and its numbers are some: it may come from outside.
    pub fn is_sound(&self, grid: Grid) -> bool {
        let path = |number: &Number| number.path.iter().all(|value| value.is_nan() || is_within_limit(*value));
        grid.contains(self.from) && self.numbers.iter().all(|number| number.past.is_sound() && path(number))
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        let number = |number: &Number| number.past.heap_bytes() + number.path.capacity() * size_of::<f64>();
        self.numbers.capacity() * size_of::<Number>() + self.numbers.iter().map(number).sum::<usize>()
    }
}

impl Number {
    /// What was told of a slot so many after the first of the path.
    fn told(&self, after: Option<i64>) -> Option<f64> {
        let told = self.path.get(usize::try_from(after?).ok()?).copied()?;
        (!told.is_nan()).then_some(told)
    }
}

impl PartialEq for Number {
    /// Bit by bit, since what is not told is NaN.
    fn eq(&self, other: &Self) -> bool {
        let bits = |number: &Self| number.path.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        self.past == other.past && bits(self) == bits(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON: usize = 4;
    const LENGTH: usize = 9;

    fn outlook(told: &[(i64, f64)]) -> FutureCovariateTable {
        let mut outlook = FutureCovariateTable::default();
        told.iter().enumerate().for_each(|(at, (slot, value))| {
            outlook.insert(*slot, at as i64, &[*value], 100);
        });
        outlook
    }

    fn lived(outlook: &FutureCovariateTable, slots: std::ops::Range<i64>) -> Foreknown {
        let mut foreknown = Foreknown::default();
        for slot in slots {
            foreknown.look_up(Some(outlook), slot, HORIZON, 1);
            foreknown.take(slot, 1, LENGTH, 128);
        }
        foreknown
    }

    #[test]
    fn what_is_told_becomes_what_was() {
        let told: Vec<(i64, f64)> = (0..20).map(|slot| (slot, (slot * slot % 11) as f64)).collect();
        let all = outlook(&told);
        let foreknown = lived(&all, 0..6);
        let ahead: Vec<f32> = (1..=HORIZON).map(|lead| foreknown.ahead(0, 5, lead).unwrap()).collect();
        assert_eq!(foreknown.ahead(0, 5, HORIZON + 1), None);
        // Led on without another look, it takes what was told before.
        let mut led_on = foreknown.clone();
        (6..10).for_each(|slot| led_on.take(slot, 1, LENGTH, 128));
        let (scaled, looked_up) = (lived(&all, 0..10), led_on.back(0, 0));
        assert_eq!(looked_up, scaled.back(0, 0));
        assert_eq!((led_on.ahead(0, 9, 1), scaled.ahead(0, 9, 1).is_some()), (None, true));
        led_on.take(10, 1, LENGTH, 128);
        assert_eq!(led_on.back(0, 0), led_on.back(0, 1), "carried over");
        let mut described = [9.0; KNOWN_FEATURES];
        foreknown.describe(0, 5, HORIZON, &mut described);
        assert_eq!(described, [foreknown.back(0, 0).unwrap(), ahead[0], ahead[1], (ahead[2] + ahead[3]) / 2.0]);
        // Two steps back, two of the leads have come.
        foreknown.describe(2, 5, HORIZON, &mut described);
        let [one, two] = [1, 0].map(|back| foreknown.back(0, back).unwrap());
        assert_eq!(described[1..], [one, two, (ahead[0] + ahead[1]) / 2.0]);
    }

    #[test]
    fn of_what_is_not_told_nothing_is_known() {
        let mut described = [9.0; KNOWN_FEATURES];
        let mut foreknown = lived(&outlook(&[]), 0..3);
        foreknown.describe(0, 2, HORIZON, &mut described);
        assert_eq!((described, foreknown.ahead(0, 2, 1), foreknown.back(0, 0)), ([0.0; 4], None, None));
        foreknown.look_up(None, 3, HORIZON, 1);
        foreknown.take(3, 1, LENGTH, 128);
        assert_eq!(foreknown.back(0, 0), None);
        let mut foreknown = lived(&outlook(&[(1, 3.0), (2, 5.0)]), 0..3);
        foreknown.reset();
        assert_eq!((foreknown.back(0, 0), foreknown.ahead(0, 2, 1).is_some()), (None, true));
    }
}
