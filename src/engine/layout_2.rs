//! Snapshots as layout 2 had them, for those that lie in a state topic still.

use serde::{Deserialize, Serialize};

use super::StreamSpec;
use crate::{forecast::layout_2, series::SeriesState};

#[derive(Serialize, Deserialize)]
struct Body {
    stream: u64,
    network: u64,
    version: u64,
    input: SeriesState,
    forecast: layout_2::ForecastState,
    hidden: Vec<f32>,
}

/// A body of layout 2 as layout 3 has it.
///
/// # Errors
/// Where it does not hold a series' state.
pub(super) fn migrated(spec: &StreamSpec, body: &[u8]) -> postcard::Result<Vec<u8>> {
    let (mut then, mut rest) = postcard::take_from_bytes::<Body>(body)?;
    let mut now = postcard::to_allocvec(&then)?;
    if !spec.series.extra.past_covariates.is_empty() {
        let covariates;
        (covariates, rest) = postcard::take_from_bytes(rest)?;
        then.input.put_covariates(covariates);
        now = postcard::to_extend(then.input.covariates(), now)?;
    }
    if !spec.series.extra.future_covariates.names.is_empty() {
        let (foreknown, foresight) = postcard::from_bytes::<(_, Option<Box<layout_2::Foresight>>)>(rest)?;
        then.input.put_foreknown(foreknown);
        now = postcard::to_extend(&(then.input.foreknown(), foresight), now)?;
    }
    Ok(now)
}
