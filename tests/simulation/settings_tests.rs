//! Restores after a change of settings.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    fixture::Fixture,
    outcome::Output,
    scenario::{INPUT, MINUTE, STATE},
};
use crate::memory::MemoryCluster;
use foretide::{
    broker::Partition,
    daemon::{plan::Plan, shard::Shard},
    engine::StreamSpec,
    forecast::ForecastSpec,
    nn::{CellKind, NetworkSpec},
    series::{ExtraFeatures, FEATURES, SeriesSpec},
    time::Grid,
    wire::StateKey,
};

/// After a change of settings, series are rebuilt from the input: they forecast as a run that had these settings from
/// the beginning. Silent series come back too.
#[test]
fn changed_settings_do_not_cost_the_past() {
    let covariates = ExtraFeatures { past_covariates: ["speed".into()].into(), ..ExtraFeatures::default() };
    let none = ExtraFeatures::default;
    let before = (3, 4, &[0.1, 0.5, 0.9][..], CellKind::Gru, none());
    let changes = [
        ("horizon", (5, 4, &[0.1, 0.5, 0.9][..], CellKind::Gru, none())),
        ("season", (3, 6, &[0.1, 0.5, 0.9][..], CellKind::Gru, none())),
        ("quantiles", (3, 4, &[0.2, 0.5][..], CellKind::Gru, none())),
        ("cell", (3, 4, &[0.1, 0.5, 0.9][..], CellKind::Lstm, none())),
        ("covariates", (3, 4, &[0.1, 0.5, 0.9][..], CellKind::Gru, covariates)),
    ];
    for (name, after) in changes {
        let mut fixture = Fixture::new(|plan| {
            plan.checkpoint_interval = 0;
            set(plan, &before);
        });
        fixture.append(0..60);
        fixture.run_once("first", false);
        let mut changed = (*fixture.plan).clone();
        set(&mut changed, &after);
        fixture.plan = Arc::new(changed);
        let (mut shard, process) = fixture.join("second");
        fixture.settle(&mut [&mut shard]);
        assert!(shard.restore_stats().iter().all(|stats| stats.rebuilt == 1 && stats.lost == 0), "{name}");
        fixture.append_of(60..65, 0..5);
        fixture.settle(&mut [&mut shard]);
        process.faults().crash();
        drop(shard);
        fixture.cluster.expire("second");
        let (mut shard, _) = fixture.join("third");
        fixture.settle(&mut [&mut shard]);
        fixture.append(65..70);
        fixture.settle(&mut [&mut shard]);
        let (found, fresh) = (forecasts_from(60, Output::committed(&fixture.cluster)), fixture.reference());
        assert_eq!(found, forecasts_from(60, fresh), "{name}");
    }
}

/// A long rebuild does not keep the partition from being served: nothing is lost or doubled meanwhile, whoever is
/// killed or joins. Then the series forecast as a run that had the settings from the beginning, and a restart finds all
/// of it in the state topic.
#[test]
fn a_changed_stream_is_served_while_it_is_rebuilt() {
    let levels = &[0.1, 0.5, 0.9][..];
    let (before, after) = ((3, 4, levels), (5, 6, levels));
    for disturbance in ["none", "killed while it is rebuilt", "killed after it took over", "another joins"] {
        let settings = |(horizon, season, levels)| (horizon, season, levels, CellKind::Gru, ExtraFeatures::default());
        let mut fixture = Fixture::new(|plan| {
            (plan.checkpoint_interval, plan.rebuild_first) = (10_000_000, 0);
            set(plan, &settings(before));
        });
        fixture.append(0..60);
        fixture.run_once("first", false);
        let mut changed = (*fixture.plan).clone();
        set(&mut changed, &settings(after));
        fixture.plan = Arc::new(changed);

        let (mut shard, process) = fixture.join("second");
        poll_until(&fixture, &mut shard, Shard::serving);
        // The last series is silent from now on.
        fixture.append_of(60..62, 0..5);
        let served = fixture.forecasts();
        poll_until(&fixture, &mut shard, |_| fixture.forecasts() > served);
        assert!(rebuilt(&shard) == 0, "{disturbance}: forecasts wait for no rebuild");
        let killed = |shard: Shard, process: MemoryCluster| {
            process.faults().crash();
            drop(shard);
            fixture.cluster.expire("second");
            fixture.join("third").0
        };
        let (mut other, mut shards) = (None, Vec::new());
        match disturbance {
            "killed while it is rebuilt" => shards.push(killed(shard, process)),
            "killed after it took over" => {
                poll_until(&fixture, &mut shard, |shard| rebuilt(shard) > 0);
                shards.push(killed(shard, process));
            }
            "another joins" => {
                other = Some(fixture.join("other").0);
                shards.push(shard);
            }
            _ => shards.push(shard),
        }
        shards.extend(other);
        fixture.append_of(62..64, 0..5);
        fixture.settle(&mut shards.iter_mut().collect::<Vec<_>>());
        fixture.append(64..70);
        fixture.settle(&mut shards.iter_mut().collect::<Vec<_>>());
        let all: usize = shards.iter().map(rebuilt).sum();
        assert_eq!(all, fixture.partitions() as usize, "{disturbance}");
        shards.into_iter().for_each(|shard| shard.leave().unwrap());
        let (found, fresh) = (Output::committed(&fixture.cluster), fixture.reference());
        let slots = |output: &Output| output.forecasts.iter().map(|(key, all)| (key.clone(), all.len())).collect();
        let (found_slots, fresh_slots): (BTreeMap<_, usize>, BTreeMap<_, usize>) = (slots(&found), slots(&fresh));
        assert_eq!(found_slots, fresh_slots, "{disturbance}");
        assert_eq!(forecasts_from(64, found), forecasts_from(64, fresh), "{disturbance}");

        let (mut last, _) = fixture.join("last");
        fixture.settle(&mut [&mut last]);
        assert!(rebuilt(&last) == 0, "{disturbance}: all snapshots are of the new settings");
    }
}

/// Polls a shard until something holds.
fn poll_until(fixture: &Fixture, shard: &mut Shard, holds: impl Fn(&Shard) -> bool) {
    for _ in 0..500 {
        if holds(shard) {
            return;
        }
        fixture.clock.advance_millis(500);
        shard.poll().unwrap();
    }
    panic!("it never comes to that");
}

/// How many restores of a shard have rebuilt series.
fn rebuilt(shard: &Shard) -> usize {
    shard.restore_stats().iter().filter(|stats| stats.rebuilt > 0).count()
}

/// Of snapshots that are larger than the state topic accepts the parts are written that fit. A restart rebuilds the
/// series from the input; where that is gone, they go on with these parts.
#[test]
fn snapshots_that_are_too_large_keep_the_parts_that_fit() {
    for input_is_there in [true, false] {
        let fixture = Fixture::new(|plan| plan.checkpoint_interval = 0);
        fixture.append(0..60);
        fixture.run_once("first", false);
        let sizes = |fixture: &Fixture| -> BTreeMap<_, _> {
            let records = (0..fixture.plan.state_partitions).flat_map(|n| fixture.cluster.committed_records(STATE, n));
            let series = records
                .filter(|record| matches!(StateKey::parse(record.key.as_ref().unwrap()), Ok(StateKey::Series { .. })));
            series.map(|record| (record.key.unwrap(), record.payload.map_or(0, |payload| payload.len()))).collect()
        };
        let largest = sizes(&fixture).into_values().max().unwrap();
        fixture.cluster.limit_records(STATE, largest / 2).unwrap();
        let (mut shard, _) = fixture.join("second");
        fixture.append(60..62);
        fixture.settle(&mut [&mut shard]);
        shard.leave().unwrap();
        assert_eq!(sizes(&fixture).len(), 6);
        assert!(sizes(&fixture).into_values().all(|bytes| (largest / 8..largest / 2).contains(&bytes)));
        Output::committed(&fixture.cluster).assert_is(&fixture.reference());

        let before = fixture.forecasts();
        if !input_is_there {
            for number in 0..fixture.partitions() {
                let partition = Partition { topic: INPUT.into(), number };
                fixture.cluster.truncate_before(&partition, fixture.input_end() - 6).unwrap();
            }
        }
        let (mut shard, _) = fixture.join("third");
        fixture.settle(&mut [&mut shard]);
        assert_eq!(rebuilt(&shard) > 0, input_is_there);
        fixture.append(62..64);
        fixture.settle(&mut [&mut shard]);
        assert!(fixture.forecasts() >= before + 12, "each series goes on at its next reading");
        if input_is_there {
            Output::committed(&fixture.cluster).assert_is(&fixture.reference());
        }
    }
}

/// Where the input is gone, series keep what fits the new settings.
#[test]
fn changed_settings_keep_what_fits_where_the_input_is_gone() {
    let levels = &[0.1, 0.5, 0.9][..];
    let mut fixture = Fixture::new(|plan| {
        plan.checkpoint_interval = 0;
        set(plan, &(3, 4, levels, CellKind::Gru, ExtraFeatures::default()));
    });
    fixture.append(0..60);
    fixture.run_once("first", false);
    for number in 0..fixture.partitions() {
        fixture.cluster.truncate_before(&Partition { topic: INPUT.into(), number }, fixture.input_end() - 6).unwrap();
    }
    let mut changed = (*fixture.plan).clone();
    set(&mut changed, &(5, 4, levels, CellKind::Gru, ExtraFeatures::default()));
    fixture.plan = Arc::new(changed);
    let (mut shard, _) = fixture.join("second");
    fixture.settle(&mut [&mut shard]);
    assert!(shard.restore_stats().iter().all(|stats| (stats.rebuilt, stats.replayed) == (0, 0)));
    let before = fixture.forecasts();
    fixture.append(60..62);
    fixture.settle(&mut [&mut shard]);
    assert!(fixture.forecasts() > before, "a series goes on at its next reading");
}

type StreamSettings<'a> = (u32, u32, &'a [f32], CellKind, ExtraFeatures);

/// Gives the stream another horizon, season, quantiles, cell and covariates.
fn set(plan: &mut Plan, (horizon, season, levels, cell, extra): &StreamSettings<'_>) {
    let stream = &mut plan.streams[0];
    let steps = *horizon as usize;
    let forecast = ForecastSpec::new(steps, levels, *season as usize).unwrap().with_extra(extra);
    let series = SeriesSpec {
        grid: Grid::Regular { interval: MINUTE },
        season: *season,
        horizon: *horizon,
        extra: extra.clone(),
        ..stream.engine.series.clone()
    };
    let (cell, levels, inputs) = (*cell, levels.len(), FEATURES + extra.features());
    let network = NetworkSpec { cell, inputs, horizon: steps, levels, hidden: 8, seed: 7, ..NetworkSpec::default() };
    stream.engine = StreamSpec { series, forecast, network, ..stream.engine.clone() };
    stream.decode.covariates = extra.past_covariates.to_vec();
    stream.future_covariates = None;
}

/// The forecasts from the slot of a minute on.
fn forecasts_from(minute: i64, output: Output) -> BTreeMap<(i32, String), Vec<String>> {
    let is_from = |payload: &String| {
        let forecast: serde_json::Value = serde_json::from_str(payload).unwrap();
        forecast["origin"].as_i64().unwrap() >= minute * MINUTE
    };
    let kept = |payloads: Vec<String>| payloads.into_iter().filter(is_from).collect();
    output.forecasts.into_iter().map(|(series, payloads)| (series, kept(payloads))).collect()
}
