//! A series' state as bytes. The envelope around them (version, position, checksum) is the wire's.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    Frozen, StreamSpec, layout_2,
    table::{Series, UNSTEPPED},
};
use crate::{forecast::ForecastState, nn::fnv_1a, series::SeriesState};

/// The layout of [`Snapshot::body`](super::Snapshot): that of the whole state topic.
pub const SNAPSHOT_LAYOUT: u16 = 3;

/// Why a snapshot could not be taken up.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes do not hold a series' state.
    #[error("the snapshot of series {series:?} is damaged: {source}")]
    Damaged {
        /// The series' key.
        series: String,
        /// What the reader met.
        source: postcard::Error,
    },
    /// The stream was configured otherwise when it was written.
    #[error("the snapshot of series {series:?} was made with another grid, season, horizon, target or levels")]
    OtherStream {
        /// The series' key.
        series: String,
    },
    /// It is of a layout that is read no more, or not yet.
    #[error("the snapshot of series {series:?} has layout {layout}, this build reads those of 2 and {SNAPSHOT_LAYOUT}")]
    Layout {
        /// The series' key.
        series: String,
        /// Its layout.
        layout: u16,
    },
    /// The bytes hold numbers that no series comes to.
    #[error("the snapshot of series {series:?} holds numbers that no series comes to")]
    Unsound {
        /// The series' key.
        series: String,
    },
}

#[derive(Serialize)]
struct Written<'a> {
    stream: u64,
    network: u64,
    version: u64,
    input: &'a SeriesState,
    forecast: &'a ForecastState,
    hidden: &'a [f32],
}

#[derive(Deserialize)]
struct Read {
    stream: u64,
    network: u64,
    version: u64,
    input: SeriesState,
    forecast: ForecastState,
    hidden: Box<[f32]>,
}

/// What of the configuration decides the layout and the meaning of a series' state.
fn stream_fingerprint(spec: &StreamSpec) -> u64 {
    let (series, forecast) = (&spec.series, &spec.forecast);
    let mut text = format!(
        "{:?} {:?} {:?} {} {} {} {} {:?} {}",
        series.grid,
        series.aggregation,
        series.readings_per_slot,
        series.season,
        series.horizon,
        series.burn_in,
        forecast.horizon,
        forecast.levels,
        forecast.season
    );
    if let Some(target) = forecast.target {
        text += &format!(" {target}");
    }
    if spec.forecast.holidays() {
        text += " holidays";
    }
    if !series.extra.past_covariates.is_empty() {
        text += &format!(" covariates {:?}", series.extra.past_covariates);
    }
    if !series.extra.future_covariates.names.is_empty() {
        text += &format!(" known {:?}", series.extra.future_covariates.names);
    }
    fnv_1a(text.bytes())
}

pub(super) fn encode(spec: &StreamSpec, series: &Series) -> Vec<u8> {
    let written = Written {
        stream: stream_fingerprint(spec),
        network: spec.network.fingerprint(),
        version: series.version,
        input: &series.input,
        forecast: &series.forecast,
        hidden: &series.hidden,
    };
    let always = "plain data in memory always encodes";
    let mut body = postcard::to_allocvec(&written).unwrap_or_else(|_| unreachable!("{always}"));
    if !spec.series.extra.past_covariates.is_empty() {
        let covariates = series.input.covariates();
        body = postcard::to_extend(covariates, body).unwrap_or_else(|_| unreachable!("{always}"));
    }
    if !spec.series.extra.future_covariates.names.is_empty() {
        let known = (series.input.foreknown(), series.forecast.foresight());
        body = postcard::to_extend(&known, body).unwrap_or_else(|_| unreachable!("{always}"));
    }
    body
}

pub(super) fn decode(spec: &StreamSpec, frozen: &Frozen<'_>) -> Result<Series, SnapshotError> {
    let Frozen { series: key, position, layout, body } = frozen;
    let key: &str = key;
    let damaged = |source| SnapshotError::Damaged { series: key.to_owned(), source };
    let other_stream = || SnapshotError::OtherStream { series: key.to_owned() };
    let body = match *layout {
        SNAPSHOT_LAYOUT => Cow::Borrowed(*body),
        2 => Cow::Owned(layout_2::migrated(spec, body).map_err(damaged)?),
        layout => return Err(SnapshotError::Layout { series: key.to_owned(), layout }),
    };
    let (mut read, mut rest) = postcard::take_from_bytes::<Read>(&body).map_err(damaged)?;
    if read.stream != stream_fingerprint(spec) {
        return Err(other_stream());
    }
    if !spec.series.extra.past_covariates.is_empty() {
        let covariates;
        (covariates, rest) = postcard::take_from_bytes(rest).map_err(damaged)?;
        read.input.put_covariates(covariates);
    }
    if !spec.series.extra.future_covariates.names.is_empty() {
        let (foreknown, foresight) = postcard::from_bytes(rest).map_err(damaged)?;
        read.input.put_foreknown(foreknown);
        read.forecast.put_foresight(foresight);
    }
    if !read.forecast.fits(&spec.forecast) {
        return Err(other_stream());
    }
    let ours = read.network == spec.network.fingerprint();
    let hidden = !ours || read.version == UNSTEPPED || read.hidden.len() == spec.network.state_len();
    let sound = hidden && read.hidden.iter().all(|number| number.is_finite());
    if !(sound && read.input.is_sound(&spec.series) && read.forecast.is_sound(&spec.forecast)) {
        return Err(SnapshotError::Unsound { series: key.to_owned() });
    }
    // Another network: the hidden state means nothing to it and is built anew from the context.
    let version = if ours { read.version } else { UNSTEPPED };
    Ok(Series::restored(key, *position, version, read.input, read.forecast, read.hidden))
}
