//! The streams and the input of which the stored states are.

use foretide::{
    engine::{Engine, Epoch, StreamSpec, TaskHandle, TaskId},
    forecast::ForecastSpec,
    nn::{CellKind, NetworkSpec},
    series::{Aggregation, Calendar, Extra, FEATURES, Holidays, Known, SeriesSpec},
    time::{EventTime, Grid},
};

/// The states were written after so many minutes, and the stored forecasts go on to the end.
pub const WRITTEN: i64 = 90;
pub const END: i64 = 100;

/// The one series.
pub const SERIES: &str = "series";
const MINUTE: i64 = 60_000;
const SEASON: u32 = 6;
const HORIZON: usize = 5;
const LEVELS: [f32; 3] = [0.1, 0.5, 0.9];

/// One with a season alone, one with all that there is beside it.
pub fn specs() -> [StreamSpec; 2] {
    let (calendar, grid) = (Calendar::utc(), Grid::Regular { interval: MINUTE });
    let all = Extra {
        year_phase: true,
        holidays: Some(Holidays::new(&calendar, grid, &["1970-01-01".parse().expect("a date")])),
        covariates: ["warm".into(), "wind".into()].into(),
        known: Known { names: ["price".into()].into(), slots: 100, ..Known::default() },
    };
    let stream = |name: &str, extra: Extra, cell| StreamSpec {
        name: name.into(),
        network: NetworkSpec {
            cell,
            layers: 1,
            hidden: 8,
            inputs: FEATURES + extra.features(),
            horizon: HORIZON,
            levels: LEVELS.len(),
            context: 4,
            ..NetworkSpec::default()
        },
        forecast: ForecastSpec::new(HORIZON, &LEVELS, SEASON as usize).expect("sound").with_extra(&extra),
        series: SeriesSpec {
            grid,
            aggregation: Aggregation::Mean,
            readings_per_slot: None,
            allowed_lateness: 0,
            max_gap: 10,
            max_gap_millis: 10 * MINUTE,
            season: SEASON,
            horizon: HORIZON as u32,
            burn_in: 4,
            calendar: calendar.clone(),
            extra,
        },
        max_series: 1,
    };
    [stream("plain", Extra::default(), CellKind::Gru), stream("all", all, CellKind::Lstm)]
}

/// A task of one series that is told its input by the minute.
pub struct Told {
    pub engine: Engine,
    pub task: TaskHandle,
}

impl Told {
    /// With what is known in advance told as well.
    pub fn new(spec: StreamSpec) -> Self {
        let known = !spec.series.extra.known.names.is_empty();
        let id = TaskId { stream: spec.name.clone(), topic: "in".into(), partition: 0 };
        let mut engine = Engine::new(vec![spec]).expect("the stream is sound");
        let task = engine.open(id, 0).expect("the stream is there");
        if known {
            for minute in 0..END + HORIZON as i64 {
                engine.know(task, minute, "", EventTime(minute * MINUTE), &[price(minute)]);
            }
            engine.sight(task, END + HORIZON as i64);
        }
        Self { engine, task }
    }

    /// The forecasts of some minutes, in an epoch that is still open.
    pub fn feed(&mut self, minutes: std::ops::Range<i64>) -> Epoch {
        let beside = |minute: i64| [(minute % 4) as f64, f64::NAN];
        let covariates = self.engine.stream(self.task).series.extra.covariates.len();
        self.engine.begin(true);
        for minute in minutes.clone() {
            let (time, value) = (EventTime(minute * MINUTE), value(minute));
            self.engine.accept(self.task, minute, SERIES, time, value, &beside(minute)[..covariates]);
        }
        self.engine.advance(self.task, minutes.end);
        self.engine.finish(1.0)
    }
}

fn price(minute: i64) -> f64 {
    (minute * 5 % 7) as f64
}

fn value(minute: i64) -> f64 {
    10.0 + (minute % i64::from(SEASON)) as f64 + price(minute) / 2.0 + (minute * 11 % 13) as f64 / 4.0
}
