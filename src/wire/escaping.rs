//! Escaping of the parts of keys.

use std::fmt::Write as _;

/// Appends a part of a key to `out`, without `/` and control characters, so that [`unescape`] can read it back.
pub(super) fn escape(out: &mut String, part: &str) {
    for character in part.chars() {
        if character == '%' || character == '/' || character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(character);
        }
    }
}

/// Reads a part of a key back. `None` where [`escape`] does not write such a part.
pub(super) fn unescape(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    let mut again = String::with_capacity(part.len());
    escape(&mut again, &text);
    (again == part).then_some(text)
}
