//! Anomaly scores on made-up series: incidents that repeat, shifts, jobs, series at rest, quiet series; and the
//! intervals after an incident.

use super::test_run::Run;

/// A uniform number between 0 and 1, the same every time.
fn uniform(seed: u64, step: usize) -> f64 {
    let mut bits = (seed << 40).wrapping_add(step as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Noise of deviation 1.
fn noise(seed: u64, step: usize) -> f64 {
    (0..12).map(|part| uniform(seed, 12 * step + part)).sum::<f64>() - 6.0
}

/// The steps at which a series begins to be anomalous, and for how many it is.
fn alarms(season: usize, values: impl IntoIterator<Item = f64>) -> Vec<(usize, usize)> {
    let (mut run, mut alarms, mut before) = (Run::new(24, season), Vec::new(), false);
    for (step, value) in values.into_iter().enumerate() {
        run.step(Some(value));
        match alarms.last_mut() {
            Some((_, length)) if run.anomalous && before => *length += 1,
            _ if run.anomalous => alarms.push((step, 1)),
            _ => {}
        }
        before = run.anomalous;
    }
    alarms
}

/// The kinds of quiet series: noise, noise that lingers, heavy tails, counts, and a day of 48 steps.
const KINDS: [&str; 5] = ["noise", "lingering", "heavy", "counts", "daily"];

fn season_of(kind: &str) -> usize {
    if kind == "daily" { 48 } else { 0 }
}

fn quiet(kind: &str, seed: u64, steps: usize) -> Vec<f64> {
    let mut lingering = 0.0;
    let value = |step: usize| match kind {
        "noise" => 50.0 + noise(seed, step),
        "lingering" => {
            lingering = 0.9 * lingering + noise(seed, step);
            50.0 + lingering
        }
        "heavy" => 50.0 + (0.5 * noise(seed, step)).exp(),
        "counts" => (0..40).filter(|part| uniform(seed, 40 * step + part) < 0.15).count() as f64,
        _ => 50.0 + 10.0 * (step as f64 / 48.0 * std::f64::consts::TAU).sin() + noise(seed, step),
    };
    (0..steps).map(value).collect()
}

#[test]
fn equal_incidents_are_each_told() {
    let (mut told, mut incidents, mut others) = (0, 0, 0);
    for (seed, kind) in (10..).zip(KINDS) {
        for (count, length, size) in [(2, 3, 40.0), (3, 1, 20.0), (4, 8, 30.0)] {
            let mut values = quiet(kind, seed, 3000);
            let begins: Vec<usize> = (0..count).map(|at| 1500 + 330 * at).collect();
            for begin in &begins {
                values[*begin..begin + length].iter_mut().for_each(|value| *value += size);
            }
            let alarms = alarms(season_of(kind), values);
            println!("{kind}, {count} of {length} steps at {begins:?}: {alarms:?}");
            let is_told = |begin: &&usize| alarms.iter().any(|(at, _)| (**begin..**begin + length).contains(at));
            (told, incidents) = (told + begins.iter().filter(is_told).count(), incidents + count);
            others += alarms.iter().filter(|(at, _)| *at >= 1500).count() - begins.iter().filter(is_told).count();
        }
    }
    println!("{told} of {incidents} told, {others} alarms beside");
    assert!(20 * told >= 19 * incidents && 10 * others <= incidents, "{told} of {incidents}, {others}");
}

#[test]
fn a_shift_of_the_level_is_told_once_and_is_over_when_it_is_accepted() {
    for (seed, kind) in (20..).zip(KINDS) {
        for size in [15.0, -40.0] {
            let mut values = quiet(kind, seed, 3000);
            values[2000..].iter_mut().for_each(|value| *value += size);
            let alarms = alarms(season_of(kind), values);
            println!("{kind}, by {size}: {alarms:?}");
            let after: Vec<_> = alarms.iter().filter(|(at, _)| (1990..2300).contains(at)).collect();
            assert!(matches!(after[..], [(2000, ..=120)]), "{kind}, by {size}: {alarms:?}");
        }
    }
}

#[test]
fn a_missing_job_and_one_at_another_time_are_told() {
    let (day, begin, length, days, missing) = (288, 72, 2, 12, 9);
    for seed in 0..3 {
        let extra = (days - 1) * day + begin + day / 3;
        let is_job = |step: usize| {
            let usual = (begin..begin + length).contains(&(step % day)) && step / day != missing;
            usual || (extra..extra + length).contains(&step)
        };
        let value = |step: usize| 0.5 * noise(seed, step) + if is_job(step) { 90.0 } else { 5.0 };
        let (mut run, mut told) = (Run::new(24, day), Vec::new());
        for step in 0..days * day {
            let expected = run.out.point[0];
            if step % day == begin && (2..missing).contains(&(step / day)) {
                assert!((expected - 90.0).abs() < 30.0, "on day {}: {expected}", step / day);
            }
            run.step(Some(value(step)));
            told.extend(run.anomalous.then_some(step));
        }
        assert!(told.contains(&(missing * day + begin)), "the missing job: {told:?}");
        assert!(told.contains(&extra), "the job at another time: {told:?}");
        let ordinary = |step: &&usize| (4 * day..missing * day + begin).contains(*step);
        assert_eq!(told.iter().filter(ordinary).count(), 0, "{told:?}");
    }
}

#[test]
fn a_series_at_rest_that_moves_is_told_once() {
    for (before, after, at) in [(0.0, 1.0, 900), (5.0, 0.0, 700), (1e-3, 2e-3, 600), (100.0, 103.0, 1200)] {
        for season in [0, 288] {
            let alarms = alarms(season, (0..2500).map(|step| if step < at { before } else { after }));
            assert!(matches!(alarms[..], [(begin, ..=60)] if begin == at), "{before} to {after}, {season}: {alarms:?}");
        }
    }
}

/// What a score says of its frequency is true of quiet series within a factor of two. Scores of .999 are so few, and
/// come in groups, that the kinds are taken together.
#[test]
fn scores_of_quiet_series_are_as_frequent_as_they_say() {
    let (steps, mut highest) = (30_000, 0);
    for (seed, kind) in (40..).zip(KINDS) {
        let (mut run, mut high) = (Run::new(24, season_of(kind)), 0);
        for value in quiet(kind, seed, steps) {
            let score = run.step(Some(value)).unwrap_or(0.0);
            high += u32::from(score >= 0.99);
            highest += u32::from(score >= 0.999);
        }
        let ratio = f64::from(high) / (0.01 * steps as f64);
        println!("{kind}: {ratio:.2} of what .99 says");
        assert!((0.5..2.0).contains(&ratio), "{kind}: {ratio}");
    }
    let ratio = f64::from(highest) / (0.001 * (steps * KINDS.len()) as f64);
    println!("{ratio:.2} of what .999 says");
    assert!((0.5..2.0).contains(&ratio), "{ratio}");
}

/// The latency, the calls and the errors of a calm service, with an incident once in a while.
#[test]
fn intervals_of_calm_telemetry_are_narrow_again_soon_after_an_incident() {
    for (kind, length) in [("latency", 6), ("latency", 30), ("calls", 30), ("errors", 30)] {
        let is_incident = |step: usize| step >= 1000 && step % 1000 < length;
        let value = |step: usize| match (kind, is_incident(step)) {
            ("latency", false) => 20.0 + 0.4 * noise(1, step),
            ("latency", true) => 1000.0 + 300.0 * noise(1, step),
            ("calls", false) => 500.0 + 2.0 * noise(1, step),
            ("calls", true) => 100.0 + 30.0 * noise(1, step),
            (_, false) => f64::from(u8::from(uniform(1, step) < 0.003)),
            (_, true) => 40.0 + (10.0 * noise(1, step)).round(),
        };
        let mut run = Run::new(24, 0);
        // Outside of incidents, from so many steps after them on: widths and errors of leads 1 and 24.
        let (mut widths, mut errors, mut covered, mut count) = ([0.0; 2], [0.0; 2], [0.0; 2], 0.0);
        for step in 0..8000 {
            run.step(Some(value(step)));
            if step < 1000 || step % 1000 < length + 30 || step % 1000 >= 976 {
                continue;
            }
            count += 1.0;
            for (at, lead) in [1, 24].into_iter().enumerate() {
                let (row, target) = (run.row(lead), value(step + lead));
                widths[at] += row[3] - row[1];
                errors[at] += (target - row[2]).abs();
                covered[at] += f64::from(u8::from((row[1]..=row[3]).contains(&target)));
            }
        }
        for at in 0..2 {
            let (width, error, covered) = (widths[at] / count, errors[at] / count, covered[at] / count);
            println!("{kind}, {length}, {at}: width {width:.3}, error {error:.3}, covered {covered:.3}");
            assert!(width < 6.0 * error && covered > 0.78, "{kind}, {length}: {width} {error} {covered}");
        }
    }
}
