//! Planned faults: delayed markers, paused calls, outages and deliveries out of order.

use super::*;

#[test]
fn a_transaction_takes_effect_marker_by_marker() {
    let cluster = cluster();
    let mut member = assigned(&cluster, "a");
    let mut other = join(&cluster, "b");
    cluster.delay_markers(true);
    drain(&mut *member);
    member.begin().unwrap();
    member.send(out(b"one")).unwrap();
    member.commit(&[(at("in", 0), 5)]).unwrap();
    assert!(payloads(&cluster).is_empty(), "committed, but the markers are not written yet");
    assert!(
        matches!(other.committed_offsets(&[at("in", 0)]), Err(BrokerError::Retriable(_))),
        "its offsets are still pending"
    );
    assert!(cluster.write_marker(0), "the marker of the records comes first");
    assert_eq!(payloads(&cluster), ["one"]);
    assert!(matches!(other.committed_offsets(&[at("in", 0)]), Err(BrokerError::Retriable(_))));
    assert!(cluster.write_marker(0), "the offsets come second");
    assert_eq!(other.committed_offsets(&[at("in", 0)]).unwrap(), [Some(5)]);
    assert!(!cluster.write_marker(0), "no marker is outstanding");
    for payload in [b"two", b"six"] {
        member.begin().unwrap();
        member.send(out(payload)).unwrap();
        member.commit(&[]).unwrap();
    }
    assert_eq!(payloads(&cluster), ["one", "two"], "the next transaction waits for the markers of the previous one");
    cluster.delay_markers(false);
    assert_eq!(payloads(&cluster), ["one", "two", "six"]);
}

#[test]
fn a_paused_call_continues_in_a_changed_cluster() {
    let cluster = cluster();
    let process = cluster.process();
    let mut zombie = assigned(&process, "a");
    let (reached, paused) = std::sync::mpsc::channel();
    let (wake, go) = std::sync::mpsc::channel();
    process.faults().pause_at(Operation::Commit, 1, Pause { reached, go });
    let thread = std::thread::spawn(move || {
        zombie.begin().unwrap();
        zombie.send(out(b"zombie")).unwrap();
        zombie.commit(&[(at("in", 0), 1)])
    });
    paused.recv().unwrap();
    assert!(cluster.expire_session("a"));
    let mut heir = assigned(&cluster, "b");
    heir.begin().unwrap();
    heir.send(out(b"heir")).unwrap();
    heir.commit(&[(at("in", 0), 1)]).unwrap();
    drop(wake);
    assert!(matches!(thread.join().unwrap(), Err(BrokerError::Fenced(_))));
    assert!(cluster.expire("a"), "the open transaction times out");
    assert_eq!(payloads(&cluster), ["heir"]);
}

#[test]
fn planned_deliveries_change_the_order_and_size_of_batches() {
    let cluster = cluster();
    for number in [0, 0, 1] {
        cluster.append("in", number, None, Some(b"x"), 0).unwrap();
    }
    let mut member = assigned(&cluster, "a");
    member.start(&at("in", 0), 0).unwrap();
    member.start(&at("in", 1), 0).unwrap();
    for (skip, max_records) in [(1, 9), (0, 0), (0, 1)] {
        cluster.faults().deliver(Delivery { skip, max_records });
    }
    let mut poll = || match member.poll(NO_WAIT, 10).unwrap() {
        Some(MemberEvent::Records(batch)) => Some((batch.partition.number, batch.len())),
        other => other.map(|event| panic!("{event:?}")),
    };
    assert_eq!([poll(), poll(), poll(), poll()], [Some((1, 1)), None, Some((0, 1)), Some((0, 1))]);
}

#[test]
fn an_outage_fails_every_call_until_it_ends() {
    let cluster = cluster();
    let mut member = assigned(&cluster, "a");
    cluster.faults().outage(3);
    assert!(matches!(member.poll(NO_WAIT, 1), Err(BrokerError::Retriable(_))));
    assert!(matches!(cluster.offsets(&at("in", 0)), Err(BrokerError::Retriable(_))));
    assert!(matches!(member.begin(), Err(BrokerError::Retriable(_))));
    member.begin().unwrap();
    member.commit(&[]).unwrap();
}
