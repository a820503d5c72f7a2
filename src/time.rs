//! Event time, and the grid that divides it into slots.

mod calendar_grid;
mod event_time;
mod grid;
mod grid_spec;
mod length;
mod partition_clock;
mod zone;

pub use calendar_grid::CalendarGrid;
pub use event_time::EventTime;
pub use grid::Grid;
pub use grid_spec::{GridSpec, Origin};
pub use length::Length;
pub use partition_clock::PartitionClock;
pub use zone::Zone;
