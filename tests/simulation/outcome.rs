//! What a run commits, and what one engine commits for the same input without faults.

use std::{collections::BTreeMap, sync::Arc};

use super::scenario::{self, COVARIATES, DEAD, FORECAST_PARTITIONS, FORECASTS, INPUT, STREAM};
use crate::memory::MemoryCluster;
use foretide::{
    broker::{Broker, Record},
    daemon::{
        forecasts::ForecastWriter,
        future_covariates::{FutureCovariateDecoder, KeyedFutureValues},
        plan::{LatePolicy, StreamPlan},
    },
    engine::{Acceptance, Engine, Observation, ServedWeights, TaskHandle, TaskId},
    nn::{Network, Weights},
    wire::{Decoder, Rejection, dead_letter},
};

/// What changed in each partition, by the input position from which on.
#[derive(Debug, Default)]
pub struct Changes {
    /// The version of the active weights.
    pub activations: BTreeMap<i32, BTreeMap<i64, u64>>,
    /// The next offset of the future-covariate topic that was not seen yet.
    pub watermarks: BTreeMap<i32, BTreeMap<i64, i64>>,
}

/// What a run commits: the forecasts in order, by input partition and series, and the rejected records. When the topic
/// grows, a key moves to another partition, where its series starts empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub forecasts: BTreeMap<(i32, String), Vec<String>>,
    pub rejected: BTreeMap<(String, i32, i64), String>,
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
        output
    }

    /// What one engine commits: one record per transaction, no faults, no snapshots.
    pub fn reference(
        cluster: &MemoryCluster,
        stream: &StreamPlan,
        published: &BTreeMap<u64, Weights>,
        changes: &Changes,
    ) -> Self {
        let mut output = Self::default();
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
            output.run_partition(&mut engine, cluster, stream, partition, changes);
        }
        output
    }

    fn run_partition(
        &mut self,
        engine: &mut Engine,
        cluster: &MemoryCluster,
        stream: &StreamPlan,
        partition: i32,
        changes: &Changes,
    ) {
        let id = TaskId { stream: STREAM.into(), topic: INPUT.into(), partition };
        let task = engine.open(id, 0).unwrap();
        let mut decoder = Decoder::new(stream.decode.clone()).unwrap();
        let mut writer = ForecastWriter::default();
        for record in cluster.committed_records(INPUT, partition) {
            engine.begin(true);
            if let Some(&until) = changes.watermarks.get(&partition).and_then(|at| at.get(&record.offset)) {
                self.show_covariates(engine, cluster, stream, task, until);
            }
            if let Some(&version) = changes.activations.get(&partition).and_then(|at| at.get(&record.offset)) {
                engine.activate(task, version);
            }
            let mut rejection = None;
            let decoded = decoder.decode(
                record.key.as_deref(),
                Some(record.timestamp),
                record.payload.as_deref(),
                &mut |series: &str, time, value, covariates| {
                    let (offset, timestamp) = (record.offset, Some(record.timestamp));
                    match engine.accept(task, &Observation { offset, series, time, timestamp, value, covariates }) {
                        Acceptance::Late { by } if stream.late == LatePolicy::DeadLetter => {
                            rejection = Some(Rejection::late(series, by));
                        }
                        Acceptance::Late { .. } => {}
                        Acceptance::Duplicate { is_first: true } => rejection = Some(Rejection::duplicate(series)),
                        Acceptance::Duplicate { is_first: false } => {}
                        Acceptance::TimeAhead(ahead) => {
                            rejection = Some(Rejection::ahead(series, time, timestamp, &ahead))
                        }
                        other => assert_eq!(other, Acceptance::Accepted),
                    }
                },
            );
            if let Some(rejection) = decoded.err().or(rejection) {
                let place = (INPUT.to_owned(), partition, record.offset);
                self.rejected.insert(place, rejection.reason.label().to_owned());
            }
            engine.advance(task, record.offset + 1);
            let output = engine.finish(0.0);
            let mut payload = Vec::new();
            for row in &output.forecasts {
                writer.write(engine, &output, row, &mut payload);
                let series = engine.key(task, row.series).to_owned();
                let payload = String::from_utf8(payload.clone()).unwrap();
                self.forecasts.entry((partition, series)).or_default().push(payload);
            }
            engine.commit(&output);
        }
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
        let mut decoder = FutureCovariateDecoder::new(plan, stream.engine.series.grid).unwrap();
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

    /// Panics at the first difference.
    pub fn assert_is(&self, expected: &Self) {
        for (series, expected) in &expected.forecasts {
            let found = self.forecasts.get(series).map_or(&[][..], Vec::as_slice);
            for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_eq!(found, expected, "forecast {place} of {series:?} differs");
            }
            assert_eq!(found.len(), expected.len(), "{series:?} has lost or duplicate forecasts");
        }
        assert_eq!(self, expected);
    }
}

/// The input partition that a forecast record names.
fn input_partition(forecast: &str) -> i32 {
    let (_, input) = forecast.split_once("\"input\":").unwrap();
    let (_, number) = input.split_once("\"partition\":").unwrap();
    number.split(',').next().unwrap().parse().unwrap()
}
