//! Where forecasts begin: at a first start, on added partitions, and after somebody has set a position by hand.

use foretide::{
    broker::{Broker, Partition},
    daemon::shard::PollOutcome,
    settings::{Millis, Start},
    time::EventTime,
};

use super::{
    outcome::{Changes, Output},
    restore_tests::Fixture,
    scenario::{COVARIATES, GROUP, INPUT, MINUTE},
};

fn forecasts(fixture: &Fixture) -> usize {
    Output::committed(&fixture.cluster).forecasts.values().map(Vec::len).sum()
}

/// The output of one engine that begins its forecasts where the recorded starts say.
fn reference(fixture: &Fixture) -> (Output, Changes) {
    let changes = Changes { starts: fixture.starts(), ..Changes::default() };
    (Output::reference(&fixture.cluster, &fixture.plan.streams[0], &Default::default(), &changes), changes)
}

/// What is older than the start is learnt from, through a kill in the middle of it, and never forecast.
#[test]
fn a_first_start_learns_from_older_input_and_forecasts_from_its_start() {
    let all = 40 * MINUTE;
    for (start, first_minute) in [
        (Start::Earliest, 0),
        (Start::Auto, 0),
        (Start::Latest, 40),
        (Start::At(EventTime(25 * MINUTE)), 25),
        (Start::Back(Millis(10 * MINUTE)), 30),
    ] {
        for polls in [0, 3, 6, 9, 100] {
            let fixture = Fixture::new(|plan| {
                plan.streams[0].start = start;
                (plan.max_transaction_records, plan.max_poll_records) = (20, 20);
            });
            fixture.append(0..40);
            fixture.clock.advance_millis(all);
            let (mut shard, process) = fixture.join("first");
            (0..polls).for_each(|_| drop(shard.poll().unwrap()));
            process.faults().crash();
            drop(shard);
            fixture.cluster.expire("first");
            if polls > 0 {
                // Neither what comes now nor the time that passes moves the recorded start.
                fixture.append(40..45);
                fixture.clock.advance_millis(20 * MINUTE);
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

/// A start is recorded although no record has come since: what comes while nobody runs is forecast.
#[test]
fn a_start_is_recorded_before_any_input_comes() {
    let fixture = Fixture::new(|plan| plan.streams[0].start = Start::Latest);
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
    assert!(forecasts(&fixture) > 0);
}

/// A partition that is added to a topic is new to everybody: it is forecast from its oldest record, also where the
/// start is the latest one and nobody ran when it was added.
#[test]
fn an_added_partition_is_forecast_from_its_oldest_record() {
    let fixture = Fixture::new(|plan| plan.streams[0].start = Start::Latest);
    let before = fixture.partitions();
    fixture.append(0..20);
    let (mut shard, _) = fixture.join("first");
    fixture.settle(&mut [&mut shard]);
    shard.leave().unwrap();
    assert_eq!(forecasts(&fixture), 0);
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
            let again = Output::reference(&fixture.cluster, &fixture.plan.streams[0], &Default::default(), &changes);
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
    let before = forecasts(&fixture);
    fixture.append(40..60);
    for number in 0..fixture.partitions() {
        let partition = Partition::new(INPUT, number);
        let end = fixture.cluster.offsets(&partition).unwrap().end;
        fixture.cluster.set_group_offset(GROUP, &partition, Some(end));
    }
    let (mut shard, _) = fixture.join("second");
    fixture.settle(&mut [&mut shard]);
    assert_eq!(forecasts(&fixture), before);
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
