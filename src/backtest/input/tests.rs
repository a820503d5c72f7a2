//! Well-formed, malformed and arbitrary files.

use std::{io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;
use crate::backtest::error::DataError;
use crate::backtest::table::{Reading, Table};
use crate::time::Length;

const WIDE: &str = "date,a,b,note,c\n2020-01-01 00:00:00,1,10,x,\n2020-01-01 01:00:00,,-9999,y,5e-1\n";

fn every(millis: i64) -> GridRequest {
    GridRequest { length: Some(Length::Clock(millis)), ..GridRequest::default() }
}

fn wide(text: &str) -> Result<Table, DataError> {
    read(text.as_bytes(), "f.csv", &ReadSpec { missing: vec![-9999.0], ..ReadSpec::default() })
}

fn values(table: &Table) -> Vec<(u32, u32, f64)> {
    table.readings.iter().map(|reading| (reading.row, reading.series, reading.value)).collect()
}

fn error_text(text: &str) -> String {
    wide(text).unwrap_err().to_string()
}

#[test]
fn every_numeric_column_is_a_series_and_empty_cells_are_gaps() {
    let table = wide(WIDE).unwrap();
    assert_eq!((table.series.as_slice(), table.rows, table.gaps), (&["a", "b", "c"].map(String::from)[..], 2, 3));
    assert_eq!(values(&table), [(0, 0, 1.0), (0, 1, 10.0), (1, 2, 0.5)]);
    assert_eq!(table.ignored_columns, ["note"]);
}

#[test]
fn a_gzipped_file_equals_a_plain_one() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(WIDE.as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    let spec = ReadSpec { missing: vec![-9999.0], grid: every(60_000), ..ReadSpec::default() };
    assert_eq!(read(&bytes[..], "f", &spec).unwrap(), read(WIDE.as_bytes(), "f", &spec).unwrap());
    let error = read(&bytes[..bytes.len() - 9], "f", &spec).unwrap_err().to_string();
    assert!(error.starts_with("f: it cannot be read to its end"), "{error}");
}

#[test]
fn the_default_step_is_the_median() {
    let rows = ["00:00", "00:10", "00:20", "03:00", "03:10", "03:10"].map(|time| format!("2020-01-01 {time},1\n"));
    assert_eq!(wide(&format!("t,x\n{}", rows.concat())).unwrap().interval(), 600_000);
    let once = "t,x\n2020-01-01 00:00,1\n";
    assert_eq!(
        error_text(once),
        "f.csv: time never advances; expected at least two rows at different times, or --interval"
    );
}

#[test]
fn a_long_file_is_merged_by_time_and_each_series_keeps_its_order() {
    let text = "key,t,v\na,1,10\na,3,11\na,2,12\nb,1,20\nb,2,21\nb,9,x\n";
    let layout = Layout::Long { key: "key".into(), value: None };
    let spec = ReadSpec { layout, ..ReadSpec::default() };
    let error = read(text.as_bytes(), "f", &spec).unwrap_err().to_string();
    assert!(error.starts_with("f, line 7, column \"v\": \"x\"; expected a number"), "{error}");
    let table = read(text.replace('x', "").as_bytes(), "f", &spec).unwrap();
    let fed: Vec<(u32, f64)> = table.readings.iter().map(|reading| (reading.row, reading.value)).collect();
    assert_eq!(fed, [(0, 10.0), (0, 20.0), (1, 21.0), (1, 11.0), (2, 12.0)]);
    assert_eq!((table.series.as_slice(), table.rows), (&["a", "b"].map(String::from)[..], 3));
    assert!(table.readings.iter().map(|reading| reading.position).eq(0..5));
}

#[test]
fn rows_are_counted_without_a_time_column() {
    let spec = ReadSpec { time: TimeColumn::None, header: false, grid: every(5000), ..ReadSpec::default() };
    let table = read("1,2\n3,4\n".as_bytes(), "f", &spec).unwrap();
    assert_eq!(table.series, ["1", "2"]);
    assert_eq!(table.readings.iter().map(|reading| reading.time.0).collect::<Vec<_>>(), [0, 0, 5000, 5000]);
}

#[test]
fn errors_name_the_location_and_what_was_expected() {
    let head = "date,a,b\n2020-01-01 00:00:00,1,2\n";
    let number = "expected a number between -1e150 and 1e150, or nothing for a gap";
    assert_eq!(
        error_text(&format!("{head}2020-01-02 00:00:00,1,two\n")),
        format!("f.csv, line 3, column \"b\": \"two\"; {number}")
    );
    assert_eq!(
        error_text(&format!("{head}2020-01-02 00:00:00,inf,2\n")),
        format!("f.csv, line 3, column \"a\": \"inf\"; {number}")
    );
    assert_eq!(
        error_text(&format!("{head}2020-01-02 00:00:00,1\n")),
        "f.csv, line 3: 2 columns; expected 3, as in earlier rows"
    );
    let stamp = error_text(&format!("{head}soon,1,2\n"));
    assert!(
        stamp.starts_with("f.csv, line 3, column \"date\": \"soon\"; expected timestamps of one format"),
        "{stamp}"
    );
    assert!(error_text("").starts_with("f.csv: it holds no rows; expected"), "{}", error_text(""));
    assert!(error_text("t,x\n2020-01-01,a\n").starts_with("f.csv: it holds no numbers; expected"));
    assert!(error_text("t,x,x\n2020-01-01,1,1\n").starts_with("f.csv: two columns have the name \"x\""));
    let spec = ReadSpec { time: TimeColumn::Named("when".into()), ..ReadSpec::default() };
    let error = read(head.as_bytes(), "f", &spec).unwrap_err().to_string();
    assert_eq!(error, "f: it has no column \"when\"; expected one of date, a, b");
    let error = read_file(Path::new("no/such.csv"), &spec).unwrap_err();
    assert!(matches!(error, DataError::Unreadable { .. }) && error.to_string().starts_with("no/such.csv: "), "{error}");
}

#[test]
fn an_invalid_timestamp_after_the_sample_is_named() {
    let rows: String = (0..1200).map(|row| format!("{},1\n", 1_600_000_000 + row)).collect();
    let error = error_text(&format!("t,x\n{rows}later,1\n"));
    assert!(error.starts_with("f.csv, line 1202, column \"t\": \"later\"; expected seconds since 1970"), "{error}");
}

fn layout(long: bool) -> Layout {
    if long { Layout::Long { key: "a".into(), value: None } } else { Layout::Wide { columns: Vec::new() } }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400), gzipped: bool, long: bool, no_time: bool
    ) {
        let bytes = if gzipped { [vec![0x1f, 0x8b], bytes].concat() } else { bytes };
        let time = if no_time { TimeColumn::None } else { TimeColumn::First };
        let _ = read(&bytes[..], "f", &ReadSpec { layout: layout(long), time, ..ReadSpec::default() });
    }

    #[test]
    fn text_similar_to_csv_never_panics(text in "([a,]|[0-9.eE-]|\n|\"|2020-01-0[1-9]){0,200}", long: bool) {
        let spec = ReadSpec { layout: layout(long), ..ReadSpec::default() };
        if let Ok(table) = read(format!("a,b,c\n{text}").as_bytes(), "f", &spec) {
            let has_series = |reading: &Reading| (reading.series as usize) < table.series.len();
            prop_assert!(table.interval() > 0 && table.readings.iter().all(has_series));
            prop_assert!(table.readings.is_sorted_by_key(|reading| reading.position));
        }
    }
}

#[test]
fn readings_have_the_past_covariates_of_their_row() {
    let spec = ReadSpec { past_covariates: vec!["warm".into()], ..ReadSpec::default() };
    let text = "at,a,warm,b\n1,5,0.5,6\n2,7,,8\n3,9,-1,\n";
    let table = read(text.as_bytes(), "f.csv", &spec).unwrap();
    assert_eq!((table.series.join(" "), table.past_covariates.join(" ")), ("a b".into(), "warm".into()));
    let covariates: Vec<String> = table
        .readings
        .iter()
        .map(|reading| format!("{} {:?}", reading.value, table.past_covariates_of(reading)))
        .collect();
    assert_eq!(covariates, ["5 [0.5]", "6 [0.5]", "7 [NaN]", "8 [NaN]", "9 [-1.0]"]);
    let rejection = |covariates: &[&str], text: &str| {
        let covariates = covariates.iter().map(|name| (*name).to_owned()).collect();
        read(text.as_bytes(), "f.csv", &ReadSpec { past_covariates: covariates, ..ReadSpec::default() })
            .unwrap_err()
            .to_string()
    };
    assert!(rejection(&["cold"], text).contains("no column \"cold\""));
    assert!(rejection(&["at"], text).contains("\"at\" has more than one use"));
    assert!(rejection(&["warm", "warm"], text).contains("has more than one use"));
    let words = rejection(&["warm"], "at,a,warm\n1,5,mild\n");
    assert!(words.contains("2") && words.contains("warm") && words.contains("mild"), "{words}");
}
