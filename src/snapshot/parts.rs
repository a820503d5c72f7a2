//! Named parts of a series' snapshot, written one after the other.
//!
//! Each part has an id, a version, a shape and a length, so that a part that is unknown, of another version or of
//! another shape costs that part alone. On the wire a part is: id (u8), version (u8), shape (u32, little-endian),
//! length (u32, little-endian), and the value in postcard.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// One kind of part. The constants are the table of all parts; an id keeps its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The id in the bytes, below [`Part::IDS`].
    pub id: u8,
    /// The name in messages.
    pub name: &'static str,
    /// The version of the part's layout. Any change of the layout increases it.
    pub version: u8,
}

impl Part {
    /// Ids lie below this bound; the reader keeps one place for each.
    const IDS: usize = 19;

    /// Open slots of the grid. Without it the series is rebuilt from the input.
    pub const SLOTS: Self = Self::new(1, "slots", 2);
    /// Recent values and their scale. Without it the series is rebuilt from the input.
    pub const VALUES: Self = Self::new(2, "values", 1);
    /// Recent past covariates and their scales.
    pub const PAST_COVARIATES: Self = Self::new(3, "past covariates", 1);
    /// Recent and coming future covariates and their scales.
    pub const FUTURE_COVARIATES: Self = Self::new(4, "future covariates", 1);
    /// Bounds that the forecasts keep to.
    pub const OUTPUT_BOUNDS: Self = Self::new(5, "output bounds", 2);
    /// The history that the linear experts share.
    pub const HISTORY: Self = Self::new(6, "history", 2);
    /// The linear experts.
    pub const LINEAR_EXPERTS: Self = Self::new(7, "linear experts", 1);
    /// What the linear experts learnt from future covariates.
    pub const FUTURE_COVARIATE_EXPERTS: Self = Self::new(8, "future-covariate experts", 1);
    /// The experts' stacking weights.
    pub const MIXTURE: Self = Self::new(9, "mixture", 1);
    /// The calibration of the quantiles.
    pub const CALIBRATION: Self = Self::new(10, "calibration", 4);
    /// The anomaly detector.
    pub const ANOMALY_DETECTOR: Self = Self::new(11, "anomaly detector", 2);
    /// Forecasts whose values are still to come.
    pub const PENDING_FORECASTS: Self = Self::new(12, "pending forecasts", 3);
    /// The network's hidden state, and the weights that made it.
    pub const NETWORK_STATE: Self = Self::new(13, "network state", 1);
    /// When the series was observed last.
    pub const LAST_OBSERVATION: Self = Self::new(14, "last observation", 1);
    /// Says that other parts began empty under these settings, and that the series is still to be rebuilt.
    pub const REBUILD_DUE: Self = Self::new(15, "rebuild due", 1);
    /// How often readings are absent.
    pub const ABSENCE: Self = Self::new(16, "absence", 1);
    /// Closed slots that late readings still correct.
    pub const CORRECTIONS: Self = Self::new(17, "corrections", 1);

    /// Values by the phase of the season, for the network's queries.
    pub const PHASES: Self = Self::new(18, "phases", 1);

    const fn new(id: u8, name: &'static str, version: u8) -> Self {
        Self { id, name, version }
    }
}

/// For each part a fingerprint of the configuration values that decide what its bytes mean. A part of another shape is
/// not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartShapes([u32; Part::IDS]);

impl PartShapes {
    /// Sets the shape of `part`.
    pub fn set(&mut self, part: Part, shape: u32) {
        self.0[usize::from(part.id)] = shape;
    }

    fn of(&self, part: Part) -> u32 {
        self.0.get(usize::from(part.id)).copied().unwrap_or(0)
    }
}

/// The bytes of a part before its value: id, version, shape, length.
const HEADER_BYTES: usize = 1 + 1 + 4 + 4;

/// Writes the parts of one snapshot.
#[derive(Debug)]
pub struct PartWriter<'a> {
    shapes: &'a PartShapes,
    bytes: Vec<u8>,
}

impl<'a> PartWriter<'a> {
    /// A snapshot without parts, with memory for `capacity` bytes.
    pub fn with_capacity(shapes: &'a PartShapes, capacity: usize) -> Self {
        Self { shapes, bytes: Vec::with_capacity(capacity) }
    }

    /// Adds a part.
    pub fn put<T: Serialize + ?Sized>(&mut self, part: Part, value: &T) {
        self.bytes.extend([part.id, part.version]);
        self.bytes.extend(self.shapes.of(part).to_le_bytes());
        self.bytes.extend([0; 4]);
        let start = self.bytes.len();
        postcard::serialize_with_flavor(value, Append(&mut self.bytes))
            .unwrap_or_else(|_| unreachable!("plain data always encodes"));
        let length = u32::try_from(self.bytes.len() - start).unwrap_or_else(|_| unreachable!("a part fits in memory"));
        self.bytes[start - 4..start].copy_from_slice(&length.to_le_bytes());
    }

    /// The snapshot's bytes.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Appends encoded bytes to a vector.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// A part of a snapshot whose value is not decoded yet.
#[derive(Debug, Clone, Copy)]
struct StoredPart<'a> {
    id: u8,
    version: u8,
    shape: u32,
    value: &'a [u8],
}

impl<'a> StoredPart<'a> {
    /// The first part in `bytes`, and what follows it; none where the part is truncated.
    fn split_first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [id, version, s0, s1, s2, s3, length @ ..] = *header;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(length) as usize)?;
        Some((Self { id, version, shape: u32::from_le_bytes([s0, s1, s2, s3]), value }, rest))
    }
}

/// Reads the parts of one snapshot, in any order.
#[derive(Debug)]
pub struct PartReader<'a> {
    shapes: &'a PartShapes,
    stored: [Option<StoredPart<'a>>; Part::IDS],
    discarded: Vec<DiscardedPart>,
}

impl<'a> PartReader<'a> {
    /// Finds the parts in `bytes`; unknown ones are skipped. Where a part is truncated, it and what follows count
    /// as missing.
    pub fn new(bytes: &'a [u8], shapes: &'a PartShapes) -> Self {
        let (mut stored, mut rest) = ([None; Part::IDS], bytes);
        while let Some((part, after)) = StoredPart::split_first(rest) {
            if let Some(place) = stored.get_mut(usize::from(part.id)) {
                *place = Some(part);
            }
            rest = after;
        }
        Self { shapes, stored, discarded: Vec::new() }
    }

    /// The value of `part`. `None` where the part is missing, of another version or shape, damaged, or where `is_sound`
    /// does not hold; [`Self::finish`] then names it.
    pub fn take<T: Deserialize<'a>>(&mut self, part: Part, is_sound: impl FnOnce(&T) -> bool) -> Option<T> {
        self.read(part, is_sound).map_err(|reason| self.discarded.push(DiscardedPart { part, reason })).ok()
    }

    /// The value of a part that may be missing, as [`Self::take`] gives it; [`Self::finish`] does not name a missing
    /// one.
    pub fn take_optional<T: Deserialize<'a>>(&mut self, part: Part, is_sound: impl FnOnce(&T) -> bool) -> Option<T> {
        self.stored[usize::from(part.id)].and_then(|_| self.take(part, is_sound))
    }

    /// The parts that could not be used.
    pub fn finish(self) -> Vec<DiscardedPart> {
        self.discarded
    }

    fn read<T: Deserialize<'a>>(&self, part: Part, is_sound: impl FnOnce(&T) -> bool) -> Result<T, DiscardReason> {
        let stored = self.stored[usize::from(part.id)].ok_or(DiscardReason::Missing)?;
        if stored.version != part.version {
            return Err(DiscardReason::Version { found: stored.version, expected: part.version });
        }
        if stored.shape != self.shapes.of(part) {
            return Err(DiscardReason::Shape);
        }
        match postcard::take_from_bytes(stored.value) {
            Ok((value, [])) if is_sound(&value) => Ok(value),
            Ok((_, [])) => Err(DiscardReason::Unsound),
            _ => Err(DiscardReason::Damaged),
        }
    }
}

/// What fits of a snapshot into `max_bytes`: its slots and values, without which there is no series, and of the other
/// parts the smallest. The series is marked as to be rebuilt. `None` where not even slots and values fit.
pub fn parts_that_fit(body: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    let mut parts = Vec::new();
    let mut rest = body;
    while let Some((part, after)) = StoredPart::split_first(rest) {
        parts.push((part.id, &rest[..rest.len() - after.len()]));
        rest = after;
    }
    let shapes = PartShapes::default();
    let mut mark = PartWriter::with_capacity(&shapes, HEADER_BYTES);
    mark.put(Part::REBUILD_DUE, &());
    let mark = mark.finish();
    let is_needed = |id| id == Part::SLOTS.id || id == Part::VALUES.id;
    parts.sort_by_key(|(id, bytes)| (!is_needed(*id), bytes.len()));
    let mut fitting = Vec::with_capacity(max_bytes);
    for (id, bytes) in parts {
        if fitting.len() + bytes.len() + mark.len() <= max_bytes {
            fitting.extend_from_slice(bytes);
        } else if is_needed(id) {
            return None;
        }
    }
    fitting.extend(mark);
    Some(fitting)
}

/// A part of a snapshot that could not be used; it begins afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", part.name)]
pub struct DiscardedPart {
    /// The part.
    pub part: Part,
    /// Why it could not be used.
    pub reason: DiscardReason,
}

/// Why a part of a snapshot could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiscardReason {
    /// The snapshot has no such part.
    #[error("missing")]
    Missing,
    /// The part has another layout.
    #[error("version {found}, this build reads version {expected}")]
    Version {
        /// The version found.
        found: u8,
        /// The version of this build.
        expected: u8,
    },
    /// The stream's configuration was another one when the part was written.
    #[error("written under another configuration of the stream")]
    Shape,
    /// The bytes do not contain such a part.
    #[error("damaged")]
    Damaged,
    /// The part contains values that no series can reach.
    #[error("values out of range")]
    Unsound,
}
