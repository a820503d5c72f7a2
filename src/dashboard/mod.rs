//! The dashboard: the contents of the page ([`state`]), and the HTTP server of page, metrics and probes ([`http`]).

pub mod http;
pub mod state;
