//! The reasons why a record, or one of its fields, is rejected.

use std::fmt;

use jiff::SignedDuration;

use super::timestamp::format_time;
use crate::series::ImplausibleTime;
use crate::time::EventTime;

/// The longest detail of a rejection in bytes. A longer one is truncated, so that headers stay small.
pub const MAX_DETAIL_BYTES: usize = 400;

/// The most characters of a record that a detail quotes, so that several quotes fit into one detail.
const MAX_EXCERPT_CHARS: usize = 48;

/// The reason of a rejection: a closed list, used as a label of metrics and in the header of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectionReason {
    /// The value is empty or white space.
    EmptyRecord,
    /// The record has no value, and its key names no series that it could delete.
    Tombstone,
    /// The value or the series key is longer than the limit.
    TooLarge,
    /// The value or the key is not UTF-8.
    NotUtf8,
    /// The value is not one JSON object, or it contains a configured field twice.
    BrokenJson,
    /// The value is not one line of CSV with the configured columns.
    BrokenCsv,
    /// A field has a type that its role does not allow: text where a number is expected, a list for a key.
    WrongType,
    /// A value field or the time field is absent, null or empty.
    MissingField,
    /// The record has no key, or a key field is absent, null or empty.
    MissingKey,
    /// The time is not in the configured format.
    BadTime,
    /// The time is outside the plausible range.
    AbsurdTime,
    /// The value is NaN or infinite.
    NotFinite,
    /// The value's magnitude is larger than that of any measurement.
    OutOfRange,
    /// The series is new, and the stream has as many series as its limit allows.
    SeriesLimit,
    /// The time is too far ahead of the record and of the series to be believed.
    ImplausibleTime,
    /// The observation came later than the allowed lateness.
    Late,
    /// The slot has closed and contains the same observation already.
    Duplicate,
}

impl RejectionReason {
    /// All reasons, in the order of their declaration, with their stable names in metrics and headers.
    pub const ALL: [(Self, &'static str); 17] = [
        (Self::EmptyRecord, "empty_record"),
        (Self::Tombstone, "tombstone"),
        (Self::TooLarge, "too_large"),
        (Self::NotUtf8, "not_utf8"),
        (Self::BrokenJson, "broken_json"),
        (Self::BrokenCsv, "broken_csv"),
        (Self::WrongType, "wrong_type"),
        (Self::MissingField, "missing_field"),
        (Self::MissingKey, "missing_key"),
        (Self::BadTime, "bad_time"),
        (Self::AbsurdTime, "absurd_time"),
        (Self::NotFinite, "not_finite"),
        (Self::OutOfRange, "out_of_range"),
        (Self::SeriesLimit, "series_limit"),
        (Self::ImplausibleTime, "ahead"),
        (Self::Late, "late"),
        (Self::Duplicate, "duplicate"),
    ];

    /// The stable name in metrics and headers.
    pub const fn label(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Whether it says that a record is not what the stream expects. A deletion, and a reading that is there already,
    /// are in good order.
    pub const fn is_refusal(self) -> bool {
        !matches!(self, Self::Tombstone | Self::Duplicate)
    }

    /// What an operator should look at.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::EmptyRecord | Self::Tombstone | Self::Duplicate => "check what the producer writes",
            Self::TooLarge => "raise stream.limits.record_bytes or key_bytes, or check what the producer writes",
            Self::NotUtf8 => "check stream.format, or stream.key if it is the key, against what the producer writes",
            Self::BrokenJson => "check stream.format against what the producer writes",
            Self::BrokenCsv => "check stream.columns and stream.delimiter against what the producer writes",
            Self::WrongType | Self::MissingField => {
                "check stream.values, stream.time and stream.key against the sample"
            }
            Self::MissingKey => "set stream.key to fields that name the series, or let the producer write keys",
            Self::BadTime => "check stream.time against the sample",
            Self::AbsurdTime => "check the format in stream.time, stream.earliest and latest, and the producer's clock",
            Self::NotFinite | Self::OutOfRange => "check the producer: this is no measurement",
            Self::SeriesLimit => "raise stream.limits.series, or check that stream.key names series and not records",
            Self::ImplausibleTime => "check the producer's clock and time zone, or raise stream.max_ahead",
            Self::Late => "raise stream.allowed_lateness, or check the producer's clock",
        }
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A rejection: its reason, and what was expected and found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejection {
    /// The reason.
    pub reason: RejectionReason,
    /// What was expected and what was found, for people; at most [`MAX_DETAIL_BYTES`].
    pub detail: String,
}

impl Rejection {
    /// A rejection. A detail that is too long is truncated.
    pub fn new(reason: RejectionReason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > MAX_DETAIL_BYTES {
            let most = MAX_DETAIL_BYTES - "…".len();
            let cut = (0..=most).rev().find(|&at| detail.is_char_boundary(at)).unwrap_or(0);
            detail.truncate(cut);
            detail.push('…');
        }
        Self { reason, detail }
    }

    /// The rejection of an observation `by` milliseconds behind the watermark of `series`.
    pub fn late(series: &str, by: i64) -> Self {
        let series = excerpt(series);
        Self::new(
            RejectionReason::Late,
            format!("series {series}: {by} ms behind the series' watermark; raise allowed_lateness to accept it"),
        )
    }

    /// The rejection of an observation of `series` at `time`, too far ahead to be believed, from a record with this
    /// timestamp.
    pub fn ahead(series: &str, time: EventTime, timestamp: Option<i64>, ahead: &ImplausibleTime) -> Self {
        let ImplausibleTime { newest, limit, of_record } = *ahead;
        let (series, time) = (excerpt(series), format_time(time));
        let record = timestamp.filter(|_| of_record);
        let record = record.map(|stamp| format!("the record's timestamp {}", format_time(EventTime(stamp))));
        let newest = newest.map(|newest| format!("the series' newest reading {}", format_time(newest)));
        let found = record.into_iter().chain(newest).collect::<Vec<_>>().join(" and of ");
        let limit = SignedDuration::from_millis(limit);
        Self::new(
            RejectionReason::ImplausibleTime,
            format!(
                "series {series}: {time} is ahead of {found}; expected at most {limit:#}. The third such reading in a \
                 row is accepted. Check the producer's clock, or raise max_ahead"
            ),
        )
    }

    /// The rejection of an observation whose slot has closed with the same observation.
    pub fn duplicate(series: &str) -> Self {
        let series = excerpt(series);
        Self::new(RejectionReason::Duplicate, format!("series {series}: its slot already holds this reading"))
    }

    /// The rejection of an observation of a new `series` beyond the `limit` of series.
    pub fn series_limit(series: &str, limit: usize) -> Self {
        let series = excerpt(series);
        Self::new(
            RejectionReason::SeriesLimit,
            format!(
                "series {series} is new and there are {limit} already; raise stream.limits.series, or set \
                 stream.limits.when_full = \"evict\""
            ),
        )
    }
}

/// The beginning of a text in quotes, with control characters escaped, short enough for a detail.
pub(super) fn excerpt(text: &str) -> String {
    let mut quoted = String::from('"');
    let mut characters = text.chars();
    for character in characters.by_ref().take(MAX_EXCERPT_CHARS) {
        if character.is_control() || character == '"' || character == '\\' {
            quoted.extend(character.escape_default());
        } else {
            quoted.push(character);
        }
    }
    quoted.push('"');
    if characters.next().is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_stable_and_distinct() {
        let labels = RejectionReason::ALL.map(|(reason, _)| reason.label()).join(" ");
        assert_eq!(
            labels,
            "empty_record tombstone too_large not_utf8 broken_json broken_csv wrong_type missing_field missing_key \
             bad_time absurd_time not_finite out_of_range series_limit ahead late duplicate"
        );
    }

    #[test]
    fn details_have_a_maximum_length() {
        let rejection = Rejection::new(RejectionReason::WrongType, "ä".repeat(1000));
        assert!(rejection.detail.len() <= MAX_DETAIL_BYTES);
        assert!(rejection.detail.ends_with("ä…"));
        assert_eq!(Rejection::new(RejectionReason::Late, "short").detail, "short");
        assert!(Rejection::late(&"k".repeat(5000), 3).detail.contains("3 ms behind"));
    }

    #[test]
    fn a_reading_ahead_is_reported_with_what_it_is_compared_with() {
        let (time, newest) = (EventTime(4_070_908_800_000), Some(EventTime(1_700_000_000_000)));
        let ahead = ImplausibleTime { newest, limit: 3_600_000, of_record: true };
        assert_eq!(
            Rejection::ahead("m1", time, Some(1_700_000_060_500), &ahead).to_string(),
            "ahead: series \"m1\": 2099-01-01T00:00:00Z is ahead of the record's timestamp 2023-11-14T22:14:20.5Z and \
             of the series' newest reading 2023-11-14T22:13:20Z; expected at most 1h. The third such reading in a row \
             is accepted. Check the producer's clock, or raise max_ahead"
        );
        let first = Rejection::ahead("m1", time, Some(0), &ImplausibleTime { newest: None, ..ahead });
        assert!(first.detail.contains("timestamp 1970-01-01T00:00:00Z; expected at most 1h"), "{first}");
        let step = ImplausibleTime { newest, limit: 86_400_000, of_record: false };
        let step = Rejection::ahead(&"\n".repeat(500), time, Some(4_070_908_800_000), &step);
        assert!(step.detail.contains("ahead of the series' newest reading") && !step.detail.contains("timestamp"));
        assert!(step.detail.contains("at most 24h") && step.detail.ends_with("raise max_ahead"), "{step}");
    }

    #[test]
    fn an_excerpt_is_one_printable_line() {
        assert_eq!(excerpt("a\n\"b\"\u{7f}é"), "\"a\\n\\\"b\\\"\\u{7f}é\"");
        assert_eq!(excerpt(&"x".repeat(49)), format!("\"{}\"…", "x".repeat(48)));
    }
}
