//! A stream whose readings are spread over partitions: what is copied, in which order, and from where on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    fixture::Fixture,
    outcome::{Changes, Output},
    repartition::{check_copies, copies},
    scenario::{self, DEAD, FORECAST_PARTITIONS, FORECASTS, GROUP, INPUT, MINUTE, SOURCE},
};
use crate::memory::{Fault, MemoryCluster, Operation};
use foretide::{
    broker::{Broker, Partition, TopicSpec},
    daemon::{StreamHistory, plan::Plan, reset::Reset, shard::Shard, specs, topics},
    settings::{self, ForecastStart},
    time::{EventTime, Grid},
};

const PARTITIONS: i32 = 3;
const SERIES: i64 = 6;

/// A slot waits for the first reading after it, and no longer.
fn impatient(plan: &mut Plan) {
    let spec = &mut plan.streams[0].engine.series;
    (spec.grid, spec.allowed_lateness, spec.readings_per_slot) = (Grid::Regular { interval: MINUTE }, 0, None);
    plan.streams[0].future_covariates = None;
}

/// A fixture whose stream reads [`SOURCE`] through the repartition topic.
fn repartitioned(change: impl Fn(&mut Plan)) -> Fixture {
    let mut fixture = Fixture::new(|plan| {
        impatient(plan);
        change(plan);
    });
    let mut plan = (*fixture.plan).clone();
    scenario::repartition(&mut plan, &fixture.cluster, PARTITIONS);
    fixture.plan = Arc::new(plan);
    fixture
}

/// Three readings of each series in each of some minutes, in time order.
fn readings(minutes: std::ops::Range<i64>) -> impl Iterator<Item = (i64, i64, i64)> {
    let thirds = minutes.flat_map(|minute| (0..3).map(move |third| (minute, third)));
    thirds.flat_map(|(minute, third)| (0..SERIES).map(move |series| (minute, third, series)))
}

/// Writes them to the partitions in turn: each of a slot is in another one.
fn append(cluster: &MemoryCluster, minutes: std::ops::Range<i64>) {
    let partitions = i64::from(cluster.partitions(SOURCE).unwrap().unwrap());
    for (minute, third, series) in readings(minutes) {
        append_to(cluster, (SOURCE, (minute + third + series) % partitions), (minute, third, series));
    }
}

fn append_to(cluster: &MemoryCluster, (topic, partition): (&str, i64), (minute, third, series): (i64, i64, i64)) {
    let time = minute * MINUTE + third * 20_000 + series;
    let payload = format!("{{\"time\":{time},\"value\":{}}}", minute * 3 + series - third);
    let key = format!("s{series}");
    let (key, payload) = (Some(key.as_bytes()), Some(payload.as_bytes()));
    cluster.append(topic, partition as i32, key, payload, time).unwrap();
}

/// What is committed, compared with one engine that reads the copies, and the copies with the input.
fn check(fixture: &Fixture) -> Output {
    let stream = &fixture.plan.streams[0];
    let changes = Changes { starts: fixture.starts(), ..Changes::default() };
    let mut expected = Output::reference(&fixture.cluster, stream, &BTreeMap::new(), &changes).output;
    expected.rejected.extend(check_copies(&fixture.cluster, stream.repartition.as_ref().unwrap()).1);
    let committed = Output::committed(&fixture.cluster);
    committed.assert_is(&expected);
    committed
}

/// The committed forecasts of each series in order, without where they come from.
fn by_series(fixture: &Fixture) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let records = (0..FORECAST_PARTITIONS).flat_map(|number| fixture.cluster.committed_records(FORECASTS, number));
    for record in records {
        let (series, forecast) = (record.key.unwrap(), String::from_utf8(record.payload.unwrap()).unwrap());
        let (without_input, _) = forecast.split_once(",\"input\":").unwrap();
        found.entry(String::from_utf8(series).unwrap()).or_default().push(without_input.to_owned());
    }
    found
}

/// The minutes that were forecast, by series.
fn minutes(fixture: &Fixture) -> BTreeMap<String, Vec<i64>> {
    let minute = |forecast: &String| {
        let json: serde_json::Value = serde_json::from_str(&format!("{forecast}}}")).unwrap();
        json["origin"].as_i64().unwrap() / MINUTE
    };
    by_series(fixture).into_iter().map(|(series, all)| (series, all.iter().map(minute).collect())).collect()
}

fn crash(fixture: &Fixture, id: &str, shard: Shard, process: &MemoryCluster) {
    process.faults().crash();
    drop(shard);
    fixture.cluster.expire(id);
}

/// However far the partitions are from each other, a series sees its readings in their order: the forecasts are those
/// of a topic that is keyed by series, through crashes at any poll.
#[test]
fn spread_readings_are_forecast_as_if_they_were_keyed() {
    let limit = |plan: &mut Plan| {
        impatient(plan);
        (plan.max_transaction_records, plan.max_poll_records) = (50, 20);
    };
    let keyed = Fixture::new(limit);
    for (minute, third, series) in readings(0..300) {
        let partition = series % i64::from(keyed.partitions());
        append_to(&keyed.cluster, (INPUT, partition), (minute, third, series));
    }
    keyed.run_once("only", false);
    let expected = by_series(&keyed);
    for polls in [1, 2, 3, 5, 8, 13, 21, 34] {
        let fixture = repartitioned(limit);
        append(&fixture.cluster, 0..300);
        for life in 0..4 {
            let id = format!("life-{life}");
            let (mut shard, process) = fixture.join(&id);
            for _ in 0..polls + life {
                fixture.clock.advance_millis(20);
                shard.poll().unwrap();
            }
            crash(&fixture, &id, shard, &process);
        }
        let (mut shard, _) = fixture.join("last");
        fixture.settle(&mut [&mut shard]);
        let committed = check(&fixture);
        assert_eq!(by_series(&fixture), expected, "crashes after {polls} polls");
        assert!(committed.rejected.is_empty());
    }
}

/// A partition that is known to have records and does not deliver them holds the others back, but not for ever.
#[test]
fn a_partition_that_cannot_be_read_holds_the_others_back_for_half_a_minute() {
    let fixture = repartitioned(|_| {});
    let (mut shard, process) = fixture.join("only");
    fixture.settle(&mut [&mut shard]);
    // The last partition fails while it is read, and cannot be opened again.
    let faults = process.faults();
    // Each poll first reads the models topic.
    faults.at(Operation::Read, faults.calls(Operation::Read) + 1 + PARTITIONS as u64, Fault::Retry);
    (1..200).for_each(|call| faults.at(Operation::Open, faults.calls(Operation::Open) + call, Fault::Retry));
    for partition in 0..i64::from(PARTITIONS) {
        append_to(&fixture.cluster, (SOURCE, partition), (5 - partition, 0, partition));
    }
    let copied = || copies(&fixture.cluster).len();
    let poll_for = |shard: &mut Shard, seconds: u64| {
        for _ in 0..2 * seconds {
            fixture.clock.advance_millis(500);
            shard.poll().unwrap();
        }
    };
    poll_for(&mut shard, 28);
    assert_eq!(copied(), 0, "the last partition has the oldest reading");
    assert_eq!(shard.obstacle(), None);
    poll_for(&mut shard, 8);
    assert_eq!(copied(), 2, "the others go on");
    let obstacle = shard.obstacle().unwrap_or_default();
    assert!(obstacle.contains("source[2] does not deliver"), "{obstacle}");
    faults.clear();
    fixture.settle(&mut [&mut shard]);
    assert_eq!((copied(), shard.obstacle()), (3, None));
    check(&fixture);
}

/// What is older than the start is copied as a warm-up, learnt from and not forecast; through a crash in the middle.
#[test]
fn copies_from_before_the_start_are_only_learnt_from() {
    for polls in [0, 2, 3, 4, 6, 9, 100] {
        let fixture = repartitioned(|plan| {
            plan.streams[0].start = ForecastStart::Latest;
            (plan.max_transaction_records, plan.max_poll_records) = (20, 20);
        });
        append(&fixture.cluster, 0..40);
        let (mut shard, process) = fixture.join("first");
        for _ in 0..polls {
            fixture.clock.advance_millis(200);
            shard.poll().unwrap();
        }
        crash(&fixture, "first", shard, &process);
        let recorded = fixture.cluster.group_offsets(GROUP).contains_key(&Partition::new(SOURCE, 0));
        let (mut shard, _) = fixture.join("second");
        if !recorded {
            fixture.settle(&mut [&mut shard]);
        }
        append(&fixture.cluster, 40..50);
        fixture.settle(&mut [&mut shard]);
        check(&fixture);
        let expected: Vec<i64> = (39..49).collect();
        assert_eq!(minutes(&fixture), (0..SERIES).map(|series| (format!("s{series}"), expected.clone())).collect());
        assert!(copies(&fixture.cluster).values().flatten().any(|(_, warm_up)| *warm_up));
    }
}

/// A stream that is forecast already begins to be repartitioned: what was read is learnt from again, every slot is
/// forecast once, and that of the last readings too.
#[test]
fn a_stream_that_was_read_directly_goes_on_with_copies() {
    let mut fixture = repartitioned(|_| {});
    let copied = Arc::clone(&fixture.plan);
    let mut direct = (*copied).clone();
    direct.streams[0] = direct.streams[0].of_sources();
    fixture.plan = Arc::new(direct);
    // Series in one partition each.
    let append_keyed = |minutes: std::ops::Range<i64>| {
        for (minute, third, series) in readings(minutes) {
            append_to(&fixture.cluster, (SOURCE, series % 3), (minute, third, series));
        }
    };
    append_keyed(0..40);
    let (mut shard, _) = fixture.join("direct");
    fixture.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    let fixture = Fixture { plan: copied, cluster: fixture.cluster.clone(), clock: Arc::clone(&fixture.clock) };
    let (mut shard, _) = fixture.join("copied");
    fixture.settle(&mut [&mut shard]);
    append(&fixture.cluster, 40..60);
    fixture.settle(&mut [&mut shard]);
    let found = minutes(&fixture);
    assert_eq!(found.len(), SERIES as usize);
    for (series, mut minutes) in found {
        minutes.sort_unstable();
        assert_eq!(minutes, (0..59).collect::<Vec<_>>(), "{series}");
    }
    check_copies(&fixture.cluster, fixture.plan.streams[0].repartition.as_ref().unwrap());
}

/// A reset copies the input again from a time. What was copied before is passed over.
#[test]
fn a_reset_copies_the_input_again() {
    let fixture = repartitioned(|_| {});
    append(&fixture.cluster, 0..40);
    let (mut shard, _) = fixture.join("first");
    fixture.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    check(&fixture);
    let from = ForecastStart::At(EventTime(25 * MINUTE));
    let reset = Reset::find(&fixture.cluster, &fixture.plan, &BTreeSet::from([0]), from, 0).unwrap();
    assert_eq!(reset.partitions.len(), (PARTITIONS + fixture.partitions()) as usize);
    reset.apply(&fixture.cluster, &fixture.plan).unwrap();
    let (mut shard, _) = fixture.join("second");
    fixture.settle(&mut [&mut shard]);
    let again: Vec<i64> = (0..39).chain(24..39).collect();
    for (series, minutes) in minutes(&fixture) {
        assert_eq!(minutes, again, "{series}");
    }
    assert!(fixture.cluster.committed_records(DEAD, 0).is_empty());
}

/// The cluster forgets positions of topics that nobody subscribes to: they are committed again before that.
#[test]
fn positions_are_committed_again_while_there_is_no_input() {
    let fixture = repartitioned(|_| {});
    append(&fixture.cluster, 0..10);
    let (mut shard, _) = fixture.join("only");
    fixture.settle(&mut [&mut shard]);
    let before = fixture.cluster.group_offsets(GROUP);
    let sources = (0..PARTITIONS).map(|number| Partition::new(SOURCE, number));
    sources.for_each(|source| fixture.cluster.set_group_offset(GROUP, &source, None));
    fixture.settle(&mut [&mut shard]);
    assert!(fixture.cluster.group_offsets(GROUP).len() < before.len());
    fixture.clock.advance_millis(3_600_000);
    fixture.settle(&mut [&mut shard]);
    assert_eq!(fixture.cluster.group_offsets(GROUP), before);
}

/// The input topic is deleted and created again, under a running daemon or while there is none.
#[test]
fn a_recreated_input_topic_is_copied_from_its_beginning() {
    for runs in [true, false] {
        let fixture = repartitioned(|_| {});
        append(&fixture.cluster, 0..40);
        let (mut shard, _) = fixture.join("first");
        fixture.settle(&mut [&mut shard]);
        check(&fixture);
        if !runs {
            shard.leave().unwrap();
            shard = fixture.join("second").0;
        }
        fixture.cluster.recreate_topic(SOURCE, false).unwrap();
        append(&fixture.cluster, 40..60);
        fixture.settle(&mut [&mut shard]);
        for (series, minutes) in minutes(&fixture) {
            assert_eq!(minutes, (0..59).collect::<Vec<_>>(), "{series}");
        }
    }
}

/// Training reads the copies: the same history as that of a topic that is keyed by series.
#[test]
fn training_learns_from_the_copies() {
    let text = "[[stream]]\nname = \"s\"\ntopics = [\"in\"]\nvalues = [\"v\"]\ninterval = \"1m\"\n\
                training = { min_steps = 20 }\n";
    let plan = specs::plan(&settings::parse("f.toml", text, []).unwrap()).unwrap();
    let training = plan.streams[0].training.clone().unwrap();
    let keyed = Fixture::new(impatient);
    for (minute, third, series) in readings(0..100) {
        append_to(&keyed.cluster, (INPUT, series % i64::from(keyed.partitions())), (minute, third, series));
    }
    let spread = repartitioned(|_| {});
    append(&spread.cluster, 0..100);
    let (mut shard, _) = spread.join("only");
    spread.settle(&mut [&mut shard]);
    let history = |fixture: &Fixture| {
        let stream = &fixture.plan.streams[0];
        let mut history = StreamHistory::new(stream, &training);
        history.update(&fixture.cluster, stream, &training, 100 * MINUTE, &|| Ok(())).unwrap();
        let set = history.training_set();
        (set.sequences.len(), set.steps, set.longest)
    };
    let found = history(&spread);
    assert_eq!(found, history(&keyed));
    assert_eq!(found, (SERIES as usize, 99 * SERIES as usize, 99));
}

/// The topic has as many partitions as the largest input topic, waits for the first of these, and does not grow.
#[test]
fn the_repartition_topic_is_created_once_its_input_exists() {
    let cluster = MemoryCluster::new();
    let mut plan = (*repartitioned(|_| {}).plan).clone();
    let repartition = plan.streams[0].repartition.as_mut().unwrap();
    repartition.sources = vec!["small".into(), "large".into(), "absent".into()];
    let error = topics::prepare(&cluster, &plan, true).unwrap_err();
    assert!(error.to_string().contains("the input topic \"small\" does not exist"), "{error}");
    assert_eq!(cluster.partitions(INPUT).unwrap(), None);
    for (name, partitions) in [("small", 2), ("large", 5)] {
        let (name, compacted, log_append_time) = (name.to_owned(), false, false);
        cluster.create(&TopicSpec { name, partitions, compacted, log_append_time, max_record_bytes: 1_000 }).unwrap();
    }
    let refused = {
        let mut plan = plan.clone();
        plan.streams[0].repartition.as_mut().unwrap().create = false;
        topics::prepare(&cluster, &plan, false).unwrap_err().to_string()
    };
    let command =
        "--topic in --partitions 5 --config cleanup.policy=delete --config message.timestamp.type=LogAppendTime";
    assert!(refused.ends_with(command), "{refused}");
    let found = topics::prepare(&cluster, &plan, true).unwrap();
    assert_eq!((found.inputs.readable[INPUT], found.state_partitions), (5, 5));
    cluster.add_partitions("large", 9).unwrap();
    topics::prepare(&cluster, &plan, true).unwrap();
    assert_eq!(cluster.partitions(INPUT).unwrap(), Some(5));
}
