//! Time of a serving step: the GRU (hidden 64, 8 inputs) against candle-nn's, and against the `gemm` crate's matrix
//! product at its best on the same CPU; then time of training such a layer. Everything runs on one thread.
//!
//! `cargo bench --bench serving` prints criterion's figures, then ratios of medians from rounds in which all contenders
//! take turns, so that disturbances of the machine affect them alike. `-- --ratios` skips criterion. `-- --json
//! NAME...` prints only one JSON object, with this side of the pairs that `scripts/bench-torch` compares with PyTorch.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{GRUConfig, RNN, VarBuilder, VarMap};
use criterion::{BenchmarkId, Criterion, Throughput};
use foretide::nn::cells::minimal::MinGru;
use foretide::nn::recurrent::cell::RecurrentCell;
use foretide::nn::recurrent::{fused, run::run};
use foretide::nn::sequence::{ResetMask, Sequence, SequenceOutput};
use foretide::nn::{CellKind, InstructionSet, Network, NetworkSpec, Scratch, Weights};
use foretide::train::{DeviceChoice, TrainSpec, TrainingSequence, train};
use serde_json::{Map, Value, json};

/// Units of the layer.
const HIDDEN: usize = 64;
/// Inputs per step.
const INPUTS: usize = 8;
/// Batch sizes.
const ROWS: [usize; 4] = [1, 64, 256, 1024];
/// Side of the square matrix product that gives the ceiling.
const SIDE: usize = 768;
/// Rounds, of whose speeds the median counts.
const ROUNDS: usize = 40;
/// Time that a contender runs in a round.
const TURN: Duration = Duration::from_millis(4);
/// Time per round for `--json`, whose rounds alternate with those of another process.
const LONG_TURN: Duration = Duration::from_millis(25);
/// Variables that limit rayon and candle to one thread; both read them at their first work.
const ONE_THREAD: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

type AnyError = Box<dyn std::error::Error>;

fn network(cell: CellKind) -> NetworkSpec {
    NetworkSpec { cell, layers: 1, hidden: HIDDEN, inputs: INPUTS, horizon: 24, levels: 1, ..NetworkSpec::default() }
}

fn sine(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at as f32 * 0.37).sin()).collect()
}

/// A contender: the work of one run, and the number of steps in it.
struct Contender<'a> {
    name: String,
    steps: f64,
    once: Box<dyn FnMut() + 'a>,
}

fn ours<'a>(kind: CellKind, rows: usize) -> Result<Contender<'a>, AnyError> {
    ours_on(InstructionSet::best(), kind, rows)
}

fn ours_on<'a>(on: InstructionSet, kind: CellKind, rows: usize) -> Result<Contender<'a>, AnyError> {
    let spec = network(kind);
    let network = Network::with_instructions(&spec, &Weights::initial(&spec), on)?;
    let (x, mut state, mut scratch) = (sine(rows * INPUTS), vec![0.0; rows * network.state_len()], Scratch::default());
    let once = move || network.advance(&mut scratch, rows, black_box(&x), &mut state);
    Ok(Contender { name: format!("foretide {kind}"), steps: rows as f64, once: Box::new(once) })
}

fn candles<'a>(rows: usize) -> Result<Contender<'a>, AnyError> {
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    candle_nn::gru(INPUTS, HIDDEN, GRUConfig::default(), builder)?;
    // Detached tensors: with variables the graph would grow with every step.
    let detached = variables.data().lock().map_err(|_| "poisoned")?;
    let detached = detached.iter().map(|(name, variable)| (name.clone(), variable.as_detached_tensor())).collect();
    let builder = VarBuilder::from_tensors(detached, DType::F32, &Device::Cpu);
    let gru = candle_nn::gru(INPUTS, HIDDEN, GRUConfig::default(), builder)?;
    let x = Tensor::from_vec(sine(rows * INPUTS), (rows, INPUTS), &Device::Cpu)?;
    let mut state = gru.zero_state(rows)?;
    let once = move || {
        if let Ok(next) = gru.step(black_box(&x), &state) {
            state = next;
        }
    };
    Ok(Contender { name: "candle-nn gru".to_owned(), steps: rows as f64, once: Box::new(once) })
}

/// A square matrix product, counted in steps of a cell with `gates` matrices by the inputs and as many by the state:
/// the number of steps with as many multiply-adds.
#[expect(unsafe_code, reason = "the crate has no safe interface")]
fn ceiling<'a>(gates: usize) -> Contender<'a> {
    let (left, right, mut out) = (sine(SIDE * SIDE), sine(SIDE * SIDE), vec![0.0_f32; SIDE * SIDE]);
    let once = move || {
        let (rows, side) = (1, SIDE as isize);
        // SAFETY: three square matrices of `SIDE`, column-major, in buffers of exactly that size.
        unsafe {
            gemm::gemm(
                SIDE,
                SIDE,
                SIDE,
                out.as_mut_ptr(),
                side,
                rows,
                false,
                left.as_ptr(),
                side,
                rows,
                right.as_ptr(),
                side,
                rows,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        black_box(&mut out);
    };
    let steps = (SIDE as f64).powi(3) / (gates * HIDDEN * (HIDDEN + INPUTS)) as f64;
    Contender { name: "gemm ceiling".to_owned(), steps, once: Box::new(once) }
}

/// Million steps per second of each contender: medians over rounds in which all take turns.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn medians(contenders: &mut [Contender<'_>], turn: Duration) -> Vec<f64> {
    let mut speeds = vec![Vec::with_capacity(ROUNDS); contenders.len()];
    for _ in 0..ROUNDS {
        for (contender, speeds) in contenders.iter_mut().zip(&mut speeds) {
            let (begin, mut count) = (Instant::now(), 0.0);
            while begin.elapsed() < turn {
                for _ in 0..(1.0 + 200.0 / contender.steps) as usize {
                    (contender.once)();
                    count += contender.steps;
                }
            }
            speeds.push(count / begin.elapsed().as_secs_f64() / 1e6);
        }
    }
    speeds.iter_mut().for_each(|speeds| speeds.sort_by(f64::total_cmp));
    speeds.iter().map(|speeds| speeds[ROUNDS / 2]).collect()
}

fn ratios() -> Result<(), AnyError> {
    println!("\nOne thread, hidden {HIDDEN}, input {INPUTS}: million steps per second, medians of {ROUNDS} rounds");
    println!(
        "{:>6} {:>14} {:>14} {:>14} {:>14} {:>9} {:>9}",
        "batch", "gru", "lstm", "candle gru", "ceiling", "x candle", "of gemm"
    );
    for rows in ROWS {
        let mut contenders = [ours(CellKind::Gru, rows)?, ours(CellKind::Lstm, rows)?, candles(rows)?, ceiling(3)];
        let speed = medians(&mut contenders, TURN);
        println!(
            "{rows:>6} {:>14.3} {:>14.3} {:>14.3} {:>14.3} {:>9.1} {:>8.0}%",
            speed[0],
            speed[1],
            speed[2],
            speed[3],
            speed[0] / speed[2],
            100.0 * speed[0] / speed[3]
        );
    }
    Ok(())
}

/// Training with an update of the weights every `steps` steps of `rows` sequences and 24 targets: million steps per
/// second from the median time between two updates (forward, backward, clipping and optimiser).
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn trained(kind: CellKind, steps: usize, rows: usize) -> Result<f64, AnyError> {
    let (network, updates) = (network(kind), if steps > 64 { 8 } else { 30 });
    // Training uses four fifths of a sequence.
    let count = steps * updates * 4 / 3;
    let (features, targets) = (sine(count * INPUTS), sine(count * network.horizon));
    let sequence = TrainingSequence::given([INPUTS, network.horizon], features, targets, vec![0]);
    let spec = TrainSpec {
        k1: steps,
        k2: steps,
        batch_size: rows,
        max_updates: updates,
        evaluate_every: 1_000_000,
        levels: vec![0.5],
        device: DeviceChoice::Cpu,
        ..TrainSpec::default()
    };
    let mut times: Vec<Instant> = Vec::new();
    train(&spec, &network, &Weights::initial(&network), &vec![sequence; rows], &mut |_| {
        times.push(Instant::now());
        ControlFlow::Continue(())
    })?;
    let mut seconds: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    Ok((steps * rows) as f64 / seconds[seconds.len() / 2] / 1e6)
}

/// An implementation that computes a sequence.
type Implementation = fn(&'static dyn RecurrentCell, &Sequence<'_>) -> candle_core::Result<SequenceOutput>;

/// A minGRU layer over 1024 steps of 64 rows, forward and backward.
fn minimal<'a>(name: &str, implementation: Implementation) -> Result<Contender<'a>, AnyError> {
    let (steps, rows, weights) = (1024, 64, Weights::initial(&network(CellKind::MinGru)));
    let tensor = |name: &'static str| {
        let tensor = &weights.tensors()[&format!("layer0.{name}")];
        let variable = Var::from_slice(&tensor.values, tensor.shape.as_slice(), &Device::Cpu)?;
        Ok((name, variable.into_inner()))
    };
    let weights = ["input", "bias"].map(tensor).into_iter().collect::<candle_core::Result<_>>()?;
    let inputs = Tensor::from_vec(sine(steps * rows * INPUTS), (steps, rows, INPUTS), &Device::Cpu)?;
    let states = Tensor::zeros((rows, HIDDEN), DType::F32, &Device::Cpu)?;
    let resets = ResetMask::new(rows, Vec::new());
    let once = move || {
        let sequence = Sequence { inputs: &inputs, weights: &weights, states: &states, resets: &resets };
        implementation(&MinGru, &sequence)?.outputs.sum_all()?.backward()
    };
    once()?;
    let once = move || drop(black_box(once()));
    Ok(Contender { name: name.to_owned(), steps: (steps * rows) as f64, once: Box::new(once) })
}

fn training() -> Result<(), AnyError> {
    println!("\nTraining, T = 64, head of 24, one thread: million steps per second, median over updates");
    for kind in CellKind::ALL {
        for rows in [64, 256] {
            println!("{kind:>6} batch {rows:>4}: {:.3}", trained(kind, 64, rows)?);
        }
    }
    Ok(())
}

/// This side of the named pair, in million steps per second: `ours`, and `peer` where that is measured here too, or the
/// `ceiling`. It is null where this CPU lacks the instructions.
fn pair(name: &str) -> Result<Value, AnyError> {
    let parts: Vec<&str> = name.split('_').collect();
    match parts[..] {
        ["serve", cell, rows] => {
            let (kind, rows): (CellKind, usize) = (cell.parse()?, rows.parse()?);
            let gates = if kind == CellKind::Lstm { 4 } else { 3 };
            let speed = medians(&mut [ours(kind, rows)?, ceiling(gates)], LONG_TURN);
            Ok(json!({ "ours": speed[0], "ceiling": speed[1] }))
        }
        ["train", cell, "t1024"] => {
            let kind = cell.parse()?;
            Ok(json!({ "ours": trained(kind, 1024, 64)?, "peer": trained(kind, 64, 64)? }))
        }
        ["train", cell, rows] => Ok(json!({ "ours": trained(cell.parse()?, 64, rows.parse()?)? })),
        ["bf16", cell, rows] => {
            let (kind, rows): (CellKind, usize) = (cell.parse()?, rows.parse()?);
            let Some(bf16) = InstructionSet::bf16() else { return Ok(Value::Null) };
            let speed = medians(&mut [ours_on(bf16, kind, rows)?, ours(kind, rows)?], LONG_TURN);
            Ok(json!({ "ours": speed[0], "peer": speed[1] }))
        }
        ["mingru", "scan", "1024"] => {
            let mut contenders = [minimal("scanned", run)?, minimal("stepped", fused::run)?];
            let speed = medians(&mut contenders, LONG_TURN);
            Ok(json!({ "ours": speed[0], "peer": speed[1] }))
        }
        ["machine"] => {
            let spec = network(CellKind::Gru);
            let instructions = Network::new(&spec, &Weights::initial(&spec))?.instructions();
            Ok(json!({ "instructions": instructions.name(), "foretide": env!("CARGO_PKG_VERSION") }))
        }
        _ => Err(format!("--json: no pair \"{name}\": expected one of those in scripts/torch_pairs.py").into()),
    }
}

fn pairs() -> Result<(), AnyError> {
    let names = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let figures = names.map(|name| Ok((name.clone(), pair(&name)?))).collect::<Result<Map<_, _>, AnyError>>()?;
    println!("{}", Value::Object(figures));
    Ok(())
}

fn criteria() -> Result<(), AnyError> {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for rows in ROWS {
        let mut group = criterion.benchmark_group("step");
        group.throughput(Throughput::Elements(rows as u64));
        for mut contender in [ours(CellKind::Gru, rows)?, ours(CellKind::Lstm, rows)?, candles(rows)?] {
            let id = BenchmarkId::new(contender.name.clone(), rows);
            group.bench_function(id, |bencher| bencher.iter(|| (contender.once)()));
        }
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}

fn measure() -> Result<(), AnyError> {
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    if asked("--json") {
        return pairs();
    }
    if !asked("--ratios") {
        criteria()?;
    }
    ratios()?;
    training()
}

fn main() -> ExitCode {
    let one = ONE_THREAD.iter().all(|name| std::env::var_os(name).is_some());
    let result = if one {
        measure()
    } else {
        // Both libraries read their environment once, so a new process gets it.
        std::env::current_exe()
            .and_then(|this| {
                Command::new(this).args(std::env::args().skip(1)).envs(ONE_THREAD.map(|n| (n, "1"))).status()
            })
            .map_err(AnyError::from)
            .and_then(|status| if status.success() { Ok(()) } else { Err(status.to_string().into()) })
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
