use proptest::prelude::*;

use super::*;

const HORIZON: usize = 4;
const LENGTH: usize = 9;

fn values(slot: i64, offset: i64, value: f64) -> FutureValues {
    FutureValues { slot, offset, values: [value].into() }
}

fn table(values_by_slot: &[(i64, f64)]) -> FutureCovariateTable {
    let mut table = FutureCovariateTable::default();
    values_by_slot.iter().enumerate().for_each(|(offset, (slot, value))| {
        table.insert(values(*slot, offset as i64, *value), 100);
    });
    table
}

/// The first covariate of `count` slots from `slot` on.
fn known(table: &FutureCovariateTable, slot: i64, count: usize) -> Vec<Option<f64>> {
    let mut out = vec![0.0; count];
    table.copy(0, slot, &mut out);
    out.into_iter().map(|value| (!value.is_nan()).then_some(value)).collect()
}

#[test]
fn a_value_holds_until_the_next_and_newer_records_replace_older_ones() {
    let mut table = FutureCovariateTable::default();
    assert_eq!(known(&table, 0, 1), [None]);
    assert_eq!(table.insert(values(7, 0, 70.0), 9), Insertion { stored: true, replaced: None });
    table.insert(values(4, 1, 40.0), 9);
    table.insert(values(6, 2, f64::NAN), 9);
    assert_eq!(known(&table, 3, 6), [None, Some(40.0), Some(40.0), Some(40.0), Some(70.0), Some(70.0)]);
    let replaced = Some(values(4, 1, 40.0));
    assert_eq!(table.insert(values(4, 3, 41.0), 9), Insertion { stored: true, replaced });
    assert_eq!((known(&table, 6, 1), table.slots.len()), (vec![Some(41.0)], 3));
}

#[test]
fn a_full_table_keeps_the_latest_slots() {
    let mut table = FutureCovariateTable::default();
    for (offset, slot) in (0..).zip([5, 6, 9]) {
        table.insert(values(slot, offset, slot as f64), 3);
    }
    assert_eq!(table.insert(values(4, 3, 4.0), 3), Insertion::default());
    assert_eq!(table.insert(values(7, 4, 7.0), 3), Insertion { stored: true, replaced: Some(values(5, 0, 5.0)) });
    assert_eq!(known(&table, 5, 5), [None, Some(6.0), Some(7.0), Some(7.0), Some(9.0)]);
}

proptest! {
    /// A replay from the oldest stored record rebuilds the table.
    #[test]
    fn a_replay_from_the_oldest_stored_record_rebuilds_the_table(
        slots in prop::collection::vec(-9_i64..9, 1..60),
        after in prop::collection::vec(-9_i64..12, 0..20),
        max_slots in 1_usize..8,
    ) {
        let insert = |table: &mut FutureCovariateTable, from: usize, slots: &[i64]| {
            for (at, slot) in slots.iter().enumerate() {
                let offset = (from + at) as i64;
                table.insert(values(*slot, offset, offset as f64), max_slots);
            }
        };
        let (mut all, mut replayed) = (FutureCovariateTable::default(), FutureCovariateTable::default());
        insert(&mut all, 0, &slots);
        let oldest = all.slots.iter().map(|stored| stored.offset).min().unwrap() as usize;
        insert(&mut replayed, oldest, &slots[oldest..]);
        prop_assert_eq!(&replayed, &all);
        insert(&mut all, slots.len(), &after);
        insert(&mut replayed, slots.len(), &after);
        prop_assert_eq!(&replayed, &all);
    }
}

/// A series after the steps `slots`.
fn after(table: &FutureCovariateTable, slots: std::ops::Range<i64>) -> FutureCovariates {
    let mut covariates = FutureCovariates::default();
    for slot in slots {
        covariates.look_up(Some(table), slot, HORIZON, 1);
        covariates.update(slot, 1, LENGTH, 128);
    }
    covariates
}

#[test]
fn future_values_become_past_values() {
    let values: Vec<(i64, f64)> = (0..20).map(|slot| (slot, (slot * slot % 11) as f64)).collect();
    let table = table(&values);
    let covariates = after(&table, 0..6);
    let ahead: Vec<f32> = (1..=HORIZON).map(|lead| covariates.ahead(0, 5, lead).unwrap()).collect();
    assert_eq!(covariates.ahead(0, 5, HORIZON + 1), None);
    // Updates without another look-up use the values that were known before.
    let mut copy = covariates.clone();
    (6..10).for_each(|slot| copy.update(slot, 1, LENGTH, 128));
    let looked_up = after(&table, 0..10);
    assert_eq!(copy.back(0, 0), looked_up.back(0, 0));
    assert_eq!((copy.ahead(0, 9, 1), looked_up.ahead(0, 9, 1).is_some()), (None, true));
    copy.update(10, 1, LENGTH, 128);
    assert_eq!(copy.back(0, 0), copy.back(0, 1), "the last value");
    let mut features = [9.0; FUTURE_COVARIATE_FEATURES];
    covariates.write_features(0, 5, HORIZON, &mut features);
    assert_eq!(features, [covariates.back(0, 0).unwrap(), ahead[0], ahead[1], (ahead[2] + ahead[3]) / 2.0]);
    // Two steps back, two of the leads have been observed since.
    covariates.write_features(2, 5, HORIZON, &mut features);
    let [one, two] = [1, 0].map(|back| covariates.back(0, back).unwrap());
    assert_eq!(features[1..], [one, two, (ahead[0] + ahead[1]) / 2.0]);
}

#[test]
fn without_records_nothing_is_known() {
    let mut features = [9.0; FUTURE_COVARIATE_FEATURES];
    let mut covariates = after(&table(&[]), 0..3);
    covariates.write_features(0, 2, HORIZON, &mut features);
    assert_eq!((features, covariates.ahead(0, 2, 1), covariates.back(0, 0)), ([0.0; 4], None, None));
    covariates.look_up(None, 3, HORIZON, 1);
    covariates.update(3, 1, LENGTH, 128);
    assert_eq!(covariates.back(0, 0), None);
    let mut covariates = after(&table(&[(1, 3.0), (2, 5.0)]), 0..3);
    covariates.reset();
    assert_eq!((covariates.back(0, 0), covariates.ahead(0, 2, 1).is_some()), (None, true));
}
