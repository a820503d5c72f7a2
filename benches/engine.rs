//! The time of one step of one series through the whole engine (grid, scale, features, GRU 64, head, mixture,
//! calibration, anomaly score, forecast), compared with candle-nn's GRU step and a linear head of the same sizes on
//! constant tensors. Both run in the same process on one thread. `--memory` compares the memory of a million series
//! with the prediction of `foretide check`.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::{hint::black_box, time::Instant};

use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, RNN, rnn::GRUState};
use foretide::{
    daemon::{sizing, specs},
    engine::{Engine, Observation, TaskHandle, TaskId},
    series::FEATURES,
    settings::{self, Settings},
    time::EventTime,
};

const CONFIGURATION: &str = r#"
[[stream]]
name = "stream"
topics = ["in"]
values = ["value"]
interval = "1m"
readings_per_slot = 1
season = "24m"
horizon = 24
quantiles = [0.05, 0.1, 0.5, 0.9, 0.95]
model = { cell = "gru", layers = 1, hidden = 64 }
"#;
const ROUNDS: usize = 9;
const MILLION: usize = 1_000_000;

fn settings() -> Settings {
    settings::parse("bench.toml", CONFIGURATION, Vec::new()).expect("the configuration is right")
}

struct Bench {
    engine: Engine,
    task: TaskHandle,
    keys: Vec<String>,
    step: i64,
}

impl Bench {
    fn new(series: usize) -> Self {
        let spec = specs::plan(&settings()).expect("a plan").streams.remove(0).engine;
        let id = TaskId { stream: spec.name.clone(), topic: "in".into(), partition: 0 };
        let mut engine = Engine::new(vec![spec]).expect("an engine");
        let task = engine.open(id, 0).expect("the stream is known");
        let keys = (0..series).map(|number| format!("{number:020}")).collect();
        Self { engine, task, keys, step: 0 }
    }

    /// Closes one slot of every series in one transaction, with or without forecasts.
    fn step(&mut self, emit: bool) {
        self.engine.begin(emit);
        self.step += 1;
        let time = EventTime(self.step * 60_000);
        for (number, key) in self.keys.iter().enumerate() {
            let value = (self.step as f64 / 4.0).sin() * 10.0 + number as f64;
            self.engine.accept(self.task, &Observation::new(self.step, key, time, value));
        }
        self.engine.advance(self.task, self.step + 1);
        let transaction = self.engine.finish(0.0);
        assert_eq!(transaction.forecasts.len(), if emit { self.keys.len() } else { 0 });
        if emit {
            self.engine.commit(&transaction);
        }
        black_box(&transaction);
        self.engine.recycle(transaction);
    }
}

/// Nanoseconds per step of one series: the median of some rounds.
fn timed(series: usize, mut step: impl FnMut()) -> f64 {
    let steps = (20_000 / series).max(4);
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..steps).for_each(|_| step());
            start.elapsed().as_nanos() as f64 / (steps * series) as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// A step of candle-nn's GRU with a head of the same sizes, which keeps its state.
fn candle(series: usize) -> impl FnMut() {
    let device = Device::Cpu;
    let weights = |rows: usize, columns: usize| Tensor::randn(0_f32, 0.1, (rows, columns), &device).expect("weights");
    let tensors = [
        ("weight_ih_l0", weights(192, FEATURES)),
        ("weight_hh_l0", weights(192, 64)),
        ("bias_ih_l0", Tensor::zeros(192, DType::F32, &device).expect("a bias")),
        ("bias_hh_l0", Tensor::zeros(192, DType::F32, &device).expect("a bias")),
    ];
    let named = tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
    let builder = candle_nn::VarBuilder::from_tensors(named, DType::F32, &device);
    let gru = candle_nn::gru(FEATURES, 64, candle_nn::GRUConfig::default(), builder).expect("a cell");
    let head = candle_nn::Linear::new(weights(120, 64), None);
    let input = weights(series, FEATURES);
    let mut state = GRUState { h: Tensor::zeros((series, 64), DType::F32, &device).expect("a state") };
    move || {
        state = gru.step(&input, &state).expect("a step");
        black_box(head.forward(&state.h).expect("a head"));
    }
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn main() {
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // rayon reads the variable once; candle must use one thread, as the engine does.
        let own = std::env::current_exe().expect("this program");
        let status =
            std::process::Command::new(own).args(std::env::args().skip(1)).env("RAYON_NUM_THREADS", "1").status();
        std::process::exit(status.ok().and_then(|status| status.code()).unwrap_or(1));
    }
    // cargo bench --no-run and cargo test pass other flags.
    let memory = std::env::args().any(|argument| argument == "--memory");
    println!("one series step, GRU 64, {FEATURES} features, H = 24, 5 levels; medians of {ROUNDS} rounds");
    println!("{:>8} {:>14} {:>16} {:>8}", "series", "engine, ns", "candle-nn, ns", "ratio");
    for series in [1, 64, 256, 1024] {
        let mut bench = Bench::new(series);
        (0..60).for_each(|_| bench.step(true));
        let ours = timed(series, || bench.step(true));
        let theirs = timed(series, candle(series));
        println!("{series:>8} {ours:>14.0} {theirs:>16.0} {:>8.2}", theirs / ours);
    }
    if memory {
        let settings = settings();
        let predicted = sizing::footprint(&settings, &settings.stream[0]).expect("a size").state;
        let before = resident_bytes();
        let mut bench = Bench::new(MILLION);
        // Without forecasts: those of a million series are not state.
        (0..60).for_each(|_| bench.step(false));
        let keys: usize = bench.keys.iter().map(|key| key.capacity() + size_of::<String>()).sum();
        let counted = bench.engine.state_bytes(bench.task) / MILLION;
        let resident = (resident_bytes() - before - keys) / MILLION;
        println!("{MILLION} series: predicted {predicted} B each, counted {counted} B, resident {resident} B");
    }
}
