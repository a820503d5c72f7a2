//! What is known in advance is seen from where it was told on, nowhere before, and in a replay at the same places.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::tests::{Bits, Input, MINUTE, collect, described, input, loud, spec, take};
use super::*;
use crate::{series::FutureCovariateSpec, time::Grid};

/// Steps ahead that are forecast.
const HORIZON: i64 = 5;
/// Records of the input in one epoch, and words that are told before each.
const EPOCH: usize = 10;
const WORDS: usize = 4;

/// What one record of the second topic tells: of which series, of which slot, what.
#[derive(Debug, Clone, PartialEq)]
struct Word(u8, i64, [f64; 2]);

fn words(seed: u64) -> Vec<Word> {
    let mut random = Pcg64Mcg::seed_from_u64(seed ^ 77);
    let number =
        |random: &mut Pcg64Mcg| if random.random_bool(0.1) { f64::NAN } else { random.random_range(-9.0..9.0) };
    (0..200)
        .map(|at| {
            let slot = i64::from(at) + random.random_range(-3..60_i64);
            Word(random.random_range(0..6), slot, [number(&mut random), number(&mut random)])
        })
        .collect()
}

fn engine_of(keyed: bool, slots: usize) -> (Engine, TaskHandle) {
    let mut spec = described(spec(Grid::Regular { interval: MINUTE }));
    spec.series.extra.future_covariates =
        FutureCovariateSpec { keyed, max_slots: slots, ..spec.series.extra.future_covariates };
    let network = loud(&spec, 1);
    let mut engine = Engine::new(vec![spec]).unwrap();
    engine.install("stream", 1, Version { network, prior: None });
    let task = engine.open(TaskId { stream: "stream".into(), topic: "in".into(), partition: 0 }, 0).unwrap();
    (engine, task)
}

fn tell(engine: &mut Engine, task: TaskHandle, words: &[Word], from: usize, until: usize) {
    for (offset, Word(series, slot, numbers)) in words.iter().enumerate().take(until).skip(from) {
        engine.update_future_covariates(
            task,
            offset as i64,
            &format!("s{series}"),
            EventTime(slot * MINUTE + 7),
            numbers,
        );
    }
}

/// One epoch of the input, after the words that come before it.
fn epoch(engine: &mut Engine, task: TaskHandle, input: &Input, words: &[Word], from: usize, share: f64) -> Transaction {
    engine.begin(true);
    let until = (from / EPOCH * WORDS).min(words.len());
    tell(engine, task, words, engine.covariate_offset(task) as usize, until);
    engine.advance_watermark(task, until as i64);
    take(engine, task, from, &input[from..from + EPOCH]);
    engine.finish(share)
}

fn lived(keyed: bool, input: &Input, words: &[Word]) -> Bits {
    let (mut engine, task) = engine_of(keyed, 40);
    let mut bits = Bits::new();
    for from in (0..input.len()).step_by(EPOCH) {
        if from == 100 {
            engine.activate(task, 1);
        }
        let epoch = epoch(&mut engine, task, input, words, from, 0.0);
        collect(&engine, &epoch, &mut bits);
        engine.commit(&epoch);
    }
    bits
}

fn with(bits: &Bits, keep: impl Fn(&[u64]) -> bool) -> Bits {
    bits.iter().map(|(key, all)| (key.clone(), all.iter().filter(|bits| keep(bits)).cloned().collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What is told later changes no forecast from before it, and what is told of slots beyond the horizon changes none at all.
    #[test]
    fn nothing_is_seen_before_it_is_told_nor_beyond_the_horizon(
        seed in 0..1000_u64, at in 1..150_usize, slot in 20..120_i64, keyed in any::<bool>(),
    ) {
        let (input, told) = (input(seed, 500), words(seed));
        let as_told = lived(keyed, &input, &told);
        let other = |word: &Word| Word(word.0, word.1, word.2.map(|number| 3.0 - 2.0 * number));
        let later: Vec<Word> = told.iter().enumerate().map(|(place, word)| if place < at { word.clone() } else { other(word) }).collect();
        // Seen by the epochs from this record on.
        let seen_from = (at + 1).div_ceil(WORDS) * EPOCH;
        let before = |bits: &[u64]| bits[1] < seen_from as u64;
        prop_assert_eq!(with(&as_told, before), with(&lived(keyed, &input, &later), before));
        let farther: Vec<Word> = told.iter().map(|word| if word.1 < slot { word.clone() } else { other(word) }).collect();
        let nearer = |bits: &[u64]| (bits[0] as i64) + HORIZON < slot;
        prop_assert_eq!(with(&as_told, nearer), with(&lived(keyed, &input, &farther), nearer));
        prop_assert_ne!(as_told, lived(keyed, &input, &farther), "and what is nearer is seen");
    }

    /// A rollback does not take back what was seen: the next epoch sees it and writes down that it did.
    #[test]
    fn a_rolled_back_epoch_is_taken_again_with_what_it_saw(seed in 0..1000_u64, at in 1..40_usize) {
        let (input, words) = (input(seed, 500), words(seed));
        let (mut engine, task) = engine_of(true, 40);
        let mut bits = Bits::new();
        for from in (0..input.len()).step_by(EPOCH) {
            if from == 100 {
                engine.activate(task, 1);
            }
            if from == at * EPOCH && from != 100 {
                epoch(&mut engine, task, &input, &words, from, 0.5);
                engine.roll_back();
            }
            let epoch = epoch(&mut engine, task, &input, &words, from, 0.5);
            prop_assert!(epoch.tasks[0].checkpoint_due || from == 0 || from / EPOCH * WORDS > words.len());
            collect(&engine, &epoch, &mut bits);
            engine.commit(&epoch);
        }
        prop_assert_eq!(bits, lived(true, &input, &words));
    }

    /// Snapshots, the input since then, and what was told since the oldest word that was held make the state that was.
    #[test]
    fn a_replay_sees_what_was_seen(
        seed in 0..1000_u64, cut in 15..45_usize, share in 0.0..1.0_f64, keyed in any::<bool>(), slots in 7..60_usize, lost in any::<bool>(),
    ) {
        let (input, words, cut) = (input(seed, 500), words(seed), cut * EPOCH);
        let (mut engine, task) = engine_of(keyed, slots);
        let mut newest = BTreeMap::new();
        let mut progress = engine.progress(task);
        for from in (0..cut).step_by(EPOCH) {
            let epoch = epoch(&mut engine, task, &input, &words, from, share);
            newest.extend(epoch.snapshots.iter().map(|snapshot| (snapshot.series.clone(), snapshot.clone())));
            progress = epoch.tasks[0].progress.clone();
            engine.commit(&epoch);
        }
        let (mut other, restored) = engine_of(keyed, slots);
        for snapshot in newest.values() {
            let series = (&*snapshot.series).into();
            let put = other.restore(restored, &[EncodedSnapshot { series, position: snapshot.position, body: &snapshot.body }]);
            prop_assert!(put.into_iter().all(|put| put.is_ok_and(|discarded| discarded.is_empty())));
        }
        other.resume(restored, &progress);
        let mut again = true;
        let mut show = |other: &mut Engine, at: i64| {
            let Some(watermark) = other.watermark_at(restored, at) else { return };
            let seen = other.covariate_offset(restored).max(progress.watermarks[0].oldest) + i64::from(lost);
            tell(other, restored, &words, seen as usize, watermark.next as usize);
            again &= other.confirm_watermark(restored, watermark);
        };
        other.begin(false);
        show(&mut other, progress.replay_from);
        let mut from = progress.replay_from as usize;
        while from < cut {
            let next = other.watermarks_after(restored, from as i64).first().map(|watermark| watermark.position as usize);
            let to = next.unwrap_or(cut).min(cut);
            take(&mut other, restored, from, &input[from..to]);
            other.finish(0.0);
            other.advance(restored, to as i64);
            show(&mut other, to as i64);
            from = to;
        }
        if lost {
            prop_assert!(!again, "a record that is gone is noticed");
            return Ok(());
        }
        prop_assert!(again);
        let mut bits = [Bits::new(), Bits::new()];
        for ((engine, task), bits) in [(&mut engine, task), (&mut other, restored)].into_iter().zip(&mut bits) {
            for from in (cut..input.len()).step_by(EPOCH) {
                let epoch = epoch(engine, task, &input, &words, from, 0.0);
                collect(engine, &epoch, bits);
                engine.commit(&epoch);
            }
        }
        let [lived, restored] = bits;
        prop_assert_eq!(lived, restored);
    }
}
