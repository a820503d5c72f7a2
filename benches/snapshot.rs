//! The time that the snapshot of one series takes, encoded and decoded on one thread, compared with a copy of as many
//! bytes: GRU 64, and the smallest model.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::{borrow::Cow, hint::black_box, time::Instant};

use foretide::{
    daemon::specs,
    engine::{EncodedSnapshot, Engine, Observation, TaskHandle, TaskId, Transaction},
    settings,
    time::EventTime,
};

const SERIES: usize = 1_000;
const ROUNDS: usize = 21;

struct Bench {
    engine: Engine,
    task: TaskHandle,
    keys: Vec<String>,
    step: i64,
}

impl Bench {
    fn new(hidden: usize, horizon: usize) -> Self {
        let text = format!(
            "[[stream]]\nname = \"stream\"\ntopics = [\"in\"]\nvalues = [\"value\"]\ninterval = \"1m\"\n\
             readings_per_slot = 1\nseason = \"24m\"\nhorizon = {horizon}\nmodel = {{ hidden = {hidden} }}\n"
        );
        let settings = settings::parse("bench.toml", &text, Vec::new()).expect("the configuration is right");
        let spec = specs::plan(&settings).expect("a plan").streams.remove(0).engine;
        let id = TaskId { stream: spec.name.clone(), topic: "in".into(), partition: 0 };
        let mut engine = Engine::new(vec![spec]).expect("an engine");
        let task = engine.open(id, 0).expect("the stream is known");
        let keys = (0..SERIES).map(|number| format!("{number:020}")).collect();
        Self { engine, task, keys, step: 0 }
    }

    /// Closes one slot of every series, so that all are changed.
    fn step(&mut self) {
        self.engine.begin(true);
        self.step += 1;
        let time = EventTime(self.step * 60_000);
        for (number, key) in self.keys.iter().enumerate() {
            let value = (self.step as f64 / 4.0).sin() * 10.0 + number as f64;
            self.engine.accept(self.task, &Observation::new(self.step, key, time, value));
        }
        self.engine.advance(self.task, self.step + 1);
        let transaction = self.engine.finish(0.0);
        self.engine.commit(&transaction);
        self.engine.recycle(transaction);
    }

    /// The snapshots of all series, in a transaction without input.
    fn encode(&mut self) -> Transaction {
        self.engine.begin(true);
        self.engine.advance(self.task, self.step + 1);
        self.engine.finish(1.0)
    }

    fn restore(&mut self, snapshots: &[EncodedSnapshot<'_>]) {
        let restored = self.engine.restore(self.task, snapshots);
        assert!(restored.iter().all(Result::is_ok));
    }
}

/// Nanoseconds per series.
fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / SERIES as f64
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn measure(hidden: usize, horizon: usize) {
    let mut bench = Bench::new(hidden, horizon);
    (0..60).for_each(|_| bench.step());
    let [mut encode, mut decode, mut copy] = [const { Vec::new() }; 3];
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        bench.step();
        let mut transaction = None;
        encode.push(timed(|| transaction = Some(bench.encode())));
        let transaction = transaction.expect("it was made");
        assert_eq!(transaction.snapshots.len(), SERIES);
        bytes = transaction.snapshots.iter().map(|snapshot| snapshot.body.len()).sum::<usize>() / SERIES;
        copy.push(timed(|| {
            black_box(transaction.snapshots.iter().map(|snapshot| snapshot.body.clone()).collect::<Vec<_>>());
        }));
        let encoded: Vec<EncodedSnapshot<'_>> = transaction
            .snapshots
            .iter()
            .map(|snapshot| EncodedSnapshot {
                series: Cow::Borrowed(&*snapshot.series),
                position: snapshot.position,
                body: Some(&snapshot.body),
            })
            .collect();
        decode.push(timed(|| bench.restore(&encoded)));
        bench.engine.commit(&transaction);
        bench.engine.recycle(transaction);
    }
    let [encode, decode, copy] = [encode, decode, copy].map(median);
    println!(
        "{hidden:>6} {horizon:>7} {bytes:>8} {encode:>11.0} {decode:>11.0} {copy:>9.0} {:>9.1} {:>9.1}",
        encode / copy,
        decode / copy
    );
}

fn main() {
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        // rayon reads the variable once; the snapshots are to be decoded on one thread.
        let own = std::env::current_exe().expect("this program");
        let status =
            std::process::Command::new(own).args(std::env::args().skip(1)).env("RAYON_NUM_THREADS", "1").status();
        std::process::exit(status.ok().and_then(|status| status.code()).unwrap_or(1));
    }
    println!("one snapshot of {SERIES}; medians of {ROUNDS} rounds; times of the copy = 1");
    println!("hidden horizon    bytes  encode, ns  decode, ns  copy, ns    encode    decode");
    measure(64, 24);
    measure(8, 1);
}
