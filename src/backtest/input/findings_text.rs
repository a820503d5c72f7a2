//! What the user reads about times, gaps and order.

use super::rows::Rows;
use super::spec::ReadSpec;
use super::times::RowTimes;
use crate::backtest::findings::{Finding, Findings};

/// The time column, its format and zone, first of all; and what became of local times that are repeated or skipped.
pub(super) fn describe_times(rows: &Rows<'_>, times: &RowTimes, spec: &ReadSpec, findings: &mut Findings) {
    let zone = spec.zone.iana_name().unwrap_or("this zone");
    if let Some(format) = &times.format {
        let first = Finding { what: format!("time: {format}"), why: times.why.clone(), said: true };
        findings.0.insert(0, first);
        if times.dates > 0 && !times.dates_only && times.dates < rows.lines.len() {
            let what = format!("{} dates without a time of day taken for midnight", times.dates);
            findings.say(what, "the other timestamps have one".into());
        }
    }
    if times.second_passes > 0 {
        findings.say(
            format!(
                "{} times taken for the second pass of an hour that the clocks of {zone} repeat",
                times.second_passes
            ),
            "they come after the first pass, and name no offset".into(),
        );
    }
    if let Some(row) = times.late_rows.first() {
        let (count, line) = (times.late_rows.len(), rows.lines.get(*row).copied().unwrap_or_default());
        findings.say(
            format!(
                "{count} times lie in an hour that the clocks of {zone} skip (line {line}: {}): taken for the hour \
                 behind, unless that has a row",
                rows.stamps.get(*row)
            ),
            "if the file keeps standard time all year, --time-zone names a zone without daylight saving".into(),
        );
    }
}

/// Words for missing values.
pub(super) fn describe_gaps(rows: &Rows<'_>, findings: &mut Findings) {
    if rows.gaps.is_empty() {
        return;
    }
    let mut words: Vec<(&String, &u64)> = rows.gaps.iter().collect();
    words.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words: Vec<String> = words.iter().take(8).map(|(word, count)| format!("\"{word}\" {count}")).collect();
    findings.say(format!("gaps: {}", words.join(", ")), "these words stand for a missing value".into());
}

/// Whether the rows are in the order of time.
pub(super) fn describe_order(rows: &Rows<'_>, times: &RowTimes, findings: &mut Findings) {
    let mut newest = vec![None; rows.series.len().max(1)];
    let (mut forward, mut backward, mut first) = (0_usize, 0_usize, None);
    for (row, time) in times.times.iter().enumerate() {
        let Some(time) = time else { continue };
        let series = rows.series_of_row.get(row).map_or(0, |series| *series as usize);
        if let Some(before) = newest[series].replace(*time) {
            forward += usize::from(*time > before);
            if *time < before {
                backward += 1;
                first.get_or_insert(row);
            }
        }
    }
    let Some(row) = first else { return };
    let line = rows.lines.get(row).copied().unwrap_or_default();
    let what = if forward == 0 {
        "newest first: the rows are read in the order of time".to_owned()
    } else {
        format!(
            "{backward} rows are older than the one before (first: line {line}): the rows are read in the order of time"
        )
    };
    findings.say(what, format!("{forward} steps go forward in time, {backward} back"));
}
