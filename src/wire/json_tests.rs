//! Tests of the JSON reader. serde_json is the reference.

use super::*;
use proptest::prelude::*;

fn read(names: &[&str], text: &str) -> Result<Vec<String>, SyntaxError> {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let mut paths = Paths::new(&names).unwrap();
    let mut fields = Fields::default();
    fields.clear(names.len());
    paths.read(text, &mut fields)?;
    Ok(fields.values.iter().map(|&found| fields.describe(text, found)).collect())
}

#[test]
fn configured_fields_are_extracted_wherever_they_stand() {
    let text = " { \"skip\": [1,{\"a\":[]},\"x\\n\"], \"a\" : 1.5e3 ,\
                \"m\":{\"b\":\"q\\\"\\u00e9\\ud83d\\ude00\",\"z\":{}},\
                \"c\":null,\"d\":true, \"l\":[], \"o\":{\"b\":1}, \"dot.ted\": -0 }\n";
    let found = read(&["a", "m.b", "c", "d", "l", "o", "dot\\.ted", "none", "m.none"], text).unwrap();
    assert_eq!(
        found,
        [
            "the number 1.5e3",
            "the text \"q\\\"é😀\"",
            "null",
            "true",
            "a list",
            "an object",
            "the number -0",
            "nothing",
            "nothing"
        ]
    );
}

#[test]
fn escaped_names_are_the_names_they_spell() {
    assert_eq!(read(&["value"], r#"{"v\u0061lue":7}"#).unwrap(), ["the number 7"]);
}

#[test]
fn repeated_names_of_configured_fields_are_rejected() {
    for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":null}"#, r#"{"m":{"b":1},"m":{}}"#, r#"{"m":{"b":1,"b":2}}"#] {
        assert_eq!(read(&["a", "m.b"], text).unwrap_err().expected, "each configured field once", "{text}");
    }
    assert!(read(&["a"], r#"{"x":1,"x":2,"y":{"a":3},"a":1}"#).is_ok());
}

#[test]
fn words_that_are_not_json_numbers_cost_their_field_alone() {
    let found = read(&["a", "b", "c", "d"], r#"{"a":NaN,"b":-Infinity,"c":Infinity,"d":2}"#).unwrap();
    assert_eq!(found, ["the number NaN", "the number -Infinity", "the number Infinity", "the number 2"]);
}

#[test]
fn malformed_text_is_rejected_with_its_place() {
    let cases = [
        ("[1]", 0, "a JSON object"),
        ("{\"a\" 1}", 5, "':'"),
        ("{\"a\":1 \"b\":2}", 7, "',' or '}'"),
        ("{\"a\":1,}", 7, "a name in quotes"),
        ("{\"a\":01}", 6, "',' or '}'"),
        ("{\"a\":1.}", 7, "a digit"),
        ("{\"a\":-}", 6, "a digit"),
        ("{\"a\":1e+}", 8, "a digit"),
        ("{\"a\":+1}", 5, "a value"),
        ("{\"a\":nul}", 5, "a value"),
        ("{\"a\":\"x", 7, "the '\"' that ends a text"),
        ("{\"a\":\"\t\"}", 6, "no control character in a text"),
        ("{\"a\":\"\\x\"}", 6, "an escape that JSON knows"),
        ("{\"a\":\"\\ud800\"}", 6, "an escape that JSON knows"),
        ("{\"a\":\"\\u12\"}", 6, "an escape that JSON knows"),
        ("{\"a\":[1,]}", 8, "a value"),
        ("{\"a\":1}{", 7, "nothing after the object"),
        ("{\"a\":1", 6, "',' or '}'"),
    ];
    for (text, at, expected) in cases {
        assert_eq!(read(&["a"], text), Err(SyntaxError { at, expected }), "{text}");
    }
}

#[test]
fn depth_is_limited_and_never_overflows_the_stack() {
    let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&["a"], &nested(MAX_DEPTH - 1)).is_ok());
    assert!(read(&["a"], &nested(MAX_DEPTH)).is_err());
    assert!(read(&["a"], &"[{\"a\":".repeat(500_000)).is_err());
    assert!(read(&["a"], &"{\"a\":".repeat(500_000)).is_err());
}

#[test]
fn contradicting_paths_are_rejected() {
    let paths = |names: &[&str]| Paths::new(&names.iter().map(|&name| name.into()).collect::<Vec<_>>()).map(|_| ());
    assert_eq!(paths(&["a", "a.b"]), Err(DecodeSpecError::Conflict("a.b".into())));
    assert_eq!(paths(&["a.b", "a"]), Err(DecodeSpecError::Conflict("a".into())));
    assert_eq!(paths(&["a..b"]), Err(DecodeSpecError::Path("a..b".into())));
    assert_eq!(paths(&[""]), Err(DecodeSpecError::Path("".into())));
    assert_eq!(paths(&[&"a.".repeat(16)]), Err(DecodeSpecError::Path("a.".repeat(16))));
    assert_eq!(paths(&["a.b", "a.c", "d"]), Ok(()));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Into::into),
        "(?s).{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map("[a-c\\\\\"é]{0,2}", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_writes(value in json(), number in any::<f64>()) {
        prop_assume!(number.is_finite());
        let text = serde_json::json!({ "other": value, "number": number }).to_string();
        let mut paths = Paths::new(&["number".into()]).unwrap();
        let mut fields = Fields::default();
        fields.clear(1);
        prop_assert_eq!(paths.read(&text, &mut fields), Ok(()));
        let FieldValue::Number(span) = fields.values[0] else { panic!("no number") };
        let read: f64 = fields.text(&text, span).parse().unwrap();
        prop_assert_eq!(read.to_bits(), number.to_bits());
    }

    /// Damaged text is accepted where serde_json accepts it, and rejected where serde_json rejects it.
    #[test]
    fn agrees_with_serde_json_on_damaged_text(
        value in json(), at in any::<prop::sample::Index>(),
        with in "[\\[\\]{}:,\"\\\\0-9.eEu+ \\-]{0,2}", cut in 0..3usize,
    ) {
        let mut text = serde_json::json!({ "k": value, "n": 1.5e-7 }).to_string();
        let at = at.index(text.len());
        let at = (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap();
        let end = (at + cut).min(text.len());
        prop_assume!(text.is_char_boundary(end));
        text.replace_range(at..end, &with);
        // serde_json rejects numbers beyond f64; here they cost their field alone.
        prop_assume!(!text.contains("e9") && !text.contains("E9"));
        let parsed = serde_json::from_str::<serde_json::Value>(&text);
        let numbers_too_large = parsed.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        prop_assume!(!numbers_too_large);
        let accepted = parsed.is_ok_and(|value| value.is_object());
        prop_assert_eq!(read(&["other"], &text).is_ok(), accepted, "{}", text);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,120}", structure in "[\\[\\]{}:,\"\\\\a0-9.eu \\-]{0,60}") {
        let _ = read(&["a", "b.c"], &text);
        let _ = read(&["a", "b.c"], &structure);
        let _ = read(&["a", "b.c"], &format!("{{\"a\":{structure}"));
    }
}
