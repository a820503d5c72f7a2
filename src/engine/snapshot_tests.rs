//! Snapshots: each part can be lost alone, and no damage leads to unusable forecasts.

use std::collections::BTreeMap;

use super::tests::{MINUTE, accept_all, engine_of, of_the_calendar, streams};
use super::*;
use crate::forecast::{ForecastSpec, ValueBounds};
use crate::nn::{CellKind, NetworkSpec};
use crate::series::{Aggregation, SeriesSpec};
use crate::snapshot::{DiscardReason, DiscardedPart, Part};
use crate::time::Grid;

#[test]
fn a_snapshot_with_a_wrong_byte_is_refused_or_gives_usable_forecasts() {
    for mut spec in streams() {
        spec.network.cell = if spec.series.grid == Grid::Irregular { CellKind::Attention } else { spec.network.cell };
        spec.network.hidden = 8;
        let (mut engine, task) = engine_of(spec.clone());
        engine.begin(true);
        accept_all(&mut engine, task, 0, &(0..70).map(|at| (0, at * MINUTE, (at % 7) as f64)).collect::<Vec<_>>());
        let Snapshot { body, series, .. } = engine.finish(1.0).snapshots.remove(0);
        let (mut other, mut refused) = (Engine::new(vec![spec.clone()]).unwrap(), 0);
        for (at, wrong) in (0..body.len()).zip([0, 0x7f, 0xff].into_iter().cycle()) {
            let mut body = body.clone();
            body[at] = wrong;
            let restored = other.open(engine.id(task).clone(), 0).unwrap();
            let snapshot = EncodedSnapshot { series: series.as_ref().into(), position: 0, body: Some(&body) };
            if other.restore(restored, &[snapshot])[0].is_err() {
                refused += 1;
                other.close(restored);
                continue;
            }
            other.begin(true);
            accept_all(&mut other, restored, 0, &[70, 71, 72, 900, 901].map(|at| (0, at * MINUTE, 3.0)));
            let transaction = other.finish(0.0);
            let values = transaction.points.iter().chain(&transaction.quantiles);
            assert!(values.into_iter().all(|value| value.is_finite()), "byte {at} is {wrong}");
            let levels = transaction.quantiles.chunks(spec.forecast.levels.len());
            assert!(levels.into_iter().all(|levels| levels.is_sorted()), "byte {at} is {wrong}");
            other.commit(&transaction);
            other.close(restored);
        }
        assert!(refused > 0);
    }
}

/// The snapshot of a series of each kind of stream after some hundred steps, and that stream.
fn long_snapshots() -> Vec<(StreamSpec, Vec<u8>)> {
    let snapshot_of = |spec: StreamSpec| {
        let (mut engine, task) = engine_of(spec.clone());
        engine.begin(true);
        let input: Vec<_> = (0..400).map(|at| (0, at * MINUTE, ((at * 7) % 11) as f64 + (at as f64).sin())).collect();
        accept_all(&mut engine, task, 0, &input);
        (spec, engine.finish(1.0).snapshots.remove(0).body)
    };
    streams().into_iter().map(snapshot_of).collect()
}

/// The parts of a snapshot, header and value of each, by id.
fn split_parts(body: &[u8]) -> BTreeMap<u8, &[u8]> {
    let (mut parts, mut rest) = (BTreeMap::new(), body);
    while !rest.is_empty() {
        let (part, after) = rest.split_at(10 + u32::from_le_bytes(rest[6..10].try_into().unwrap()) as usize);
        parts.insert(part[0], part);
        rest = after;
    }
    parts
}

/// Decodes a snapshot: the discarded parts, and the snapshot of what is left, or an error.
fn restored(spec: &StreamSpec, body: &[u8]) -> Result<(Vec<DiscardedPart>, Vec<u8>), SnapshotError> {
    let shapes = fingerprint::part_shapes(spec);
    let snapshot = EncodedSnapshot { series: "s0".into(), position: 0, body: Some(body) };
    let (series, discarded) = snapshot::decode(spec, &shapes, &snapshot, body)?;
    Ok((discarded, snapshot::encode(&shapes, &series, 0)))
}

#[test]
fn a_part_that_cannot_be_used_costs_that_part_alone_and_leaves_the_others_to_the_last_bit() {
    for (spec, body) in long_snapshots() {
        assert_eq!(restored(&spec, &body).unwrap(), (vec![], body.clone()));
        let unknown = [&[200, 1, 0, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3][..], &body].concat();
        assert_eq!(restored(&spec, &unknown).unwrap(), (vec![], body.clone()), "an unknown part is skipped");
        let parts = split_parts(&body);
        for (&damaged, bytes) in &parts {
            let with = |at: usize, xor: u8| {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= xor;
                bytes
            };
            for (wrong, reason) in [
                (with(1, 0x40), DiscardReason::Version { found: bytes[1] ^ 0x40, expected: bytes[1] }),
                (with(2, 1), DiscardReason::Shape),
                ([&bytes[..6], &[0; 4]].concat(), DiscardReason::Damaged),
                (bytes[..bytes.len() - 1].to_vec(), DiscardReason::Missing),
                (Vec::new(), DiscardReason::Missing),
            ] {
                let rest = parts.iter().filter(|(id, _)| **id != damaged).map(|(_, bytes)| *bytes);
                let body: Vec<u8> = rest.chain([&wrong[..]]).flatten().copied().collect();
                if damaged <= Part::VALUES.id {
                    assert_eq!(restored(&spec, &body).unwrap_err().part.reason, reason);
                    continue;
                }
                let (discarded, again) = restored(&spec, &body).unwrap();
                // Covariates, corrections and phases may be missing, and another network costs no warning.
                let optional = [Part::PAST_COVARIATES, Part::FUTURE_COVARIATES, Part::CORRECTIONS, Part::PHASES];
                let optional = optional.map(|part| part.id).contains(&damaged);
                let is_silent = optional && reason == DiscardReason::Missing
                    || damaged == Part::NETWORK_STATE.id && reason == DiscardReason::Shape;
                let found: Vec<_> = discarded.iter().map(|part| (part.part.id, part.reason)).collect();
                assert_eq!(found, if is_silent { vec![] } else { vec![(damaged, reason)] });
                // A mixture weights fresh linear experts afresh.
                let experts = Part::HISTORY.id..=Part::FUTURE_COVARIATE_EXPERTS.id;
                let mut again = split_parts(&again);
                let is_partial = again.remove(&Part::REBUILD_DUE.id).is_some();
                assert_eq!(is_partial, !(optional && reason == DiscardReason::Missing), "part {damaged}: {reason}");
                for (id, bytes) in again {
                    let may_change = id == damaged || id == Part::MIXTURE.id && experts.contains(&damaged);
                    assert!(may_change || parts[&id] == bytes, "part {id} after {damaged} was lost");
                }
            }
        }
    }
}

#[test]
fn a_part_of_another_configuration_costs_that_part_alone() {
    let (spec, body) = long_snapshots().swap_remove(0);
    let discarded = |spec: &StreamSpec| {
        restored(spec, &body).map(|(discarded, _)| discarded.iter().map(|part| part.part.name).collect::<Vec<_>>())
    };
    let levels = StreamSpec { forecast: ForecastSpec::new(5, &[0.2, 0.5, 0.8], 6).unwrap(), ..spec.clone() };
    assert_eq!(discarded(&levels).unwrap(), ["calibration", "anomaly detector", "pending forecasts"]);
    let network = NetworkSpec { hidden: 7, ..spec.network.clone() };
    assert_eq!(
        discarded(&StreamSpec { network, ..spec.clone() }).unwrap(),
        [""; 0],
        "another network costs no warning"
    );
    let bounds = FieldBounds::of_all(ValueBounds::new(Some(0.0), Some(9.0), true).unwrap());
    assert_eq!(discarded(&StreamSpec { bounds, ..spec.clone() }).unwrap(), [""; 0], "no part depends on bounds");
    let sums = SeriesSpec { aggregation: Aggregation::Sum, ..spec.series.clone() };
    let shifted = SeriesSpec { grid: of_the_calendar(), ..spec.series.clone() };
    for series in [sums, shifted] {
        let error = discarded(&StreamSpec { series, ..spec.clone() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the snapshot of series \"s0\" cannot be used: slots: written under another configuration of the stream"
        );
    }
}

/// The names of the parts take at most 3 % of a snapshot.
#[test]
fn parts_make_a_snapshot_hardly_larger_than_its_values() {
    for (spec, body) in long_snapshots() {
        let values = body.len() - 10 * split_parts(&body).len();
        println!("{:?}: {} bytes of values, {} in the snapshot", spec.network.strategy, values, body.len());
        assert!(body.len() * 100 <= values * 103, "{values} {}", body.len());
    }
}
