//! Dead letters: a record that could not be used, passed on as it came, with the reason and its origin in headers.

use super::refusal::Rejection;

/// The most bytes of a refused record's value that are passed on; the rest is cut off and the headers say so.
pub const MAX_PAYLOAD_BYTES: usize = 512 * 1024;
/// The most bytes of a refused record's key that are passed on; the rest is cut off and the headers say so.
pub const MAX_KEY_BYTES: usize = 64 * 1024;

/// Header: the stable label of the [`Reason`](super::Reason).
pub const REASON: &str = "foretide.reason";
/// Header: what was expected and found, for a person.
pub const DETAIL: &str = "foretide.detail";
/// Header: the stream that refused the record.
pub const STREAM: &str = "foretide.stream";
/// Header: the topic the record was read from.
pub const TOPIC: &str = "foretide.topic";
/// Header: the partition the record was read from, as decimal text.
pub const PARTITION: &str = "foretide.partition";
/// Header: the record's offset, as decimal text.
pub const OFFSET: &str = "foretide.offset";
/// Header, where the record has a timestamp: milliseconds since the Unix epoch, as decimal text.
pub const TIMESTAMP: &str = "foretide.timestamp";
/// Header, only on a value that was cut: its full length in bytes, as decimal text.
pub const PAYLOAD_BYTES: &str = "foretide.payload_bytes";
/// Header, only on a key that was cut: its full length in bytes, as decimal text.
pub const KEY_BYTES: &str = "foretide.key_bytes";

/// A refused record and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetter<'a> {
    /// Why it was refused.
    pub refusal: &'a Rejection,
    /// The stream that refused it.
    pub stream: &'a str,
    /// The topic it was read from.
    pub topic: &'a str,
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch, where it has one.
    pub timestamp: Option<i64>,
    /// Its key as it came.
    pub key: Option<&'a [u8]>,
    /// Its value as it came.
    pub payload: Option<&'a [u8]>,
}

impl<'a> DeadLetter<'a> {
    /// The key to write: as it came, at most [`MAX_KEY_BYTES`].
    pub fn truncated_key(&self) -> Option<&'a [u8]> {
        self.key.map(|key| &key[..key.len().min(MAX_KEY_BYTES)])
    }

    /// The value to write: as it came, at most [`MAX_PAYLOAD_BYTES`].
    pub fn truncated_payload(&self) -> Option<&'a [u8]> {
        self.payload.map(|payload| &payload[..payload.len().min(MAX_PAYLOAD_BYTES)])
    }

    /// The headers to write, names and bytes, in a fixed order.
    pub fn headers(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut headers = vec![
            (REASON, self.refusal.reason.label().into()),
            (DETAIL, self.refusal.detail.clone().into_bytes()),
            (STREAM, self.stream.into()),
            (TOPIC, self.topic.into()),
            (PARTITION, self.partition.to_string().into_bytes()),
            (OFFSET, self.offset.to_string().into_bytes()),
        ];
        if let Some(timestamp) = self.timestamp {
            headers.push((TIMESTAMP, timestamp.to_string().into_bytes()));
        }
        let cut = [(PAYLOAD_BYTES, self.payload, MAX_PAYLOAD_BYTES), (KEY_BYTES, self.key, MAX_KEY_BYTES)];
        for (name, bytes, limit) in cut {
            if let Some(bytes) = bytes.filter(|bytes| bytes.len() > limit) {
                headers.push((name, bytes.len().to_string().into_bytes()));
            }
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::refusal::Reason;

    fn text(headers: &[(&'static str, Vec<u8>)]) -> Vec<(&'static str, String)> {
        headers.iter().map(|(name, bytes)| (*name, String::from_utf8(bytes.clone()).unwrap())).collect()
    }

    #[test]
    fn a_small_record_goes_on_unchanged() {
        let refusal = Rejection::new(Reason::BrokenJson, "expected ',' at byte 3");
        let letter = DeadLetter {
            refusal: &refusal,
            stream: "load",
            topic: "meters",
            partition: 3,
            offset: 12_345_678_901,
            timestamp: Some(-5),
            key: Some(b"\xffkey"),
            payload: Some(b"{\"a\" 1}"),
        };
        assert_eq!(letter.truncated_key(), letter.key);
        assert_eq!(letter.truncated_payload(), letter.payload);
        let expected = [
            ("foretide.reason", "broken_json"),
            ("foretide.detail", "expected ',' at byte 3"),
            ("foretide.stream", "load"),
            ("foretide.topic", "meters"),
            ("foretide.partition", "3"),
            ("foretide.offset", "12345678901"),
            ("foretide.timestamp", "-5"),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        assert_eq!(text(&letter.headers()), expected);
    }

    #[test]
    fn what_is_missing_stays_missing() {
        let refusal = Rejection::new(Reason::Tombstone, "no value");
        let letter = DeadLetter {
            refusal: &refusal,
            stream: "s",
            topic: "t",
            partition: 0,
            offset: 0,
            timestamp: None,
            key: None,
            payload: None,
        };
        assert_eq!((letter.truncated_key(), letter.truncated_payload()), (None, None));
        assert!(letter.headers().iter().all(|(name, _)| *name != TIMESTAMP));
    }

    #[test]
    fn a_huge_record_is_cut_and_says_so() {
        let refusal = Rejection::new(Reason::TooLarge, "10 MB");
        let payload = vec![b'x'; 10_000_000];
        let key = vec![b'k'; MAX_KEY_BYTES + 1];
        let letter = DeadLetter {
            refusal: &refusal,
            stream: "s",
            topic: "t",
            partition: 0,
            offset: 0,
            timestamp: None,
            key: Some(&key),
            payload: Some(&payload),
        };
        assert_eq!(letter.truncated_payload().unwrap().len(), MAX_PAYLOAD_BYTES);
        assert_eq!(letter.truncated_key().unwrap().len(), MAX_KEY_BYTES);
        let headers = text(&letter.headers());
        assert!(headers.contains(&("foretide.payload_bytes", "10000000".into())));
        assert!(headers.contains(&("foretide.key_bytes", "65537".into())));
    }
}
