//! Units, derived values, and the summary.

use proptest::prelude::*;

use super::super::units::{DURATION, SIZE};
use super::super::{
    Auto, Footprint, ForecastStart, Interval, Limit, Limits, Millis, Season, Settings, Size, Stream, parse, summary,
};
use super::{STREAM, assert_report};
use crate::time::{EventTime, Length};

#[test]
fn durations_and_sizes_are_parsed_strictly() {
    let read = |text| DURATION.parse(text);
    assert_eq!(
        [read("10ms"), read("5s"), read("90m"), read("1h")],
        [Some(10), Some(5_000), Some(5_400_000), Some(3_600_000)]
    );
    assert_eq!([read("7d"), read("0s"), read("007s")], [Some(604_800_000), Some(0), Some(7_000)]);
    for wrong in [
        "",
        "5",
        "s",
        "5 s",
        " 5s",
        "5s ",
        "1.5h",
        "-5s",
        "5S",
        "1h30m",
        "5sec",
        "106751991168d",
        "99999999999999999999ms",
    ] {
        assert_eq!(read(wrong), None, "{wrong:?}");
    }
    assert_eq!([SIZE.parse("512B"), SIZE.parse("1KiB"), SIZE.parse("2GiB")], [Some(512), Some(1024), Some(1 << 31)]);
    for wrong in ["1", "1MB", "1 MiB", "1mib", "8589934592GiB"] {
        assert_eq!(SIZE.parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn the_report_suggests_a_valid_form_of_a_duration_or_size() {
    let guess = |text| DURATION.guess(text).unwrap_or_default();
    assert_eq!(["10 min", "1.5h", "1h30m", "2 Weeks", "0.5 days"].map(guess), ["10m", "90m", "90m", "14d", "12h"]);
    assert_eq!(["soon", "", "10", "0.0001s", "1e3s", "1..2s"].map(guess), [""; 6]);
    assert_eq!(
        [SIZE.guess("64k"), SIZE.guess("1 GB"), SIZE.guess("1.5MiB")],
        ["64KiB", "1GiB", "1536KiB"].map(|text| Some(text.into()))
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in 0..=u64::try_from(i64::MAX).unwrap()) {
        prop_assert_eq!(DURATION.parse(&DURATION.render(value)), Some(value));
        prop_assert_eq!(SIZE.parse(&SIZE.render(value)), Some(value));
    }

    #[test]
    fn guesses_can_be_read(text in "[0-9. ]{1,5}(ms|min|h|d|days|kb|MiB|g){1,2}") {
        for units in [&DURATION, &SIZE] {
            if let Some(guess) = units.guess(&text) {
                prop_assert!(units.parse(&guess).is_some(), "{} of {}", guess, text);
            }
        }
    }
}

#[test]
fn the_automatic_season_follows_from_the_interval() {
    let steps = |interval, season| Stream { interval, season, ..Stream::default() }.season_steps();
    let every = |seconds| Interval::Every(Millis::seconds(seconds));
    assert_eq!([60, 900, 3_600].map(|seconds| steps(every(seconds), Season::Auto)), [1_440, 96, 24]);
    assert_eq!([7_200, 21_600, 86_400].map(|seconds| steps(every(seconds), Season::Auto)), [12, 4, 7]);
    // Too short, too long, not dividing the day.
    assert_eq!([59, 30, 43_200, 2 * 86_400, 420 + 1].map(|seconds| steps(every(seconds), Season::Auto)), [0; 5]);
    // A year of weeks, months, quarters, half years; not one of years.
    assert_eq!(steps(every(604_800), Season::Auto), 52);
    assert_eq!([1, 3, 6, 12, 5].map(|months| steps(Interval::Months(months), Season::Auto)), [12, 4, 2, 0, 0]);
    assert_eq!([86_400, 604_800].map(|seconds| steps(every(seconds), Season::Months(12))), [365, 52]);
    assert_eq!(steps(Interval::Months(1), Season::Months(3)), 3);
    assert_eq!(steps(every(60), Season::None), 0);
    assert_eq!(steps(every(1), Season::Every(Millis::seconds(120))), 120);
    assert_eq!(steps(Interval::Irregular, Season::Auto), 0);
}

#[test]
fn the_automatic_gap_and_history_follow_from_the_interval() {
    let hourly = Stream { interval: Interval::Every(Millis::hours(1)), ..Stream::default() };
    assert_eq!(hourly.max_gap_millis(), Millis::hours(64).0);
    assert_eq!(hourly.history_millis(), Millis::hours(20_000).0);
    let minutely = Stream { interval: Interval::Every(Millis::seconds(60)), ..Stream::default() };
    assert_eq!(minutely.max_gap_millis(), Millis::days(2).0);
    let irregular = Stream { interval: Interval::Irregular, ..Stream::default() };
    assert_eq!((irregular.max_gap_millis(), irregular.history_millis()), (Millis::days(1).0, Millis::days(30).0));
    let said = Stream { max_gap: Auto::Set(Millis(7)), ..irregular };
    assert_eq!(said.max_gap_millis(), 7);
}

#[test]
fn lengths_in_months_follow_from_their_mean() {
    let monthly = Stream { interval: Interval::Months(1), ..Stream::default() };
    assert_eq!(monthly.max_gap_millis(), 64 * 2_629_746_000);
    assert_eq!(monthly.series_ttl_millis(), Some(4 * 64 * 2_629_746_000));
    assert_eq!(monthly.grid_spec().map(|spec| spec.length), Some(Length::Months(1)));
}

#[test]
fn the_automatic_life_of_a_silent_series_follows_from_the_longest_gap() {
    let every = |seconds| Stream { interval: Interval::Every(Millis::seconds(seconds)), ..Stream::default() };
    assert_eq!(every(1).series_ttl_millis(), Some(Millis::days(7).0), "four gaps of 64 s are less");
    assert_eq!(every(60).series_ttl_millis(), Some(Millis::days(8).0));
    assert_eq!(every(86_400).series_ttl_millis(), Some(Millis::days(256).0));
    let set = |series_ttl| Stream { series_ttl, ..every(60) }.series_ttl_millis();
    assert_eq!((set(Limit::None), set(Limit::Set(Millis::hours(1)))), (None, Some(3_600_000)));
    let read = [("auto", Limit::Auto), ("none", Limit::None), ("90m", Limit::Set(Millis::seconds(5_400)))];
    for (text, expected) in read {
        let file = format!(
            "[[stream]]\nname = \"s\"\ntopics = [\"t\"]\nvalues = [\"v\"]\ninterval = \"1m\"\n\
             series_ttl = {text:?}\n"
        );
        let settings = parse("f.toml", &file, []).unwrap();
        assert_eq!(settings.stream[0].series_ttl, expected);
    }
}

#[test]
fn topics_are_named_after_the_application_and_the_stream() {
    let text = format!("app = \"edge\"\n[topics]\nmodels = \"shared.models\"\n{STREAM}");
    let settings = parse("f.toml", &text, []).unwrap();
    let topics = [settings.state_topic(), settings.models_topic(), settings.dead_letters_topic()];
    assert_eq!(topics, ["edge.state", "shared.models", "edge.dead-letters"]);
    assert_eq!(settings.forecasts_topic(&settings.stream[0]), "edge.meters.forecasts");
}

#[test]
fn the_summary_shows_all_streams_and_their_memory() {
    let settings = parse("f.toml", &format!("{STREAM}[stream.limits]\nseries = 2000"), []).unwrap();
    let expected = "\
app      foretide: role all, one serving thread fewer than cores
brokers  127.0.0.1:9092 (plaintext)
commits  every 100ms, snapshots spread over 1m or 250000 records, whichever takes longer
topics   foretide.state, foretide.models, foretide.dead-letters
http     127.0.0.1:9464 (no TLS, no token)
stream   meters
  in     in (json), a series per record key and value field (load)
  grid   every 1m, mean, allowed lateness 0s, season 1d (1440 steps), reset after a gap of 2d, ends after 8d of silence
  out    foretide.meters.forecasts: 24 steps ahead, quantiles 0.05 0.1 0.5 0.9 0.95
  model  gru 1 × 64, trained every 1h on 20000m of history (auto)
  memory 2500 B per series, 2.33 GiB per million; 4.77 MiB at the limit of 2000 series
  history 195.31 KiB per series of 20000 steps, 1000 series take 190.73 MiB; an update takes about 9.54 MiB";
    let footprint = |_: &Stream| Some(Footprint { state: 2_500, copy: 2_000, history: 200_000, update: 10_000_000 });
    assert_eq!(summary(&settings, footprint), expected);
    let limits = Limits { standby_bytes: Size::mebibytes(64), ..settings.limits.clone() };
    let line = |text: &str| {
        let text = format!("[[stream]]\nname = \"s\"\ntopics = [\"t\"]\nvalues = [\"v\"]\n{text}\n");
        let all = summary(&parse("f.toml", &text, []).unwrap(), footprint);
        all.lines()
            .find_map(|line| line.strip_prefix("  grid   "))
            .unwrap()
            .split(", ")
            .take(4)
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(
        line("interval = \"1w\"\nweek_starts = \"sunday\"\ntime_zone = \"Europe/Berlin\""),
        "every 1w from sunday in Europe/Berlin, mean, allowed lateness 0s, season 364d (52 steps)"
    );
    assert_eq!(
        line("interval = \"3mo\"\norigin = \"2026-04-01\""),
        "every 3mo from 2026-04-01, mean, allowed lateness 0s, season 1y (4 steps)"
    );
    let standing_by = summary(&Settings { limits, ..settings.clone() }, footprint);
    let line = "  standby 2000 B per series of another instance, 1.86 GiB per million; at most 64MiB per shard";
    assert!(standing_by.lines().any(|found| found == line), "{standing_by}");
    assert!(!summary(&settings, |_| None).contains("memory"));
    let long = |_: &Stream| Some(Footprint { state: 2_500, copy: 2_000, history: 1 << 20, update: 1 << 20 });
    let line = "  history 1.00 MiB per series of 20000 steps, at its limit 512MiB that is 512 of at most 1000 series; \
                an update takes about 1.00 MiB";
    assert!(summary(&settings, long).contains(line), "{}", summary(&settings, long));
    assert!(!summary(&Settings::default(), footprint).contains("stream"));
    assert_eq!(Size(1_536).to_string(), "1536B");
}

#[test]
fn times_ahead_are_limited_by_intervals_unless_the_limit_is_set() {
    let both = |ahead: &str, step: &str| [ahead, step].map(|limit| Some(limit.to_owned()));
    let limits = |interval: &str, lines: &str| {
        let text = STREAM.replace("\"1m\"", interval) + lines;
        let stream = parse("f.toml", &text, []).unwrap().stream.remove(0);
        [stream.max_ahead_millis(), stream.max_step_millis()].map(|limit| limit.map(|limit| Millis(limit).to_string()))
    };
    assert_eq!(limits("\"1m\"", ""), both("5m", "2d"));
    assert_eq!(limits("\"1s\"", ""), both("5m", "1d"));
    assert_eq!(limits("\"15m\"", ""), both("1h", "250h"));
    assert_eq!(limits("\"irregular\"", ""), both("1h", "30d"));
    assert_eq!(limits("\"1m\"", "max_ahead = \"10d\""), both("10d", "10d"));
    assert_eq!(limits("\"1m\"", "max_ahead = \"none\""), [None, None]);
    let report = parse("f.toml", &format!("{STREAM}max_ahead = \"0s\""), []).unwrap_err().to_string();
    assert!(
        report.contains("max_ahead") && report.contains("1ms to 36600d") && report.contains("\"none\""),
        "{report}"
    );
    let report = parse("f.toml", &format!("{STREAM}max_ahead = \"soon\""), []).unwrap_err().to_string();
    assert!(report.contains("\"auto\"") && report.contains("\"none\""), "{report}");
    let report = parse("f.toml", &format!("{STREAM}late = \"later\""), []).unwrap_err().to_string();
    assert!(report.contains("dead_letter") && report.contains("drop"), "{report}");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn training_on_a_gpu_needs_a_binary_with_cuda() {
    let text = format!("{STREAM}[stream.training]\ndevice = \"cuda\"");
    let report = r#"error: wrong value
 --> f.toml:7:10
  |
7 | device = "cuda"
  |          ^^^^^^
  = key: stream[0].training.device
  = expected: "auto" or "cpu", since this binary was built without CUDA
  = found: "cuda"
  = hint: build Foretide with --features cuda

f.toml: 1 problem; nothing was started"#;
    assert_report(&text, &[], report);
    let elsewhere = parse("f.toml", &format!("role = \"score\"\n{text}"), []);
    assert!(elsewhere.is_ok(), "a process that does not train needs no GPU");
}

#[test]
fn a_start_is_a_word_a_time_or_a_duration() {
    let start = |text: &str| ForecastStart::parse(text);
    assert_eq!(
        ["auto", "earliest", "latest"].map(start),
        [ForecastStart::Auto, ForecastStart::Earliest, ForecastStart::Latest].map(Some)
    );
    assert_eq!(start("7d"), Some(ForecastStart::Back(Millis::days(7))));
    assert_eq!(start("1970-01-01T00:01:00Z"), Some(ForecastStart::At(EventTime(60_000))));
    for wrong in ["", "newest", "7", "2026-11-01", "-7d", "Latest"] {
        assert_eq!(start(wrong), None, "{wrong:?}");
    }
    for text in ["auto", "earliest", "latest", "7d", "2026-11-01T00:00:00Z"] {
        assert_eq!(start(text).map(|start| start.to_string()).as_deref(), Some(text));
    }
    let report = r#"  = key: stream[0].start
  = expected: "auto", "earliest", "latest", a time in RFC 3339, or a duration back from now
  = found: the text "soon"
  = hint: such as "2026-11-01T00:00:00Z" or "7d"
"#;
    let found = parse("f.toml", &format!("{STREAM}\nstart = \"soon\""), []).unwrap_err().to_string();
    assert!(found.contains(report), "{found}");
}
