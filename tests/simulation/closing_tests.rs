//! Slots that close by the time of their partition, and the restores that follow.

use super::{fixture::Fixture, outcome::Output, scenario::MINUTE};
use foretide::{
    series::{Absence, CloseBy},
    time::Grid,
};

/// Series fall silent and come back while the owner dies again and again. Each slot of them is forecast from once, as
/// in an undisturbed run: cold and warm, with snapshots of nothing, of some and of everything.
#[test]
fn slots_of_silent_series_close_once_through_restores() {
    for (standby_bytes, checkpoint_interval) in [(0, u64::MAX), (0, 1_000_000), (1 << 30, 20_000_000), (0, 0)] {
        let fixture = Fixture::new(|plan| {
            (plan.standby_bytes, plan.checkpoint_interval) = (standby_bytes, checkpoint_interval);
            let stream = &mut plan.streams[0].engine;
            (stream.series.close_by, stream.series.absence) = (CloseBy::Partition, Absence::Anomaly);
            stream.series.grid = Grid::Regular { interval: MINUTE };
            (stream.series.allowed_lateness, stream.series.readings_per_slot) = (0, None);
            stream.forecast.scores_absence = true;
        });
        let (mut standby, _) = fixture.join("standby");
        fixture.append(0..40);
        for (number, from) in [40, 60, 80, 100, 120].into_iter().enumerate() {
            let id = format!("owner-{number}");
            let (mut owner, dying) = fixture.join(&id);
            fixture.append_of(from..from + 7, 0..4);
            fixture.settle(&mut [&mut owner, &mut standby]);
            fixture.append(from + 7..from + 20);
            fixture.settle(&mut [&mut owner, &mut standby]);
            dying.faults().crash();
            drop(owner);
            fixture.cluster.expire(&id);
            fixture.settle(&mut [&mut standby]);
        }
        Output::committed(&fixture.cluster).assert_is(&fixture.reference());
        assert_eq!(fixture.forecasts(), 6 * 139, "from every slot but the newest, with a value or without");
    }
}
