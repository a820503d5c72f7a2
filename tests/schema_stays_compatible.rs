//! Records that other programs read keep their bytes under the same version number, and `docs/forecast.schema.json`
//! describes the forecasts that are written.

use foretide::{
    snapshot::{CovariateWatermark, TaskProgress, WeightsActivation},
    time::{EventTime, PartitionClock},
    wire::{
        Envelope, ForecastEncoder, ForecastRecord, HorizonAggregate, StateKey, StateKind, TaskCheckpoint,
        ThresholdCrossing, TopicFingerprint,
    },
};
use serde_json::{Value, json};

/// Schema 1, on a regular grid.
const REGULAR: &str = concat!(
    r#"{"schema":1,"stream":"load","series":"plant/1:power","origin":1700000000000,"step":472222,"#,
    r#""times":[1700003600000,1700007200000],"value":20.125000000000004,"point":[20.13,-0.2457],"#,
    r#""quantiles":{"0.05":[19,-18.5],"0.5":[20.13,-0.2457],"0.95":[21,22]},"anomaly":0.7313,"#,
    r#""weights_version":3,"input":{"topic":"meters","partition":7,"offset":123456}}"#,
);
/// Schema 1, on an irregular grid, with a key that JSON must escape and a scale that leaves no decimals.
const IRREGULAR: &str = concat!(
    r#"{"schema":1,"stream":"trades","series":"a\"b\\c\u000a\u00001é","origin":-5,"step":-5,"#,
    r#""times":null,"value":1e21,"point":[1200346],"quantiles":{"0.1":[-1e21],"0.5":[1200346]},"#,
    r#""anomaly":null,"weights_version":0,"input":{"topic":"t","partition":0,"offset":0}}"#,
);
/// Schema 1, one forecast for the whole horizon.
const AGGREGATE: &str = concat!(
    r#"{"schema":1,"stream":"load","series":"plant/1:power","origin":1700000000000,"step":472222,"#,
    r#""times":[1700086400000],"value":20.125000000000004,"point":[20.13],"quantiles":{"0.05":[19],"#,
    r#""0.5":[20.13],"0.95":[21]},"anomaly":0.7313,"target":{"of":"maximum","steps":24},"#,
    r#""crossing":{"threshold":80.5,"probability":0.0312},"weights_version":3,"#,
    r#""input":{"topic":"meters","partition":7,"offset":123456}}"#,
);

fn regular() -> ForecastRecord<'static> {
    ForecastRecord {
        stream: "load",
        series: "plant/1:power",
        origin: EventTime(1_700_000_000_000),
        step: 472_222,
        times: Some(&[1_700_003_600_000, 1_700_007_200_000]),
        value: 20.125_000_000_000_004,
        absent: false,
        point: &[20.13, -0.245_678],
        levels: &[0.05, 0.5, 0.95],
        quantiles: &[19.0, 20.13, 21.0, -18.5, -0.245_678, 22.0],
        anomaly: Some(0.731_28),
        anomalous: None,
        aggregate: None,
        weights_version: 3,
        topic: "meters",
        partition: 7,
        offset: 123_456,
        scale: 1.5,
        bounds: None,
    }
}

fn aggregate() -> ForecastRecord<'static> {
    ForecastRecord {
        times: Some(&[1_700_086_400_000]),
        point: &[20.13],
        quantiles: &[19.0, 20.13, 21.0],
        aggregate: Some(HorizonAggregate {
            of: "maximum",
            steps: 24,
            crossing: Some(ThresholdCrossing { threshold: 80.5, probability: 0.031_24 }),
        }),
        ..regular()
    }
}

fn irregular() -> ForecastRecord<'static> {
    ForecastRecord {
        stream: "trades",
        series: "a\"b\\c\n\u{0}1é",
        origin: EventTime(-5),
        step: -5,
        times: None,
        value: 1e21,
        absent: false,
        point: &[1_200_345.5],
        levels: &[0.1, 0.5],
        quantiles: &[-1e21, 1_200_345.5],
        anomaly: None,
        anomalous: None,
        aggregate: None,
        weights_version: 0,
        topic: "t",
        partition: 0,
        offset: 0,
        scale: 5e4,
        bounds: None,
    }
}

fn encode(record: &ForecastRecord<'_>) -> String {
    let mut out = Vec::new();
    ForecastEncoder::new().encode(record, &mut out);
    String::from_utf8(out).expect("the record is UTF-8")
}

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/forecast.schema.json");
    let text = std::fs::read_to_string(path).expect("docs/forecast.schema.json can be read");
    serde_json::from_str(&text).expect("docs/forecast.schema.json is JSON")
}

/// Checks `value` against the keywords of JSON Schema that our schema uses. Any other keyword is an error, so that none
/// is ignored.
fn check(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().ok_or("a schema must be an object")? {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" => true,
            "const" => value == rule,
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| is_type(value, name)),
                name => is_type(value, name),
            },
            "minimum" => value.as_f64() >= rule.as_f64(),
            "required" => {
                let names = rule.as_array().ok_or("required must be a list")?;
                names.iter().all(|name| name.as_str().is_some_and(|name| value.get(name).is_some()))
            }
            "properties" => {
                for (name, member) in rule.as_object().ok_or("properties must be an object")? {
                    if let Some(value) = value.get(name) {
                        check(member, value, &format!("{place}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    check(rule, value, &format!("{place}.{name}"))?;
                }
                true
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    check(rule, value, &format!("{place}[]"))?;
                }
                true
            }
            other => return Err(format!("{place}: this test does not implement the keyword {other:?}")),
        };
        if !holds {
            return Err(format!("{place}: expected {keyword} {rule}, found {value}"));
        }
    }
    Ok(())
}

fn is_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        _ => false,
    }
}

#[test]
fn forecasts_of_schema_1_keep_their_bytes() {
    assert_eq!(encode(&regular()), REGULAR);
    assert_eq!(encode(&irregular()), IRREGULAR);
    assert_eq!(encode(&aggregate()), AGGREGATE);
}

#[test]
fn forecasts_conform_to_the_schema() {
    let absent = encode(&ForecastRecord { absent: true, ..regular() });
    assert_eq!(absent, REGULAR.replace(r#","point":"#, r#","absent":true,"point":"#));
    for text in [encode(&regular()), encode(&irregular()), REGULAR.into(), IRREGULAR.into(), AGGREGATE.into(), absent] {
        let value = serde_json::from_str(&text).expect("a forecast is JSON");
        assert_eq!(check(&schema(), &value, "forecast"), Ok(()));
    }
}

#[test]
fn every_field_of_a_forecast_has_a_description() {
    let (schema, value) = (schema(), serde_json::from_str::<Value>(AGGREGATE).expect("a sample is JSON"));
    let parts = ["input", "target", "crossing"].map(|part| (&schema["properties"][part], &value[part]));
    for (described, written) in parts.into_iter().chain([(&schema, &value)]) {
        for name in written.as_object().expect("an object").keys() {
            assert!(described["properties"][name]["description"].is_string(), "{name} is not described");
        }
    }
}

/// The required fields and their types are a promise to readers.
#[test]
fn schema_1_keeps_its_required_fields_and_types() {
    let schema = schema();
    let expected = [
        "schema",
        "stream",
        "series",
        "origin",
        "step",
        "times",
        "value",
        "point",
        "quantiles",
        "anomaly",
        "weights_version",
        "input",
    ];
    for name in expected {
        assert!(schema["required"].as_array().expect("a list").contains(&json!(name)), "{name} is not required");
    }
    let types = |name: &str| schema["properties"][name]["type"].clone();
    assert_eq!(schema["properties"]["schema"]["const"], json!(1));
    for name in ["origin", "step", "weights_version"] {
        assert_eq!(types(name), json!("integer"), "{name}");
    }
    for (name, expected) in [
        ("stream", json!("string")),
        ("series", json!("string")),
        ("times", json!(["array", "null"])),
        ("value", json!("number")),
        ("point", json!("array")),
        ("quantiles", json!("object")),
        ("anomaly", json!(["number", "null"])),
        ("input", json!("object")),
    ] {
        assert_eq!(types(name), expected, "{name}");
    }
    assert_eq!(schema["properties"]["input"]["required"], json!(["topic", "partition", "offset"]));
}

#[test]
fn the_check_finds_missing_and_wrong_fields() {
    let (schema, good) = (schema(), serde_json::from_str::<Value>(REGULAR).expect("a sample is JSON"));
    for name in good.as_object().expect("an object").keys() {
        let mut bad = good.clone();
        bad.as_object_mut().expect("an object").remove(name);
        assert!(check(&schema, &bad, "forecast").is_err(), "without {name}");
        let mut bad = good.clone();
        bad[name] = json!(true);
        assert!(check(&schema, &bad, "forecast").is_err(), "{name} of a wrong type");
    }
    for (pointer, wrong) in [("/times/0", json!(0.5)), ("/quantiles/0.5/1", json!(null)), ("/input/offset", json!(-1))]
    {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect("it is there") = wrong;
        assert!(check(&schema, &bad, "forecast").is_err(), "{pointer}");
    }
    assert!(check(&json!({ "maximum": 1 }), &good, "forecast").is_err());
}

/// The checkpoint of a task as this layout writes it.
const TASK: &[u8] = b"FTST\x05\x00\x02\xd2\x04\x00\x00\x00\x00\x00\x00\xd0\x0f\xb0\x90\xab\xfe\xf9b\x00\x02\x00\x00\
    \x88\x0e\x01\x01\xd0\x0f\x06\x18\xef\x1b\xe8\x07\xcd\xd7\x02\x01\xa2\x13\x80\xa0\xab\xfe\xf9b\xbf\x10\xccM";

fn checkpoint() -> TaskCheckpoint {
    TaskCheckpoint {
        progress: TaskProgress {
            replay_from: 1000,
            event_time: 1_699_999_999_000,
            rebuilt_to: 0,
            activations: [(0, 0), (900, 1)].map(|(position, version)| WeightsActivation { position, version }).into(),
            watermarks: vec![CovariateWatermark { position: 1000, oldest: 3, next: 12, digest: 0xDEF }],
            emit_from: 500,
            clock: PartitionClock::default(),
        },
        fingerprint: 0xABCD,
        topic_fingerprint: Some(TopicFingerprint { offset: 1233, timestamp: 1_700_000_000_000 }),
        series: None,
    }
}

#[test]
fn state_of_layout_5_keeps_its_bytes() {
    let body = checkpoint().to_bytes().expect("a task checkpoint can be written");
    let mut bytes = Vec::new();
    Envelope::new(StateKind::Task, 1234, &body).encode(&mut bytes);
    assert_eq!(bytes.escape_ascii().to_string(), TASK.escape_ascii().to_string());
    let envelope = Envelope::decode(TASK).expect("stored state can be read");
    assert_eq!((envelope.kind, envelope.position), (StateKind::Task, 1234));
    assert_eq!(TaskCheckpoint::from_bytes(envelope.body), Ok(checkpoint()));
    let key = StateKey::parse(b"1/series/load/meters/7/plant%2F1").expect("a stored key can be read");
    let series =
        StateKey::Series { stream: "load".into(), topic: "meters".into(), partition: 7, series: "plant/1".into() };
    assert_eq!(key, series);
}

#[test]
fn state_of_another_layout_is_refused_as_unknown() {
    let mut bytes = TASK.to_vec();
    bytes[4] = 3;
    let error = Envelope::decode(&bytes).expect_err("another layout").to_string();
    assert!(error.contains("unknown layout 3"), "{error}");
}
