//! Trouble on command that takes time: markers that come late, calls that stand still, outages, disorder.

use super::*;

#[test]
fn a_transaction_takes_effect_marker_by_marker() {
    let cluster = cluster();
    let mut member = seated(&cluster, "a");
    let mut other = join(&cluster, "b");
    cluster.delay_markers(true);
    drain(&mut *member);
    member.begin().unwrap();
    member.send(out(b"one")).unwrap();
    member.commit(&[(at("in", 0), 5)]).unwrap();
    assert!(payloads(&cluster).is_empty(), "committed, and not written yet");
    assert!(
        matches!(other.committed_offsets(&[at("in", 0)]), Err(BrokerError::Retriable(_))),
        "its offsets still hang"
    );
    assert!(cluster.write_marker(0), "first the records");
    assert_eq!(payloads(&cluster), ["one"]);
    assert!(matches!(other.committed_offsets(&[at("in", 0)]), Err(BrokerError::Retriable(_))));
    assert!(cluster.write_marker(0), "then the offsets");
    assert_eq!(other.committed_offsets(&[at("in", 0)]).unwrap(), [Some(5)]);
    assert!(!cluster.write_marker(0), "nothing is outstanding");
    for payload in [b"two", b"six"] {
        member.begin().unwrap();
        member.send(out(payload)).unwrap();
        member.commit(&[]).unwrap();
    }
    assert_eq!(payloads(&cluster), ["one", "two"], "the next transaction waits for the markers of the one before");
    cluster.delay_markers(false);
    assert_eq!(payloads(&cluster), ["one", "two", "six"]);
}

#[test]
fn a_call_that_stands_still_goes_on_into_a_changed_world() {
    let cluster = cluster();
    let process = cluster.process();
    let mut zombie = seated(&process, "a");
    let (reached, told) = std::sync::mpsc::channel();
    let (wake, go) = std::sync::mpsc::channel();
    process.faults().pause_at(Operation::Commit, 1, Pause { reached, go });
    let thread = std::thread::spawn(move || {
        zombie.begin().unwrap();
        zombie.send(out(b"zombie")).unwrap();
        zombie.commit(&[(at("in", 0), 1)])
    });
    told.recv().unwrap();
    assert!(cluster.expire_session("a"));
    let mut heir = seated(&cluster, "b");
    heir.begin().unwrap();
    heir.send(out(b"heir")).unwrap();
    heir.commit(&[(at("in", 0), 1)]).unwrap();
    drop(wake);
    assert!(matches!(thread.join().unwrap(), Err(BrokerError::Fenced(_))));
    assert!(cluster.expire("a"), "the open transaction times out");
    assert_eq!(payloads(&cluster), ["heir"]);
}

#[test]
fn deliveries_come_out_of_turn_and_in_pieces_when_told_to() {
    let cluster = cluster();
    for number in [0, 0, 1] {
        cluster.append("in", number, None, Some(b"x"), 0).unwrap();
    }
    let mut member = seated(&cluster, "a");
    member.start(&at("in", 0), 0).unwrap();
    member.start(&at("in", 1), 0).unwrap();
    for (skip, most) in [(1, 9), (0, 0), (0, 1)] {
        cluster.faults().deliver(Delivery { skip, max_records: most });
    }
    let mut poll = || match member.poll(NO_WAIT, 10).unwrap() {
        Some(MemberEvent::Records(batch)) => Some((batch.partition.number, batch.len())),
        other => other.map(|event| panic!("{event:?}")),
    };
    assert_eq!([poll(), poll(), poll(), poll()], [Some((1, 1)), None, Some((0, 1)), Some((0, 1))]);
}

#[test]
fn an_outage_turns_every_call_away_until_it_is_over() {
    let cluster = cluster();
    let mut member = seated(&cluster, "a");
    cluster.faults().outage(3);
    assert!(matches!(member.poll(NO_WAIT, 1), Err(BrokerError::Retriable(_))));
    assert!(matches!(cluster.offsets(&at("in", 0)), Err(BrokerError::Retriable(_))));
    assert!(matches!(member.begin(), Err(BrokerError::Retriable(_))));
    member.begin().unwrap();
    member.commit(&[]).unwrap();
}
