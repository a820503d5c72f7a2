//! The targets of `fuzz/` on a stable toolchain: each gets samples, and what a seeded mutator makes of them.
//!
//! `FORETIDE_FUZZ_INPUTS` is the number of inputs of each target, `FORETIDE_FUZZ_SEED` the first seed. An input that
//! breaks a promise is printed with its seed and stored in a file; `FORETIDE_FUZZ_REPLAY=FILE` runs that file alone,
//! with the name of its target as the test's. `FORETIDE_FUZZ_CORPUS=FOLDER` writes samples and tokens for cargo-fuzz
//! (`scripts/fuzz` does).

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::{
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    time::Instant,
};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_pcg::Pcg64Mcg;

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use fuzz::{TARGETS, Target};

/// Inputs of each target, where nothing else is said.
const INPUTS: u64 = 50_000;
/// Changes that one input has seen at most.
const MOST_CHANGES: usize = 4;
/// A piece that is copied or taken out is no longer.
const LONGEST_PIECE: usize = 64;
/// Numbers at the edges, as they are written in binary.
const EDGES: [u64; 9] = [
    0,
    u64::MAX,
    i64::MIN as u64,
    i64::MAX as u64,
    u32::MAX as u64,
    f64::NAN.to_bits(),
    f64::INFINITY.to_bits(),
    f32::NAN.to_bits() as u64,
    f32::MAX.to_bits() as u64,
];

#[test]
fn json_records() {
    hold("decode_json");
}

#[test]
fn csv_records() {
    hold("decode_csv");
}

#[test]
fn configurations() {
    hold("settings");
}

#[test]
fn records_of_the_state_topic() {
    hold("state");
}

#[test]
fn snapshots_of_series() {
    hold("snapshot");
}

#[test]
fn records_of_the_models_topic() {
    hold("model");
}

#[test]
fn requests() {
    hold("http");
}

#[test]
fn samples_are_good_and_written_for_cargo_fuzz_where_asked() {
    let folder = env::var_os("FORETIDE_FUZZ_CORPUS").map(PathBuf::from);
    for target in &TARGETS {
        for (number, sample) in (target.samples)().iter().enumerate() {
            (target.check)(sample);
            if let Some(folder) = &folder {
                let folder = folder.join(target.name);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(format!("sample-{number}")), sample).unwrap();
            }
        }
        if let Some(folder) = &folder {
            let escaped = |token: &&str| token.bytes().map(|byte| format!("\\x{byte:02X}")).collect::<String>();
            let lines: String = target.tokens.iter().map(|token| format!("\"{}\"\n", escaped(token))).collect();
            fs::write(folder.join(format!("{}.dict", target.name)), lines).unwrap();
        }
    }
}

#[test]
fn the_programs_of_cargo_fuzz_are_the_targets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    for Target { name, .. } in &TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")), "{name}");
        let program = fs::read_to_string(root.join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("foretide_fuzz::{name}::check(bytes)")), "{name}");
    }
}

/// Feeds a target.
#[expect(clippy::disallowed_methods, reason = "a test tells how fast it was")]
fn hold(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    if let Some(file) = env::var_os("FORETIDE_FUZZ_REPLAY") {
        (target.check)(&fs::read(file).unwrap());
        return;
    }
    let number = |name, otherwise| env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (inputs, seed) = (number("FORETIDE_FUZZ_INPUTS", INPUTS), number("FORETIDE_FUZZ_SEED", 1));
    let mut mutator = Mutator::new(target, seed);
    let start = Instant::now();
    for place in 0..inputs {
        let input = mutator.next_input();
        if let Err(broken) = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(&input))) {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{seed}-{place}"));
            fs::write(&file, &input).unwrap();
            let (file, bytes) = (file.display(), input.escape_ascii());
            eprintln!("{name}: input {place} of seed {seed} breaks a promise; it is kept in {file}:\n{bytes}");
            panic::resume_unwind(broken);
        }
    }
    println!("{name}: {inputs} inputs of seed {seed}, {:.0}/s", inputs as f64 / start.elapsed().as_secs_f64());
}

/// Makes inputs of samples: a function of the seed.
struct Mutator {
    random: Pcg64Mcg,
    samples: Vec<Vec<u8>>,
    tokens: &'static [&'static str],
}

impl Mutator {
    fn new(target: &Target, seed: u64) -> Self {
        Self { random: Pcg64Mcg::seed_from_u64(seed), samples: (target.samples)(), tokens: target.tokens }
    }

    fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.sample();
        for _ in 0..self.random.random_range(1..=MOST_CHANGES) {
            self.change(&mut input);
        }
        input
    }

    fn sample(&mut self) -> Vec<u8> {
        self.samples.choose(&mut self.random).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.random_range(0..=input.len());
        let piece = at..(at + self.random.random_range(1..=LONGEST_PIECE)).min(input.len());
        match self.random.random_range(0..8) {
            0 => input.truncate(at),
            1 => {
                input.drain(piece);
            }
            2 => {
                let copy = input[piece].to_vec();
                let to = self.random.random_range(0..=input.len());
                input.splice(to..to, copy);
            }
            3 => {
                let other = self.sample();
                let from = self.random.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            4 => {
                let token = self.tokens.choose(&mut self.random).map_or(&[][..], |token| token.as_bytes());
                input.splice(at..at, token.iter().copied());
            }
            5 => {
                let edge = EDGES[self.random.random_range(0..EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.random.random_range(0..4)];
                input.iter_mut().skip(at).zip(&edge[..width]).for_each(|(byte, edge)| *byte = *edge);
            }
            6 => {
                let byte = self.random.random();
                input.iter_mut().skip(at).take(1).for_each(|old| *old = byte);
            }
            _ => {
                let bit = self.random.random_range(0..8);
                input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
        }
    }
}
