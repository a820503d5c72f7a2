//! Byte shuffle for serde's `with`: all lowest bytes first, then all second bytes, and so on.
//!
//! Signs and exponents of neighbouring values are alike. Side by side, a compressor finds them (as in HDF5 and Blosc).

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// A number of fixed width.
pub(super) trait Number: Copy {
    /// Its bytes, the least significant first.
    type Bytes: AsRef<[u8]> + AsMut<[u8]> + Default;

    fn to_bytes(self) -> Self::Bytes;
    fn from_bytes(bytes: Self::Bytes) -> Self;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            type Bytes = [u8; size_of::<$type>()];

            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            fn from_bytes(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }
        }
    };
}

number!(u16);
number!(u32);
number!(f32);

pub(super) fn serialize<T: Number, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    let mut shuffled = vec![0; size_of_val(values)];
    for (at, value) in values.iter().enumerate() {
        for (plane, byte) in shuffled.chunks_exact_mut(values.len()).zip(value.to_bytes().as_ref()) {
            plane[at] = *byte;
        }
    }
    serializer.serialize_bytes(&shuffled)
}

pub(super) fn deserialize<'de, T: Number, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let shuffled = <&[u8]>::deserialize(deserializer)?;
    let count = shuffled.len() / size_of::<T>();
    if count * size_of::<T>() != shuffled.len() {
        return Err(D::Error::invalid_length(shuffled.len(), &"a multiple of the value's width"));
    }
    let value = |at| {
        let mut bytes = T::Bytes::default();
        bytes.as_mut().iter_mut().enumerate().for_each(|(place, byte)| *byte = shuffled[place * count + at]);
        T::from_bytes(bytes)
    };
    Ok((0..count).map(value).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Values {
        #[serde(with = "super")]
        short: Vec<u16>,
        #[serde(with = "super")]
        long: Vec<u32>,
        #[serde(with = "super")]
        floating: Vec<f32>,
    }

    proptest! {
        #[test]
        fn values_survive_a_round_trip(
            short: Vec<u16>, long: Vec<u32>, floating in prop::collection::vec(-1e30_f32..1e30, 0..9)
        ) {
            let values = Values { short, long, floating };
            let bytes = postcard::to_allocvec(&values).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Values>(&bytes).unwrap(), values);
        }
    }

    #[test]
    fn bytes_of_the_same_place_are_adjacent_and_a_truncated_value_is_rejected() {
        let values = Values { short: vec![0x0102, 0x0103], long: vec![], floating: vec![] };
        let mut bytes = postcard::to_allocvec(&values).unwrap();
        assert_eq!(bytes, [4, 2, 3, 1, 1, 0, 0]);
        bytes[0] = 3;
        assert!(postcard::from_bytes::<Values>(&bytes).is_err());
    }
}
