//! What stored state is made of: the named parts of a series' snapshot, and the progress of a task.

mod parts;
mod progress;

pub use parts::{DiscardReason, DiscardedPart, Part, PartReader, PartShapes, PartWriter, parts_that_fit};
pub use progress::{CovariateWatermark, TaskProgress, WeightsActivation};
