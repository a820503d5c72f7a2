//! What the names of columns say.

use super::time_parts::PartKind;

/// Names of a time, in lower case.
const TIMES: [&str; 28] = [
    "t",
    "ts",
    "ds",
    "dt",
    "at",
    "when",
    "time",
    "date",
    "datetime",
    "timestamp",
    "day",
    "month",
    "period",
    "epoch",
    "datum",
    "zeit",
    "zeitpunkt",
    "tag",
    "monat",
    "fecha",
    "hora",
    "heure",
    "jour",
    "mois",
    "giorno",
    "dia",
    "us",
    "ms",
];
/// Parts of such names.
const TIME_PARTS: [&str; 8] = ["time", "date", "stamp", "datum", "zeit", "fecha", "epoch", "utc"];
/// Names of an index of rows.
const INDEXES: [&str; 16] = [
    "",
    "index",
    "idx",
    "id",
    "row",
    "rows",
    "row_id",
    "rowid",
    "row_number",
    "rownum",
    "no",
    "nr",
    "#",
    "n",
    "obs",
    "level_0",
];
/// Names of the series of a long file.
const KEYS: [&str; 32] = [
    "unique_id",
    "id",
    "item_id",
    "series",
    "series_id",
    "key",
    "name",
    "sensor",
    "sensor_id",
    "station",
    "device",
    "device_id",
    "meter",
    "meter_id",
    "store",
    "item",
    "product",
    "sku",
    "region",
    "site",
    "host",
    "entity_id",
    "location",
    "city",
    "country",
    "symbol",
    "ticker",
    "metric",
    "tag",
    "group",
    "line",
    "machine",
];
/// Names of the values of a long file.
const VALUES: [&str; 16] = [
    "y",
    "value",
    "values",
    "val",
    "wert",
    "target",
    "sales",
    "count",
    "quantity",
    "load",
    "demand",
    "price",
    "reading",
    "measurement",
    "amount",
    "valor",
];
/// Names of the parts of a time in several columns.
#[rustfmt::skip]
const PARTS: [(&str, PartKind); 36] = [
    ("year", PartKind::Year), ("yr", PartKind::Year), ("jahr", PartKind::Year), ("año", PartKind::Year),
    ("ano", PartKind::Year), ("année", PartKind::Year), ("annee", PartKind::Year), ("anno", PartKind::Year),
    ("yyyy", PartKind::Year), ("month", PartKind::Month), ("monat", PartKind::Month), ("mes", PartKind::Month),
    ("mois", PartKind::Month), ("mese", PartKind::Month), ("mo", PartKind::Month), ("day", PartKind::Day),
    ("tag", PartKind::Day), ("día", PartKind::Day), ("dia", PartKind::Day), ("jour", PartKind::Day),
    ("giorno", PartKind::Day), ("dd", PartKind::Day), ("hour", PartKind::Hour), ("hr", PartKind::Hour),
    ("stunde", PartKind::Hour), ("std", PartKind::Hour), ("hora", PartKind::Hour), ("heure", PartKind::Hour),
    ("ora", PartKind::Hour), ("hh", PartKind::Hour), ("h", PartKind::Hour), ("minute", PartKind::Minute),
    ("min", PartKind::Minute), ("minuto", PartKind::Minute), ("second", PartKind::Second),
    ("sekunde", PartKind::Second),
];

/// Whether a column of this name should hold times.
pub(super) fn is_time(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    TIMES.contains(&name.as_str()) || TIME_PARTS.iter().any(|part| name.contains(part))
}

/// Whether a column of this name should hold times of day.
pub(super) fn is_clock(name: &str) -> bool {
    ["time", "clock", "hhmm", "uhrzeit", "zeit"].contains(&name.trim().to_lowercase().as_str())
}

/// Whether a column of this name should number the rows.
pub(super) fn is_index(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    INDEXES.contains(&name.as_str()) || name.starts_with("unnamed:") || name.starts_with("lfd")
}

/// Whether a column of this name should hold the names of series.
pub(super) fn is_key(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    KEYS.contains(&name.as_str()) || name.ends_with("_id") || name.ends_with("_name")
}

/// Whether a column of this name should hold the values of all series.
pub(super) fn is_value(name: &str) -> bool {
    VALUES.contains(&name.trim().to_lowercase().as_str())
}

/// The part of a time that a column of this name should hold.
pub(super) fn time_part(name: &str) -> Option<PartKind> {
    let name = name.trim().to_lowercase();
    let first = name.split(|c: char| !c.is_alphabetic()).next().unwrap_or("");
    let first = first.strip_suffix('s').filter(|word| word.len() > 2).unwrap_or(first);
    let of = |word: &str| PARTS.iter().find(|(part, _)| *part == word).map(|(_, kind)| *kind);
    of(first).or_else(|| of(&name))
}
