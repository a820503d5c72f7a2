//! The history that training reads from the input topics, and keeps up to date.

use std::{cell::Cell, ops::ControlFlow};

use super::scenario::INPUT;
use crate::memory::MemoryCluster;
use foretide::{
    broker::{Broker, TopicSpec},
    daemon::{RoundError, StreamHistory, plan::StreamPlan, specs},
    nn::Weights,
    settings,
    train::{self, Outcome, TrainSpec},
};

const PARTITIONS: i32 = 3;
const FUTURE: &str = "weather";
const TIME: &str = "time = { field = \"time\", format = \"milliseconds\" }\n";

struct Fixture {
    cluster: MemoryCluster,
    stream: StreamPlan,
    history: StreamHistory,
}

impl Fixture {
    fn new(keyed: bool) -> Self {
        let key = if keyed { "key = \"record\"\n" } else { "" };
        let text = format!(
            "[[stream]]\nname = \"s\"\ntopics = [\"{INPUT}\"]\nvalues = [\"v\"]\ninterval = \"1s\"\nseason = \"12s\"\n\
             {TIME}horizon = 3\nmodel = {{ hidden = 4, burn_in = 4 }}\n\
             training = {{ min_steps = 20, max_updates = 6, k1 = 16, k2 = 16 }}\n\
             [stream.future_covariates]\ntopic = \"{FUTURE}\"\n{key}{TIME}values = [\"w\"]\n"
        );
        let settings = settings::parse("test.toml", &text, Vec::new()).unwrap();
        let stream = specs::plan(&settings).unwrap().streams.remove(0);
        let cluster = MemoryCluster::new();
        for name in [INPUT, FUTURE] {
            let (name, compacted, max_record_bytes) = (name.to_owned(), false, 1_000);
            cluster
                .create(&TopicSpec {
                    name,
                    partitions: PARTITIONS,
                    compacted,
                    log_append_time: false,
                    max_record_bytes,
                })
                .unwrap();
        }
        let history = StreamHistory::new(&stream, stream.training.as_ref().unwrap());
        Self { cluster, stream, history }
    }

    /// A reading of each of nine series at each of some seconds, and the weather five seconds later.
    fn append(&self, seconds: std::ops::Range<i64>) {
        for second in seconds {
            for series in 0..9 {
                let (key, partition, time) = (format!("s{series}"), series % PARTITIONS, 1_000 * second);
                let weather = format!("{{\"time\":{},\"w\":{}}}", time + 5_000, second % 12 + i64::from(series));
                let reading = format!("{{\"time\":{time},\"v\":{}}}", second % 12 * 3 + i64::from(series));
                for (topic, payload) in [(FUTURE, weather), (INPUT, reading)] {
                    let (key, payload) = (Some(key.as_bytes()), Some(payload.as_bytes()));
                    self.cluster.append(topic, partition, key, payload, time).unwrap();
                }
            }
        }
    }

    fn update(&mut self) {
        self.update_while(&|| Ok(())).unwrap();
    }

    fn update_while(&mut self, keep_on: &dyn Fn() -> Result<(), RoundError>) -> Result<(), RoundError> {
        let training = self.stream.training.as_ref().unwrap();
        self.history.update(&self.cluster, &self.stream, training, 1_000_000, keep_on)
    }

    /// What a training on the history comes to: a fingerprint of it, to the last bit.
    fn train(&self) -> Outcome {
        let set = self.history.training_set();
        assert_eq!(set.sequences.len(), 9);
        let network = &self.stream.engine.network;
        let spec = TrainSpec { max_updates: 6, ..self.stream.training.as_ref().unwrap().spec.clone() };
        let observe = &mut |_: &_| ControlFlow::Continue(());
        train::train(&spec, network, &Weights::initial(network), &set.sequences, observe).unwrap()
    }
}

#[test]
fn history_is_read_once_and_kept_up_to_date() {
    for keyed in [false, true] {
        let mut whole = Fixture::new(keyed);
        whole.append(0..300);
        whole.update();
        let expected = whole.train();
        // In pieces, one of which ends in the middle of the reading: the same weights.
        let mut pieces = Fixture::new(keyed);
        for piece in 0..30 {
            pieces.append(piece * 10..(piece + 1) * 10);
            let reads = Cell::new(0);
            let ended = pieces.update_while(&|| {
                reads.set(reads.get() + 1);
                if piece == 4 && reads.get() == 3 { Err(RoundError::LeadershipLost) } else { Ok(()) }
            });
            assert_eq!(ended.is_err(), piece == 4, "{ended:?}");
            assert!(reads.get() < 15, "{} reads of the {piece}th piece", reads.get());
        }
        let found = pieces.train();
        assert_eq!(found.challenger, expected.challenger, "keyed: {keyed}");
        assert_eq!(found.challenger_loss.to_bits(), expected.challenger_loss.to_bits());
        let nothing_new = Cell::new(0);
        let count = || {
            nothing_new.set(nothing_new.get() + 1);
            Ok(())
        };
        pieces.update_while(&count).unwrap();
        assert_eq!(nothing_new.get(), 0, "what was read is not read again");
    }
}

#[test]
fn the_history_of_a_recreated_topic_begins_anew() {
    let mut fixture = Fixture::new(false);
    fixture.append(0..200);
    fixture.update();
    assert_eq!(fixture.history.training_set().longest, 199);
    // The new topic is longer than the old one.
    fixture.cluster.recreate_topic(INPUT, false).unwrap();
    fixture.append(300..600);
    fixture.update();
    let set = fixture.history.training_set();
    assert_eq!((set.sequences.len(), set.longest, set.steps), (9, 299, 9 * 299));
    let mut fresh = Fixture::new(false);
    fresh.append(300..600);
    fresh.update();
    assert_eq!(fresh.history.training_set().steps, set.steps);
}
