//! The dashboard: what the page shows ([`state`]), and the HTTP server of page, metrics and probes ([`http`]).

pub mod http;
pub mod state;
