use super::*;
use crate::series::aggregation::Aggregation;
use crate::snapshot::PartShapes;
use crate::time::EventTime;

const SECOND: i64 = 1_000;

/// A series of slots of ten seconds, whose four newest are corrected.
struct Fixture {
    spec: SeriesSpec,
    state: SeriesState,
    closed: Vec<ClosedSlot>,
}

impl Fixture {
    fn new(aggregation: Aggregation) -> Self {
        let grid = Grid::Regular { interval: 10 * SECOND };
        let spec = SeriesSpec { aggregation, correction: 4, max_gap: 20, burn_in: 10, ..SeriesSpec::new(grid) };
        Self { spec, state: SeriesState::new(), closed: Vec::new() }
    }

    fn observe(&mut self, second: i64, value: f64) -> Placement {
        self.state.observe(&self.spec, &Reading::new(EventTime(second * SECOND), value), &mut self.closed)
    }

    /// Takes the steps of all closed slots. Returns the corrections before each.
    fn step(&mut self) -> Vec<Vec<Correction>> {
        let Self { spec, state, closed } = self;
        let step = |slot: ClosedSlot| {
            let mut corrections = Vec::new();
            state.apply_corrections(slot.slot, |correction| corrections.push(correction));
            state.update(spec, &slot);
            corrections
        };
        closed.drain(..).map(step).collect()
    }

    /// The newest values, the oldest first.
    fn values(&self, count: usize) -> Vec<Option<f64>> {
        (0..count).rev().map(|back| self.state.value_back(back)).collect()
    }
}

#[test]
fn a_late_reading_corrects_one_of_the_newest_slots_before_the_next_step() {
    let mut fixture = Fixture::new(Aggregation::Mean);
    for slot in [0, 1, 2, 3, 5, 6] {
        fixture.observe(slot * 10, slot as f64);
    }
    fixture.step();
    assert_eq!(fixture.values(4), [Some(2.0), Some(3.0), None, Some(5.0)]);
    assert_eq!(fixture.observe(38, 6.0), Placement::Corrected { by: 22 * SECOND }, "into a slot with a reading");
    assert_eq!(fixture.observe(41, 9.0), Placement::Corrected { by: 19 * SECOND }, "into an empty one");
    assert_eq!(fixture.observe(41, 9.0), Placement::Duplicate { is_first: true }, "the same again");
    assert_eq!(fixture.observe(15, 9.0), Placement::Late { by: 45 * SECOND }, "five slots back");
    assert_eq!(fixture.values(4), [Some(2.0), Some(3.0), None, Some(5.0)], "nothing is shown before the next step");
    fixture.observe(70, 7.0);
    let changes = fixture.step();
    let expected = [
        Correction { steps_back: 2, before: Some(3.0), after: 4.5 },
        Correction { steps_back: 1, before: None, after: 9.0 },
    ];
    assert_eq!(changes, [expected]);
    assert_eq!(fixture.values(5), [Some(2.0), Some(4.5), Some(9.0), Some(5.0), Some(6.0)]);
}

#[test]
fn the_newest_value_is_corrected_too_and_a_reset_forgets_what_was_before() {
    let mut fixture = Fixture::new(Aggregation::Sum);
    ["0", "10", "20"].iter().for_each(|second| _ = fixture.observe(second.parse().unwrap(), 1.0));
    fixture.step();
    fixture.observe(12, 4.0);
    fixture.observe(14, 4.0);
    fixture.observe(30, 1.0);
    assert_eq!(fixture.step(), [[Correction { steps_back: 0, before: Some(1.0), after: 9.0 }]]);
    assert_eq!((fixture.values(3), fixture.state.last_value()), (vec![Some(1.0), Some(9.0), Some(1.0)], 1.0));
    fixture.observe(1_000, 1.0);
    fixture.observe(1_010, 1.0);
    fixture.step();
    assert!(matches!(fixture.observe(980, 1.0), Placement::Late { .. }), "before the reset");
    assert!(matches!(fixture.observe(1_000, 5.0), Placement::Corrected { .. }));
}

#[test]
fn corrections_are_shown_at_the_same_step_however_late_steps_are_taken() {
    let plain = vec![(0, 1.0), (10, 2.0), (20, 3.0), (9, 5.0), (30, 4.0), (21, 7.0), (11, 2.5), (40, 5.0), (35, 0.0)];
    // The first two readings have a wrong time, from which the series returns.
    let wrong = vec![(10_000, 1.0), (10_010, 1.0), (0, 1.0), (10, 2.0), (20, 3.0), (30, 4.0), (40, 5.0), (25, 7.0)];
    for (readings, corrected) in [(plain, 4), (wrong, 1)] {
        let run = |every: usize| {
            let mut fixture = Fixture::new(Aggregation::Last);
            fixture.spec.max_ahead = 60 * SECOND;
            let mut shown = Vec::new();
            for (number, (second, value)) in readings.iter().copied().chain([(50, 6.0), (60, 7.0)]).enumerate() {
                fixture.observe(second, value);
                if number % every == 0 {
                    shown.extend(fixture.step());
                }
            }
            shown.extend(fixture.step());
            (shown, fixture.state)
        };
        let (shown, state) = run(1);
        assert_eq!(shown.iter().flatten().count(), corrected, "{shown:?}");
        for every in 2..12 {
            assert_eq!(run(every), (shown.clone(), state.clone()), "every {every}");
        }
    }
}

#[test]
fn corrections_that_wait_are_in_the_snapshot() {
    let mut fixture = Fixture::new(Aggregation::Mean);
    (0..9).for_each(|slot| _ = fixture.observe(slot * 10, slot as f64));
    fixture.step();
    fixture.observe(65, 1.0);
    let shapes = PartShapes::default();
    let mut parts = PartWriter::with_capacity(&shapes, 0);
    fixture.state.write_parts(&mut parts);
    let bytes = parts.finish();
    let read = SeriesState::read_parts(&fixture.spec, &mut PartReader::new(&bytes, &shapes)).unwrap();
    assert_eq!(read, fixture.state);
    fixture.state = read;
    fixture.observe(90, 9.0);
    assert_eq!(fixture.step(), [[Correction { steps_back: 1, before: Some(6.0), after: 3.5 }]]);
}
