//! Complete trainings on signals whose structure is known.

use candle_core::Device;

use super::super::champion_challenger::{RejectionReason, Verdict};
use super::super::device::DeviceChoice;
use super::super::pinball_loss::Pinball;
use super::super::training_sequence::SequenceBuilder;
use super::super::truncated_bptt::Model;
use super::*;
use crate::nn::{CellKind, QUANTILE_GRID, Strategy};
use crate::series::{Aggregation, FEATURES, Reading, SeriesSpec};
use crate::time::{EventTime, Grid};

const HORIZON: usize = 4;
const LEVELS: [f32; 3] = [0.1, 0.5, 0.9];

fn network(cell: CellKind, layers: usize) -> NetworkSpec {
    NetworkSpec {
        cell,
        layers,
        hidden: 16,
        inputs: FEATURES,
        horizon: HORIZON,
        levels: 3,
        seed: 7,
        ..NetworkSpec::default()
    }
}

fn spec() -> TrainSpec {
    TrainSpec {
        k1: 16,
        k2: 16,
        learning_rate: 1e-2,
        warm_up: 5,
        batch_size: 16,
        max_updates: 120,
        epochs: 50,
        evaluate_every: 20,
        device: DeviceChoice::Cpu,
        levels: LEVELS.to_vec(),
        min_judged: 100,
        ..TrainSpec::default()
    }
}

/// Pseudorandom numbers in -0.5..0.5.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    }
}

/// One sequence per seed, with values computed from step and noise.
fn sequences(count: u64, steps: i64, value: impl FnMut(i64, f64) -> f64) -> Vec<TrainingSequence> {
    sequences_for(&NetworkSpec { horizon: HORIZON, ..NetworkSpec::default() }, count, steps, value)
}

/// The same, with the targets of a network.
fn sequences_for(
    network: &NetworkSpec,
    count: u64,
    steps: i64,
    mut value: impl FnMut(i64, f64) -> f64,
) -> Vec<TrainingSequence> {
    let spec = SeriesSpec::new(Grid::Regular { interval: 60_000 });
    let (aggregation, horizon, queries) = (Aggregation::Last, HORIZON as u32, network.decoder > 0);
    let series = SeriesSpec { aggregation, season: 12, horizon, burn_in: 8, queries, ..spec };
    let sequence = |seed: u64| {
        let mut builder = SequenceBuilder::new(series.clone(), network, 10_000);
        let mut noise = noise(seed + 1);
        for step in 0..steps {
            let value = value(step + seed as i64, noise());
            builder.observe(&Reading::new(EventTime(step * 60_000), value), None);
        }
        builder.to_sequence()
    };
    (0..count).map(sequence).collect()
}

fn seasonal() -> Vec<TrainingSequence> {
    sequences(20, 400, sine)
}

fn sine(step: i64, noise: f64) -> f64 {
    50.0 + 10.0 * (step as f64 * std::f64::consts::TAU / 12.0).sin() + noise
}

fn run(spec: &TrainSpec, network: &NetworkSpec, champion: &Weights, sequences: &[TrainingSequence]) -> Outcome {
    train(spec, network, champion, sequences, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Initial weights with a nonzero head, so that gradients reach the layers.
fn nonzero_head(network: &NetworkSpec) -> Weights {
    let mut tensors = Weights::initial(network).tensors().clone();
    for (at, value) in tensors.get_mut("head.weight").unwrap().values.iter_mut().enumerate() {
        *value = (at as f32 * 0.7).sin() * 0.3;
    }
    Weights::from_tensors(tensors)
}

#[test]
fn a_network_that_answers_queries_is_fine_tuned_and_judged_like_any_other() {
    let network = NetworkSpec { decoder: 16, levels: QUANTILE_GRID.len(), ..network(CellKind::Gru, 1) };
    let spec = TrainSpec { levels: QUANTILE_GRID.to_vec(), ..spec() };
    let sequences = sequences_for(&network, 20, 400, sine);
    let outcome = run(&spec, &network, &Weights::initial(&network), &sequences);
    assert_eq!(outcome.verdict, Verdict::Promote);
    assert!(outcome.challenger_loss < 0.4 * outcome.champion_loss, "{outcome:?}");
    // It goes on from what it has learnt: a few updates at a small rate lose nothing.
    let tuning = TrainSpec { learning_rate: 1e-3, max_updates: 20, ..spec };
    let tuned = run(&tuning, &network, &outcome.challenger, &sequences);
    assert!(tuned.challenger_loss <= 1.01 * outcome.challenger_loss, "{tuned:?}");
}

#[test]
fn a_season_is_learned_and_clearly_beats_the_last_value() {
    let sequences = seasonal();
    for (cell, layers) in [(CellKind::Gru, 1), (CellKind::Lstm, 2)] {
        let network = network(cell, layers);
        let mut seen: Vec<Progress> = Vec::new();
        let outcome = train(&spec(), &network, &Weights::initial(&network), &sequences, &mut |progress| {
            seen.push(progress.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
        let (champion, challenger) = (outcome.champion_loss, outcome.challenger_loss);
        println!("{cell} x {layers}: {challenger:.4} against {champion:.4}, {} judged", outcome.judged);
        assert!(challenger < 0.4 * champion, "{cell}: {challenger} against {champion}");
        assert_eq!(outcome.verdict, Verdict::Promote);
        assert_eq!((outcome.updates, outcome.skipped_non_finite, seen.len()), (120, 0, 120));
        assert!(!outcome.interrupted && outcome.judged > 2000 && outcome.checkpoint.moments.steps == 120);
        assert!(seen[119].best_loss < seen[0].best_loss && seen[119].loss < seen[0].loss);
        assert!(seen.iter().enumerate().all(|(at, progress)| progress.update == at + 1));
        outcome.challenger.check(&network).unwrap();
    }
}

#[test]
fn a_recursive_network_learns_the_next_step() {
    let network = NetworkSpec { strategy: Strategy::Recursive, ..network(CellKind::Gru, 1) };
    let outcome = run(&spec(), &network, &Weights::initial(&network), &sequences_for(&network, 20, 400, sine));
    let (champion, challenger) = (outcome.champion_loss, outcome.challenger_loss);
    assert!(challenger < 0.5 * champion, "{challenger} against {champion}");
    let rejected =
        train(&spec(), &network, &Weights::initial(&network), &seasonal(), &mut |_| ControlFlow::Continue(()));
    assert!(rejected.is_err(), "sequences with targets that the network does not have");
}

#[test]
fn computed_features_give_the_weights_of_stored_ones() {
    for strategy in [Strategy::Direct, Strategy::ManyToOne] {
        let network = NetworkSpec { strategy, ..network(CellKind::Gru, 2) };
        let sequences = sequences_for(&network, 20, 400, sine);
        let stored: Vec<TrainingSequence> = sequences.iter().map(|sequence| sequence.stored(|_, _| {})).collect();
        let spec = TrainSpec { max_updates: 12, evaluate_every: 5, burn_in: 3, ..spec() };
        for spec in [spec.clone(), spec.incremental(7)] {
            let [computed, stored] =
                [&sequences, &stored].map(|sequences| run(&spec, &network, &Weights::initial(&network), sequences));
            assert_eq!(computed.challenger, stored.challenger);
            let losses = |outcome: &Outcome| [outcome.champion_loss, outcome.challenger_loss].map(f64::to_bits);
            assert_eq!(losses(&computed), losses(&stored));
        }
    }
}

#[test]
fn equal_seeds_give_equal_challengers() {
    let (sequences, network) = (seasonal(), network(CellKind::Gru, 2));
    let spec = TrainSpec { max_updates: 12, evaluate_every: 5, ..spec() };
    let champion = Weights::initial(&network);
    let first = run(&spec, &network, &champion, &sequences);
    assert_eq!(run(&spec, &network, &champion, &sequences), first);
    let other = run(&TrainSpec { seed: 2, ..spec }, &network, &champion, &sequences);
    assert_ne!(other.challenger, first.challenger);
}

#[test]
fn weights_for_an_unpredictable_series_are_not_promoted() {
    let (network, mut level) = (network(CellKind::Gru, 1), 0.0);
    let sequences = sequences(16, 300, |_, noise| {
        level += noise;
        level
    });
    // A champion that knows the spread of a random walk can only be beaten by chance.
    let spec = TrainSpec { margin: 0.05, max_updates: 80, ..spec() };
    let champion = run(&spec, &network, &Weights::initial(&network), &sequences).challenger;
    let outcome = run(&TrainSpec { seed: 5, ..spec }, &network, &champion, &sequences);
    assert!(matches!(outcome.verdict, Verdict::Reject(_)), "{:?}", outcome.verdict);
}

#[test]
fn a_training_that_makes_the_loss_worse_keeps_the_champion() {
    let (sequences, network) = (seasonal(), network(CellKind::Gru, 1));
    let champion = run(&spec(), &network, &Weights::initial(&network), &sequences).challenger;
    let wild = TrainSpec { learning_rate: 3.0, warm_up: 0, clip: 1e6, max_updates: 20, ..spec() };
    let outcome = run(&wild, &network, &champion, &sequences);
    assert_eq!(outcome.challenger, champion);
    assert!(matches!(outcome.verdict, Verdict::Reject(RejectionReason::Underfitting(_))), "{:?}", outcome.verdict);
}

#[test]
fn a_resumed_training_equals_an_uninterrupted_one_to_the_last_bit() {
    let sequences = seasonal();
    for (cell, layers, k2) in [(CellKind::Gru, 2, 16), (CellKind::Lstm, 1, 40)] {
        let network = network(cell, layers);
        // An epoch has 25 chunks of 16 steps: the pause lies within the second epoch, and between two evaluations.
        let spec = TrainSpec { max_updates: 60, k2, ..spec() };
        let champion = Weights::initial(&network);
        let mut looks = Vec::new();
        let whole = train(&spec, &network, &champion, &sequences, &mut |progress| {
            looks.extend(progress.checkpoint.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
        for pause in [1, 25, 40] {
            let first = train(&spec, &network, &champion, &sequences, &mut |progress| {
                if progress.update < pause { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .unwrap();
            assert_eq!((first.interrupted, first.updates), (true, pause));
            let checkpoint = Checkpoint::from_bytes(&first.checkpoint.to_bytes().unwrap()).unwrap();
            let second = resume(&spec, &network, &checkpoint, &sequences, &mut |_| ControlFlow::Continue(())).unwrap();
            assert_eq!(second, whole, "{cell}, paused after {pause}");
        }
        assert_eq!(looks.iter().map(|look| look.updates()).collect::<Vec<_>>(), [20, 40, 60]);
        let second = resume(&spec, &network, &looks[1], &sequences, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(second, whole, "{cell}, from the checkpoint of the second look");
        let rejected = resume(&TrainSpec { batch_size: 8, ..spec }, &network, &looks[1], &sequences, &mut |_| {
            ControlFlow::Continue(())
        });
        let error = rejected.unwrap_err().to_string();
        assert!(
            error.contains("the checkpoint was made with other data, or another seed, k1, k2, batch_size"),
            "{error}"
        );
    }
}

#[test]
fn learned_noise_is_rejected_as_overfitting() {
    // Few unpredictable targets, and many parameters.
    let mut sequences = sequences(2, 120, |_, noise| noise);
    let mut noise = noise(99);
    for sequence in &mut sequences {
        *sequence = sequence.stored(|_, targets| {
            for target in targets.iter_mut().filter(|target| !target.is_nan()) {
                *target = (4.0 * noise()) as f32;
            }
        });
    }
    let network = NetworkSpec { hidden: 48, ..network(CellKind::Gru, 1) };
    let spec = TrainSpec { max_updates: 150, min_judged: 20, validation_share: 0.4, ..spec() };
    // The champion knows the spread of the noise: only chance is left to learn.
    let mut tensors = Weights::initial(&network).tensors().clone();
    let spread = LEVELS.into_iter().cycle().map(|level| 4.0 * (level - 0.5));
    tensors.get_mut("head.bias").unwrap().values.iter_mut().zip(spread).for_each(|(bias, level)| *bias = level);
    let champion = Weights::from_tensors(tensors);
    let outcome = run(&spec, &network, &champion, &sequences);
    let Verdict::Reject(reason @ RejectionReason::Overfitting(losses)) = outcome.verdict else {
        panic!("{:?} {:?}", outcome.verdict, outcome.fit);
    };
    assert!(
        losses.training < 0.8 * losses.champion_training && losses.validation >= losses.champion_validation,
        "{reason}"
    );
    assert_eq!(losses.training, outcome.fit.newest.min(outcome.fit.challenger));
}

#[test]
fn a_training_that_learns_nothing_is_rejected_as_underfitting() {
    let (sequences, network) = (seasonal(), network(CellKind::Gru, 1));
    let timid = TrainSpec { learning_rate: 1e-9, max_updates: 20, ..spec() };
    let outcome = run(&timid, &network, &Weights::initial(&network), &sequences);
    let Verdict::Reject(reason @ (RejectionReason::Underfitting(_) | RejectionReason::NoClearWin { .. })) =
        outcome.verdict
    else {
        panic!("{:?}", outcome.verdict);
    };
    assert!(reason.to_string().contains("validation loss"), "{reason}");
    assert!(outcome.fit.newest > 0.99 * outcome.fit.champion, "{:?}", outcome.fit);
}

#[test]
fn sequences_without_a_single_target_end_after_one_epoch() {
    let (mut sequences, network) = (seasonal(), network(CellKind::Gru, 1));
    sequences.iter_mut().for_each(|sequence| *sequence = sequence.stored(|_, targets| targets.fill(f32::NAN)));
    let endless = TrainSpec { epochs: usize::MAX, ..spec() };
    let outcome = run(&endless, &network, &Weights::initial(&network), &sequences);
    assert_eq!(outcome.updates, 0);
    assert!(matches!(outcome.verdict, Verdict::Reject(RejectionReason::TooFew { .. })));
}

#[test]
fn training_also_learns_with_the_huber_loss_and_a_burn_in() {
    let (sequences, network) = (seasonal(), network(CellKind::Gru, 1));
    let spec = TrainSpec { huber: 0.05, burn_in: 8, max_updates: 80, ..spec() };
    let outcome = run(&spec, &network, &Weights::initial(&network), &sequences);
    assert!(outcome.challenger_loss < 0.5 * outcome.champion_loss, "{}", outcome.challenger_loss);
}

#[test]
fn a_break_ends_the_training_and_the_best_weights_are_compared() {
    let (sequences, network) = (seasonal(), network(CellKind::Gru, 1));
    let outcome = train(&spec(), &network, &Weights::initial(&network), &sequences, &mut |progress| {
        if progress.update < 45 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    assert!(outcome.interrupted && outcome.updates == 45);
    assert!(outcome.challenger_loss < outcome.champion_loss);
}

#[test]
fn updates_that_are_not_finite_are_skipped_and_counted() {
    let (mut sequences, network) = (seasonal(), network(CellKind::Gru, 1));
    sequences[3] = sequences[3].stored(|features, _| features[40 * FEATURES + 2] = f32::NAN);
    let outcome = run(&spec(), &network, &Weights::initial(&network), &sequences);
    assert!((1..60).contains(&outcome.skipped_non_finite), "{}", outcome.skipped_non_finite);
    assert_eq!(outcome.checkpoint.moments.steps, (outcome.updates - outcome.skipped_non_finite) as u64);
    assert!(outcome.training_loss.is_finite() && outcome.gradient_norm.is_finite());
    assert!(outcome.challenger_loss < 0.6 * outcome.champion_loss, "the rest is learned");
}

#[test]
fn gradients_are_clipped_and_counted() {
    let (sequences, network) = (seasonal(), network(CellKind::Gru, 1));
    let few = |clip| TrainSpec { max_updates: 10, clip, ..spec() };
    let clipped = run(&few(1e-6), &network, &Weights::initial(&network), &sequences);
    assert!(clipped.clipped == 10 && clipped.clipped_gradient_norm == 1e-6 && clipped.gradient_norm > 1e-6);
    assert_eq!(run(&few(1e6), &network, &Weights::initial(&network), &sequences).clipped, 0);
}

#[test]
fn every_weight_gets_a_gradient() {
    let sequences = seasonal();
    let split = |sequence: &TrainingSequence| Split::new(sequence.len(), &TrainSpec::default());
    let splits: Vec<Split> = sequences.iter().map(split).collect();
    for cell in CellKind::ALL {
        let network = network(cell, 2);
        let model = Model::new(&network, &nonzero_head(&network), &Device::Cpu).unwrap();
        let batch = Batch::new(&sequences, &splits, &network, &spec(), 1);
        let chunk = batch.chunk(0, 0, 64);
        let rows = batch.row_count();
        let layers = model.forward(&chunk, rows, &model.fresh(rows).unwrap()).unwrap();
        let result = model.backward(&layers, 64, &Pinball::new(chunk.targets, &LEVELS, 0.0)).unwrap().unwrap();
        assert_eq!(result.gradients.len(), nonzero_head(&network).tensors().len());
        for (name, gradient) in &result.gradients {
            let values = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let moved = values.iter().filter(|value| **value != 0.0).count();
            // Some features, such as the calendar's, may be constant within the chunk.
            assert!(moved * 2 > values.len(), "{cell} {name}: {moved} of {}", values.len());
        }
    }
}

#[test]
fn states_are_carried_over_chunks_and_gradients_as_far_as_k2() {
    let (sequences, network) = (seasonal(), network(CellKind::Lstm, 2));
    let champion = nonzero_head(&network);
    // At this rate the weights do not change, so that losses are equal to the last bit.
    let still = |k1, k2, chunks| TrainSpec { k1, k2, max_updates: chunks, learning_rate: 1e-30, ..spec() };
    let short = run(&still(8, 8, 5), &network, &champion, &sequences);
    let long = run(&still(8, 21, 5), &network, &champion, &sequences);
    assert_eq!(short.training_loss.to_bits(), long.training_loss.to_bits(), "the same steps, the same states");
    assert!(short.gradient_norm != long.gradient_norm, "further back, another gradient");
    let uncarried = run(&TrainSpec { seed: 3, ..still(8, 8, 5) }, &network, &champion, &sequences);
    assert_ne!(uncarried.training_loss.to_bits(), short.training_loss.to_bits());
}

#[test]
fn invalid_settings_and_sequences_are_rejected() {
    let (sequences, network) = (seasonal(), network(CellKind::Gru, 1));
    let champion = Weights::initial(&network);
    let reject = |spec: TrainSpec, champion: &Weights, sequences: &[TrainingSequence]| {
        train(&spec, &network, champion, sequences, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string()
    };
    let k = reject(TrainSpec { k1: 8, k2: 4, ..spec() }, &champion, &sequences);
    assert_eq!(k, "training: k1 is 8 and k2 4, expected 1 <= k1 <= k2 <= 4096");
    assert!(
        reject(TrainSpec { validation_share: 1.0, ..spec() }, &champion, &sequences).contains("validation_share is 1")
    );
    assert!(reject(TrainSpec { huber: -1.0, ..spec() }, &champion, &sequences).contains("huber is -1"));
    assert!(reject(TrainSpec { burn_in: 17, ..spec() }, &champion, &sequences).contains("burn_in <= k2, 16"));
    assert!(reject(TrainSpec { levels: vec![0.5], ..spec() }, &champion, &sequences).contains("the 3 of the network"));
    assert!(reject(TrainSpec { learning_rate: f64::NAN, ..spec() }, &champion, &sequences).contains("learning_rate"));
    assert!(reject(spec(), &champion, &[]).contains("nothing to train on"));
    assert!(reject(spec(), &Weights::default(), &sequences).contains("head.bias [12] is missing"));
    #[cfg(not(feature = "cuda"))]
    assert!(
        reject(TrainSpec { device: DeviceChoice::Cuda, ..spec() }, &champion, &sequences).contains("--features cuda")
    );
}
