//! What a restore works with.

use crate::broker::Broker;
use crate::daemon::plan::Plan;
use crate::engine::Engine;
use crate::wire::Decoder;

/// What a restore needs from its shard.
pub struct RestoreInputs<'a> {
    pub plan: &'a Plan,
    pub broker: &'a dyn Broker,
    pub engine: &'a mut Engine,
    pub decoders: &'a mut [Decoder],
    /// Microseconds of the monotonic clock.
    pub now: u64,
    /// Milliseconds since the Unix epoch.
    pub wall: i64,
}
