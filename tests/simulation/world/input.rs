//! The input: records that are malformed, late, sent again, after a gap, or of a wild time.

use rand::{Rng, seq::IndexedRandom};

use super::{COVARIATES, INPUT, MINUTE, SERIES, SOURCE, World};
use crate::memory::partition_of;
use foretide::broker::Broker;

impl World {
    /// Appends a few input records, some of them malformed, late, duplicate, after a gap or of a wild time.
    pub(super) fn append(&mut self) {
        for _ in 0..self.random.random_range(1..12_u32).min(self.input_left) {
            self.input_left -= 1;
            let series = self.random.random_range(0..SERIES);
            let (topic, partition) = if self.is_repartitioned() {
                let partitions = self.cluster.partitions(SOURCE).unwrap().unwrap();
                (SOURCE, self.random.random_range(0..partitions))
            } else {
                (INPUT, i32::try_from(series).unwrap() % self.partitions())
            };
            self.event_time += match self.random.random_range(0..40) {
                0 => 90 * MINUTE,
                1..=8 => MINUTE,
                _ => self.random.random_range(0..20_000),
            };
            match self.random.random_range(0..150) {
                0 => self.clock_errors[series] = self.random.random_range(-500..500) * MINUTE,
                1..=6 => self.clock_errors[series] = 0,
                _ => {}
            }
            let clock = self.event_time + self.clock_errors[series];
            let time = match self.random.random_range(0..40) {
                0..=3 => clock - self.random.random_range(0..5 * MINUTE),
                4 => clock + self.random.random_range(0..20 * MINUTE),
                5 => clock + self.random.random_range(0..1_000_000 * MINUTE),
                _ => clock,
            };
            let stamp = if self.random.random_bool(0.3) { time } else { self.event_time };
            let value = f64::from(self.random.random_range(-1000..1000)) / 16.0;
            let payload = match self.random.random_range(0..25) {
                0 => Some("{\"time\":".to_owned()),
                1 => None,
                2 => Some(format!("{{\"time\":{time},\"value\":\"x\"}}")),
                _ => Some(format!("{{\"time\":{time},\"value\":{value}}}")),
            };
            let key = format!("s{series}");
            let sent = &mut self.sent[series];
            // A producer that does not get its answer sends again.
            let again = if self.random.random_bool(0.08) { sent.choose(&mut self.random).cloned() } else { None };
            let payload = again.or(payload);
            if sent.len() == 5 {
                sent.remove(0);
            }
            sent.extend(payload.clone());
            let payload = payload.as_deref().map(str::as_bytes);
            if self.is_repartitioned() {
                // Copies have the time at which they are written.
                self.cluster.set_time(self.event_time);
            }
            self.cluster.append(topic, partition, Some(key.as_bytes()), payload, stamp).unwrap();
        }
    }

    /// Appends future covariates for a few slots, some of them again. A record may be malformed.
    pub(super) fn append_covariates(&mut self) {
        for _ in 0..self.random.random_range(1..6) {
            let series = self.random.random_range(0..7);
            let time = self.event_time + self.random.random_range(-2..12) * MINUTE;
            let [warm, price] = [0; 2].map(|_| f64::from(self.random.random_range(-100..100)) / 8.0);
            let payload = match self.random.random_range(0..12) {
                0 => "{\"time\":".to_owned(),
                1 => format!("{{\"time\":{time},\"price\":{price}}}"),
                _ => format!("{{\"time\":{time},\"warm\":{warm},\"price\":{price}}}"),
            };
            let key = format!("s{series}");
            let partition = match self.is_repartitioned() {
                true => partition_of(Some(key.as_bytes()), self.partitions()),
                false => series % self.partitions(),
            };
            let stamp = self.event_time + self.random.random_range(-1..2) * MINUTE;
            self.cluster.append(COVARIATES, partition, Some(key.as_bytes()), Some(payload.as_bytes()), stamp).unwrap();
        }
    }
}
