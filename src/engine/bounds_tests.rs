//! Declared bounds hold in every forecast of every strategy, from the first one on.

use super::tests::{Input, MINUTE, accept_all, engine_of, streams};
use super::*;
use crate::forecast::ValueBounds;

/// Minutes of input. Series 0 is silent in the last ones, so that slots without values close by the partition's time.
const MINUTES: i64 = 240;
const SILENT: i64 = 15;

/// Series 0: a stock that is sold out and filled again. Series 1: a gauge that nears 100. Now and then a
/// reading is higher.
fn input() -> Input {
    let stock = |minute: i64| (0, minute * MINUTE, ((90 - minute % 97).max(0) - minute % 3).max(0) as f64);
    let gauge = |minute: i64| {
        let above = if minute % 50 == 49 { 6.0 } else { 0.0 };
        (1, minute * MINUTE, 100.0 - 60.0 * (-minute as f64 / 40.0).exp() + above)
    };
    (0..MINUTES)
        .flat_map(|minute| [stock(minute), gauge(minute)])
        .filter(|(series, time, _)| *series == 1 || *time < (MINUTES - SILENT) * MINUTE)
        .collect()
}

/// A forecast: its series, whether its slot is empty, its points, and its quantiles, `[output][level]`.
struct SeriesForecast {
    series: String,
    absent: bool,
    points: Vec<f64>,
    quantiles: Vec<f64>,
}

/// All forecasts of the input, and how many values were beyond the bounds.
fn forecasts(spec: &StreamSpec) -> (Vec<SeriesForecast>, u64) {
    let (mut engine, task) = engine_of(spec.clone());
    let (mut made, mut beyond, mut from) = (Vec::new(), 0, 0);
    let (outputs, levels) = (spec.forecast.outputs(), spec.forecast.levels.len());
    for (place, records) in input().chunks(7).enumerate() {
        if place == 5 {
            engine.activate(task, 1);
        }
        engine.begin(true);
        accept_all(&mut engine, task, from, records);
        from += records.len();
        let transaction = engine.finish(0.0);
        made.extend(transaction.forecasts.iter().map(|row| SeriesForecast {
            series: engine.key(task, row.series).to_owned(),
            absent: row.absent,
            points: transaction.points[row.point..][..outputs].to_vec(),
            quantiles: transaction.quantiles[row.quantile..][..outputs * levels].to_vec(),
        }));
        beyond += transaction.streams[0].beyond_bounds;
        engine.commit(&transaction);
    }
    (made, beyond)
}

#[test]
fn no_forecast_of_any_strategy_lies_beyond_the_declared_bounds() {
    let within = |minimum, maximum, integer| ValueBounds::new(Some(minimum), Some(maximum), integer).unwrap();
    let fields = [("s0".to_owned(), within(0.0, 90.0, true)), ("s1".to_owned(), within(0.0, 100.0, false))];
    for (place, spec) in streams().into_iter().enumerate() {
        let levels = spec.forecast.levels.len();
        let spec = StreamSpec { bounds: FieldBounds::new(fields.clone()), ..spec };
        let (made, beyond) = forecasts(&spec);
        let leaves = |made: &SeriesForecast| {
            let maximum = if made.series == "s0" { 90.0 } else { 100.0 };
            made.points.iter().chain(&made.quantiles).any(|number| !(0.0..=maximum).contains(number))
        };
        assert!(made.iter().all(|made| !leaves(made)), "stream {place}");
        for made in &made {
            assert!(made.quantiles.chunks(levels).all(<[f64]>::is_sorted), "stream {place}: {:?}", made.quantiles);
            let whole = made.quantiles.iter().all(|quantile| quantile.fract() == 0.0);
            assert!(made.series == "s1" || whole, "stream {place}: {:?}", made.quantiles);
        }
        for series in ["s0", "s1"] {
            let count = made.iter().filter(|made| made.series == series).count() as i64;
            assert!(count >= MINUTES - SILENT - 2, "stream {place}: from the first value on, {series} {count}");
        }
        assert!(beyond >= 3, "stream {place}: the gauge exceeds 100 {beyond} times");
        let by_partition = spec.series.close_by == crate::series::CloseBy::Partition;
        assert_eq!(made.iter().any(|made| made.absent), by_partition, "stream {place}: empty slots");
        // The same input without bounds has forecasts beyond them: the test would notice.
        let (free, none) = forecasts(&StreamSpec { bounds: FieldBounds::default(), ..spec });
        let left = ["s0", "s1"].map(|series| free.iter().filter(|made| made.series == series && leaves(made)).count());
        assert!(left.iter().all(|count| *count > 0) && none == 0, "stream {place}: {left:?}");
    }
}
