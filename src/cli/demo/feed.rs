//! The demo's live data: a thread that produces records.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    broker::{Broker, BrokerError, ProducerRecord, Publisher},
    cli::demo::data::{Machine, Simulation, SimulationSpec, encode},
    env::{Clock, SystemClock},
};

/// The topic of the simulated series.
pub const SIMULATED: &str = "demo.simulated";
/// The topic of this machine's readings.
pub const MACHINE: &str = "demo.machine";
/// Event time between two values of a simulated series, in milliseconds.
const INTERVAL: i64 = 5 * 60 * 1000;
/// Wall clock time between them: a day of event time takes 72 seconds.
const PACE: Duration = Duration::from_millis(250);
/// Steps that are written without a pause at the start: about two days, so that the series show their season at once.
const HEAD_START: u64 = 600;
/// Steps per transaction during the head start.
const BURST: u64 = 20;

/// A running feed.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), BrokerError>>,
}

/// Starts the thread.
///
/// # Errors
/// When the system refuses a thread.
pub fn start(broker: Arc<dyn Broker>, seed: u64, series: usize) -> std::io::Result<Feed> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("feed".into()).spawn(move || feed(&*broker, seed, series, &flag))?;
    Ok(Feed { stop, thread })
}

impl Feed {
    /// Stops the thread.
    ///
    /// # Errors
    /// The error that had stopped it already.
    pub fn stop(self) -> Result<(), BrokerError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(BrokerError::Fatal("the feed panicked".into())))
    }
}

fn feed(broker: &dyn Broker, seed: u64, series: usize, stop: &AtomicBool) -> Result<(), BrokerError> {
    let clock = SystemClock::new();
    let mut publisher = broker.publisher("foretide-demo.feed")?;
    let (wall, head) = (clock.wall_millis(), INTERVAL * i64::try_from(HEAD_START).unwrap_or(0));
    let start = (wall - head).div_euclid(INTERVAL) * INTERVAL;
    let mut simulation = Simulation::new(SimulationSpec { seed, series, start, interval: INTERVAL });
    let mut machine = Machine::new();
    let mut records = Vec::new();
    let mut steps = 0;
    let mut read_at = clock.monotonic_micros();
    while !stop.load(Ordering::Relaxed) {
        simulation.advance(|value| {
            records.push((SIMULATED, value.key.to_owned(), encode(value.time, value.value)));
        });
        steps += 1;
        let now = clock.monotonic_micros();
        if now.saturating_sub(read_at) >= 1_000_000 {
            read_at = now;
            let time = clock.wall_millis();
            records.extend(
                machine.read(now).into_iter().map(|reading| (MACHINE, reading.key, encode(time, reading.value))),
            );
        }
        if steps >= HEAD_START || steps % BURST == 0 {
            publish(&mut *publisher, &records)?;
            records.clear();
        }
        if steps >= HEAD_START {
            std::thread::sleep(PACE);
        }
    }
    Ok(())
}

fn publish(publisher: &mut dyn Publisher, records: &[(&str, String, Vec<u8>)]) -> Result<(), BrokerError> {
    let outgoing: Vec<ProducerRecord<'_>> = records
        .iter()
        .map(|(topic, key, payload)| ProducerRecord {
            topic,
            partition: None,
            key: Some(key.as_bytes()),
            payload: Some(payload),
            headers: &[],
        })
        .collect();
    publisher.publish(&outgoing)
}
