//! A short, printable piece of a record, for a log line.

/// The most bytes of a record that a sample shows.
const MAX_BYTES: usize = 100;

/// The beginning of a record's value on one line: control characters and bytes that are not UTF-8 are escaped.
pub fn sample(value: Option<&[u8]>) -> String {
    let Some(value) = value else { return "no value".into() };
    let mut text = String::new();
    let shown = &value[..value.len().min(MAX_BYTES)];
    for chunk in shown.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        // The cut may have split a character; the ellipsis stands for it.
        let cut = value.len() > MAX_BYTES && chunk.invalid().as_ptr_range().end == shown.as_ptr_range().end;
        if !cut {
            chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
        }
    }
    if value.len() > MAX_BYTES {
        text.push_str(&format!("… ({} bytes)", value.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_one_short_printable_line() {
        assert_eq!(sample(Some(b"{\"v\": 1}\n")), "{\"v\": 1}\\n");
        assert_eq!(sample(Some(b"\0\xff\x1b[2Jz")), "\\u{0}\\xff\\u{1b}[2Jz");
        assert_eq!(sample(None), "no value");
        let long = "ä".repeat(1000);
        let shown = sample(Some(&long.as_bytes()[1..]));
        assert!(shown.starts_with("\\xa4ää") && shown.ends_with("ä… (1999 bytes)"), "{shown}");
        assert!(shown.chars().count() < 130, "{shown}");
    }
}
