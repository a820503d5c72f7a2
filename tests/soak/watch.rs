//! The forecasts of one partition: whether each step of each series appears once and in order, and the latencies.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use foretide::env::{Clock, SystemClock};
use rdkafka::Message;
use serde::Deserialize;

use crate::{
    harness::{background::Background, client::reader},
    load::Load,
};

/// The watched partition.
pub const PARTITION: i32 = 0;

/// The schedule of records at a constant rate.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time of the first record, in microseconds.
    pub start: u64,
    /// Number of the first record.
    pub first: u64,
    /// Records per second.
    pub rate: f64,
}

/// The forecasts so far.
#[derive(Debug, Default)]
pub struct Output {
    pub pace: Option<Pace>,
    /// Next step of each series, `[series]`.
    next: Vec<u64>,
    pub forecasts: u64,
    /// Steps without a forecast.
    pub skipped: u64,
    pub doubled: u64,
    /// Milliseconds from the scheduled time of a record to its committed forecast at the client, since the last
    /// [`Output::take_latencies`].
    latencies: Vec<f32>,
}

impl Output {
    fn add(&mut self, load: Load, series: u64, step: u64, now: u64) {
        let next = &mut self.next[usize::try_from(series).expect("it is small")];
        if step < *next {
            self.doubled += 1;
            return;
        }
        self.skipped += step - *next;
        self.forecasts += 1;
        *next = step + 1;
        let Some(pace) = self.pace else { return };
        if let Some(since) = load.number(series, step).checked_sub(pace.first) {
            let due = pace.start as f64 + since as f64 / pace.rate * 1e6;
            self.latencies.push(((now as f64 - due) / 1000.0) as f32);
        }
    }

    /// The median and the 99th percentile of the latencies since the last call. `None` where there are none.
    pub fn take_latencies(&mut self) -> Option<[f64; 2]> {
        let mut all = std::mem::take(&mut self.latencies);
        all.sort_by(f32::total_cmp);
        let last = all.len().checked_sub(1)?;
        Some([0.5, 0.99].map(|share| f64::from(all[(last as f64 * share) as usize])))
    }
}

/// A reader of committed forecasts in a thread.
pub struct Watch {
    pub output: Arc<Mutex<Output>>,
    reading: Background<()>,
}

#[derive(Deserialize)]
struct Forecast<'a> {
    series: &'a str,
    origin: i64,
}

impl Watch {
    pub fn start(servers: &str, topic: &str, load: Load, clock: SystemClock) -> Self {
        let reader = reader(servers, topic, [PARTITION]);
        let series = usize::try_from(load.series).expect("it is small");
        let output = Arc::new(Mutex::new(Output { next: vec![0; series], ..Output::default() }));
        let own = Arc::clone(&output);
        let reading = Background::start(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let Some(message) = reader.poll(Duration::from_millis(50)) else { continue };
                let message = message.expect("forecasts can be read");
                let forecast: Forecast<'_> =
                    serde_json::from_slice(message.payload().unwrap_or_default()).expect("a forecast is JSON");
                let series = Load::series(forecast.series).expect("a known series");
                let now = clock.monotonic_micros();
                own.lock().expect("no holder panics").add(load, series, Load::step(forecast.origin), now);
            }
        });
        Self { output, reading }
    }

    /// Stops the reader, and returns the forecasts so far.
    pub fn stop(self) -> Output {
        self.reading.stop();
        std::mem::take(&mut *self.output.lock().expect("no holder panics"))
    }
}

#[test]
fn skipped_duplicate_and_late_forecasts_are_counted() {
    let pace = Pace { start: 1_000_000, first: 2, rate: 2.0 };
    let mut output = Output { next: vec![0; 2], pace: Some(pace), ..Output::default() };
    for (series, step) in [(0, 0), (1, 0), (0, 1), (0, 1), (1, 2), (0, 2)] {
        output.add(Load { series: 2 }, series, step, 4_000_000);
    }
    assert_eq!((output.forecasts, output.skipped, output.doubled), (5, 1, 1));
    // Records 2, 5 and 4 are scheduled at 1 s, 2.5 s and 2 s.
    assert_eq!(output.take_latencies(), Some([2000.0, 2000.0]));
    assert_eq!(output.take_latencies(), None);
}
