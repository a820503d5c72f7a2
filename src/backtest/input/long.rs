//! Recognises long files: a row holds one value of one series.

use super::names::is_key;
use super::profile::{Kind, Profile, Sample};
use super::time_parts::TimeParts;

/// From this share of rows on, times repeat.
const REPEATED: f64 = 0.2;
/// With the series' name, at most this share of rows repeats.
const UNIQUE: f64 = 0.05;

/// The columns that name the series of a long file: with them the times of rows do not repeat. `None` for a wide file.
pub(super) fn find_long(sample: &Sample<'_>, profiles: &[Profile], time: Option<&TimeParts>) -> Option<Vec<usize>> {
    let time = time?;
    let times: Vec<usize> = time.0.iter().map(|part| part.column).collect();
    let repeated = sample.repeated(&times);
    if repeated < REPEATED {
        return None;
    }
    let may_name = |column: &usize| {
        let named = is_key(&sample.names[*column]) && !sample.counts_rows(*column);
        let words = profiles[*column].kind == Kind::Words;
        let codes = profiles[*column].kind == Kind::Numbers && named && sample.numbers(*column).flatten().all(is_whole);
        !time.contains(*column) && (words || codes) && sample.distinct(*column) > 1
    };
    let columns: Vec<usize> = (0..profiles.len()).filter(may_name).take(6).collect();
    let with = |keys: &[usize]| sample.repeated(&[&times[..], keys].concat());
    let best = columns.iter().map(|column| (with(&[*column]), *column));
    let best = best.min_by(|one, other| one.0.total_cmp(&other.0))?;
    if best.0 <= UNIQUE {
        return Some(vec![best.1]);
    }
    let pairs =
        columns.iter().enumerate().flat_map(|(at, one)| columns[at + 1..].iter().map(|other| vec![*one, *other]));
    let mut pairs = pairs.filter(|pair| with(pair) <= UNIQUE);
    pairs.next().or_else(|| (columns.len() > 2 && with(&columns) <= UNIQUE).then_some(columns.clone()))
}

fn is_whole(number: f64) -> bool {
    number.fract() == 0.0
}
