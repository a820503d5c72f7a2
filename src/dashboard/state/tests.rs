use super::*;

const LEVELS: [f32; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];

fn spec() -> DashboardLimits {
    DashboardLimits {
        shown: 3,
        anomalous: 2,
        points: 10,
        anomalies: 4,
        promotions: 2,
        samples: 50,
        anomaly_threshold: 0.99,
    }
}

/// Posts a step at `origin` whose two leads have the quantiles value + level - 0.5.
fn post(board: &DashboardState, series: &str, origin: i64, value: f64, anomaly: Option<f32>) {
    let quantiles: Vec<f64> =
        [0.0, 1.0].iter().flat_map(|lead| LEVELS.map(|level| value + lead + f64::from(level) - 0.5)).collect();
    board.record_forecast(&SeriesUpdate {
        stream: "s",
        series,
        origin,
        value,
        times: &[origin + 10, origin + 20],
        point: &[value, value + 1.0],
        levels: &LEVELS,
        quantiles: &quantiles,
        anomaly,
    });
}

fn names(board: &DashboardState) -> Vec<String> {
    board.series(&Filter::default()).series.into_iter().map(|chart| chart.series).collect()
}

#[test]
fn the_first_to_come_are_shown_in_their_order_and_no_more() {
    let board = DashboardState::new(spec());
    for origin in 0..20 {
        for series in ["d", "a", "c", "b"] {
            post(&board, series, origin * 10, origin as f64, None);
        }
    }
    assert_eq!(names(&board), ["d", "a", "c"]);
    assert!(board.chart("s", "b").is_none() && board.chart("t", "a").is_none());
    let chart = board.chart("s", "a").unwrap();
    assert_eq!(chart.values, (10..20).map(f64::from).collect::<Vec<_>>(), "history is bounded");
    assert_eq!(chart.ahead, [200, 210]);
    assert_eq!(chart.point, [19.0, 20.0]);
    assert_eq!(chart.median, [19.0, 20.0]);
}

#[test]
fn bands_are_the_pairs_of_levels_around_the_median_widest_first() {
    let board = DashboardState::new(spec());
    post(&board, "a", 0, 5.0, None);
    let bands = board.chart("s", "a").unwrap().bands;
    assert_eq!(bands.iter().map(|band| band.share).collect::<Vec<_>>(), [0.9, 0.8]);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    assert!(near(bands[1].low[0], 4.6) && near(bands[1].high[1], 6.4), "{bands:?}");
}

#[test]
fn what_had_been_expected_is_kept_beside_what_came() {
    let board = DashboardState::new(spec());
    post(&board, "a", 0, 5.0, None);
    post(&board, "a", 10, 9.0, Some(0.5));
    post(&board, "a", 40, 9.0, None);
    let chart = board.chart("s", "a").unwrap();
    assert_eq!(chart.expected[0], None);
    let (low, high) = chart.expected[1].unwrap();
    assert!((low - 4.6).abs() < 1e-6 && (high - 5.4).abs() < 1e-6);
    assert_eq!(chart.expected[2], None, "no forecast reached there");
    assert_eq!(chart.scores, [None, Some(0.5), None]);
}

#[test]
fn an_anomaly_brings_its_series_onto_the_board_and_the_quietest_such_series_gives_way() {
    let board = DashboardState::new(spec());
    for series in ["a", "b", "c", "d", "e", "f"] {
        post(&board, series, 0, 1.0, None);
    }
    post(&board, "d", 10, 50.0, Some(0.995));
    post(&board, "e", 10, 50.0, Some(0.995));
    post(&board, "d", 20, 60.0, Some(0.995));
    assert_eq!(names(&board), ["a", "b", "c", "d", "e"]);
    post(&board, "f", 20, 50.0, Some(0.999));
    assert_eq!(names(&board), ["a", "b", "c", "d", "f"], "e has been quiet the longest; first comers stay");
    let overview = board.overview();
    assert_eq!(overview.anomaly_count, 4);
    let told: Vec<(&str, i64, bool)> =
        overview.anomalies.iter().map(|one| (one.series.as_str(), one.time, one.shown)).collect();
    assert_eq!(told, [("f", 20, true), ("d", 20, true), ("e", 10, false), ("d", 10, true)]);
    for origin in 3..90 {
        post(&board, "a", origin * 10, 50.0, Some(1.0));
    }
    assert_eq!(board.overview().anomalies.len(), 4, "the ring is bounded");
}

#[test]
fn a_series_whose_input_starts_anew_starts_anew() {
    let board = DashboardState::new(spec());
    post(&board, "a", 100, 1.0, None);
    post(&board, "a", 110, 2.0, None);
    post(&board, "a", 50, 3.0, None);
    assert_eq!(board.chart("s", "a").unwrap().times, [50]);
}

#[test]
fn pages_are_filtered_bounded_and_never_past_the_end() {
    let board = DashboardState::new(DashboardLimits { shown: 100, ..spec() });
    (0..90).for_each(|number| post(&board, &format!("Meter-{number:02}"), 0, 1.0, None));
    let page = |filter: Filter| board.series(&filter);
    assert_eq!(page(Filter { limit: 1000, ..Filter::default() }).series.len(), view::PAGE_LIMIT);
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
    let board = DashboardState::new(spec());
    let nothing = board.overview();
    assert_eq!((nothing.skill_last_value, nothing.observations_per_second), (None, None), "unknown is not zero");
    let accuracy = Accuracy {
        count: 10,
        foretide: 5.0,
        last_value: 10.0,
        seasonal_naive: 0.0,
        intervals: vec![(0.9, 10, 8), (0.8, 10, 7)],
        weights: [1.0, 0.0, 6.0, 0.0, 0.0, 3.0],
    };
    board.tick(1000);
    for second in 2..40 {
        board.record_accuracy("s", 1, &accuracy);
        board.record_accuracy("s", 24, &Accuracy { foretide: 10.0, ..accuracy.clone() });
        board.record_work("s", Work { records: 1, observations: 50, forecasts: 25, late: 1, dead_letters: 2 });
        board.tick(second * 1000);
    }
    let overview = board.overview();
    assert_eq!(overview.skill_last_value, Some(0.25));
    assert_eq!(overview.skill_seasonal_naive, None, "nothing to compare with");
    assert_eq!(overview.coverage, [(0.8, Some(0.7)), (0.9, Some(0.8))]);
    assert_eq!((overview.observations_per_second, overview.forecasts_per_second), (Some(50.0), Some(25.0)));
    assert_eq!((overview.late, overview.dead_letters), (38, 76));
    assert_eq!(
        overview.streams[0].horizons.iter().map(|one| one.skill_last_value).collect::<Vec<_>>(),
        [Some(0.5), Some(0.0)]
    );
    let experts = &overview.streams[0].horizons[1].experts;
    let names: Vec<&str> = experts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["linear", "network", "last_value"], "the heaviest first, none without weight");
    assert!((experts[0].1 - 0.6).abs() < 1e-9, "{experts:?}");
    assert!(overview.skill.len() == 38 && overview.skill.iter().all(|sample| sample.last_value == Some(0.25)));
}

#[test]
fn partitions_training_and_promotions_are_told() {
    let board = DashboardState::new(spec());
    let note = PartitionStatus { state: PartitionState::Restoring, series: 5, state_bytes: 500, lag: 7, remaining: 3 };
    board.set_partition("s", "in", 1, Some(note));
    board.set_partition("s", "in", 0, Some(PartitionStatus { state: PartitionState::Running, ..note }));
    assert_eq!((board.overview().series, board.overview().lag), (10, 14));
    board.set_partition("s", "in", 0, None);
    let step = TrainingStep { at: 1, round: 1, step: 3, of: 9, loss: 0.5, gradient_norm: f64::NAN };
    board.record_training_step("s", step);
    for version in 1..=3 {
        let verdict = Verdict::Refused(format!("round {version}"));
        board.record_training_outcome(Promotion {
            stream: "s".into(),
            at: 5,
            version,
            verdict,
            champion_loss: Some(0.2),
            challenger_loss: None,
        });
    }
    let told = serde_json::to_value(board.overview()).unwrap();
    let stream = &told["streams"][0];
    assert_eq!(
        stream["partitions"],
        serde_json::json!([
            { "topic": "in", "partition": 1, "state": "restoring", "series": 5, "state_bytes": 500, "lag": 7, "remaining": 3 }
        ])
    );
    assert_eq!(stream["training"]["gradient_norm"], serde_json::Value::Null, "what is no number is told as none");
    assert_eq!((&stream["training"]["step"], &stream["training"]["of"]), (&3.into(), &9.into()));
    assert_eq!(stream["version"], 3);
    assert_eq!(told["promotions"].as_array().unwrap().len(), 2);
    assert_eq!(told["promotions"][0]["verdict"], serde_json::json!({ "kind": "refused", "reason": "round 3" }));
}
