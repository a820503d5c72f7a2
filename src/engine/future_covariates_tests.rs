//! Future covariates are visible from their watermark on, nowhere before it, and in a replay at the same places.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::tests::{Bits, Input, MINUTE, accept_all, collect, input, loud, spec, with_covariates};
use super::*;
use crate::series::{FutureCovariateSpec, FutureValues};
use crate::snapshot::CovariateWatermark;
use crate::time::Grid;

/// Steps ahead that are forecast.
const HORIZON: i64 = 5;
/// Records of the input in one transaction, and records of the covariate topic that become visible before each.
const INPUT_RECORDS: usize = 10;
const COVARIATE_RECORDS: usize = 4;

/// One record of the covariate topic.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    series: u8,
    slot: i64,
    values: [f64; 2],
}

fn records(seed: u64) -> Vec<Record> {
    let mut random = Pcg64Mcg::seed_from_u64(seed ^ 77);
    let value = |random: &mut Pcg64Mcg| if random.random_bool(0.1) { f64::NAN } else { random.random_range(-9.0..9.0) };
    (0..200)
        .map(|at| {
            let slot = i64::from(at) + random.random_range(-3..60_i64);
            Record { series: random.random_range(0..6), slot, values: [value(&mut random), value(&mut random)] }
        })
        .collect()
}

fn engine_of(keyed: bool, max_slots: usize) -> (Engine, TaskHandle) {
    let mut spec = with_covariates(spec(Grid::Regular { interval: MINUTE }));
    spec.series.extra.future_covariates =
        FutureCovariateSpec { keyed, max_slots, ..spec.series.extra.future_covariates };
    let network = loud(&spec, 1);
    let mut engine = Engine::new(vec![spec]).unwrap();
    engine.install("stream", 1, ServedWeights { network, prior: None });
    let task = engine.open(TaskId { stream: "stream".into(), topic: "in".into(), partition: 0 }, 0).unwrap();
    (engine, task)
}

fn insert(engine: &mut Engine, task: TaskHandle, records: &[Record], offsets: std::ops::Range<usize>) {
    for (offset, record) in records.iter().enumerate().take(offsets.end).skip(offsets.start) {
        let Record { series, slot, values } = record;
        let values = FutureValues { slot: *slot, offset: offset as i64, values: (*values).into() };
        engine.insert_future_values(task, &format!("s{series}"), values);
    }
}

/// The transaction of the input from record `from` on, after the covariates that become visible before it.
fn transaction(
    engine: &mut Engine,
    task: TaskHandle,
    input: &Input,
    records: &[Record],
    from: usize,
    snapshot_share: f64,
) -> Transaction {
    engine.begin(true);
    let next = (from / INPUT_RECORDS * COVARIATE_RECORDS).min(records.len());
    insert(engine, task, records, engine.covariate_offset(task) as usize..next);
    engine.advance_watermark(task, next as i64);
    accept_all(engine, task, from, &input[from..from + INPUT_RECORDS]);
    engine.finish(snapshot_share)
}

/// The forecasts of a run without interruption.
fn run(keyed: bool, input: &Input, records: &[Record]) -> Bits {
    let (mut engine, task) = engine_of(keyed, 40);
    let mut bits = Bits::new();
    for from in (0..input.len()).step_by(INPUT_RECORDS) {
        if from == 100 {
            engine.activate(task, 1);
        }
        let transaction = transaction(&mut engine, task, input, records, from, 0.0);
        collect(&engine, &transaction, &mut bits);
        engine.commit(&transaction);
    }
    bits
}

fn filtered(bits: &Bits, keep: impl Fn(&[u64]) -> bool) -> Bits {
    bits.iter().map(|(key, all)| (key.clone(), all.iter().filter(|bits| keep(bits)).cloned().collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A covariate record changes no forecast from before it, and a covariate beyond the horizon changes none at all.
    #[test]
    fn future_covariates_are_seen_neither_before_their_record_nor_beyond_the_horizon(
        seed in 0..1000_u64, at in 1..150_usize, slot in 20..120_i64, keyed in any::<bool>(),
    ) {
        let (input, records) = (input(seed, 500), records(seed));
        let unchanged = run(keyed, &input, &records);
        let change = |record: &Record| {
            Record { values: record.values.map(|value| 3.0 - 2.0 * value), ..record.clone() }
        };
        let change_if = |changes: bool, record: &Record| if changes { change(record) } else { record.clone() };
        let changed_later: Vec<Record> =
            records.iter().enumerate().map(|(place, record)| change_if(place >= at, record)).collect();
        // The first input record of a transaction that sees a changed record.
        let visible_from = (at + 1).div_ceil(COVARIATE_RECORDS) * INPUT_RECORDS;
        let before = |bits: &[u64]| bits[1] < visible_from as u64;
        prop_assert_eq!(filtered(&unchanged, before), filtered(&run(keyed, &input, &changed_later), before));
        let changed_ahead: Vec<Record> =
            records.iter().map(|record| change_if(record.slot >= slot, record)).collect();
        let nearer = |bits: &[u64]| (bits[0] as i64) + HORIZON < slot;
        prop_assert_eq!(filtered(&unchanged, nearer), filtered(&run(keyed, &input, &changed_ahead), nearer));
        prop_assert_ne!(unchanged, run(keyed, &input, &changed_ahead), "covariates within the horizon are seen");
    }

    /// A rollback keeps the covariates: the repeated transaction sees them, and its progress has the watermark.
    #[test]
    fn a_repeated_transaction_sees_the_covariates_of_the_first_attempt(seed in 0..1000_u64, at in 1..40_usize) {
        let (input, records) = (input(seed, 500), records(seed));
        let (mut engine, task) = engine_of(true, 40);
        let mut bits = Bits::new();
        for from in (0..input.len()).step_by(INPUT_RECORDS) {
            if from == 100 {
                engine.activate(task, 1);
            }
            if from == at * INPUT_RECORDS && from != 100 {
                transaction(&mut engine, task, &input, &records, from, 0.5);
                engine.roll_back();
            }
            let transaction = transaction(&mut engine, task, &input, &records, from, 0.5);
            let all_visible = from / INPUT_RECORDS * COVARIATE_RECORDS > records.len();
            prop_assert!(transaction.tasks[0].checkpoint_due || from == 0 || all_visible);
            collect(&engine, &transaction, &mut bits);
            engine.commit(&transaction);
        }
        prop_assert_eq!(bits, run(true, &input, &records));
    }

    /// Snapshots, a replay of the input since then, and the covariate records from the oldest stored one on restore the
    /// state.
    #[test]
    fn a_replay_sees_the_same_future_covariates(
        seed in 0..1000_u64, cut in 15..45_usize, share in 0.0..1.0_f64,
        keyed in any::<bool>(), max_slots in 7..60_usize, lost in any::<bool>(),
    ) {
        let (input, records, cut) = (input(seed, 500), records(seed), cut * INPUT_RECORDS);
        let (mut engine, task) = engine_of(keyed, max_slots);
        let mut newest = BTreeMap::new();
        let mut progress = engine.progress(task);
        for from in (0..cut).step_by(INPUT_RECORDS) {
            let transaction = transaction(&mut engine, task, &input, &records, from, share);
            newest.extend(transaction.snapshots.iter().map(|snapshot| (snapshot.series.clone(), snapshot.clone())));
            progress = transaction.tasks[0].progress.clone();
            engine.commit(&transaction);
        }
        let (mut other, restored) = engine_of(keyed, max_slots);
        for snapshot in newest.values() {
            let series = (&*snapshot.series).into();
            let snapshot = EncodedSnapshot { series, position: snapshot.position, body: Some(&snapshot.body) };
            let put = other.restore(restored, &[snapshot]);
            prop_assert!(put.into_iter().all(|put| put.is_ok_and(|discarded| discarded.is_empty())));
        }
        other.resume(restored, &progress);
        let mut confirmed = true;
        let mut reread = |other: &mut Engine, at: i64| {
            let Some(watermark) = other.watermark_at(restored, at) else { return };
            let CovariateWatermark { oldest, .. } = progress.watermarks[0];
            let from = other.covariate_offset(restored).max(oldest) + i64::from(lost);
            insert(other, restored, &records, from as usize..watermark.next as usize);
            confirmed &= other.confirm_watermark(restored, watermark);
        };
        other.begin(false);
        reread(&mut other, progress.replay_from);
        let mut from = progress.replay_from as usize;
        while from < cut {
            let next = other.watermarks_after(restored, from as i64).first();
            let to = next.map_or(cut, |watermark| watermark.position as usize).min(cut);
            accept_all(&mut other, restored, from, &input[from..to]);
            other.finish(0.0);
            other.advance(restored, to as i64);
            reread(&mut other, to as i64);
            from = to;
        }
        if lost {
            prop_assert!(!confirmed, "a lost record is noticed");
            return Ok(());
        }
        prop_assert!(confirmed);
        let mut bits = [Bits::new(), Bits::new()];
        for ((engine, task), bits) in [(&mut engine, task), (&mut other, restored)].into_iter().zip(&mut bits) {
            for from in (cut..input.len()).step_by(INPUT_RECORDS) {
                let transaction = transaction(engine, task, &input, &records, from, 0.0);
                collect(engine, &transaction, bits);
                engine.commit(&transaction);
            }
        }
        let [uninterrupted, restored] = bits;
        prop_assert_eq!(uninterrupted, restored);
    }
}
