//! What the request handlers share.

use std::sync::Arc;

use super::health::Health;
use crate::{dashboard::state::DashboardState, env::Clock, telemetry::Exposition};

/// The sources of all answers. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The contents of the page.
    pub dashboard: Arc<DashboardState>,
    /// The answers of `/livez` and `/readyz`.
    pub health: Arc<Health>,
    /// The answer of `/metrics`.
    pub exposition: Exposition,
    /// The clock of the page and its samples.
    pub clock: Arc<dyn Clock>,
    /// Title of the page, such as "demo" or the application's name.
    pub title: Arc<str>,
}
