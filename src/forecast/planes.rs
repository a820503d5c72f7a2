//! Numbers in a snapshot, apart by the place of their bytes: all lowest bytes first. Signs and exponents, which are alike,
//! lie side by side then, where a compressor finds them. For serde's `with`.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// A number of some bytes.
pub(super) trait Number: Copy {
    /// The least significant byte first.
    type Bytes: AsRef<[u8]> + AsMut<[u8]> + Default;

    fn bytes(self) -> Self::Bytes;
    fn of(bytes: Self::Bytes) -> Self;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            type Bytes = [u8; size_of::<$type>()];

            fn bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            fn of(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }
        }
    };
}

number!(u16);
number!(u32);
number!(f32);

pub(super) fn serialize<T: Number, S: Serializer>(numbers: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    let mut planes = vec![0; size_of_val(numbers)];
    for (at, number) in numbers.iter().enumerate() {
        for (plane, byte) in planes.chunks_exact_mut(numbers.len()).zip(number.bytes().as_ref()) {
            plane[at] = *byte;
        }
    }
    serializer.serialize_bytes(&planes)
}

pub(super) fn deserialize<'de, T: Number, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let planes = <&[u8]>::deserialize(deserializer)?;
    let count = planes.len() / size_of::<T>();
    if count * size_of::<T>() != planes.len() {
        return Err(D::Error::invalid_length(planes.len(), &"as many bytes of each place"));
    }
    let number = |at| {
        let mut bytes = T::Bytes::default();
        bytes.as_mut().iter_mut().enumerate().for_each(|(plane, byte)| *byte = planes[plane * count + at]);
        T::of(bytes)
    };
    Ok((0..count).map(number).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Numbers {
        #[serde(with = "super")]
        short: Vec<u16>,
        #[serde(with = "super")]
        long: Vec<u32>,
        #[serde(with = "super")]
        floating: Vec<f32>,
    }

    proptest! {
        #[test]
        fn numbers_come_back(short: Vec<u16>, long: Vec<u32>, floating in prop::collection::vec(-1e30_f32..1e30, 0..9)) {
            let numbers = Numbers { short, long, floating };
            let bytes = postcard::to_allocvec(&numbers).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Numbers>(&bytes).unwrap(), numbers);
        }
    }

    #[test]
    fn alike_bytes_lie_side_by_side_and_half_a_number_is_refused() {
        let numbers = Numbers { short: vec![0x0102, 0x0103], long: vec![], floating: vec![] };
        let mut bytes = postcard::to_allocvec(&numbers).unwrap();
        assert_eq!(bytes, [4, 2, 3, 1, 1, 0, 0]);
        bytes[0] = 3;
        assert!(postcard::from_bytes::<Numbers>(&bytes).is_err());
    }
}
