//! Mistakes of a stream. Each test compares the whole report.

use super::super::Target;
use super::assert_report;

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
    let report = r#"error: conflicting values
 --> f.toml:6:10
  |
6 | season = "90s"
  |          ^^^^^
  = key: stream[0].season
  = expected: a multiple of the interval, 1m
  = found: 90s
  = see: stream[0].interval at f.toml:5:12
  = hint: such as "2m"

error: conflicting values
 --> f.toml:7:11
  |
7 | max_gap = "30s"
  |           ^^^^^
  = key: stream[0].max_gap
  = expected: at least the interval, 1m
  = found: 30s
  = see: stream[0].interval at f.toml:5:12
  = hint: write "auto" for two seasons

error: conflicting values
  --> f.toml:13:10
   |
13 | season = "7d"
   |          ^^^^
   = key: stream[1].season
   = expected: 2 to 20160 intervals of 1s
   = found: 7d, 604800 × the interval
   = see: stream[1].interval at f.toml:12:12
   = hint: each series stores one season; write "none" for none

error: conflicting values
  --> f.toml:14:11
   |
14 | max_gap = "7d"
   |           ^^^^
   = key: stream[1].max_gap
   = expected: at most 65536 intervals of 1s
   = found: 7d
   = see: stream[1].interval at f.toml:12:12
   = hint: each empty step costs as much time as a full one

error: conflicting values
  --> f.toml:15:20
   |
15 | allowed_lateness = "1h"
   |                    ^^^^
   = key: stream[1].allowed_lateness
   = expected: at most 1024 intervals, 1024s
   = found: 1h
   = see: stream[1].interval at f.toml:12:12
   = hint: slots stay open for this time; choose a longer interval or a smaller lateness

error: conflicting values
  --> f.toml:21:10
   |
21 | season = "1d"
   |          ^^^^
   = key: stream[2].season
   = expected: 2 to 20160 intervals of 1d
   = found: 1d, 1 × the interval
   = see: stream[2].interval at f.toml:20:12
   = hint: each series stores one season; write "none" for none

error: conflicting values
  --> f.toml:27:10
   |
27 | season = "1d"
   |          ^^^^
   = key: stream[3].season
   = expected: a regular interval
   = found: "irregular"
   = see: stream[3].interval at f.toml:26:12
   = hint: remove season, or set an interval

error: conflicting values
  --> f.toml:28:21
   |
28 | readings_per_slot = 3
   |                     ^
   = key: stream[3].readings_per_slot
   = expected: a regular interval
   = found: "irregular"
   = see: stream[3].interval at f.toml:26:12
   = hint: remove readings_per_slot, or set an interval

error: wrong value
  --> f.toml:33:12
   |
33 | interval = "400d"
   |            ^^^^^^
   = key: stream[4].interval
   = expected: 1ms to 366d
   = found: 400d
   = hint: write "irregular" for series without a grid

f.toml: 9 problems; nothing was started"#;
    assert_report(text, &[], report);
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
    let report = r#"error: wrong value
 --> f.toml:6:11
  |
6 | horizon = 0
  |           ^
  = key: stream[0].horizon
  = expected: 1 to 1024
  = found: 0
  = hint: a number of steps

error: wrong value
 --> f.toml:7:14
  |
7 | quantiles = [0, 0.5, 90]
  |              ^
  = key: stream[0].quantiles[0]
  = expected: a level between 0 and 1
  = found: 0

error: wrong value
 --> f.toml:7:22
  |
7 | quantiles = [0, 0.5, 90]
  |                      ^^
  = key: stream[0].quantiles[2]
  = expected: a level between 0 and 1
  = found: 90
  = hint: 90 % is 0.9

error: wrong value
  --> f.toml:13:13
   |
13 | quantiles = [0.9, 0.5, 0.5, 0.1]
   |             ^^^^^^^^^^^^^^^^^^^^
   = key: stream[1].quantiles
   = expected: increasing levels
   = found: [0.9, 0.5, 0.5, 0.1]
   = hint: write [0.1, 0.5, 0.9]

error: wrong value
  --> f.toml:19:13
   |
19 | quantiles = [0.1, 0.9]
   |             ^^^^^^^^^^
   = key: stream[2].quantiles
   = expected: 0.5 among the levels
   = found: [0.1, 0.9]
   = hint: forecasts need the median

error: wrong value
  --> f.toml:25:13
   |
25 | quantiles = []
   |             ^^
   = key: stream[3].quantiles
   = expected: 0.5 among the levels
   = found: []
   = hint: forecasts need the median

error: conflicting values
  --> f.toml:31:11
   |
31 | horizon = 1024
   |           ^^^^
   = key: stream[4].horizon
   = expected: at most 8192 horizon × quantiles
   = found: 9216
   = see: stream[4].quantiles at f.toml:32:13
   = hint: forecast fewer steps or fewer levels

f.toml: 7 problems; nothing was started"#;
    assert_report(text, &[], report);
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
    let report = r#"error: wrong value
 --> f.toml:7:8
  |
7 | cell = "rnn"
  |        ^^^^^
  = key: stream[0].model.cell
  = expected: one of "elman", "elman_relu", "lstm", "gru", "gru_reset_before", "mingru", "minlstm", "slstm",
              "feedforward", "tcn", "attention"
  = found: the text "rnn"

error: wrong value
 --> f.toml:8:10
  |
8 | layers = 9
  |          ^
  = key: stream[0].model.layers
  = expected: 1 to 8
  = found: 9

error: wrong value
 --> f.toml:9:10
  |
9 | hidden = 0
  |          ^
  = key: stream[0].model.hidden
  = expected: 1 to 1024
  = found: 0

error: wrong value
  --> f.toml:10:8
   |
10 | seed = -1
   |        ^^
   = key: stream[0].model.seed
   = expected: a whole number from 0 to 9223372036854775807
   = found: the number -1

error: wrong value
  --> f.toml:11:11
   |
11 | burn_in = 5000
   |           ^^^^
   = key: stream[0].model.burn_in
   = expected: 1 to 4096
   = found: 5000
   = hint: each series stores this many steps

error: wrong value
  --> f.toml:13:10
   |
13 | series = 0
   |          ^
   = key: stream[0].limits.series
   = expected: 1 to 100000000
   = found: 0

error: wrong value
  --> f.toml:14:16
   |
14 | record_bytes = "1GiB"
   |                ^^^^^^
   = key: stream[0].limits.record_bytes
   = expected: 1B to 128MiB
   = found: 1GiB

error: wrong value
  --> f.toml:15:13
   |
15 | key_bytes = "0B"
   |             ^^^^
   = key: stream[0].limits.key_bytes
   = expected: 1B to 64KiB
   = found: 0B

f.toml: 8 problems; nothing was started"#;
    assert_report(text, &[], report);
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
    let report = r#"error: conflicting values
 --> f.toml:8:6
  |
8 | k2 = 32
  |      ^^
  = key: stream[0].training.k2
  = expected: at least k1, 64
  = found: 32
  = see: stream[0].training.k1 at f.toml:7:6
  = hint: gradients would not reach all steps

error: conflicting values
 --> f.toml:9:11
  |
9 | history = "1h"
  |           ^^^^
  = key: stream[0].training.history
  = expected: at least min_steps × interval, 100m
  = found: 1h
  = see: stream[0].training.min_steps at f.toml:10:13
  = hint: no series would have enough steps; write "auto", or lower min_steps

error: conflicting values
  --> f.toml:11:24
   |
11 | max_steps_per_series = 99
   |                        ^^
   = key: stream[0].training.max_steps_per_series
   = expected: at least min_steps, 100
   = found: 99
   = see: stream[0].training.min_steps at f.toml:10:13
   = hint: no series would have enough steps

error: wrong value
  --> f.toml:12:17
   |
12 | learning_rate = 2
   |                 ^
   = key: stream[0].training.learning_rate
   = expected: 0.00000001 to 1
   = found: 2

error: wrong value
  --> f.toml:13:8
   |
13 | clip = 0
   |        ^
   = key: stream[0].training.clip
   = expected: 0.000001 to 1000000
   = found: 0

error: wrong value
  --> f.toml:14:20
   |
14 | validation_share = 1.0
   |                    ^^^
   = key: stream[0].training.validation_share
   = expected: 0.01 to 0.9
   = found: 1
   = hint: a share of the steps

error: wrong value
  --> f.toml:15:10
   |
15 | margin = -0.1
   |          ^^^^
   = key: stream[0].training.margin
   = expected: 0 to 0.9
   = found: -0.1
   = hint: a share of the loss of the champion

f.toml: 7 problems; nothing was started"#;
    assert_report(text, &[], report);
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
