//! What every thread of the process shares.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{plan::Plan, status::Status};
use crate::{broker::Broker, dashboard::http::Health, env::Clock};

/// Handles that every worker thread holds a clone of.
#[derive(Clone)]
pub struct Context {
    pub plan: Arc<Plan>,
    pub broker: Arc<dyn Broker>,
    pub clock: Arc<dyn Clock>,
    /// Where the tasks stand; read by the lag monitor and the dashboard.
    pub status: Arc<Status>,
    /// What `/livez` and `/readyz` answer from.
    pub health: Arc<Health>,
    /// Cancelled once the process is to stop.
    pub shutdown: CancellationToken,
    /// The runtime whose timer ends a pause.
    pub runtime: Handle,
}

impl Context {
    /// Whether the process is stopping.
    pub fn stopping(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// Blocks a thread outside of the runtime for `duration`, or until the process is to stop.
    pub fn pause(&self, duration: Duration) {
        if !self.stopping() {
            // Both outcomes end the pause: the caller looks at `stopping` itself.
            let _elapsed =
                self.runtime.block_on(async { tokio::time::timeout(duration, self.shutdown.cancelled()).await });
        }
    }
}
