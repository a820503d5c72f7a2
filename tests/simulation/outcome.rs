//! What a run commits, and what one engine commits for the same input without faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Totals;
use super::scenario::{self, COVARIATES, DEAD, FORECAST_PARTITIONS, FORECASTS, INPUT, STATE, STREAM};
use crate::memory::{MemoryCluster, StoredRecord};
use foretide::{
    broker::{Broker, Record},
    daemon::{
        forecasts::ForecastWriter,
        future_covariates::{FutureCovariateDecoder, KeyedFutureValues},
        plan::StreamPlan,
    },
    engine::{Acceptance, Deletion, EndReason, Engine, Observation, ServedWeights, TaskHandle, TaskId},
    nn::{Network, Weights},
    settings::Late,
    snapshot::TaskProgress,
    wire::{CopyOrigin, Decoded, Decoder, Envelope, Rejection, StateKey, TaskCheckpoint, dead_letter},
};

/// What changed in each partition, by the input position from which on.
#[derive(Debug, Default)]
pub struct Changes {
    /// The version of the active weights.
    pub activations: BTreeMap<i32, BTreeMap<i64, u64>>,
    /// The next offset of the future-covariate topic that was not seen yet.
    pub watermarks: BTreeMap<i32, BTreeMap<i64, i64>>,
    /// The input position at which the forecasts begin.
    pub starts: BTreeMap<i32, i64>,
}

/// What a run commits: the forecasts in order, by input partition and series, and the rejected records. When the topic
/// grows, a key moves to another partition, where its series starts empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub forecasts: BTreeMap<(i32, String), Vec<String>>,
    pub rejected: BTreeMap<(String, i32, i64), String>,
    /// The series that have a state, by input partition.
    pub series: BTreeSet<(i32, String)>,
}

/// What one engine made of the input, and how many series ended for each reason.
pub struct Reference {
    pub output: Output,
    pub ended: BTreeMap<EndReason, u64>,
}

impl Output {
    /// What a consumer with `isolation.level=read_committed` sees.
    pub fn committed(cluster: &MemoryCluster) -> Self {
        let mut output = Self::default();
        for partition in 0..FORECAST_PARTITIONS {
            for record in cluster.committed_records(FORECASTS, partition) {
                let series = String::from_utf8(record.key.unwrap()).unwrap();
                let payload = String::from_utf8(record.payload.unwrap()).unwrap();
                output.forecasts.entry((input_partition(&payload), series)).or_default().push(payload);
            }
        }
        for record in cluster.committed_records(DEAD, 0) {
            let header = |name| {
                let (_, value) = record.headers.iter().find(|(header, _)| header == name).unwrap();
                String::from_utf8(value.clone()).unwrap()
            };
            let topic = header(dead_letter::TOPIC);
            let place =
                (topic, header(dead_letter::PARTITION).parse().unwrap(), header(dead_letter::OFFSET).parse().unwrap());
            let duplicate = output.rejected.insert(place.clone(), header(dead_letter::REASON));
            assert_eq!(duplicate, None, "a duplicate dead letter for {place:?}");
        }
        for partition in 0..cluster.partitions(STATE).unwrap().unwrap() {
            for record in cluster.committed_records(STATE, partition) {
                // Some tests write foreign records.
                let Ok(StateKey::Series { stream, topic, partition, series }) = StateKey::parse(&record.key.unwrap())
                else {
                    continue;
                };
                if (&*stream, &*topic) != (STREAM, INPUT) {
                    continue;
                }
                match record.payload.map(|payload| Envelope::decode(&payload).is_ok()) {
                    Some(true) => drop(output.series.insert((partition, series))),
                    Some(false) => {}
                    None => drop(output.series.remove(&(partition, series))),
                }
            }
        }
        output
    }

    /// What one engine commits: one record per transaction, no faults, no snapshots.
    pub fn reference(
        cluster: &MemoryCluster,
        stream: &StreamPlan,
        published: &BTreeMap<u64, Weights>,
        changes: &Changes,
    ) -> Reference {
        let (mut output, mut ended) = (Self::default(), BTreeMap::new());
        let versions: Vec<_> = published
            .iter()
            .map(|(&version, weights)| (version, Arc::new(Network::new(&stream.engine.network, weights).unwrap())))
            .collect();
        for partition in 0..cluster.partitions(INPUT).unwrap().unwrap() {
            let mut engine = Engine::new(vec![stream.engine.clone()]).unwrap();
            for (version, network) in &versions {
                let prior = scenario::prior(&stream.engine.forecast, *version);
                engine.install(STREAM, *version, ServedWeights { network: Arc::clone(network), prior });
            }
            output.run_partition(&mut engine, cluster, stream, (partition, &mut ended), changes);
        }
        Reference { output, ended }
    }

    fn run_partition(
        &mut self,
        engine: &mut Engine,
        cluster: &MemoryCluster,
        stream: &StreamPlan,
        (partition, ended): (i32, &mut BTreeMap<EndReason, u64>),
        changes: &Changes,
    ) {
        let id = TaskId { stream: STREAM.into(), topic: INPUT.into(), partition };
        let task = engine.open(id, 0).unwrap();
        let start = changes.starts.get(&partition).copied().unwrap_or(0);
        engine.resume(task, &TaskProgress { emit_from: start, ..TaskProgress::default() });
        let mut decoder = Decoder::new(stream.decode.clone()).unwrap();
        let mut writer = ForecastWriter::default();
        for record in cluster.committed_records(INPUT, partition) {
            engine.begin(true);
            // Between records are markers, and what was aborted.
            let passed = engine.position(task)..=record.offset;
            for (_, &until) in changes.watermarks.get(&partition).iter().flat_map(|at| at.range(passed.clone())) {
                self.show_covariates(engine, cluster, stream, task, until);
            }
            for (_, &version) in changes.activations.get(&partition).iter().flat_map(|at| at.range(passed.clone())) {
                engine.activate(task, version);
            }
            let rejection = accept(engine, task, stream, &mut decoder, &record);
            if let Some(rejection) = rejection.filter(|_| record.offset >= start) {
                let place = (INPUT.to_owned(), partition, record.offset);
                self.rejected.insert(place, rejection.reason.label().to_owned());
            }
            engine.advance(task, record.offset + 1);
            let output = engine.finish(0.0);
            let mut payload = Vec::new();
            for row in &output.forecasts {
                let copied = stream.repartition.as_ref().and_then(|_| CopyOrigin::read(record.payload.as_deref()?));
                writer.write(engine, &output, row, copied, &mut payload);
                let series = engine.key(task, row.series).to_owned();
                let payload = String::from_utf8(payload.clone()).unwrap();
                self.forecasts.entry((input_partition(&payload), series)).or_default().push(payload);
            }
            for series in &output.ended {
                *ended.entry(series.reason).or_default() += 1;
            }
            engine.commit(&output);
        }
        self.series.extend(engine.keys(task).map(|key| (partition, key.to_owned())));
    }

    /// Shows the engine the future covariates before the offset `until`.
    fn show_covariates(
        &mut self,
        engine: &mut Engine,
        cluster: &MemoryCluster,
        stream: &StreamPlan,
        task: TaskHandle,
        until: i64,
    ) {
        let (seen, partition) = (engine.covariate_offset(task), engine.id(task).partition);
        let plan = stream.future_covariates.as_ref().unwrap();
        let mut decoder = FutureCovariateDecoder::new(plan, stream.engine.series.grid.clone()).unwrap();
        for record in cluster.committed_records(COVARIATES, partition) {
            if record.offset < seen || record.offset >= until {
                continue;
            }
            let (timestamp, key) = (Some(record.timestamp), record.key.as_deref());
            let payload = record.payload.as_deref();
            match decoder.decode(Record { offset: record.offset, timestamp, key, payload }).content {
                Ok(KeyedFutureValues { key, values }) => assert!(engine.insert_future_values(task, &key, values)),
                Err(rejected) => {
                    let place = (COVARIATES.to_owned(), partition, record.offset);
                    self.rejected.insert(place, rejected.rejection.reason.label().to_owned());
                }
            }
        }
        engine.advance_watermark(task, until);
    }

    /// Panics at the first difference of what consumers see.
    pub fn assert_is(&self, expected: &Self) {
        for (series, expected) in &expected.forecasts {
            let found = self.forecasts.get(series).map_or(&[][..], Vec::as_slice);
            for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_eq!(found, expected, "forecast {place} of {series:?} differs");
            }
            assert_eq!(found.len(), expected.len(), "{series:?} has lost or duplicate forecasts");
        }
        assert_eq!(self.forecasts, expected.forecasts);
        assert_eq!(self.rejected, expected.rejected);
    }
}

impl Changes {
    /// Adds the activations and watermarks in the state topic, before compaction removes them. `begins` are the offsets
    /// of its partitions at which the present life of the input topic began.
    pub fn record(&mut self, cluster: &MemoryCluster, begins: &[i64]) {
        for (partition, begin) in (0..).zip(begins) {
            let records = cluster.committed_records(STATE, partition);
            for record in records.iter().filter(|record| record.offset >= *begin) {
                let (Some(key), Some(payload)) = (&record.key, &record.payload) else { continue };
                if let StateKey::Task { partition, .. } = StateKey::parse(key).unwrap() {
                    let envelope = Envelope::decode(payload).unwrap();
                    let task = TaskCheckpoint::from_bytes(envelope.body).unwrap().progress;
                    let known = self.starts.insert(partition, task.emit_from);
                    assert!(known.is_none_or(|known| known == task.emit_from), "a start is decided once");
                    let activations = task.activations.into_iter().map(|made| (made.position, made.version));
                    self.activations.entry(partition).or_default().extend(activations);
                    let watermarks = task.watermarks.into_iter().map(|seen| (seen.position, seen.next));
                    self.watermarks.entry(partition).or_default().extend(watermarks);
                }
            }
        }
    }
}

impl Totals {
    /// Adds the output of a run that is as expected, and what changed and ended in it.
    pub fn compared(&mut self, output: &Output, ended: &BTreeMap<EndReason, u64>, changes: &Changes) {
        let of = |reason| ended.get(&reason).copied().unwrap_or(0);
        self.silent += of(EndReason::Silent);
        self.evicted += of(EndReason::Evicted);
        self.deleted += of(EndReason::Deleted);
        self.forecasts += output.forecasts.values().map(Vec::len).sum::<usize>() as u64;
        self.rejected += output.rejected.len() as u64;
        let count = |label: &str| output.rejected.values().filter(|reason| *reason == label).count() as u64;
        self.ahead += count("ahead");
        self.duplicates += count("duplicate");
        self.activations += changes.activations.values().map(BTreeMap::len).sum::<usize>() as u64;
        self.warm_ups += changes.starts.values().filter(|start| **start > 0).count() as u64;
        self.watermarks += changes.watermarks.values().map(BTreeMap::len).sum::<usize>() as u64;
    }
}

/// Passes one record to an engine. Returns why it is rejected.
fn accept(
    engine: &mut Engine,
    task: TaskHandle,
    stream: &StreamPlan,
    decoder: &mut Decoder,
    record: &StoredRecord,
) -> Option<Rejection> {
    let (offset, timestamp, key) = (record.offset, Some(record.timestamp), record.key.as_deref());
    let (mut rejection, mut before_start) = (None, false);
    let mut deliver = |decoded: Decoded<'_>| {
        let (series, time, timestamp, value, covariates, warm_up) = match decoded {
            Decoded::Observation { series, time, timestamp, value, covariates, warm_up } => {
                (series, time, timestamp, value, covariates, warm_up)
            }
            Decoded::Deleted { series, warm_up } => {
                return engine.delete(task, &Deletion { offset, series, warm_up });
            }
        };
        before_start = warm_up;
        match engine.accept(task, &Observation { offset, series, time, timestamp, value, covariates, warm_up }) {
            Acceptance::Late { .. } | Acceptance::Corrected { .. } | Acceptance::Duplicate { .. } if warm_up => {}
            Acceptance::Late { by } if stream.late != Late::Drop => {
                rejection = Some(Rejection::late(series, by));
            }
            Acceptance::Duplicate { is_first: true } => rejection = Some(Rejection::duplicate(series)),
            Acceptance::Late { .. } | Acceptance::Corrected { .. } | Acceptance::Duplicate { is_first: false } => {}
            Acceptance::ImplausibleTime(ahead) => rejection = Some(Rejection::ahead(series, time, timestamp, &ahead)),
            Acceptance::SeriesLimit => rejection = Some(Rejection::series_limit(series, stream.engine.max_series)),
            other => assert_eq!(other, Acceptance::Accepted),
        }
    };
    decoder
        .decode_record(key, timestamp, record.payload.as_deref(), &mut deliver)
        .err()
        .or(rejection)
        .filter(|_| !before_start)
}

/// The input partition that a forecast record names.
fn input_partition(forecast: &str) -> i32 {
    let (_, input) = forecast.split_once("\"input\":").unwrap();
    let (_, number) = input.split_once("\"partition\":").unwrap();
    number.split(',').next().unwrap().parse().unwrap()
}
