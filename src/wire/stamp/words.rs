//! Words in timestamps: months, weekdays, halves of a day and abbreviations of zones.

const HOUR: i64 = 3_600_000;

/// The first three letters of the months' names: English, German, French, Spanish, Italian, Portuguese, Dutch.
#[rustfmt::skip]
const MONTHS: [(&str, i64); 35] = [
    ("jan", 1), ("ene", 1), ("gen", 1), ("jän", 1), ("feb", 2), ("fev", 2), ("fév", 2), ("mar", 3), ("mär", 3),
    ("mrz", 3), ("mrt", 3), ("maa", 3), ("apr", 4), ("abr", 4), ("avr", 4), ("may", 5), ("mai", 5), ("mag", 5),
    ("mei", 5), ("jun", 6), ("giu", 6), ("jul", 7), ("lug", 7), ("aug", 8), ("ago", 8), ("aoû", 8), ("aou", 8),
    ("sep", 9), ("set", 9), ("oct", 10), ("okt", 10), ("out", 10), ("ott", 10), ("nov", 11), ("dec", 12),
];
/// Others of December.
const DECEMBERS: [&str; 3] = ["dez", "dic", "déc"];

/// Weekdays in English and German; of German also two letters.
const WEEKDAYS: [&str; 28] = [
    "mon",
    "monday",
    "tue",
    "tues",
    "tuesday",
    "wed",
    "wednesday",
    "thu",
    "thur",
    "thurs",
    "thursday",
    "fri",
    "friday",
    "sat",
    "saturday",
    "sun",
    "sunday",
    "mo",
    "di",
    "mi",
    "do",
    "fr",
    "sa",
    "so",
    "montag",
    "dienstag",
    "mittwoch",
    "donnerstag",
];
const MORE_WEEKDAYS: [&str; 3] = ["freitag", "samstag", "sonntag"];

/// Abbreviations of zones that mean one offset from UTC in practice, in hours.
#[rustfmt::skip]
const ZONES: [(&str, f64); 28] = [
    ("utc", 0.0), ("gmt", 0.0), ("ut", 0.0), ("z", 0.0), ("wet", 0.0), ("west", 1.0), ("bst", 1.0), ("cet", 1.0),
    ("mez", 1.0), ("cest", 2.0), ("mesz", 2.0), ("eet", 2.0), ("eest", 3.0), ("msk", 3.0), ("jst", 9.0), ("kst", 9.0),
    ("aest", 10.0), ("aedt", 11.0), ("acst", 9.5), ("acdt", 10.5), ("est", -5.0), ("edt", -4.0), ("cst", -6.0),
    ("cdt", -5.0), ("mst", -7.0), ("mdt", -6.0), ("pst", -8.0), ("pdt", -7.0),
];

/// The month of a name or its abbreviation.
pub(super) fn month(word: &str) -> Option<i64> {
    let word = word.to_lowercase();
    let (third, _) = word.char_indices().nth(3).unwrap_or((word.len(), ' '));
    let prefix = &word[..third];
    match prefix {
        "jui" if word.starts_with("juil") => Some(7),
        "jui" if word.starts_with("juin") => Some(6),
        _ if DECEMBERS.contains(&prefix) => Some(12),
        _ => MONTHS.iter().find(|(name, _)| *name == prefix).map(|(_, month)| *month),
    }
}

/// Whether the word names a day of the week.
pub(super) fn is_weekday(word: &str) -> bool {
    let word = word.to_lowercase();
    WEEKDAYS.contains(&word.as_str()) || MORE_WEEKDAYS.contains(&word.as_str())
}

/// The offset from UTC that an abbreviation stands for, in milliseconds.
pub(super) fn zone_offset(word: &str) -> Option<i64> {
    let found = ZONES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, hours)| (hours * HOUR as f64) as i64)
}
