//! Tests of the decoder: what it delivers, and every reason for a rejection.

use proptest::prelude::*;

use super::*;
use crate::wire::timestamp::TimeFormat;

type Delivered = Vec<(String, i64, f64)>;

fn spec() -> DecodeSpec {
    DecodeSpec {
        format: Format::Json,
        key: KeySource::Record,
        time: TimeSource::Field { name: "ts".into(), format: TimeFormat::EpochMillis },
        values: vec!["value".into()],
        covariates: Vec::new(),
        max_record_bytes: 1 << 20,
        max_key_bytes: 64,
        earliest: EventTime(0),
        latest: EventTime(4_102_444_800_000),
    }
}

fn several() -> DecodeSpec {
    DecodeSpec { values: vec!["cpu".into(), "disk.read".into(), "net".into()], ..spec() }
}

fn csv() -> DecodeSpec {
    let columns = ["when", "site", "unit", "a", "b"].map(String::from).to_vec();
    DecodeSpec {
        format: Format::Csv { columns, delimiter: b';' },
        key: KeySource::Fields(vec!["site".into(), "unit".into()]),
        time: TimeSource::Field { name: "when".into(), format: TimeFormat::Rfc3339 },
        values: vec!["a".into(), "b".into()],
        ..spec()
    }
}

fn decode(spec: DecodeSpec, key: Option<&[u8]>, payload: Option<&[u8]>) -> (Delivered, Result<(), Rejection>) {
    let mut delivered = Vec::new();
    let result = Decoder::new(spec).unwrap().decode(key, Some(77), payload, &mut |series, time, value, _| {
        delivered.push((series.to_owned(), time.0, value));
    });
    (delivered, result)
}

fn rejected(spec: DecodeSpec, payload: &str) -> (RejectionReason, String) {
    let (delivered, result) = decode(spec, Some(b"k"), Some(payload.as_bytes()));
    assert_eq!(delivered, [], "{payload}");
    let rejection = result.unwrap_err();
    (rejection.reason, rejection.detail)
}

#[test]
fn a_single_value_has_the_name_of_its_key() {
    let (delivered, result) = decode(spec(), Some(b"meter-1"), Some(br#"{"ts":1000,"value":-1.5e1}"#));
    assert_eq!((delivered, result), (vec![("meter-1".into(), 1000, -15.0)], Ok(())));
}

#[test]
fn covariates_come_with_every_value_and_may_be_missing() {
    let spec = || DecodeSpec { covariates: vec!["warm".into(), "out.wind".into(), "cpu".into()], ..several() };
    let decode = |payload: &str| {
        let mut delivered = Vec::new();
        let mut decoder = Decoder::new(spec()).unwrap();
        let result = decoder.decode(Some(b"h"), None, Some(payload.as_bytes()), &mut |series, _, value, covariates| {
            let covariates: Vec<Option<f64>> =
                covariates.iter().map(|number| (!number.is_nan()).then_some(*number)).collect();
            delivered.push((series.to_owned(), value, covariates));
        });
        (delivered, result)
    };
    let (delivered, result) = decode(r#"{"ts":5,"cpu":1,"net":3,"warm":-4.5,"out":{"wind":null}}"#);
    let covariates = vec![Some(-4.5), None, Some(1.0)];
    assert_eq!(delivered, [("h:cpu".to_owned(), 1.0, covariates.clone()), ("h:net".to_owned(), 3.0, covariates)]);
    assert_eq!(result, Ok(()));
    // An unusable covariate is reported, and the values are delivered without it.
    let (delivered, result) = decode(r#"{"ts":5,"net":3,"warm":"mild"}"#);
    assert_eq!(delivered, [("h:net".to_owned(), 3.0, vec![None; 3])]);
    let rejection = result.unwrap_err();
    assert_eq!(rejection.reason, RejectionReason::WrongType);
    assert!(
        rejection.detail.starts_with(r#"covariate "warm": expected a number without quotes"#),
        "{}",
        rejection.detail
    );
    assert_eq!(decode(r#"{"ts":5,"warm":1}"#).1.unwrap_err().reason, RejectionReason::MissingField);
}

#[test]
fn several_values_have_the_names_of_key_and_field() {
    let payload = br#"{"net":3,"disk":{"read":2},"cpu":1,"ts":5,"other":[{}]}"#;
    let (delivered, result) = decode(several(), Some(b"h"), Some(payload));
    let expected = [("h:cpu", 1.0), ("h:disk.read", 2.0), ("h:net", 3.0)];
    assert_eq!(delivered, expected.map(|(series, value)| (series.to_owned(), 5, value)));
    assert_eq!(result, Ok(()));
}

#[test]
fn an_unusable_field_costs_that_field_alone() {
    let payload = br#"{"cpu":NaN,"disk":{"read":2},"net":"3","ts":5}"#;
    let (delivered, result) = decode(several(), Some(b"h"), Some(payload));
    assert_eq!(delivered, [("h:disk.read".to_owned(), 5, 2.0)]);
    let rejection = result.unwrap_err();
    assert_eq!(rejection.reason, RejectionReason::NotFinite);
    assert_eq!(
        rejection.detail,
        "value field \"cpu\": expected a finite number, found the number NaN (and 1 more fields)"
    );
}

#[test]
fn of_several_values_some_may_be_missing_but_not_all() {
    let (delivered, result) = decode(several(), Some(b"h"), Some(br#"{"cpu":null,"net":3,"ts":5}"#));
    assert_eq!((delivered, result), (vec![("h:net".into(), 5, 3.0)], Ok(())));
    let (reason, detail) = rejected(several(), r#"{"cpu":null,"ts":5}"#);
    assert_eq!(reason, RejectionReason::MissingField);
    assert_eq!(detail, "expected a number in at least one of the value fields cpu, disk.read, net");
}

#[test]
fn every_kind_of_bad_value_has_its_reason() {
    let cases = [
        (
            r#"{"ts":1,"value":"7"}"#,
            RejectionReason::WrongType,
            "expected a number without quotes, found the text \"7\"",
        ),
        (r#"{"ts":1,"value":true}"#, RejectionReason::WrongType, "expected a number, found true"),
        (r#"{"ts":1,"value":[7]}"#, RejectionReason::WrongType, "expected a number, found a list"),
        (r#"{"ts":1,"value":{}}"#, RejectionReason::WrongType, "expected a number, found an object"),
        (r#"{"ts":1,"value":null}"#, RejectionReason::MissingField, "expected a number, found null"),
        (r#"{"ts":1}"#, RejectionReason::MissingField, "expected a number, found nothing"),
        (r#"{"ts":1,"value":NaN}"#, RejectionReason::NotFinite, "found the number NaN"),
        (r#"{"ts":1,"value":-Infinity}"#, RejectionReason::NotFinite, "found the number -Infinity"),
        (
            r#"{"ts":1,"value":1.01e100}"#,
            RejectionReason::OutOfRange,
            "at most 1e100 in size, found the number 1.01e100",
        ),
        (r#"{"ts":1,"value":-1e999}"#, RejectionReason::OutOfRange, "found the number -1e999"),
    ];
    for (payload, reason, detail) in cases {
        let (found, text) = rejected(spec(), payload);
        assert_eq!(found, reason, "{payload}");
        assert!(text.starts_with("value field \"value\": ") && text.ends_with(detail), "{payload}: {text}");
    }
    let (delivered, _) = decode(spec(), Some(b"k"), Some(br#"{"ts":1,"value":-1e100}"#));
    assert_eq!(delivered.len(), 1);
}

#[test]
fn every_kind_of_bad_time_has_its_reason() {
    let cases = [
        (r#"{"value":1}"#, RejectionReason::MissingField, "found nothing"),
        (r#"{"ts":null,"value":1}"#, RejectionReason::MissingField, "found null"),
        (r#"{"ts":"1000","value":1}"#, RejectionReason::WrongType, "found the text \"1000\""),
        (r#"{"ts":NaN,"value":1}"#, RejectionReason::BadTime, "found the number NaN"),
        (r#"{"ts":1e40,"value":1}"#, RejectionReason::BadTime, "found the number 1e40"),
        (r#"{"ts":-1,"value":1}"#, RejectionReason::AbsurdTime, "means 1969-12-31T23:59:59.999Z; expected a time from"),
        (r#"{"ts":4102444800001,"value":1}"#, RejectionReason::AbsurdTime, "to 2100-01-01T00:00:00Z"),
        (r#"{"ts":999999999999999,"value":1}"#, RejectionReason::AbsurdTime, "means 999999999999999 ms"),
    ];
    for (payload, reason, detail) in cases {
        let (found, text) = rejected(spec(), payload);
        assert_eq!(found, reason, "{payload}");
        assert!(text.contains(detail), "{payload}: {text}");
    }
    let rfc = DecodeSpec { time: TimeSource::Field { name: "ts".into(), format: TimeFormat::Rfc3339 }, ..spec() };
    assert_eq!(rejected(rfc.clone(), r#"{"ts":1000,"value":1}"#).0, RejectionReason::WrongType);
    assert_eq!(rejected(rfc, r#"{"ts":"2024-05-01","value":1}"#).0, RejectionReason::BadTime);
}

#[test]
fn times_beyond_the_calendar_are_implausible_under_any_spec() {
    let wide = DecodeSpec { earliest: EventTime(i64::MIN), latest: EventTime(i64::MAX), ..spec() };
    assert_eq!(rejected(wide, r#"{"ts":253402300800000,"value":1}"#).0, RejectionReason::AbsurdTime);
}

#[test]
fn the_timestamp_of_the_record_can_be_the_time() {
    let spec = DecodeSpec { time: TimeSource::Record, ..spec() };
    let (delivered, _) = decode(spec.clone(), Some(b"k"), Some(br#"{"value":1}"#));
    assert_eq!(delivered, [("k".to_owned(), 77, 1.0)]);
    let mut decoder = Decoder::new(spec).unwrap();
    let rejection = decoder.decode(Some(b"k"), None, Some(br#"{"value":1}"#), &mut |_, _, _, _| {}).unwrap_err();
    assert_eq!(rejection.reason, RejectionReason::BadTime);
}

#[test]
fn a_record_without_a_value_deletes_the_series_of_its_key() {
    let deleted = |spec: DecodeSpec, key: Option<&[u8]>| {
        let mut names = Vec::new();
        let result = Decoder::new(spec).unwrap().decode_tombstone(key, &mut |series| names.push(series.to_owned()));
        result.map(|()| names).map_err(|rejection| rejection.reason)
    };
    assert_eq!(deleted(spec(), Some(b"k")), Ok(vec!["k".into()]));
    let two = DecodeSpec { values: vec!["a".into(), "b".into()], ..spec() };
    assert_eq!(deleted(two, Some(b"k")), Ok(vec!["k:a".into(), "k:b".into()]));
    assert_eq!(deleted(spec(), None), Err(RejectionReason::MissingKey));
    assert_eq!(deleted(spec(), Some(b"\xff")), Err(RejectionReason::NotUtf8));
    for fields in [vec![], vec!["host".to_owned()]] {
        let keyed = DecodeSpec { key: KeySource::Fields(fields), ..spec() };
        assert_eq!(deleted(keyed, Some(b"k")), Err(RejectionReason::Tombstone), "its key is none of a series");
    }
}

#[test]
fn every_kind_of_bad_record_has_its_reason() {
    let small = DecodeSpec { max_record_bytes: 29, ..spec() };
    let huge = vec![b' '; 10_000_000];
    let cases: [(Option<&[u8]>, RejectionReason); 7] = [
        (None, RejectionReason::Tombstone),
        (Some(b""), RejectionReason::EmptyRecord),
        (Some(b" \r\n"), RejectionReason::EmptyRecord),
        (Some(b"{\"ts\":1,\"value\":2,\"more\":true}"), RejectionReason::TooLarge),
        (Some(&huge), RejectionReason::TooLarge),
        (Some(b"{\"ts\":1,\"value\":\"\xff\"}"), RejectionReason::NotUtf8),
        (Some(b"{\"ts\":1,\"value\":2"), RejectionReason::BrokenJson),
    ];
    for (payload, reason) in cases {
        let (delivered, result) = decode(small.clone(), Some(b"k"), payload);
        assert_eq!(delivered, []);
        assert_eq!(result.unwrap_err().reason, reason, "{payload:?}");
    }
    let (_, detail) = rejected(spec(), r#"{"ts":1,"value":2,}"#);
    assert_eq!(detail, "expected a name in quotes at byte 18, found \"}\"");
}

#[test]
fn every_kind_of_bad_key_has_its_reason() {
    let long = "k".repeat(65);
    let cases: [(Option<&[u8]>, RejectionReason); 4] = [
        (None, RejectionReason::MissingKey),
        (Some(b""), RejectionReason::MissingKey),
        (Some(b"\xc3"), RejectionReason::NotUtf8),
        (Some(long.as_bytes()), RejectionReason::TooLarge),
    ];
    for (key, reason) in cases {
        let (delivered, result) = decode(spec(), key, Some(br#"{"ts":1,"value":2}"#));
        assert_eq!((delivered, result.unwrap_err().reason), (vec![], reason));
    }
    let fields = DecodeSpec { key: KeySource::Fields(vec!["id".into()]), ..spec() };
    for (id, reason) in [
        ("null", RejectionReason::MissingKey),
        ("\"\"", RejectionReason::MissingKey),
        ("1.5", RejectionReason::WrongType),
        ("NaN", RejectionReason::WrongType),
        ("[]", RejectionReason::WrongType),
    ] {
        assert_eq!(rejected(fields.clone(), &format!("{{\"id\":{id},\"ts\":1,\"value\":2}}")).0, reason, "{id}");
    }
    assert_eq!(rejected(fields, r#"{"ts":1,"value":2}"#).0, RejectionReason::MissingKey);
}

#[test]
fn key_fields_are_joined_and_never_collide() {
    let name = |fields: &[&str], payload: &str| {
        let key = KeySource::Fields(fields.iter().map(|&field| field.into()).collect());
        let (delivered, result) = decode(DecodeSpec { key, ..spec() }, None, Some(payload.as_bytes()));
        result.unwrap();
        delivered[0].0.clone()
    };
    assert_eq!(name(&["a"], r#"{"a":"x/y~\u00e9","ts":1,"value":2}"#), "x/y~é");
    assert_eq!(name(&["a", "m.b"], r#"{"a":"x/y","m":{"b":-7},"ts":1,"value":2}"#), "x~1y/-7");
    assert_eq!(name(&["a", "m.b"], r#"{"a":"x","m":{"b":"y~/"},"ts":1,"value":2}"#), "x/y~0~1");
    assert_eq!(name(&["a", "b"], r#"{"a":true,"b":false,"ts":1,"value":2}"#), "true/false");
    assert_eq!(name(&[], r#"{"ts":1,"value":2}"#), "value");
}

#[test]
fn csv_lines_are_read_by_their_columns() {
    let line = b"2024-05-01T00:00:00Z;\"north;1\";u/2; 1.5 ;\r\n";
    let (delivered, result) = decode(csv(), None, Some(line));
    assert_eq!((delivered, result), (vec![("north;1/u~12:a".into(), 1_714_521_600_000, 1.5)], Ok(())));
    let time = "2024-05-01T00:00:00Z;n;u;";
    let cases = [
        ("nan;inf", RejectionReason::NotFinite),
        (" x ;", RejectionReason::WrongType),
        ("1e101;", RejectionReason::OutOfRange),
        ("1e999;", RejectionReason::OutOfRange),
        (";", RejectionReason::MissingField),
        ("1", RejectionReason::BrokenCsv),
        ("1;2;3", RejectionReason::BrokenCsv),
    ];
    for (cells, reason) in cases {
        assert_eq!(rejected(csv(), &format!("{time}{cells}")).0, reason, "{cells}");
    }
    assert_eq!(rejected(csv(), "x;n;u;1;2").0, RejectionReason::BadTime);
    assert_eq!(rejected(csv(), ";n;u;1;2").0, RejectionReason::MissingField);
    assert_eq!(rejected(csv(), "2024-05-01T00:00:00Z;;u;1;2").0, RejectionReason::MissingKey);
}

#[test]
fn contradicting_specs_are_rejected() {
    let error = |spec| Decoder::new(spec).map(|_| ()).unwrap_err();
    assert_eq!(error(DecodeSpec { values: vec![], ..spec() }), DecodeSpecError::NoValues);
    let twice = vec!["a".to_owned(), "b".into(), "a".into()];
    assert_eq!(error(DecodeSpec { values: twice, ..spec() }), DecodeSpecError::Repeated("a".into()));
    let ambiguous = vec!["a:b".to_owned(), "b".into()];
    let expected = DecodeSpecError::Ambiguous("a:b".into(), "b".into());
    assert_eq!(error(DecodeSpec { values: ambiguous, ..spec() }), expected);
    let conflict = vec!["m".to_owned(), "m.b".into()];
    assert_eq!(error(DecodeSpec { values: conflict, ..spec() }), DecodeSpecError::Conflict("m.b".into()));
    let message = error(DecodeSpec { values: vec!["c".into()], ..csv() }).to_string();
    assert!(message.contains("\"c\" is none of the columns (when, site, unit, a, b)"), "{message}");
    for delimiter in [b'"', b'\n', 0xff] {
        let format = Format::Csv { columns: vec!["when".into()], delimiter };
        assert_eq!(error(DecodeSpec { format, ..csv() }), DecodeSpecError::Delimiter(char::from(delimiter)));
    }
}

#[test]
fn a_record_with_very_many_fields_takes_no_quadratic_time() {
    // 20,000 fields: a linear search for each would take minutes.
    let values: Vec<String> = (0..20_000).map(|number| format!("f{number}")).collect();
    let members: Vec<String> = values.iter().rev().map(|name| format!("\"{name}\":1")).collect();
    let payload = format!("{{\"ts\":1,\"deep\":{}{},{}}}", "[".repeat(60), "]".repeat(60), members.join(","));
    let mut paths = Paths::new(&values).unwrap();
    let mut fields = Fields::default();
    fields.clear(values.len());
    paths.read(&payload, &mut fields).unwrap();
    assert!(fields.values.iter().all(|found| matches!(found, FieldValue::Number(_))));
}

proptest! {
    #[test]
    fn numbers_are_read_to_the_last_bit(value in -1e100..1e100f64, time in 0..4_102_444_800_000i64) {
        let payload = serde_json::json!({ "value": value, "ts": time }).to_string();
        let (delivered, result) = decode(spec(), Some(b"k"), Some(payload.as_bytes()));
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(delivered[0].1, time);
        prop_assert_eq!(delivered[0].2.to_bits(), value.to_bits());
    }

    /// JSON and CSV of the same rows give the same observations.
    #[test]
    fn formats_agree(a in -1e9..1e9f64, b in proptest::option::of(-1e-9..1e-9f64), site in "[a-z;/~\"]{1,6}") {
        let json = serde_json::json!({ "when": "2024-05-01T00:00:00Z", "site": site, "unit": "u", "a": a, "b": b });
        let quoted = site.replace('"', "\"\"");
        let line = format!("2024-05-01T00:00:00Z;\"{quoted}\";u;{a};{}", b.map_or(String::new(), |b| b.to_string()));
        let from_json = decode(DecodeSpec { format: Format::Json, ..csv() }, None, Some(json.to_string().as_bytes()));
        prop_assert_eq!(from_json, decode(csv(), None, Some(line.as_bytes())));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        text in "[\\[\\]{}:,;\"\\\\a-z0-9.+ \n-]{0,100}",
        timestamp in proptest::option::of(any::<i64>()),
    ) {
        for spec in [spec(), several(), csv()] {
            let mut decoder = Decoder::new(spec).unwrap();
            for payload in [&payload[..], text.as_bytes()] {
                let result = decoder.decode(key.as_deref(), timestamp, Some(payload), &mut |series, time, value, _| {
                    assert!(!series.is_empty() && value.abs() <= MAX_MAGNITUDE && time >= EventTime(0));
                });
                if let Err(rejection) = result {
                    prop_assert!(rejection.detail.len() <= crate::wire::MAX_DETAIL_BYTES);
                }
            }
        }
    }
}
