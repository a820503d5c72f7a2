use std::collections::BTreeSet;

use super::*;
use crate::daemon::specs;
use crate::series::Reading;
use crate::settings;
use crate::time::EventTime;

fn plan(training: &str) -> (StreamPlan, TrainingPlan) {
    let text = format!(
        "[[stream]]\nname = \"s\"\ntopics = [\"t\"]\nvalues = [\"v\"]\ninterval = \"1s\"\nseason = \"none\"\n\
         horizon = 2\nmodel = {{ hidden = 4, burn_in = 2 }}\n[stream.training]\n{training}"
    );
    let settings = settings::parse("test.toml", &text, Vec::new()).unwrap();
    let stream = specs::plan(&settings).unwrap().streams.remove(0);
    let training = stream.training.clone().unwrap();
    (stream, training)
}

fn sample(training: &str) -> SeriesSample {
    let (stream, training) = plan(training);
    SeriesSample::new(&stream, &training)
}

/// The series that can be trained on.
fn names(sample: &SeriesSample) -> BTreeSet<(Origin, String)> {
    let series = sample.groups.values().flat_map(|group| group.series.iter().map(|series| (group.origin, series)));
    series
        .filter(|(_, series)| series.builder.len() >= sample.min_steps)
        .map(|(origin, series)| (origin, series.name.to_string()))
        .collect()
}

fn observe(sample: &mut SeriesSample, partition: i32, series: &str, second: i64) {
    let (time, value) = (EventTime(second * 1000), second as f64);
    let observation = ScannedObservation { series, reading: Reading::new(time, value) };
    sample.observe((0, partition), second * 1000, &observation, None);
}

/// The bytes are those that counting anew finds.
fn check_counts(sample: &mut SeriesSample) {
    let kept = (sample.bytes, sample.trainable);
    sample.count();
    assert_eq!(kept, (sample.bytes, sample.trainable));
}

#[test]
fn a_sample_is_fair_over_partitions_whatever_the_order() {
    let by_partition = || (0..5).flat_map(|partition| (0..40).map(move |series| (partition, series)));
    let run = |order: &[(i32, i32)], interleaved: bool| {
        let mut sample = sample("max_series = 50\nmin_steps = 10\n");
        let (outer, inner) = if interleaved { (20, 1) } else { (1, 20) };
        for outer in 0..outer {
            for (partition, series) in order {
                for inner in 0..inner {
                    observe(&mut sample, *partition, &format!("series-{series}"), outer + inner);
                }
            }
        }
        check_counts(&mut sample);
        names(&sample)
    };
    let order: Vec<(i32, i32)> = by_partition().collect();
    let found = run(&order, false);
    assert_eq!(found.len(), 50);
    for partition in 0..5 {
        let count = found.iter().filter(|(origin, _)| *origin == (0, partition)).count();
        assert!((4..=18).contains(&count), "{count} of 50 series are of partition {partition}");
    }
    let reversed: Vec<(i32, i32)> = by_partition().rev().collect();
    assert_eq!(run(&reversed, false), found);
    assert_eq!(run(&order, true), found);
}

#[test]
fn memory_is_bounded_and_the_series_that_stay_are_whole() {
    let mut sample = sample("max_series = 100000\nmin_steps = 10\nmemory = \"16MiB\"\n");
    for second in 0..70 {
        for series in 0..10_000 {
            observe(&mut sample, series % 3, &format!("series-{series}"), second);
            assert!(sample.bytes() <= 16 << 20);
        }
    }
    check_counts(&mut sample);
    let set = sample.training_set();
    assert!(sample.bytes() > 14 << 20 && set.sequences.len() > 1_000, "{} series", set.sequences.len());
    assert_eq!((set.steps, set.longest), (set.sequences.len() * 69, 69), "no series lacks its beginning");
    assert!(sample.left_out > 0);
}

#[test]
fn young_series_do_not_take_the_place_of_older_ones() {
    let mut sample = sample("max_series = 20\nmin_steps = 50\n");
    for second in 0..60 {
        (0..20).for_each(|series| observe(&mut sample, 0, &format!("old-{series}"), second));
        // Series that live for ten seconds each.
        (0..200).for_each(|series| observe(&mut sample, 1, &format!("young-{}-{series}", second / 10), second));
    }
    check_counts(&mut sample);
    assert_eq!(names(&sample).len(), 20);
}

#[test]
fn series_that_have_ended_make_room_for_others() {
    let mut sample = sample("max_series = 20\nmin_steps = 10\n");
    let run = |sample: &mut SeriesSample, name: &str, seconds: std::ops::Range<i64>| {
        for second in seconds {
            (0..40).for_each(|series| observe(sample, 0, &format!("{name}-{series}"), second));
        }
    };
    run(&mut sample, "early", 0..30);
    assert_eq!(names(&sample).len(), 20);
    sample.drop_before(10_000);
    check_counts(&mut sample);
    run(&mut sample, "late", 30..130);
    let late = |sample: &SeriesSample| names(sample).iter().filter(|(_, name)| name.starts_with("late")).count();
    let before = late(&sample);
    assert!(before < 20, "early series still hold their places");
    sample.drop_before(100_000);
    check_counts(&mut sample);
    run(&mut sample, "late", 130..200);
    assert_eq!((names(&sample).len(), late(&sample)), (20, 20));
    sample.drop_origin((0, 0));
    assert_eq!((sample.bytes(), sample.training_set().longest), (0, 0));
}

#[test]
fn few_long_series_keep_fewer_steps() {
    let (stream, training) = plan("max_steps_per_series = 10000000\nmemory = \"16MiB\"\n");
    let sample = SeriesSample::new(&stream, &training);
    assert!((50_000..400_000).contains(&sample.max_steps), "{}", sample.max_steps);
}
