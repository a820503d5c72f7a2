//! Where forecasts begin: at a first start, on added partitions, and after somebody has set a position by hand.

use std::sync::Arc;

use foretide::{
    broker::{Broker, Partition, TopicSpec},
    daemon::{
        plan::Plan,
        reset::{Reset, ResetError},
        shard::PollOutcome,
    },
    settings::{ForecastStart, Millis},
    time::EventTime,
};

use super::{
    fixture::Fixture,
    outcome::{Changes, Output},
    scenario::{COVARIATES, GROUP, INPUT, MINUTE},
};

/// The output of one engine that begins its forecasts where the recorded starts say.
fn reference(fixture: &Fixture) -> (Output, Changes) {
    let changes = Changes { starts: fixture.starts(), ..Changes::default() };
    (Output::reference(&fixture.cluster, &fixture.plan.streams[0], &Default::default(), &changes).output, changes)
}

/// What is older than the start is learnt from, through a kill in the middle of it, and never forecast.
#[test]
fn a_first_start_learns_from_older_input_and_forecasts_from_its_start() {
    let advance = |fixture: &Fixture, minutes: u64| fixture.clock.advance_millis(minutes * MINUTE as u64);
    for (start, first_minute) in [
        (ForecastStart::Earliest, 0),
        (ForecastStart::Auto, 0),
        (ForecastStart::Latest, 40),
        (ForecastStart::At(EventTime(25 * MINUTE)), 25),
        (ForecastStart::Back(Millis(10 * MINUTE + 1_000)), 30),
    ] {
        for polls in [0, 3, 6, 9, 100] {
            let fixture = Fixture::new(|plan| {
                plan.streams[0].start = start;
                (plan.max_transaction_records, plan.max_poll_records) = (20, 20);
            });
            fixture.append(0..40);
            advance(&fixture, 40);
            let (mut shard, process) = fixture.join("first");
            for _ in 0..polls {
                shard.poll().unwrap();
            }
            process.faults().crash();
            drop(shard);
            fixture.cluster.expire("first");
            if polls > 0 {
                // Neither what comes now nor the time that passes moves the recorded start.
                fixture.append(40..45);
                advance(&fixture, 20);
            }
            let (mut shard, _) = fixture.join("second");
            fixture.settle(&mut [&mut shard]);
            fixture.append(45..50);
            fixture.settle(&mut [&mut shard]);
            let (expected, changes) = reference(&fixture);
            Output::committed(&fixture.cluster).assert_is(&expected);
            let each = 6 / i64::from(fixture.partitions());
            assert_eq!(changes.starts.len(), fixture.partitions() as usize);
            for start in changes.starts.values() {
                assert_eq!(*start / each, first_minute, "{start} after {polls} polls");
            }
        }
    }
}

/// The recorded start names a record that the group has not reached. A recreated topic that ends before that record is
/// served from its oldest one, and not waited for.
#[test]
fn a_topic_that_is_recreated_before_its_start_is_reached_is_read_to_its_end() {
    for polls in 1..16 {
        let fixture = Fixture::new(|plan| {
            plan.streams[0].start = ForecastStart::Latest;
            (plan.max_transaction_records, plan.max_poll_records) = (1, 1);
        });
        fixture.append(0..40);
        let (mut shard, process) = fixture.join("first");
        for _ in 0..polls {
            fixture.clock.advance_millis(500);
            shard.poll().unwrap();
        }
        process.faults().crash();
        drop(shard);
        fixture.cluster.expire("first");
        fixture.recreate_topics(true);
        fixture.append(0..4);
        let (mut shard, _) = fixture.join("second");
        fixture.settle(&mut [&mut shard]);
        let committed = fixture.cluster.group_offsets(GROUP);
        for number in 0..fixture.partitions() {
            let partition = Partition { topic: INPUT.into(), number };
            let end = fixture.cluster.offsets(&partition).unwrap().end;
            assert_eq!(committed.get(&partition), Some(&end), "{partition} after {polls} polls");
        }
    }
}

/// A start is recorded although no record has come since: what comes while nobody runs is forecast.
#[test]
fn a_start_is_recorded_before_any_input_comes() {
    let fixture = Fixture::new(|plan| plan.streams[0].start = ForecastStart::Latest);
    let (mut shard, process) = fixture.join("first");
    for _ in 0..20 {
        fixture.clock.advance_millis(500);
        shard.poll().unwrap();
    }
    process.faults().crash();
    drop(shard);
    fixture.cluster.expire("first");
    fixture.append(0..20);
    fixture.run_once("second", false);
    assert!(fixture.forecasts() > 0);
}

/// A partition that is added to a topic is new to everybody: it is forecast from its oldest record, also where the
/// start is the latest one and nobody ran when it was added.
#[test]
fn an_added_partition_is_forecast_from_its_oldest_record() {
    let fixture = Fixture::new(|plan| plan.streams[0].start = ForecastStart::Latest);
    let before = fixture.partitions();
    fixture.append(0..20);
    let (mut shard, _) = fixture.join("first");
    fixture.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    assert_eq!(fixture.forecasts(), 0);
    for topic in [COVARIATES, INPUT] {
        fixture.cluster.add_partitions(topic, before + 2).unwrap();
    }
    fixture.append(20..40);
    let (mut shard, _) = fixture.join("second");
    fixture.settle(&mut [&mut shard]);
    let (expected, changes) = reference(&fixture);
    assert!((before..before + 2).all(|number| changes.starts[&number] == 0), "{changes:?}");
    assert!((0..before).all(|number| changes.starts[&number] > 0), "{changes:?}");
    Output::committed(&fixture.cluster).assert_is(&expected);
}

/// Kafka's tools set positions back: everything from there on is forecast again, as by an engine that begins there.
#[test]
fn a_position_that_is_set_back_by_hand_is_forecast_from_again() {
    for to in [0, 13] {
        for checkpoint_interval in [0, 1_000_000_000] {
            let fixture = Fixture::new(|plan| plan.checkpoint_interval = checkpoint_interval);
            fixture.append(0..40);
            fixture.run_once("first", false);
            let before = Output::committed(&fixture.cluster);
            let partition = Partition::new(INPUT, 0);
            fixture.cluster.set_group_offset(GROUP, &partition, Some(to));
            for id in ["second", "third"] {
                let (mut shard, _) = fixture.join(id);
                fixture.settle(&mut [&mut shard]);
                shard.leave().unwrap();
            }
            let starts = [(0, to)].into();
            let changes = Changes { starts, ..Changes::default() };
            let stream = &fixture.plan.streams[0];
            let again = Output::reference(&fixture.cluster, stream, &Default::default(), &changes).output;
            for (series, written) in Output::committed(&fixture.cluster).forecasts {
                let expected = match series.0 {
                    0 => [&before.forecasts[&series][..], &again.forecasts[&series][..]].concat(),
                    _ => before.forecasts[&series].clone(),
                };
                assert_eq!(written, expected, "{series:?} from {to}");
            }
        }
    }
}

/// Positions that are set forward by hand: what lies in between is learnt from and not forecast.
#[test]
fn a_position_that_is_set_forward_by_hand_skips_and_learns() {
    let fixture = Fixture::new(|plan| plan.checkpoint_interval = 0);
    fixture.append(0..40);
    fixture.run_once("first", false);
    let before = fixture.forecasts();
    fixture.append(40..60);
    for number in 0..fixture.partitions() {
        let partition = Partition::new(INPUT, number);
        let end = fixture.cluster.offsets(&partition).unwrap().end;
        fixture.cluster.set_group_offset(GROUP, &partition, Some(end));
    }
    let (mut shard, _) = fixture.join("second");
    fixture.settle(&mut [&mut shard]);
    assert_eq!(fixture.forecasts(), before);
    assert_eq!(shard.poll().unwrap(), PollOutcome::Idle);
    fixture.append(60..70);
    fixture.settle(&mut [&mut shard]);
    let (expected, written) = (fixture.reference(), Output::committed(&fixture.cluster));
    for (series, all) in &expected.forecasts {
        let written = &written.forecasts[series];
        assert!(written.len() < all.len());
        assert!(written.iter().all(|forecast| all.contains(forecast)), "the state is that of all input");
    }
}

/// `foretide reset`: forecasts begin again from a time, as those of an engine that begins there, through a kill and a
/// cold restart; nothing of the former states comes back. It refuses while an instance runs.
#[test]
fn a_reset_forecasts_again_from_a_time_and_refuses_while_an_instance_runs() {
    for (from, minute) in
        [(ForecastStart::Earliest, 0), (ForecastStart::At(EventTime(20 * MINUTE)), 20), (ForecastStart::Latest, 40)]
    {
        let fixture = Fixture::new(|plan| plan.checkpoint_interval = 1_000_000);
        fixture.append(0..40);
        let (mut shard, _) = fixture.join("first");
        fixture.settle(&mut [&mut shard]);
        let (streams, cluster) = ([0].into(), &fixture.cluster);
        let refused = Reset::find(cluster, &fixture.plan, &streams, from, 0).unwrap_err();
        assert!(matches!(refused, ResetError::Running { members: 1, .. }), "{refused}");
        shard.leave().unwrap();
        let before = Output::committed(cluster);

        let reset = Reset::find(cluster, &fixture.plan, &streams, from, 0).unwrap();
        assert_eq!((reset.partitions.len(), reset.deleted()), (fixture.partitions() as usize, 6));
        assert_eq!(Output::committed(cluster), before, "finding out changes nothing");
        reset.apply(cluster, &fixture.plan).unwrap();
        assert!(fixture.stored().is_empty());
        for (id, killed) in [("second", true), ("third", false)] {
            let (mut shard, process) = fixture.join(id);
            if killed {
                for _ in 0..4 {
                    shard.poll().unwrap();
                }
                process.faults().crash();
                cluster.expire(id);
            } else {
                fixture.settle(&mut [&mut shard]);
                shard.leave().unwrap();
            }
        }
        let (again, changes) = reference(&fixture);
        let each = 6 / i64::from(fixture.partitions());
        assert!(changes.starts.values().all(|start| *start / each == minute), "{changes:?}");
        for (series, written) in Output::committed(cluster).forecasts {
            let again = again.forecasts.get(&series).map_or(&[][..], Vec::as_slice);
            assert_eq!(written, [&before.forecasts[&series][..], again].concat(), "{series:?} from {from}");
        }
    }
}

/// A stream is removed, others read its topic on, and it is added again: it learns from what it missed and does not
/// forecast that. Alone on its topic, it goes on where it stopped.
#[test]
fn a_stream_that_is_added_again_learns_from_what_it_missed() {
    const OTHER: &str = "other-out";
    for alone in [false, true] {
        let mut fixture = Fixture::new(|plan| plan.checkpoint_interval = 0);
        let spec = TopicSpec {
            name: OTHER.into(),
            partitions: 1,
            compacted: false,
            log_append_time: false,
            max_record_bytes: 1 << 20,
        };
        fixture.cluster.create(&spec).unwrap();
        let mut other = fixture.plan.streams[0].clone();
        (other.engine.name, other.forecasts_topic) = ("other".into(), OTHER.into());
        let without = Arc::clone(&fixture.plan);
        let streams = if alone { vec![other] } else { vec![without.streams[0].clone(), other] };
        let with = Arc::new(Plan { streams, ..(*without).clone() });
        for (plan, minutes) in [(&with, 0..40), (&without, 40..60), (&with, 60..80)] {
            fixture.append(minutes);
            if alone && Arc::ptr_eq(plan, &without) {
                continue;
            }
            fixture.plan = Arc::clone(plan);
            let (mut shard, _) = fixture.join("only");
            fixture.settle(&mut [&mut shard]);
            shard.leave().unwrap();
        }
        let whole = Output::reference(&fixture.cluster, &without.streams[0], &Default::default(), &Changes::default());
        let whole: Vec<String> = whole.output.forecasts.into_values().flatten().collect();
        let written = fixture.cluster.committed_records(OTHER, 0).into_iter();
        let written: Vec<String> = written.map(|record| String::from_utf8(record.payload.unwrap()).unwrap()).collect();
        let renamed = |forecast: &String| forecast.replace("\"stream\":\"other\"", "\"stream\":\"load\"");
        assert!(written.iter().all(|forecast| whole.contains(&renamed(forecast))), "the state is that of all input");
        assert_eq!(written.len() == whole.len(), alone, "{} of {}", written.len(), whole.len());
        assert!(written.len() > whole.len() / 2);
    }
}
