//! Recognises values that a serializer with a schema registry has framed.

/// The first byte of a value in Confluent's framing. Neither JSON nor a line of text begins with it.
const MAGIC: u8 = 0;
/// The magic byte and the schema's id, big-endian.
const HEADER_BYTES: usize = 5;

/// Describes a value that looks like Confluent's framing, and what to do about it.
pub(super) fn describe(value: &[u8]) -> Option<String> {
    let (header, body) = value.split_at_checked(HEADER_BYTES)?;
    let [MAGIC, id @ ..] = header else { return None };
    let id = u32::from_be_bytes(id.try_into().ok()?);
    let within = if body.first() == Some(&b'{') { "JSON" } else { "Avro or Protobuf" };
    Some(format!(
        "looks like Confluent framing (a zero byte, schema id {id}, then {within}); expected the bare value in the \
         stream's format: write the topic without a Schema Registry serializer, or convert it to plain JSON"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_recognised_with_its_schema_id() {
        let json = describe(b"\0\0\0\0\x2a{\"v\":1}").unwrap();
        assert!(json.contains("Confluent framing (a zero byte, schema id 42, then JSON)"), "{json}");
        assert!(describe(b"\0\0\0\x01\0\x02\xff").unwrap().contains("schema id 256, then Avro or Protobuf"));
    }

    #[test]
    fn other_values_are_not_taken_for_it() {
        for other in [&b"{\"v\":1}"[..], b"", b"\0\0\0\0", b"1,2,3,4"] {
            assert_eq!(describe(other), None, "{other:?}");
        }
    }
}
