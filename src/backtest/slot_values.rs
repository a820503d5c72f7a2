//! The values of each series by slot of the grid.

use super::table::{Reading, Table};

/// A value in its slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SlotValue {
    pub slot: i64,
    pub value: f64,
    /// Row of the reading.
    pub row: usize,
}

/// The values of one series, ascending by slot; slots without a value are left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct SlotValues(Vec<SlotValue>);

impl SlotValues {
    /// The values of every series of `table` among `readings`. Late and duplicate readings are skipped, as the engine
    /// does.
    pub fn of_table<'a>(table: &Table, readings: impl Iterator<Item = &'a Reading>) -> Vec<Self> {
        let grid = &table.grid;
        let mut all = vec![Self::default(); table.series.len()];
        for reading in readings {
            let (Self(values), slot) = (&mut all[reading.series as usize], grid.slot(reading.time));
            if values.last().is_none_or(|last| last.slot < slot) {
                values.push(SlotValue { slot, value: reading.value, row: reading.row as usize });
            }
        }
        all
    }

    /// All values, ascending by slot.
    pub fn as_slice(&self) -> &[SlotValue] {
        &self.0
    }

    /// The value of a slot.
    pub fn get(&self, slot: i64) -> Option<f64> {
        self.0.binary_search_by_key(&slot, |at| at.slot).ok().map(|index| self.0[index].value)
    }

    /// The values up to a slot, that slot included.
    pub fn until(&self, slot: i64) -> &[SlotValue] {
        &self.0[..self.0.partition_point(|at| at.slot <= slot)]
    }

    /// The values of the `steps` slots after `slot`; `None` for a gap.
    pub fn after(&self, slot: i64, steps: usize) -> Vec<Option<f64>> {
        let mut targets = vec![None; steps];
        for at in &self.0[self.0.partition_point(|at| at.slot <= slot)..] {
            let place = usize::try_from(at.slot - slot - 1).ok().and_then(|lead| targets.get_mut(lead));
            let Some(target) = place else { break };
            *target = Some(at.value);
        }
        targets
    }
}

/// The differences of `values` to the values `lag` slots before, oldest first; pairs with a gap are left out.
pub(super) fn differences(values: &[SlotValue], lag: i64) -> impl Iterator<Item = f64> {
    let mut earlier = values.iter().peekable();
    values.iter().filter_map(move |at| {
        while earlier.next_if(|before| before.slot < at.slot.saturating_sub(lag)).is_some() {}
        earlier.peek().filter(|before| before.slot == at.slot.saturating_sub(lag)).map(|before| at.value - before.value)
    })
}

/// The mean absolute difference of `values` to those `lag` slots before, in units of `unit`; `None` without a pair.
pub(super) fn mean_absolute_difference(values: &[SlotValue], lag: i64, unit: f64) -> Option<f64> {
    let errors = differences(values, lag).map(|difference| difference.abs() / unit);
    let (count, sum) = errors.fold((0_u64, 0.0), |(count, sum), error| (count + 1, sum + error));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(i64, f64)]) -> SlotValues {
        SlotValues(pairs.iter().map(|&(slot, value)| SlotValue { slot, value, row: 0 }).collect())
    }

    #[test]
    fn gaps_have_no_value_and_no_difference() {
        let series = values(&[(-2, 1.0), (-1, 2.0), (1, 4.0), (2, 9.0), (4, 7.0)]);
        assert_eq!((series.get(-1), series.get(0), series.get(4)), (Some(2.0), None, Some(7.0)));
        assert_eq!((series.until(0).len(), series.until(-3).len()), (2, 0));
        assert_eq!(series.after(0, 3), [Some(4.0), Some(9.0), None]);
        assert_eq!(series.after(4, 2), [None, None]);
        assert_eq!(differences(series.as_slice(), 1).collect::<Vec<_>>(), [1.0, 5.0]);
        assert_eq!(differences(series.as_slice(), 2).collect::<Vec<_>>(), [2.0, -2.0]);
        assert_eq!(differences(series.as_slice(), 7).count(), 0);
    }
}
