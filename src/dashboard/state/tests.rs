use super::*;

const LEVELS: [f32; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];

fn limits() -> DashboardLimits {
    DashboardLimits { charted: 3, anomalous: 2, points: 10, anomalies: 4, outcomes: 2, samples: 50 }
}

/// Records a forecast at `origin` whose two leads have the quantiles value + level - 0.5. Scores from 0.99 are
/// anomalous.
fn record(dashboard: &DashboardState, series: &str, origin: i64, value: f64, anomaly: Option<f32>) {
    let quantiles: Vec<f64> =
        [0.0, 1.0].iter().flat_map(|lead| LEVELS.map(|level| value + lead + f64::from(level) - 0.5)).collect();
    dashboard.record_forecast(&SeriesUpdate {
        stream: "s",
        series,
        origin,
        value,
        times: &[origin + 10, origin + 20],
        point: &[value, value + 1.0],
        levels: &LEVELS,
        quantiles: &quantiles,
        anomaly,
        anomalous: anomaly.is_some_and(|score| score >= 0.99),
    });
}

fn names(dashboard: &DashboardState) -> Vec<String> {
    dashboard.series(&Filter::default()).series.into_iter().map(|chart| chart.series).collect()
}

#[test]
fn the_first_series_are_charted_in_their_order_and_no_more() {
    let dashboard = DashboardState::new(limits());
    for origin in 0..20 {
        for series in ["d", "a", "c", "b"] {
            record(&dashboard, series, origin * 10, origin as f64, None);
        }
    }
    assert_eq!(names(&dashboard), ["d", "a", "c"]);
    assert!(dashboard.chart("s", "b").is_none() && dashboard.chart("t", "a").is_none());
    let chart = dashboard.chart("s", "a").unwrap();
    assert_eq!(chart.values, (10..20).map(f64::from).collect::<Vec<_>>(), "history is bounded");
    assert_eq!(chart.ahead, [200, 210]);
    assert_eq!(chart.point, [19.0, 20.0]);
}

#[test]
fn bands_pair_the_levels_around_the_median_widest_first() {
    let dashboard = DashboardState::new(limits());
    record(&dashboard, "a", 0, 5.0, None);
    let bands = dashboard.chart("s", "a").unwrap().bands;
    assert_eq!(bands.iter().map(|band| band.share).collect::<Vec<_>>(), [0.9, 0.8]);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    assert!(near(bands[1].low[0], 4.6) && near(bands[1].high[1], 6.4), "{bands:?}");
}

#[test]
fn each_value_keeps_the_interval_that_was_forecast_for_it() {
    let dashboard = DashboardState::new(limits());
    record(&dashboard, "a", 0, 5.0, None);
    record(&dashboard, "a", 10, 9.0, Some(0.5));
    record(&dashboard, "a", 40, 9.0, None);
    let chart = dashboard.chart("s", "a").unwrap();
    assert_eq!(chart.expected[0], None);
    let (low, high) = chart.expected[1].unwrap();
    assert!((low - 4.6).abs() < 1e-6 && (high - 5.4).abs() < 1e-6);
    assert_eq!(chart.expected[2], None, "no forecast reached there");
    assert_eq!(chart.scores, [None, Some(0.5), None]);
}

#[test]
fn an_anomalous_series_gets_a_chart_in_place_of_the_one_with_the_oldest_anomaly() {
    let dashboard = DashboardState::new(limits());
    for series in ["a", "b", "c", "d", "e", "f"] {
        record(&dashboard, series, 0, 1.0, None);
    }
    record(&dashboard, "d", 10, 50.0, Some(0.995));
    record(&dashboard, "e", 10, 50.0, Some(0.995));
    record(&dashboard, "d", 20, 60.0, Some(0.995));
    assert_eq!(names(&dashboard), ["a", "b", "c", "d", "e"]);
    record(&dashboard, "f", 20, 50.0, Some(0.999));
    assert_eq!(names(&dashboard), ["a", "b", "c", "d", "f"], "e has been quiet the longest; first comers stay");
    let overview = dashboard.overview();
    assert_eq!((overview.anomalous, overview.streams[0].anomalous), (4, 4));
    let listed: Vec<(&str, i64, bool)> =
        overview.anomalies.iter().map(|one| (one.series.as_str(), one.time, one.shown)).collect();
    assert_eq!(listed, [("f", 20, true), ("e", 10, false), ("d", 10, true)], "a run of values is one anomaly");
    for origin in 3..90 {
        let score = if origin % 2 == 0 { 0.5 } else { 1.0 };
        record(&dashboard, "a", origin * 10, 50.0, Some(score));
    }
    assert_eq!(dashboard.overview().anomalies.len(), 4, "the list is bounded");
}

#[test]
fn an_anomaly_is_listed_by_its_most_anomalous_value() {
    let dashboard = DashboardState::new(limits());
    let scores = [Some(0.5), Some(0.992), Some(0.999), None, Some(0.991), Some(0.5), Some(0.995)];
    for (origin, score) in (1..).zip(scores) {
        record(&dashboard, "a", 10 * origin, 1.0, score);
    }
    let listed: Vec<(i64, f32)> = dashboard.overview().anomalies.iter().map(|one| (one.time, one.score)).collect();
    assert_eq!(listed, [(70, 0.995), (30, 0.999)]);
    assert_eq!(dashboard.overview().anomalous, 4);
    let chart = dashboard.chart("s", "a").unwrap();
    assert_eq!(chart.anomalous, [false, true, true, false, true, false, true]);
}

#[test]
fn a_chart_starts_again_where_event_time_goes_back() {
    let dashboard = DashboardState::new(limits());
    record(&dashboard, "a", 100, 1.0, None);
    record(&dashboard, "a", 110, 2.0, None);
    record(&dashboard, "a", 50, 3.0, None);
    assert_eq!(dashboard.chart("s", "a").unwrap().times, [50]);
}

#[test]
fn pages_are_filtered_bounded_and_never_past_the_end() {
    let dashboard = DashboardState::new(DashboardLimits { charted: 100, ..limits() });
    (0..90).for_each(|number| record(&dashboard, &format!("Meter-{number:02}"), 0, 1.0, None));
    let page = |filter: Filter| dashboard.series(&filter);
    assert_eq!(page(Filter { limit: 1000, ..Filter::default() }).series.len(), query::PAGE_LIMIT);
    assert_eq!(page(Filter::default()).series.len(), 24);
    let found = page(Filter { search: "METER-8".into(), ..Filter::default() });
    assert_eq!((found.matching, found.shown, found.series.len()), (10, 90, 10));
    let end = page(Filter { offset: 5000, ..Filter::default() });
    assert_eq!((end.offset, end.series.len(), end.series[0].series.as_str()), (72, 18, "Meter-72"));
    let nothing = page(Filter { search: "nothing".into(), offset: 48, ..Filter::default() });
    assert_eq!((nothing.matching, nothing.offset, nothing.series.len()), (0, 0, 0));
    assert_eq!(page(Filter { stream: "other".into(), ..Filter::default() }).matching, 0);
}

#[test]
fn skill_coverage_and_rates_come_from_sums() {
    let dashboard = DashboardState::new(limits());
    let nothing = dashboard.overview();
    assert_eq!(
        (nothing.skill_in_all.skill_last_value, nothing.observations_per_second),
        (None, None),
        "unknown is not zero"
    );
    let interval = |share, covered| IntervalCoverage { share, targets: 10, covered };
    let accuracy = HorizonAccuracy {
        count: 10,
        foretide: 5.0,
        last_value: 10.0,
        seasonal_naive: 0.0,
        intervals: vec![interval(0.9, 8), interval(0.8, 7)],
        weights: [1.0, 0.0, 6.0, 0.0, 0.0, 3.0],
    };
    dashboard.sample(1000);
    for second in 2..40 {
        dashboard.record_accuracy("s", 1, &accuracy);
        dashboard.record_accuracy("s", 24, &HorizonAccuracy { foretide: 10.0, ..accuracy.clone() });
        dashboard
            .record_work("s", WorkCounts { records: 1, observations: 50, forecasts: 25, late: 1, dead_letters: 2 });
        dashboard.sample(second * 1000);
    }
    let overview = dashboard.overview();
    assert_eq!(overview.skill_in_all.skill_last_value, Some(0.25));
    assert_eq!(overview.skill_in_all.skill_seasonal_naive, None, "nothing to compare with");
    assert_eq!(overview.skill_in_all.coverage, [(0.8, Some(0.7)), (0.9, Some(0.8))]);
    assert_eq!((overview.observations_per_second, overview.forecasts_per_second), (Some(50.0), Some(25.0)));
    assert_eq!((overview.late, overview.dead_letters), (38, 76));
    assert_eq!(
        overview.streams[0].horizons.iter().map(|one| one.skill.skill_last_value).collect::<Vec<_>>(),
        [Some(0.5), Some(0.0)]
    );
    let experts = &overview.streams[0].horizons[1].experts;
    let names: Vec<&str> = experts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["linear", "network", "last_value"], "the heaviest first, none without weight");
    assert!((experts[0].1 - 0.6).abs() < 1e-9, "{experts:?}");
    assert!(overview.skill.len() == 38 && overview.skill.iter().all(|sample| sample.last_value == Some(0.25)));
}

#[test]
fn one_unknown_lag_makes_the_sum_unknown() {
    let dashboard = DashboardState::new(limits());
    assert_eq!(dashboard.overview().lag, None, "nothing is known without partitions");
    let status =
        PartitionStatus { state: PartitionState::Running, series: 5, state_bytes: 500, lag: Some(7), remaining: 0 };
    dashboard.set_partition("s", "in", 0, Some(status));
    dashboard.set_partition("other", "in", 0, Some(status));
    assert_eq!(dashboard.overview().lag, Some(14));
    dashboard.set_partition("s", "in", 1, Some(PartitionStatus { lag: None, ..status }));
    let overview = serde_json::to_value(dashboard.overview()).unwrap();
    assert_eq!((&overview["lag"], &overview["streams"][0]["lag"]), (&serde_json::Value::Null, &7.into()));
    assert_eq!(overview["streams"][1]["lag"], serde_json::Value::Null);
}

#[test]
fn partitions_training_and_outcomes_are_in_the_overview() {
    let dashboard = DashboardState::new(limits());
    let status =
        PartitionStatus { state: PartitionState::Restoring, series: 5, state_bytes: 500, lag: Some(7), remaining: 3 };
    dashboard.set_partition("s", "in", 1, Some(status));
    dashboard.set_partition("s", "in", 0, Some(PartitionStatus { state: PartitionState::Running, ..status }));
    assert_eq!((dashboard.overview().series, dashboard.overview().lag), (10, Some(14)));
    dashboard.set_partition("s", "in", 0, None);
    let step = TrainingStep { at: 1, step: 3, steps: 9, loss: f64::NAN };
    dashboard.record_training_step("s", step);
    for version in 1..=3 {
        let decision = Decision::Refused(format!("round {version}"));
        dashboard.record_training_outcome(TrainingOutcome {
            stream: "s".into(),
            at: 5,
            version,
            decision,
            champion_loss: Some(0.2),
            challenger_loss: None,
        });
    }
    let overview = serde_json::to_value(dashboard.overview()).unwrap();
    let stream = &overview["streams"][0];
    assert_eq!(
        stream["partitions"],
        serde_json::json!([
            { "topic": "in", "partition": 1, "state": "restoring", "series": 5, "state_bytes": 500, "lag": 7,
              "remaining": 3 }
        ])
    );
    assert_eq!(stream["training"]["loss"], serde_json::json!([null]), "NaN is null");
    assert_eq!((&stream["training"]["step"], &stream["training"]["steps"]), (&3.into(), &9.into()));
    assert_eq!(stream["version"], 3);
    assert_eq!(overview["training_outcomes"].as_array().unwrap().len(), 2);
    assert_eq!(
        overview["training_outcomes"][0]["decision"],
        serde_json::json!({ "kind": "refused", "reason": "round 3" })
    );
}
