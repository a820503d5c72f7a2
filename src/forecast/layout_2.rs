//! What a series kept to forecast itself as layout 2 of its snapshot had it: what is read so is written as layout 3.

use serde::{Deserialize, Serialize, Serializer};

use super::{
    anomaly::Detector,
    averages::{self, Averages},
    bounds::Bounds,
    calibration::Calibration,
    linear::MODELS,
    mixture::{FREE, halved},
    pending::{Points, columns},
    planes,
    profile::Profile,
};

/// [`ForecastState`](super::ForecastState) then.
#[derive(Serialize, Deserialize)]
pub(crate) struct ForecastState {
    bounds: Bounds,
    linear: Linear,
    mixture: Vec<Bucket>,
    calibration: Calibration,
    detector: Detector,
    pending: Pending,
}

/// What was kept beside it where numbers were known in advance.
#[derive(Serialize, Deserialize)]
pub(crate) struct Foresight {
    factors: Vec<Factor>,
    weights: Vec<f32>,
    cursors: Vec<u16>,
    told: Vec<u16>,
}

#[derive(Serialize, Deserialize)]
struct Linear {
    reference: f64,
    unit: f32,
    mean: f32,
    steps: u32,
    now: u16,
    values: Vec<f32>,
    profile: Profile,
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    factor: Factor,
    weights: Apart<f32>,
    usual: Vec<f32>,
    level: f32,
    left: Vec<f32>,
    before: Vec<f32>,
    averages: Vec<Averages>,
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { factor, weights, usual, level, left, before, averages } = self;
        (factor, weights, usual, level, left, before, averages::told(left, averages)).serialize(serializer)
    }
}

#[derive(Serialize, Deserialize)]
struct Factor {
    upper: Apart<f32>,
    diagonal: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
struct Bucket {
    blends: [Blend; 2],
    usual: f32,
    learnt: u32,
}

#[derive(Serialize, Deserialize)]
struct Blend {
    weights: [f32; FREE],
    #[serde(serialize_with = "halved::serialize")]
    products: [[f32; FREE]; FREE],
    targets: [f32; FREE],
    losses: [f32; 3],
    won: f32,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    scales: Apart<u32>,
    now: u16,
    cursors: Vec<(u16, u16)>,
    #[serde(serialize_with = "side_by_side")]
    points: Vec<([f32; MODELS], f32, f32, f32)>,
    centres: Apart<f32>,
    quantiles: Apart<u16>,
}

/// Numbers that lay one after the other, and whose bytes lie apart now.
#[derive(Serialize, Deserialize)]
#[serde(bound(serialize = "T: planes::Number", deserialize = "T: Deserialize<'de>"))]
struct Apart<T>(#[serde(serialize_with = "planes::serialize")] Vec<T>);

fn side_by_side<S: Serializer>(then: &[([f32; MODELS], f32, f32, f32)], serializer: S) -> Result<S::Ok, S::Error> {
    let point = |&(linear, network, mixed, median): &_| Points { linear, network, mixed, median };
    columns::serialize(&then.iter().map(point).collect::<Vec<_>>(), serializer)
}
