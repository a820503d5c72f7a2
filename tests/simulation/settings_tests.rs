//! Restores after a change of settings.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    fixture::Fixture,
    outcome::Output,
    scenario::{INPUT, MINUTE},
};
use foretide::{
    broker::Partition,
    daemon::plan::Plan,
    engine::StreamSpec,
    forecast::ForecastSpec,
    nn::{CellKind, NetworkSpec},
    series::{ExtraFeatures, FEATURES, SeriesSpec},
    time::Grid,
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
