//! The encoding of a file.

/// The characters of the bytes 0x80 to 0x9f in Windows-1252, which extends Latin-1.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Number of bytes from which UTF-16 without a byte order mark is recognised.
const SAMPLE: usize = 4000;

/// The content of a file as UTF-8.
pub(super) struct Decoded {
    pub text: Vec<u8>,
    /// The encoding, where it is not UTF-8, and how it was recognised.
    pub other: Option<(&'static str, &'static str)>,
}

/// Converts the content of a file to UTF-8 without a byte order mark. Every content is text in some encoding: what is
/// neither UTF-8 nor UTF-16 is Latin-1.
pub(super) fn decode(mut bytes: Vec<u8>) -> Decoded {
    let mark = "its first bytes are a byte order mark";
    let zeros = "every second byte is 0";
    let (little, big) = ("UTF-16, little endian", "UTF-16, big endian");
    match bytes[..] {
        [0xef, 0xbb, 0xbf, ..] => {
            bytes.drain(..3);
        }
        [0xff, 0xfe, ..] => {
            return Decoded { text: utf16(&bytes[2..], u16::from_le_bytes), other: Some((little, mark)) };
        }
        [0xfe, 0xff, ..] => return Decoded { text: utf16(&bytes[2..], u16::from_be_bytes), other: Some((big, mark)) },
        _ => match zeros_at(&bytes) {
            [0, odd] if odd > 0 => {
                return Decoded { text: utf16(&bytes, u16::from_le_bytes), other: Some((little, zeros)) };
            }
            [even, 0] if even > 0 => {
                return Decoded { text: utf16(&bytes, u16::from_be_bytes), other: Some((big, zeros)) };
            }
            _ => {}
        },
    }
    match std::str::from_utf8(&bytes) {
        Ok(_) => Decoded { text: bytes, other: None },
        Err(_) => {
            let character = |byte: &u8| match byte {
                0x80..=0x9f => WINDOWS[usize::from(byte - 0x80)],
                _ => char::from(*byte),
            };
            let text: String = bytes.iter().map(character).collect();
            Decoded { text: text.into_bytes(), other: Some(("Latin-1", "it is not UTF-8")) }
        }
    }
}

/// Numbers of zeros at even and odd places, where either has them at four of five.
fn zeros_at(bytes: &[u8]) -> [usize; 2] {
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let zeros = |from: usize| sample.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let counts = [zeros(0), zeros(1)];
    if counts.iter().any(|count| 5 * count >= 2 * sample.len() && sample.len() >= 4) { counts } else { [0, 0] }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
    let text = String::from_utf16_lossy(&units);
    text.strip_prefix('\u{feff}').unwrap_or(&text).as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_recognised() {
        let text = "zeit,größe\n1,5 €\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let latin = b"zeit,gr\xf6\xdfe\n1,5 \x80\n".to_vec();
        for (bytes, encoding) in [
            (text.as_bytes().to_vec(), None),
            ([b"\xef\xbb\xbf", text.as_bytes()].concat(), None),
            ([&[0xff, 0xfe], &little[..]].concat(), Some("UTF-16, little endian")),
            (little, Some("UTF-16, little endian")),
            ([&[0xfe, 0xff], &big[..]].concat(), Some("UTF-16, big endian")),
            (big, Some("UTF-16, big endian")),
            (latin, Some("Latin-1")),
        ] {
            let decoded = decode(bytes);
            assert_eq!(String::from_utf8(decoded.text).unwrap(), text);
            assert_eq!(decoded.other.map(|(name, _)| name), encoding);
        }
        assert!(decode(Vec::new()).text.is_empty() && decode(vec![0]).other.is_none());
    }
}
