//! Dead letters: rejected records, forwarded as they came, with the reason and the origin in headers.

use super::rejection::Rejection;

/// The most bytes of a rejected record's value that are forwarded, so that the dead letter fits Kafka's default limit
/// of 1 MiB. The headers give the full length of a longer one.
pub const MAX_PAYLOAD_BYTES: usize = 512 * 1024;
/// The most bytes of a rejected record's key that are forwarded. The headers give the full length of a longer one.
pub const MAX_KEY_BYTES: usize = 64 * 1024;

/// Header: the stable label of the [`RejectionReason`](super::RejectionReason).
pub const REASON: &str = "foretide.reason";
/// Header: what was expected and what was found.
pub const DETAIL: &str = "foretide.detail";
/// Header: the stream that rejected the record.
pub const STREAM: &str = "foretide.stream";
/// Header: the topic of the record.
pub const TOPIC: &str = "foretide.topic";
/// Header: the partition of the record, as decimal text.
pub const PARTITION: &str = "foretide.partition";
/// Header: the offset of the record, as decimal text.
pub const OFFSET: &str = "foretide.offset";
/// Header of a record with a timestamp: milliseconds since the Unix epoch, as decimal text.
pub const TIMESTAMP: &str = "foretide.timestamp";
/// Header of a truncated value: its full length in bytes, as decimal text.
pub const PAYLOAD_BYTES: &str = "foretide.payload_bytes";
/// Header of a truncated key: its full length in bytes, as decimal text.
pub const KEY_BYTES: &str = "foretide.key_bytes";

/// A rejected record and its origin.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetter<'a> {
    /// Why it was rejected.
    pub rejection: &'a Rejection,
    /// The stream that rejected it.
    pub stream: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch, where it has one.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub payload: Option<&'a [u8]>,
}

/// Room for the frames of a record and its headers, and for the headers of a truncated one, in bytes.
const FRAME_BYTES: usize = 512;

/// A dead letter to write: key, value, and headers with names and bytes in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedDeadLetter<'a> {
    /// The first bytes of the record's key.
    pub key: Option<&'a [u8]>,
    /// The first bytes of the record's value.
    pub payload: Option<&'a [u8]>,
    /// The reason, the origin, and the full lengths of what is truncated.
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

impl<'a> DeadLetter<'a> {
    /// Truncates key and value to [`MAX_KEY_BYTES`] and [`MAX_PAYLOAD_BYTES`], and further where the dead letter would
    /// take more than `max_bytes` as a record batch of its own. Only headers that take more make it larger.
    pub fn encode(&self, max_bytes: usize) -> EncodedDeadLetter<'a> {
        let mut headers = self.origin();
        let taken: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let room = max_bytes.saturating_sub(FRAME_BYTES + taken);
        let first = |bytes: Option<&'a [u8]>, limit: usize| bytes.map(|bytes| &bytes[..bytes.len().min(limit)]);
        let key = first(self.key, MAX_KEY_BYTES.min(room / 2));
        let payload = first(self.payload, MAX_PAYLOAD_BYTES.min(room - key.map_or(0, <[u8]>::len)));
        for (name, whole, part) in [(PAYLOAD_BYTES, self.payload, payload), (KEY_BYTES, self.key, key)] {
            if let Some(whole) = whole.filter(|_| whole != part) {
                headers.push((name, whole.len().to_string().into_bytes()));
            }
        }
        EncodedDeadLetter { key, payload, headers }
    }

    fn origin(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut headers = vec![
            (REASON, self.rejection.reason.label().into()),
            (DETAIL, self.rejection.detail.clone().into_bytes()),
            (STREAM, self.stream.into()),
            (TOPIC, self.topic.into()),
            (PARTITION, self.partition.to_string().into_bytes()),
            (OFFSET, self.offset.to_string().into_bytes()),
        ];
        if let Some(timestamp) = self.timestamp {
            headers.push((TIMESTAMP, timestamp.to_string().into_bytes()));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rejection::RejectionReason;

    fn text(headers: &[(&'static str, Vec<u8>)]) -> Vec<(&'static str, String)> {
        headers.iter().map(|(name, bytes)| (*name, String::from_utf8(bytes.clone()).unwrap())).collect()
    }

    fn letter<'a>(rejection: &'a Rejection, key: Option<&'a [u8]>, payload: Option<&'a [u8]>) -> DeadLetter<'a> {
        let timestamp = key.map(|_| -5);
        let (stream, topic, partition, offset) = ("load", "meters", 3, 12_345_678_901);
        DeadLetter { rejection, stream, topic, partition, offset, timestamp, key, payload }
    }

    #[test]
    fn a_small_record_is_forwarded_unchanged() {
        let rejection = Rejection::new(RejectionReason::BrokenJson, "expected ',' at byte 3");
        let letter = letter(&rejection, Some(b"\xffkey"), Some(b"{\"a\" 1}"));
        let encoded = letter.encode(usize::MAX);
        assert_eq!((encoded.key, encoded.payload), (letter.key, letter.payload));
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
        assert_eq!(text(&encoded.headers), expected);
    }

    #[test]
    fn a_missing_key_or_value_stays_missing() {
        let rejection = Rejection::new(RejectionReason::Tombstone, "no value");
        let letter = letter(&rejection, None, None);
        let encoded = letter.encode(0);
        assert_eq!((encoded.key, encoded.payload), (None, None));
        assert!(encoded.headers.iter().all(|(name, _)| *name != TIMESTAMP));
    }

    #[test]
    fn a_huge_record_is_truncated_and_its_headers_give_the_length() {
        let rejection = Rejection::new(RejectionReason::TooLarge, "10 MB");
        let (key, payload) = (vec![b'k'; MAX_KEY_BYTES + 1], vec![b'x'; 10_000_000]);
        let letter = letter(&rejection, Some(&key), Some(&payload));
        let encoded = letter.encode(usize::MAX);
        assert_eq!(encoded.payload.unwrap().len(), MAX_PAYLOAD_BYTES);
        assert_eq!(encoded.key.unwrap().len(), MAX_KEY_BYTES);
        let headers = text(&encoded.headers);
        assert!(headers.contains(&("foretide.payload_bytes", "10000000".into())));
        assert!(headers.contains(&("foretide.key_bytes", "65537".into())));
    }

    #[test]
    fn a_dead_letter_is_truncated_to_what_its_topic_accepts() {
        let rejection = Rejection::new(RejectionReason::BrokenJson, "expected '}'");
        let (key, payload) = (vec![b'k'; 200], vec![b'x'; 200_000]);
        let letter = letter(&rejection, Some(&key), Some(&payload));
        let encoded = letter.encode(100_000);
        assert_eq!(encoded.key, letter.key);
        let headers: usize = encoded.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
        let bytes = 100 + 200 + encoded.payload.unwrap().len() + headers;
        assert!((99_000..=100_000).contains(&bytes), "{bytes}");
        assert!(text(&encoded.headers).contains(&("foretide.payload_bytes", "200000".into())));
        let encoded = letter.encode(10);
        assert_eq!((encoded.key, encoded.payload), (Some(&b""[..]), Some(&b""[..])));
        assert!(text(&encoded.headers).contains(&("foretide.key_bytes", "200".into())));
    }
}
