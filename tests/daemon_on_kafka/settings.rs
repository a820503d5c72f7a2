//! Restarts with other settings.

use crate::{
    LIMIT,
    harness::{
        client::{Input, produce},
        kafka::kafka,
        metric, unique, wait_for,
    },
    offsets::made,
    support::{Daemon, Stream},
    topics::{MINUTE, START, stream, wait_for_position},
};

/// Readings in a minute.
const READINGS: i64 = 200;

fn readings(minutes: std::ops::Range<i64>) -> impl Iterator<Item = Input> {
    (minutes.start * READINGS..minutes.end * READINGS).map(|reading| {
        let (time, value) = (START + reading * (MINUTE / READINGS), reading / READINGS % 7);
        Input::new("a", format!("{{\"time\":{time},\"value\":{value}}}"))
    })
}

/// A series whose rebuild takes long is forecast meanwhile, and afterwards as if the settings had never been others.
#[test]
fn a_changed_stream_is_served_while_its_series_are_rebuilt() {
    let (topic, app) = (kafka().topic("changed", 1), unique("changed"));
    produce(kafka(), &topic, readings(0..700));
    let common = "season = \"none\"\nstart = \"earliest\"\nreadings_per_slot = 200";
    let changed = format!("{common}\nquantiles = [0.05, 0.5, 0.95]");
    let before = Stream { extra: common, ..stream(&topic) };
    let after = Stream { extra: &changed, ..stream(&topic) };
    let mut daemon = Daemon::new(&app, &[before]).checkpointed("0s");
    daemon.start("first");
    wait_for_position(&app, &topic, 0, 700 * READINGS);
    assert!(daemon.stop("first").success());

    let mut daemon = Daemon::new(&app, std::slice::from_ref(&after));
    daemon.start("second");
    produce(kafka(), &topic, readings(700..710));
    wait_for("the series to be rebuilt", LIMIT, || {
        let rebuilt = metric(daemon.port("second"), "foretide_restore_rebuilt_total");
        (rebuilt == Some(1.0)).then_some(())
    });
    wait_for_position(&app, &topic, 0, 710 * READINGS);
    let log = daemon.log("second");
    let served = log.find("are served with the parts of their state that fit").expect(&log);
    let ready = log.find("partition restored; serving").expect(&log);
    let rebuilt = log.find("they are served once the newest records are replayed").expect(&log);
    assert!(served < ready && ready < rebuilt, "{log}");
    produce(kafka(), &topic, readings(710..720));
    wait_for_position(&app, &topic, 0, 720 * READINGS);
    assert!(daemon.stop("second").success());

    let fresh = unique("fresh");
    let mut daemon = Daemon::new(&fresh, &[after]);
    daemon.start("only");
    wait_for_position(&fresh, &topic, 0, 720 * READINGS);
    assert!(daemon.stop("only").success());
    let (found, fresh) = (&made(&app)["a"], &made(&fresh)["a"]);
    assert_eq!(found.len(), 720, "each slot is forecast once");
    assert_eq!(found[710..], fresh[710..]);
}
