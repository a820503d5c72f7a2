//! Backtests through the library: the naive forecasters' published numbers, the same bits whatever the block, no leak.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{io, ops::Range, path::PathBuf, sync::Arc};

use foretide::{
    backtest::{
        self, BacktestSpec, Layout, Method, MethodErrors, NoObserver, Observer, ReadSpec, Report, Table, TimeColumn,
        TrainingPlan,
    },
    daemon::forecasts::ForecastWriter,
    engine::{Engine, StreamSpec, Transaction},
    forecast::ForecastSpec,
    nn::{CellKind, NetworkSpec, Strategy},
    series::{Aggregation, Calendar, ExtraFeatures, FEATURES, SeriesSpec, Target},
    time::Grid,
    train::{DeviceChoice, TrainSpec},
};

const LEVELS: [f32; 5] = [0.05, 0.1, 0.5, 0.9, 0.95];

fn data(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.exists() {
        println!("SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn spec(table: &Table, horizon: usize, season: usize, score_rows: Range<usize>) -> BacktestSpec {
    let forecast = ForecastSpec::new(horizon, &LEVELS, season).unwrap();
    BacktestSpec {
        stream: StreamSpec {
            name: Arc::from("test"),
            series: SeriesSpec {
                grid: Grid::Regular { interval: table.interval },
                aggregation: Aggregation::Last,
                readings_per_slot: Some(1),
                allowed_lateness: 0,
                max_gap: 64,
                max_gap_millis: 64 * table.interval,
                season: season as u32,
                horizon: horizon as u32,
                burn_in: 16,
                calendar: Calendar::utc(),
                extra: ExtraFeatures::default(),
            },
            network: NetworkSpec {
                cell: CellKind::Gru,
                layers: 1,
                hidden: 16,
                inputs: FEATURES,
                horizon,
                levels: LEVELS.len(),
                seed: 1,
                ..NetworkSpec::default()
            },
            forecast,
            max_series: table.series.len(),
        },
        topic: Arc::from("test"),
        partition: 0,
        report_horizons: vec![1, horizon],
        scale_rows: None,
        score_rows,
        training: None,
        rows_per_transaction: 64,
        plot_series: None,
    }
}

fn of(report: &Report, method: Method, horizon: usize) -> &MethodErrors {
    report.results.iter().find(|row| row.method == method && row.horizon == horizon).unwrap()
}

/// Records and their input positions, in order.
#[derive(Default)]
struct Emitted {
    writer: ForecastWriter,
    records: Vec<(i64, Vec<u8>)>,
}

impl Observer for Emitted {
    fn on_transaction(&mut self, engine: &Engine, epoch: &Transaction) -> io::Result<()> {
        for row in &epoch.forecasts {
            let mut record = Vec::new();
            self.writer.write(engine, epoch, row, &mut record);
            self.records.push((row.offset, record));
        }
        Ok(())
    }
}

fn emitted(spec: &BacktestSpec, table: &Table) -> (Report, Vec<(i64, Vec<u8>)>) {
    let mut watch = Emitted::default();
    let report = backtest::run(spec, table, &mut watch).unwrap();
    (report, watch.records)
}

/// Three series with a rhythm of twelve, gaps, a doubled stamp and a late one.
fn made_up(rows: usize) -> Table {
    let mut text = String::from("t,a,b,c\n");
    for row in 0..rows {
        let stamp = match row {
            40 => 39,
            41 => 20,
            row => row,
        };
        let wave = (row as f64 * std::f64::consts::TAU / 12.0).sin();
        let noise = ((row * 7919 + 13) % 101) as f64 / 101.0;
        let gap = row % 17 == 3 || (200..215).contains(&row);
        let a = if gap { String::new() } else { format!("{}", 10.0 + 3.0 * wave + noise) };
        let c = if row < 30 { "NaN".to_owned() } else { format!("{}", (row as f64).sqrt() * (1.0 + noise)) };
        text += &format!("{},{a},{},{c}\n", 1_700_000_000 + 60 * stamp, 100.0 * wave * noise);
    }
    backtest::read(text.as_bytes(), "made up", &ReadSpec::default()).unwrap()
}

fn small_training(rows: Vec<usize>) -> TrainingPlan {
    let spec = TrainSpec {
        k1: 16,
        k2: 16,
        batch_size: 8,
        max_updates: 30,
        epochs: 30,
        evaluate_every: 10,
        warm_up: 3,
        device: DeviceChoice::Cpu,
        levels: LEVELS.to_vec(),
        min_judged: 50,
        margin: 0.0,
        ..TrainSpec::default()
    };
    TrainingPlan { rows, refreshes: (Vec::new(), 0), max_history: 10_000, spec }
}

/// Holds the mean squared errors of last value and seasonal naive at H = 1, 24, 48 against those that were published.
fn published(
    name: &str,
    season: usize,
    scale: Range<usize>,
    score: Range<usize>,
    last: [f64; 3],
    seasonal: Option<[f64; 3]>,
) {
    let Some(path) = data(name) else { return };
    let table = backtest::read_file(&path, &ReadSpec::default()).unwrap();
    let mut spec = spec(&table, 48, season, score.clone());
    (spec.report_horizons, spec.scale_rows) = (vec![1, 24, 48], Some(scale));
    // Our own forecasts are not looked at: as few quantiles as there may be.
    spec.stream.forecast = ForecastSpec::new(48, &[0.5], season).unwrap();
    (spec.stream.network.levels, spec.stream.network.hidden) = (1, 1);
    let report = backtest::run(&spec, &table, &mut NoObserver).unwrap();
    assert_eq!(report.origins, score.len() - 48 + 1);
    let naive = [(Method::LastValue, Some(last)), (Method::SeasonalNaive, seasonal)];
    for (method, published) in naive.into_iter().filter_map(|(method, published)| Some((method, published?))) {
        for (horizon, published) in [1, 24, 48].into_iter().zip(published) {
            let ours = of(&report, method, horizon).mse.unwrap();
            println!("{name} {} {horizon}: {ours:.4}, published {published}", method.title());
            // Published to two or three digits; which rows make up "20 %" leaves a little room.
            assert!(
                (ours / published - 1.0).abs() < 0.01,
                "{} {horizon}: {ours}, published {published}",
                method.title()
            );
        }
    }
}

#[test]
fn naive_errors_on_etth1_are_the_published_ones() {
    published("ETTh1.csv.gz", 24, 0..2880, 3600..14400, [0.363, 2.796, 2.932], Some([0.925, 0.926, 1.07]));
}

#[test]
fn naive_errors_on_ettm1_are_the_published_ones() {
    published("ETTm1.csv.gz", 96, 0..11520, 14400..57600, [0.120, 1.495, 2.640], Some([0.910, 0.910, 0.910]));
}

#[test]
fn naive_errors_on_wth_are_the_published_ones() {
    published("WTH.csv.gz", 24, 0..7012, 8766..35064, [0.207, 0.614, 0.747], Some([0.639, 0.638, 0.733]));
}

#[test]
fn naive_errors_on_exchange_rate_are_the_published_ones() {
    published("exchange_rate.csv.gz", 0, 0..1517, 1897..7588, [0.0090, 0.0863, 0.1649], None);
}

#[test]
fn blocks_change_no_bit() {
    let table = made_up(400);
    let mut spec = spec(&table, 6, 12, 100..400);
    spec.training = Some(small_training(vec![150, 260]));
    spec.plot_series = Some("b".to_owned());
    let mut runs = [1, 7, 400].map(|block| {
        spec.rows_per_transaction = block;
        emitted(&spec, &table)
    });
    let (report, records) = &runs[0];
    let counts = report.counts;
    assert!(counts.duplicate >= 2 && counts.late >= 2 && records.len() as u64 == counts.accepted, "{counts:?}");
    assert!(
        report.rounds.iter().any(|round| round.rejection.is_none()),
        "weights change on the way: {:?}",
        report.rounds
    );
    for (other, others) in &runs[1..] {
        assert_eq!(others, records);
        assert_eq!(other, report);
    }
    runs[0].1.truncate(1);
    let first: serde_json::Value = serde_json::from_slice(&runs[0].1[0].1).unwrap();
    assert_eq!((&first["series"], &first["stream"]), (&"a".into(), &"test".into()));
}

/// Two waves of forty steps, a quarter apart, with a little noise.
fn waves(rows: usize) -> Table {
    let mut text = String::from("t,a,b\n");
    for row in 0..rows {
        let wave = |shift: f64| ((row as f64 / 40.0 + shift) * std::f64::consts::TAU).sin();
        let noise = ((row * 7919 + 13) % 101) as f64 / 1010.0;
        text += &format!("{},{},{}\n", 1_700_000_000 + 60 * row, 10.0 + 3.0 * wave(0.0) + noise, wave(0.25) - noise);
    }
    backtest::read(text.as_bytes(), "waves", &ReadSpec::default()).unwrap()
}

#[test]
fn a_network_that_is_fed_its_own_median_follows_a_wave() {
    let table = waves(700);
    let mut spec = spec(&table, 8, 0, 500..700);
    spec.training = Some(small_training(vec![400]));
    if let Some(plan) = &mut spec.training {
        (plan.spec.max_updates, plan.spec.learning_rate) = (400, 1e-2);
    }
    spec.stream.forecast.network_alone = true;
    let direct = backtest::run(&spec, &table, &mut NoObserver).unwrap();
    spec.stream.network.strategy = Strategy::Recursive;
    let [(recursive, records), other] = [64, 5].map(|block| {
        spec.rows_per_transaction = block;
        emitted(&spec, &table)
    });
    assert_eq!(other, (recursive.clone(), records), "the block changes no bit");
    let mae = |report: &Report, method, horizon| of(report, method, horizon).mae.unwrap();
    for horizon in [1, 8] {
        let ours = [&direct, &recursive].map(|report| mae(report, Method::Foretide, horizon));
        let last = mae(&recursive, Method::LastValue, horizon);
        println!("MAE to lead {horizon}: direct {:.4}, recursive {:.4}, last value {last:.4}", ours[0], ours[1]);
        assert!(ours[1] < 0.75 * last, "to lead {horizon}: {} against {last}", ours[1]);
    }
}

#[test]
fn the_largest_value_to_come_is_forecast_and_how_probably_it_is_too_large() {
    let table = waves(900);
    let mut spec = spec(&table, 10, 0, 500..900);
    spec.stream.forecast = ForecastSpec::aggregate(10, &LEVELS, 0, Target::Maximum, Some(11.5)).unwrap();
    (spec.stream.network.strategy, spec.report_horizons) = (Strategy::ManyToOne, vec![10]);
    spec.training = Some(small_training(vec![400]));
    if let Some(plan) = &mut spec.training {
        (plan.spec.max_updates, plan.spec.learning_rate) = (300, 1e-2);
    }
    let [(report, records), other] = [64, 5].map(|block| {
        spec.rows_per_transaction = block;
        emitted(&spec, &table)
    });
    assert_eq!(other, (report.clone(), records.clone()), "the block changes no bit");
    let mae = |method| of(&report, method, 10).mae.unwrap();
    let (ours, last) = (mae(Method::Foretide), mae(Method::LastValue));
    println!("MAE of the largest of ten: {ours:.4}, last value {last:.4}; {:?}", report.crossing);
    assert!(ours < 0.5 * last, "{ours} against {last}");
    let crossing = report.crossing.unwrap();
    let best = crossing.brier[1].min(crossing.brier[2]).min(crossing.brier_of_share);
    assert!((0.2..0.8).contains(&crossing.share) && crossing.brier[0] < 0.5 * best, "{crossing:?}");
    let record: serde_json::Value = serde_json::from_slice(&records.last().unwrap().1).unwrap();
    assert_eq!(record["target"], serde_json::json!({"of": "maximum", "steps": 10}));
    assert_eq!(record["crossing"]["threshold"], serde_json::json!(11.5));
    assert_eq!(["times", "point"].map(|member| record[member].as_array().unwrap().len()), [1, 1]);
    let ahead = record["times"][0].as_i64().unwrap() - record["origin"].as_i64().unwrap();
    assert_eq!(ahead, 10 * table.interval, "the time when the number is known");
    spec.report_horizons = vec![1, 10];
    let said = backtest::run(&spec, &table, &mut NoObserver).unwrap_err().to_string();
    assert_eq!(said, "one number of 10 steps has the horizon 10 only; expected no other to report");
}

#[test]
fn nothing_after_a_row_changes_what_was_forecast_up_to_it() {
    let table = made_up(330);
    let mut spec = spec(&table, 6, 12, 60..330);
    spec.training = Some(small_training(vec![150]));
    let (_, records) = emitted(&spec, &table);
    for last in [149, 200] {
        let mut changed = table.clone();
        for reading in changed.readings.iter_mut().filter(|reading| reading.row > last) {
            reading.value = 1e6 - 37.0 * reading.value;
        }
        let (_, others) = emitted(&spec, &changed);
        let upto = |records: &[(i64, Vec<u8>)]| -> Vec<Vec<u8>> {
            let upto = records.iter().filter(|(position, _)| *position <= i64::from(last));
            upto.map(|(_, record)| record.clone()).collect()
        };
        let (before, after) = (upto(&records), upto(&others));
        assert!(before.len() > 300 && before == after, "rows up to {last}");
        assert_ne!(records, others, "what comes later does change");
    }
}

#[test]
fn a_long_file_is_forecast_series_by_series() {
    let Some(path) = data("pedestrian.csv.gz") else { return };
    let layout = Layout::Long { key: "Sensor".into(), value: Some("Count".into()) };
    let time = TimeColumn::Named("Date_Time".into());
    let table = backtest::read_file(&path, &ReadSpec { layout, time, ..ReadSpec::default() }).unwrap();
    assert_eq!((table.series.len(), table.readings.len(), table.interval), (4, 66037, 3_600_000));
    let mut spec = spec(&table, 24, 24, 3000..12000);
    spec.scale_rows = Some(0..3000);
    let report = backtest::run(&spec, &table, &mut NoObserver).unwrap();
    let (ours, last) = (of(&report, Method::Foretide, 24).mse, of(&report, Method::LastValue, 24).mse);
    assert!(ours.unwrap() < 0.7 * last.unwrap(), "{ours:?} {last:?}");
    for (nominal, inside) in &of(&report, Method::Foretide, 24).coverage {
        assert!((nominal - inside).abs() < 0.1, "{nominal}: {inside}");
    }
}

#[test]
fn what_does_not_fit_the_file_is_said() {
    let table = made_up(100);
    let good = spec(&table, 6, 12, 10..100);
    let said = |spec: &BacktestSpec| backtest::run(spec, &table, &mut NoObserver).unwrap_err().to_string();
    let report = BacktestSpec { report_horizons: vec![7], ..good.clone() };
    assert_eq!(said(&report), "horizon 7 cannot be reported; expected 1 to 6, the horizon that is forecast");
    let scale = BacktestSpec { scale_rows: Some(0..200), ..good.clone() };
    assert_eq!(said(&scale), "the errors cannot be scaled by rows 0..200; expected rows within 0..100");
    let score = BacktestSpec { score_rows: 97..100, ..good.clone() };
    assert_eq!(said(&score), "rows 97..100 cannot be scored; expected at least 6 rows (the horizon) within 0..100");
    let shown = BacktestSpec { plot_series: Some("z".into()), ..good };
    assert_eq!(said(&shown), "there is no series \"z\" to plot");
}
