//! The HTTP server: `/metrics`, `/livez`, `/readyz`, and the page with its data.

mod app_state;
mod connections;
mod error;
mod health;
mod listener;
mod routes;
mod server;
mod tls;
mod token;

pub use app_state::AppState;
pub use error::ServeError;
pub use health::{Condition, Health, HealthReport};
pub use listener::ListenerSpec;
pub use server::{HttpServer, router, serve};

#[cfg(test)]
mod tests;
