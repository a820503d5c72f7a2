//! Mistakes of a stream. Each test compares the whole report.

use super::super::Target;
use super::assert_problems;

#[test]
fn season_and_gap_fit_the_interval() {
    let text = r#"[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
season = "90s"
max_gap = "30s"
[[stream]]
name = "b"
topics = ["in"]
values = ["load"]
interval = "1s"
season = "7d"
max_gap = "7d"
allowed_lateness = "1h"
[[stream]]
name = "c"
topics = ["in"]
values = ["load"]
interval = "1d"
season = "1d"
[[stream]]
name = "d"
topics = ["in"]
values = ["load"]
interval = "irregular"
season = "1d"
readings_per_slot = 3
[[stream]]
name = "e"
topics = ["in"]
values = ["load"]
interval = "400d"
season = "401d""#;
    let report = r#"6:10 conflicting values: stream[0].season "90s"
  expected: a multiple of the interval, 1m
  found: 90s
  see: stream[0].interval at f.toml:5:12
  hint: such as "2m"
7:11 conflicting values: stream[0].max_gap "30s"
  expected: at least the interval, 1m
  found: 30s
  see: stream[0].interval at f.toml:5:12
  hint: write "auto" for two seasons
13:10 conflicting values: stream[1].season "7d"
  expected: 2 to 20160 intervals of 1s
  found: 7d, 604800 × the interval
  see: stream[1].interval at f.toml:12:12
  hint: each series stores one season; write "none" for none
14:11 conflicting values: stream[1].max_gap "7d"
  expected: at most 65536 intervals of 1s
  found: 7d
  see: stream[1].interval at f.toml:12:12
  hint: each empty step costs as much time as a full one
15:20 conflicting values: stream[1].allowed_lateness "1h"
  expected: at most 1024 intervals, 1024s
  found: 1h
  see: stream[1].interval at f.toml:12:12
  hint: slots stay open for this time; choose a longer interval or a smaller lateness
21:10 conflicting values: stream[2].season "1d"
  expected: 2 to 20160 intervals of 1d
  found: 1d, 1 × the interval
  see: stream[2].interval at f.toml:20:12
  hint: each series stores one season; write "none" for none
27:10 conflicting values: stream[3].season "1d"
  expected: a regular interval
  found: "irregular"
  see: stream[3].interval at f.toml:26:12
  hint: remove season, or set an interval
28:21 conflicting values: stream[3].readings_per_slot 3
  expected: a regular interval
  found: "irregular"
  see: stream[3].interval at f.toml:26:12
  hint: remove readings_per_slot, or set an interval
33:12 wrong value: stream[4].interval "400d"
  expected: 1ms to 366d
  found: 400d
  hint: write "irregular" for series without a grid"#;
    assert_problems(text, report);
}

#[test]
fn horizon_and_quantiles_have_ranges() {
    let text = r#"[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
horizon = 0
quantiles = [0, 0.5, 90]
[[stream]]
name = "b"
topics = ["in"]
values = ["load"]
interval = "1m"
quantiles = [0.9, 0.5, 0.5, 0.1]
[[stream]]
name = "c"
topics = ["in"]
values = ["load"]
interval = "1m"
quantiles = [0.1, 0.9]
[[stream]]
name = "d"
topics = ["in"]
values = ["load"]
interval = "1m"
quantiles = []
[[stream]]
name = "e"
topics = ["in"]
values = ["load"]
interval = "1m"
horizon = 1024
quantiles = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9]"#;
    let report = r#"6:11 wrong value: stream[0].horizon 0
  expected: 1 to 1024
  found: 0
  hint: a number of steps
7:14 wrong value: stream[0].quantiles[0] 0
  expected: a level between 0 and 1
  found: 0
7:22 wrong value: stream[0].quantiles[2] 90
  expected: a level between 0 and 1
  found: 90
  hint: 90 % is 0.9
13:13 wrong value: stream[1].quantiles [0.9, 0.5, 0.5, 0.1]
  expected: increasing levels
  found: [0.9, 0.5, 0.5, 0.1]
  hint: write [0.1, 0.5, 0.9]
19:13 wrong value: stream[2].quantiles [0.1, 0.9]
  expected: 0.5 among the levels
  found: [0.1, 0.9]
  hint: forecasts need the median
25:13 wrong value: stream[3].quantiles []
  expected: 0.5 among the levels
  found: []
  hint: forecasts need the median
31:11 conflicting values: stream[4].horizon 1024
  expected: at most 8192 horizon × quantiles
  found: 9216
  see: stream[4].quantiles at f.toml:32:13
  hint: forecast fewer steps or fewer levels"#;
    assert_problems(text, report);
}

#[test]
fn model_and_limits_have_ranges() {
    let text = r#"[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
[stream.model]
cell = "rnn"
layers = 9
hidden = 0
seed = -1
burn_in = 5000
[stream.limits]
series = 0
record_bytes = "1GiB"
key_bytes = "0B""#;
    let report = r#"7:8 wrong value: stream[0].model.cell "rnn"
  expected: one of "elman", "elman_relu", "lstm", "gru", "gru_reset_before", "mingru", "minlstm", "slstm",
    "feedforward", "tcn", "attention"
  found: the text "rnn"
8:10 wrong value: stream[0].model.layers 9
  expected: 1 to 8
  found: 9
9:10 wrong value: stream[0].model.hidden 0
  expected: 1 to 1024
  found: 0
10:8 wrong value: stream[0].model.seed -1
  expected: a whole number from 0 to 9223372036854775807
  found: the number -1
11:11 wrong value: stream[0].model.burn_in 5000
  expected: 1 to 4096
  found: 5000
  hint: each series stores this many steps
13:10 wrong value: stream[0].limits.series 0
  expected: 1 to 100000000
  found: 0
14:16 wrong value: stream[0].limits.record_bytes "1GiB"
  expected: 1B to 128MiB
  found: 1GiB
15:13 wrong value: stream[0].limits.key_bytes "0B"
  expected: 1B to 64KiB
  found: 0B"#;
    assert_problems(text, report);
}

#[test]
fn training_that_can_never_start_is_reported() {
    let text = r#"[[stream]]
name = "meters"
topics = ["in"]
values = ["load"]
interval = "1m"
[stream.training]
k1 = 64
k2 = 32
history = "1h"
min_steps = 100
max_steps_per_series = 99
learning_rate = 2
clip = 0
validation_share = 1.0
margin = -0.1"#;
    let report = r#"8:6 conflicting values: stream[0].training.k2 32
  expected: at least k1, 64
  found: 32
  see: stream[0].training.k1 at f.toml:7:6
  hint: gradients would not reach all steps
9:11 conflicting values: stream[0].training.history "1h"
  expected: at least min_steps × interval, 100m
  found: 1h
  see: stream[0].training.min_steps at f.toml:10:13
  hint: no series would have enough steps; write "auto", or lower min_steps
11:24 conflicting values: stream[0].training.max_steps_per_series 99
  expected: at least min_steps, 100
  found: 99
  see: stream[0].training.min_steps at f.toml:10:13
  hint: no series would have enough steps
12:17 wrong value: stream[0].training.learning_rate 2
  expected: 0.00000001 to 1
  found: 2
13:8 wrong value: stream[0].training.clip 0
  expected: 0.000001 to 1000000
  found: 0
14:20 wrong value: stream[0].training.validation_share 1.0
  expected: 0.01 to 0.9
  found: 1
  hint: a share of the steps
15:10 wrong value: stream[0].training.margin -0.1
  expected: 0 to 0.9
  found: -0.1
  hint: a share of the loss of the champion"#;
    assert_problems(text, report);
}

#[test]
fn a_network_has_at_most_64_levels() {
    let levels = |count: u32| (1..count).map(|level| f64::from(level) / f64::from(count)).collect::<Vec<_>>();
    let text = |count| format!("{}horizon = 1\nquantiles = {:?}", super::STREAM, levels(count));
    assert!(super::parse("f.toml", &text(64), []).is_ok());
    let problems = super::parse("f.toml", &text(66), []).unwrap_err();
    assert_eq!((problems.list.len(), problems.list[0].expected.as_str()), (1, "at most 64 levels"));
}

#[test]
fn a_network_with_one_output_decodes_no_segments() {
    for strategy in ["recursive", "many_to_one"] {
        let text = |segment| {
            let model = format!("[stream.model]\nstrategy = \"{strategy}\"\nsegment = {segment}");
            format!("{}horizon = 3\n{model}", super::STREAM)
        };
        assert!(super::parse("f.toml", &text(0), []).is_ok());
        let problems = super::parse("f.toml", &text(3), []).unwrap_err();
        let expected = format!("segment = 0 with strategy = \"{strategy}\"");
        assert_eq!((problems.list.len(), &problems.list[0].expected), (1, &expected));
    }
}

#[test]
fn a_threshold_needs_a_strategy_with_one_value() {
    let text = |strategy, threshold| {
        let model = format!("strategy = \"{strategy}\"\ntarget = \"minimum\"\nthreshold = {threshold}");
        format!("{}[stream.model]\n{model}", super::STREAM)
    };
    let settings = super::parse("f.toml", &text("many_to_one", "-4.5"), []).unwrap();
    let model = &settings.stream[0].model;
    assert_eq!((model.target, model.threshold), (Target::Minimum, Some(-4.5)));
    for (strategy, threshold) in [("direct", "-4.5"), ("many_to_one", "1e200")] {
        let problems = super::parse("f.toml", &text(strategy, threshold), []).unwrap_err();
        assert_eq!(problems.list.len(), 1, "{problems}");
        assert!(problems.to_string().contains("threshold"), "{problems}");
    }
}

#[test]
fn a_series_lives_longer_than_two_intervals_and_the_allowed_lateness() {
    let text = r#"[[stream]]
name = "a"
topics = ["in"]
values = ["load"]
interval = "1m"
series_ttl = "119s"
[[stream]]
name = "b"
topics = ["in"]
values = ["load"]
interval = "1m"
allowed_lateness = "1h"
series_ttl = "30m"
[[stream]]
name = "c"
topics = ["in"]
values = ["load"]
interval = "1m"
series_ttl = "2m"
limits = { when_full = "drop" }"#;
    let report = r#"6:14 conflicting values: stream[0].series_ttl "119s"
  expected: at least two intervals and allowed_lateness, 2m
  found: 119s
  see: stream[0].interval at f.toml:5:12
  see: stream[0].allowed_lateness by default
  hint: write "auto" for at least seven days, or "none" for series that never end
13:14 conflicting values: stream[1].series_ttl "30m"
  expected: at least two intervals and allowed_lateness, 1h
  found: 30m
  see: stream[1].interval at f.toml:11:12
  see: stream[1].allowed_lateness at f.toml:12:20
  hint: write "auto" for at least seven days, or "none" for series that never end
20:24 wrong value: stream[2].limits.when_full "drop"
  expected: one of "evict", "refuse"
  found: the text "drop"
"#;
    assert_problems(text, report);
}

#[test]
fn absences_need_a_grid_and_anomalies_of_them_the_time_of_the_partition() {
    let stream = |name: &str, rest: &str| {
        format!("[[stream]]\nname = \"{name}\"\ntopics = [\"in\"]\nvalues = [\"load\"]\n{rest}\n")
    };
    let text = [
        stream("a", "interval = \"irregular\"\nclose_by = \"partition\"\nabsence = \"zero\""),
        stream("b", "interval = \"1m\"\nabsence = \"anomaly\""),
        stream("c", "interval = \"1m\"\nclose_by = \"partition\"\nabsence = \"anomaly\"\naggregation = \"count\""),
        stream("d", "interval = \"1m\"\nclose_by = \"partition\"\nabsence = \"anomaly\""),
        stream("e", "interval = \"1m\"\nabsence = \"zero\""),
    ]
    .concat();
    let report = r#"6:12 conflicting values: stream[0].close_by "partition"
  expected: a regular interval
  found: "irregular"
  see: stream[0].interval at f.toml:5:12
  hint: remove close_by, or set an interval
7:11 conflicting values: stream[0].absence "zero"
  expected: a regular interval
  found: "irregular"
  see: stream[0].interval at f.toml:5:12
  hint: without an interval nothing is absent: remove absence, or set an interval
13:11 conflicting values: stream[1].absence "anomaly"
  expected: close_by = "partition"
  found: "series"
  see: stream[1].close_by by default
  hint: the steps of a silent series close by the time of its partition only
20:11 conflicting values: stream[2].absence "anomaly"
  expected: another aggregation
  found: "count"
  see: stream[2].aggregation at f.toml:21:15
  hint: an empty step has the count 0, which is scored as any other: remove absence
"#;
    assert_problems(&text, report);
}
