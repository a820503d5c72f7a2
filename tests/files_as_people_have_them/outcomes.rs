//! Local times, jitter, and refusals with their causes.

use jiff::{ToSpan, tz::TimeZone};

use crate::support::{Hour, backtest, file, hours, office};

/// A file of local times without offsets, `minutes` from each other, from a day of 2024 on.
fn local_file(zone: &str, [month, day]: [i8; 2], minutes: i64, rows: i64) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap();
    let start = jiff::civil::date(2024, month, day).at(0, 0, 0, 0).to_zoned(zone).unwrap();
    let line = |row: i64| {
        let time = &start + (row * minutes).minutes();
        format!("{},{}\n", time.strftime("%Y-%m-%d %H:%M"), office(time.hour() as usize))
    };
    (0..rows).map(line).collect()
}

#[test]
fn hours_that_the_clocks_repeat_or_skip_are_read_in_order() {
    let cases = [
        ("Europe/Berlin", [10, 20], 15, 1536),
        ("Europe/Berlin", [10, 20], 60, 400),
        ("Europe/Berlin", [3, 20], 60, 400),
        ("America/New_York", [10, 28], 30, 700),
        ("Australia/Sydney", [3, 30], 10, 2000),
        ("America/New_York", [3, 5], 15, 1000),
    ];
    for (zone, day, minutes, rows) in cases {
        let mut lines = local_file(zone, day, minutes, rows);
        for direction in ["oldest first", "newest first"] {
            let answer = backtest(format!("t,x\n{}", lines.concat()), &["--time-zone", zone]);
            let context = format!("{zone} {day:?} {minutes} {direction}: {}", answer.said);
            assert_eq!((answer.code, answer.taken(), answer.lost()), (0, rows as u64, 0), "{context}");
            let repeats = ![3, 20].eq(&day) && ![3, 5].eq(&day);
            assert_eq!(answer.said.contains("second pass"), repeats, "{context}");
            lines.reverse();
        }
    }
    // A row in the hour that the clocks skip, with the hour behind it there and not there.
    let mut lines = local_file("Europe/Berlin", [3, 20], 60, 400);
    let place = lines.iter().position(|line| line.starts_with("2024-03-31 03:00")).unwrap();
    lines.insert(place, "2024-03-31 02:00,5\n".to_owned());
    let answer = backtest(format!("t,x\n{}", lines.concat()), &["--time-zone", "Europe/Berlin"]);
    assert_eq!((answer.taken(), answer.lost()), (400, 1), "{}", answer.said);
    assert!(answer.said.contains("1 times lie in an hour that the clocks of Europe/Berlin skip"), "{}", answer.said);
    lines.remove(place + 1);
    let answer = backtest(format!("t,x\n{}", lines.concat()), &["--time-zone", "Europe/Berlin"]);
    assert_eq!((answer.taken(), answer.lost()), (400, 0), "{}", answer.said);
}

#[test]
fn jitter_neither_doubles_nor_drops_readings() {
    for (phase, step) in [(0.0, 60.0), (30.0, 60.0), (59.8, 60.0), (0.0, 10.0)] {
        let row = |row: u32| {
            let jitter = (f64::from((row * 7919 + row * row % 613 * 31) % 801) - 400.0) / 1000.0;
            let time = 1_704_067_200.0 + step * f64::from(row) + phase + jitter;
            let wave = (f64::from(row) * std::f64::consts::TAU / 60.0).sin();
            format!("{time:.3},{:.3}\n", 50.0 + 20.0 * wave)
        };
        let lines: String = (0..1499).map(row).collect();
        for interval in [&[][..], &["--interval", &format!("{step}s")]] {
            let answer = backtest(format!("t,x\n{lines}"), interval);
            assert_eq!((answer.code, answer.taken(), answer.lost()), (0, 1499, 0), "{phase} {step}: {}", answer.said);
            let step = if step == 60.0 { "step 1m" } else { "step 10s" };
            assert!(answer.said.contains(step), "{phase}: {}", answer.said);
        }
    }
}

#[test]
fn both_orders_of_day_and_month_are_shown_where_both_are_possible() {
    let days: String = (1..=12).map(|day| format!("{day:02}/03/2024,{day}\n")).collect();
    let content = format!("t,x\n{days}");
    let refused = backtest(&content, &[]);
    assert_eq!(refused.code, 65);
    let both = "\"01/03/2024\" may be 2024-03-01 with the day first or 2024-01-03 with the month first";
    assert!(refused.said.contains(both), "{}", refused.said);
    assert!(refused.said.contains("--time-format day-first or --time-format month-first"), "{}", refused.said);
    let chosen = backtest(&content, &["--time-format", "day-first"]);
    assert!(chosen.code == 0 && chosen.said.contains("12 rows, step 1d"), "{}", chosen.said);
}

#[test]
fn what_cannot_be_read_is_refused_with_the_cause() {
    let fast: String = (0..900).map(|row| format!("{},{row}\n", 1_704_067_200_000_000_i64 + 100 * row)).collect();
    let dates = file("date,load", |hour| format!("{},{}", hour.at("%F"), hour.load));
    let iso = file("t,load", |hour| format!("{},{}", hour.at("%F %T"), hour.load));
    let thousands = file("t;load", |hour: Hour| format!("{};1,{:03}", hour.at("%F %T"), hour.number));
    let words =
        file("t,load", |hour| format!("{},{}", hour.at("%F %T"), if hour.number % 3 == 0 { "bad" } else { "7" }));
    let comma = file("time,load", |hour| format!("{},{}", hour.at("%F %T"), hour.with_comma()));
    let cases = [
        (format!("us,x\n{fast}"), &[][..], "steps below 1 ms are not supported"),
        (dates, &[], "the same dates repeat"),
        (iso, &["--interval", "1d"], "values follow each other after 3600000 ms, in steps of 86400000 ms"),
        (thousands, &[], "\"1,000\" may be 1.000 or 1000"),
        (words, &[], "\"bad\"; expected a number"),
        (comma, &[], "decimal comma"),
    ];
    for (content, arguments, says) in cases {
        let answer = backtest(content, arguments);
        assert_eq!(answer.code, 65, "{says}: {}", answer.said);
        assert!(answer.said.contains(says), "expected {says:?} in {}", answer.said);
        assert!(answer.json.is_null(), "{says}: no score");
    }
}

#[test]
fn more_than_one_percent_without_effect_is_a_warning_beside_the_scores() {
    // One in twenty rows occurs twice.
    let line = |hour: Hour| {
        format!("{},{}\n", hour.at("%F %T"), hour.load).repeat(1 + usize::from(hour.number.is_multiple_of(20)))
    };
    let content = format!("t,load\n{}", hours().map(line).collect::<String>());
    let answer = backtest(&content, &[]);
    assert_eq!((answer.code, answer.taken(), answer.lost()), (0, 480, 24));
    let warning = answer.json["warnings"][0].as_str().unwrap();
    assert!(warning.contains("24 of 504 values (4.8 %)") && warning.contains("the same times repeat"), "{warning}");
    let strict = backtest(&content, &["--max-refused", "0.01"]);
    assert!(strict.code == 65 && strict.said.contains("expected at most 1 %"), "{}", strict.said);
}

#[test]
fn anomalies_are_listed() {
    let load =
        |hour: Hour| if hour.number == 400 { 90_000.0 } else { hour.load + (hour.number * 7919 % 101) as f64 / 101.0 };
    let content = file("t,load", |hour| format!("{},{}", hour.at("%F %T"), load(hour)));
    let answer = backtest(&content, &["--anomalies"]);
    let anomalies = answer.json["anomalies"].as_array().unwrap();
    let spike = anomalies.iter().find(|anomaly| anomaly["value"] == 90_000.0).expect("the spike");
    assert_eq!((spike["time"].as_str(), spike["series"].as_str()), (Some("2024-01-31T16:00:00Z"), Some("load")));
    let number = |key: &str| spike[key].as_f64().unwrap();
    assert!(number("lower") < number("upper") && number("upper") < 90_000.0 && number("score") > 0.99, "{spike}");
}

#[test]
fn guesses_are_explained() {
    let content = file("t;load", |hour| format!("{};{}", hour.at("%d.%m.%Y %H:%M"), hour.with_comma()));
    let answer = backtest(&content, &["--explain"]);
    for line in [
        "time: t, %d.%m.%Y %H:%M, day first, UTC (480 of 480 timestamps are dates with the day first",
        "columns separated by semicolons (it gives",
        "numbers with decimal comma (every cell is a number so)",
    ] {
        assert!(answer.said.contains(line), "expected {line:?} in {}", answer.said);
    }
}
