//! What comes out of one partition: each step of each series once and in order, and how long it took.

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

/// The partition that is watched.
pub const PARTITION: i32 = 0;

/// When the records were due that come at a steady pace.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The microsecond of the first.
    pub start: u64,
    /// Its number.
    pub first: u64,
    /// Records a second.
    pub rate: f64,
}

/// What has come.
#[derive(Debug, Default)]
pub struct Seen {
    pub pace: Option<Pace>,
    /// `[series]`: the step that comes next.
    next: Vec<u64>,
    pub forecasts: u64,
    /// Steps that were passed over.
    pub skipped: u64,
    pub doubled: u64,
    /// Milliseconds from when a record was due to its committed forecast at the client, since they were last taken.
    latencies: Vec<f32>,
}

impl Seen {
    fn note(&mut self, load: Load, series: u64, step: u64, now: u64) {
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

    /// The medians and the 99th percentiles of the latencies since this was last asked; `None` where there were none.
    pub fn take_latencies(&mut self) -> Option<[f64; 2]> {
        let mut all = std::mem::take(&mut self.latencies);
        all.sort_by(f32::total_cmp);
        let last = all.len().checked_sub(1)?;
        Some([0.5, 0.99].map(|share| f64::from(all[(last as f64 * share) as usize])))
    }
}

/// A reader of committed forecasts in a thread.
pub struct Watch {
    pub seen: Arc<Mutex<Seen>>,
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
        let seen = Arc::new(Mutex::new(Seen { next: vec![0; series], ..Seen::default() }));
        let own = Arc::clone(&seen);
        let reading = Background::start(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let Some(message) = reader.poll(Duration::from_millis(50)) else { continue };
                let message = message.expect("forecasts can be read");
                let forecast: Forecast<'_> =
                    serde_json::from_slice(message.payload().unwrap_or_default()).expect("a forecast is JSON");
                let series = Load::series(forecast.series).expect("a series of ours");
                let now = clock.monotonic_micros();
                own.lock().expect("no holder panics").note(load, series, Load::step(forecast.origin), now);
            }
        });
        Self { seen, reading }
    }

    /// Ends it, and returns what has come.
    pub fn stop(self) -> Seen {
        self.reading.stop();
        std::mem::take(&mut *self.seen.lock().expect("no holder panics"))
    }
}

#[test]
fn what_is_skipped_doubled_and_late_is_seen() {
    let pace = Pace { start: 1_000_000, first: 2, rate: 2.0 };
    let mut seen = Seen { next: vec![0; 2], pace: Some(pace), ..Seen::default() };
    for (series, step) in [(0, 0), (1, 0), (0, 1), (0, 1), (1, 2), (0, 2)] {
        seen.note(Load { series: 2 }, series, step, 4_000_000);
    }
    assert_eq!((seen.forecasts, seen.skipped, seen.doubled), (5, 1, 1));
    // Records 2, 5 and 4 were due at 1 s, 2.5 s and 2 s.
    assert_eq!(seen.take_latencies(), Some([2000.0, 2000.0]));
    assert_eq!(seen.take_latencies(), None);
}
