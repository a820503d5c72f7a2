//! The linear experts: recursive least squares on recent values, with and without what is usual.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::averages::{self, Averages, towards};
use super::coming::Coming;
use super::experts::{FARTHEST, all_finite, scaled};
use super::factor::{Factor, REGRESSORS};
use super::foresight::{Foresight, Matured};
use super::planes;
use super::profile::{Cycle, Profile, Usual};
use super::ring::{after, back};
use super::spec::ForecastSpec;
use crate::series::{ClosedSlot, MAX_PAST_COVARIATES, PAST_COVARIATE_REGRESSORS, SeriesState, is_within_limit};

/// Numbers of a model with some covariates, and with as many as there may be.
const WITH_FEW: usize = REGRESSORS + 8;
const WITH_MANY: usize = REGRESSORS + PAST_COVARIATE_REGRESSORS * MAX_PAST_COVARIATES;
/// Newest differences that are looked at.
const LAGS: usize = 11;
/// The oldest of these make room for so many around one season ago where nothing is taken for usual.
const AROUND: usize = 3;
/// Memories of the averages that are looked at beside them, in steps; and of the level and the unit.
pub(super) const MEMORIES: [f32; 3] = [12.0, 50.0, 200.0];
const LONG_MEMORY: u32 = 2000;
/// What is known counts for so much after one more step.
pub(super) const FORGETTING: f32 = 1.0 - 1.0 / 5000.0;
/// A regressor or a target counts for at most so many units ...
const CLIP: f32 = 10.0;
/// ... a value teaches what is usual as if it were at most so many from it ...
const CLIP_USUAL: f32 = 6.0;
/// ... a step with a regressor beyond so many teaches as if it were a smaller one ...
const HEEDED: f32 = 2.5;
/// ... and an error for at most so many usual ones, once these are known.
const CLIP_ERROR: f32 = 4.0;
const KNOWN_FROM: u32 = 50;
/// Memory of the usual error, in forecasts.
const MEMORY: u32 = 200;
/// What 32 bits hold without overflow in what is reckoned here.
const LARGEST: f64 = 1e30;

/// What is taken for usual, by model; without a season the first is alone.
const USUAL: [Usual; MODELS] = [Usual::Nothing, Usual::Season, Usual::Week];
/// Most models.
pub(super) const MODELS: usize = 3;

/// Forecasts what a series does next, apart from what is usual: for each lead the distance from the newest value, linear in
/// recent differences and in averages of some memories, learnt by recursive least squares with forgetting (Ljung, System
/// Identification, 2nd ed. 1999, chapter 11). All leads share one covariance, since they share their regressors; the leads of
/// a bucket learn together once its last one is known. Three models, which differ in what they take for usual.
///
/// Everything is told apart from the first value, which is `reference`, so that 32 bits do.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Linear {
    reference: f64,
    /// Mean absolute distance from the mean: what regressors and targets are measured in.
    unit: f32,
    mean: f32,
    /// Steps with a value.
    steps: u32,
    /// Where the newest step lies in the rings.
    now: u16,
    /// Ring of the values, carried over empty steps.
    values: Vec<f32>,
    profile: Profile,
    models: Vec<Model>,
    /// Only where numbers are known in advance. Left out here, so that series without keep their bytes: see
    /// [`Self::foresight`].
    #[serde(skip)]
    foresight: Option<Box<Foresight>>,
}

clone_in_place!(Linear { reference, unit, mean, steps, now, values, profile, models, foresight });

/// With one notion of what is usual ([`USUAL`]).
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Frozen", into = "Frozen")]
struct Model {
    factor: Factor,
    /// `[knot][regressor]`
    weights: Vec<f32>,
    /// `[bucket]`: mean absolute error, in units.
    usual: Vec<f32>,
    level: f32,
    /// Rings: what is left of each value, what was usual before it came, and averages of what is left.
    left: Vec<f32>,
    before: Vec<f32>,
    averages: Vec<Averages>,
}

clone_in_place!(Model { factor, weights, usual, level, left, before, averages });

/// A model as a snapshot keeps it.
#[derive(Serialize, Deserialize)]
struct Frozen {
    factor: Factor,
    #[serde(with = "planes")]
    weights: Vec<f32>,
    usual: Vec<f32>,
    level: f32,
    left: Vec<f32>,
    before: Vec<f32>,
    /// See [`averages::told`].
    averages: (Vec<u8>, Vec<Averages>),
}

impl From<Model> for Frozen {
    fn from(model: Model) -> Self {
        let averages = averages::told(&model.left, &model.averages);
        let Model { factor, weights, usual, level, left, before, .. } = model;
        Self { factor, weights, usual, level, left, before, averages }
    }
}

impl TryFrom<Frozen> for Model {
    type Error = &'static str;

    fn try_from(frozen: Frozen) -> Result<Self, Self::Error> {
        let Frozen { factor, weights, usual, level, left, before, averages: (how, told) } = frozen;
        let averages = averages::heard(&left, &how, &told).ok_or("averages that no ring has")?;
        Ok(Self { factor, weights, usual, level, left, before, averages })
    }
}

impl Linear {
    pub fn new(spec: &ForecastSpec) -> Self {
        let model = |usual: Usual| Model {
            factor: Factor::new(regressors(spec)),
            weights: vec![0.0; spec.knots.len() * regressors(spec)],
            usual: vec![0.0; spec.buckets.len()],
            level: 0.0,
            left: vec![0.0; ring(spec)],
            before: vec![0.0; before(spec, usual)],
            averages: vec![Averages::default(); ring(spec)],
        };
        Self {
            reference: 0.0,
            unit: 0.0,
            mean: 0.0,
            steps: 0,
            now: 0,
            values: vec![0.0; ring(spec)],
            profile: Profile::new(cycle(spec)),
            models: USUAL[..models(spec)].iter().map(|usual| model(*usual)).collect(),
            foresight: Foresight::new(spec),
        }
    }

    /// Takes the coming step in, before [`SeriesState::take`]: learns from what was forecast for it (`number`: the value,
    /// or the one number that it completes), then from its value, unless that is taken for a `spike`.
    pub fn learn(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        slot: &ClosedSlot,
        spike: bool,
        number: Option<f64>,
    ) {
        match regressors(spec) {
            REGRESSORS => self.learn_of::<REGRESSORS>(spec, series, slot, spike, number),
            WITH_FEW => self.learn_of::<WITH_FEW>(spec, series, slot, spike, number),
            _ => self.learn_of::<WITH_MANY>(spec, series, slot, spike, number),
        }
    }

    fn learn_of<const R: usize>(
        &mut self,
        spec: &ForecastSpec,
        series: &SeriesState,
        slot: &ClosedSlot,
        spike: bool,
        number: Option<f64>,
    ) {
        let (slot, value) = (slot.slot, slot.value);
        if self.steps == 0 {
            let Some(value) = value else { return };
            self.reference = value;
        }
        let last = usize::from(self.now);
        self.now = after(self.now, self.values.len());
        let now = usize::from(self.now);
        let foreseen = self.foresight.as_mut().map(|foresight| foresight.mature(spec, series));
        self.values[now] = value.map_or(self.values[last], |value| self.held(value));
        for (model, usual) in self.models.iter_mut().zip(USUAL) {
            let usual = self.profile.ahead(cycle(spec), usual, slot).next().unwrap_or(0.0);
            model.before.get_mut(now).into_iter().for_each(|before| *before = usual);
            // A spike is forecast from, but not learnt from.
            model.left[now] = if spike && value.is_some() { self.values[now] - usual } else { model.left[last] };
            model.averages[now] = model.averages[last];
        }
        if self.unit > 0.0 && self.steps as usize > LAGS {
            let number = number.map(|number| self.held(number));
            let (reference, values) = (self.reference, &self.values);
            let holds = value.is_some() && !spike;
            let coming = Coming { spec, series, slot, now, reference, values, value: holds, number };
            for (at, (model, usual)) in self.models.iter_mut().zip(USUAL).enumerate() {
                let weights = self.foresight.as_mut().map(|foresight| foresight.weights_of(spec, at));
                model.mature::<R>(usual, &coming, self.unit, self.steps, foreseen.as_ref().zip(weights));
            }
        }
        if value.is_none() || spike {
            return;
        }
        let value = self.values[now];
        self.measure(value);
        let bound = CLIP_USUAL * self.unit;
        self.profile.update(cycle(spec), slot, |usual| (value - usual).clamp(-bound, bound));
        for (model, usual) in self.models.iter_mut().zip(USUAL) {
            let known = self.profile.ahead(cycle(spec), usual, slot).next().unwrap_or(0.0);
            model.take(now, value - known, self.unit, self.steps);
            if self.unit > 0.0 && self.steps as usize > LAGS {
                let beside = look(spec, series, slot, 0);
                let around = around(usual, spec, series, self.reference, 0);
                let regressors = model.regressors::<R>(now, around, beside, self.unit);
                let heed = heed(&regressors);
                model.factor.update(&regressors.map(|regressor| heed * regressor), FORGETTING);
            }
        }
        self.steps = self.steps.saturating_add(1);
    }

    /// Remembers what is told in advance of a forecast that is made at the newest step.
    pub fn remember(&mut self, spec: &ForecastSpec, series: &SeriesState) {
        if let Some(foresight) = &mut self.foresight {
            foresight.remember(spec, series);
        }
    }

    /// What a snapshot keeps beside it where numbers are known in advance.
    pub fn foresight(&self) -> &Option<Box<Foresight>> {
        &self.foresight
    }

    /// Puts back what [`Self::foresight`] gave.
    pub fn put_foresight(&mut self, foresight: Option<Box<Foresight>>) {
        self.foresight = foresight;
    }

    /// Takes the newest step for an empty one.
    pub fn mark_newest_missing(&mut self) {
        let now = usize::from(self.now);
        let last = back(now, 1, self.values.len());
        self.values[now] = self.values[last];
        for model in &mut self.models {
            model.left[now] = model.left[last];
        }
    }

    /// How far the forecasts of one model lie from the newest value, for each number that is told, after that value was
    /// learnt and taken. 0, the last value, as long as too little is known.
    pub fn path(&self, spec: &ForecastSpec, series: &SeriesState, model: usize, out: &mut [f64]) {
        match regressors(spec) {
            REGRESSORS => self.path_of::<REGRESSORS>(spec, series, model, out),
            WITH_FEW => self.path_of::<WITH_FEW>(spec, series, model, out),
            _ => self.path_of::<WITH_MANY>(spec, series, model, out),
        }
    }

    fn path_of<const R: usize>(&self, spec: &ForecastSpec, series: &SeriesState, model: usize, out: &mut [f64]) {
        let known = self.steps >= known_from(spec) && self.unit > 0.0;
        let newest = series.newest_slot().zip(series.value_back(0)).filter(|_| known);
        let now = usize::from(self.now);
        let (Some((slot, value)), Some(learnt)) = (newest, self.models.get(model)) else {
            let smooth = self.models.first().filter(|_| model == 0 && self.steps > 1);
            out.fill(smooth.map_or(0.0, |model| f64::from(model.averages[now][0] - model.left[now])));
            return;
        };
        let around = around(USUAL[model], spec, series, self.reference, 1); // the newest step is taken already
        let regressors = learnt.regressors::<R>(now, around, look(spec, series, slot.saturating_add(1), 1), self.unit);
        let usual = self.held(value) - learnt.left[now]; // in the newest slot
        let mut ahead = self.profile.ahead(cycle(spec), USUAL[model], slot.saturating_add(1));
        let one = spec.target.and_then(|target| target.of(ahead.by_ref().take(spec.horizon).map(f64::from)));
        let apart = |knot: usize| {
            let weights = &learnt.weights[knot * R..][..R];
            dot(weights, &regressors).clamp(-FARTHEST, FARTHEST)
        };
        let mut between = (0, apart(0));
        let mut reached = between;
        for (out, place) in out.iter_mut().zip(&spec.of_knots) {
            if place.above != reached.0 {
                (between, reached) = (reached, (place.above, apart(place.above)));
            }
            let offset = one.map_or_else(|| ahead.next().unwrap_or(0.0), |one| one as f32) - usual;
            let apart = between.1 + place.share * (reached.1 - between.1);
            *out = f64::from(self.unit * apart + offset);
        }
        if let Some(foresight) = &self.foresight {
            foresight.add(spec, series, model, self.unit, out);
        }
    }

    /// Whether the newest step is the first from which the models forecast; before, the first one smooths exponentially.
    pub fn begins(&self, spec: &ForecastSpec) -> bool {
        self.steps == known_from(spec)
    }

    /// A distance in the series' long-term unit.
    pub fn units(&self, distance: f64) -> f32 {
        if self.unit > 0.0 { scaled(distance, f64::from(self.unit)) } else { 1.0 }
    }

    /// Follows the unit and the mean: slowly, and not after what is far out.
    fn measure(&mut self, value: f32) {
        if self.steps == 0 {
            self.mean = value;
            return;
        }
        let weight = 1.0 / self.steps.min(LONG_MEMORY) as f32;
        let apart = value - self.mean;
        let bound = farthest(self.unit, self.steps);
        let kept = apart.clamp(-bound, bound);
        self.mean += weight * kept;
        self.unit += weight * (kept.abs() - self.unit);
    }

    /// A value as it is reckoned with here.
    fn held(&self, value: f64) -> f32 {
        held(value, self.reference)
    }

    /// Whether this is of the shape of `spec`.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        let length = ring(spec);
        let model = |(model, usual): (&Model, &Usual)| {
            model.weights.len() == spec.knots.len() * regressors(spec)
                && model.factor.fits(regressors(spec))
                && model.usual.len() == spec.buckets.len()
                && [model.left.len(), model.averages.len()] == [length; 2]
                && model.before.len() == before(spec, *usual)
        };
        self.values.len() == length
            && self.models.len() == models(spec)
            && self.models.iter().zip(&USUAL).all(model)
            && self.profile.fits(cycle(spec))
    }

    /// Whether its place lies within its rings and its numbers can be reckoned with: it may come from outside.
    pub fn is_sound(&self) -> bool {
        usize::from(self.now) < self.values.len()
            && is_within_limit(self.reference)
            && self.unit >= 0.0
            && all_finite(&[self.unit, self.mean])
            && all_finite(&self.values)
            && self.profile.is_sound()
            && self.models.iter().all(Model::is_sound)
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        let model = |model: &Model| {
            let numbers = model.weights.capacity()
                + model.usual.capacity()
                + model.left.capacity()
                + model.before.capacity()
                + model.averages.capacity() * MEMORIES.len();
            size_of::<Model>() + model.factor.heap_bytes() + numbers * size_of::<f32>()
        };
        let foresight = |foresight: &Foresight| size_of::<Foresight>() + foresight.heap_bytes();
        self.profile.heap_bytes()
            + self.foresight.as_deref().map_or(0, foresight)
            + self.values.capacity() * size_of::<f32>()
            + self.models.iter().map(model).sum::<usize>()
    }
}

impl Model {
    fn is_sound(&self) -> bool {
        self.factor.is_sound()
            && self.usual.iter().all(|usual| *usual >= 0.0)
            && [&self.weights, &self.usual, &self.left, &self.before].into_iter().all(|numbers| all_finite(numbers))
            && all_finite(self.averages.as_flattened())
            && self.level.is_finite()
    }

    /// Learns from the buckets whose last lead is the coming step, beside the weights of what was foreseen of them.
    fn mature<const R: usize>(
        &mut self,
        usual: Usual,
        coming: &Coming<'_>,
        unit: f32,
        steps: u32,
        mut foreseen: Option<(&Matured, &mut [f32])>,
    ) {
        let spec = coming.spec;
        let mut first = *spec.leads().start();
        for (bucket, &end) in spec.buckets.iter().enumerate() {
            let leads = first..=end;
            first = end + 1;
            if !coming.holds(end) {
                continue; // nothing was forecast then
            }
            let origin = coming.back(end);
            let around = around(usual, spec, coming.series, coming.reference, end);
            let regressors = self.regressors::<R>(origin, around, look(spec, coming.series, coming.slot, end), unit);
            let left = self.left[origin];
            let heed = heed(&regressors);
            let gain = self.factor.gain(&regressors.map(|regressor| heed * regressor));
            for (knot, &lead) in spec.knots.iter().enumerate().filter(|(_, lead)| leads.contains(lead)) {
                let Some(target) = coming.target(&self.before, end, lead) else { continue };
                let target = ((target - left) / unit).clamp(-CLIP, CLIP);
                let weights = &mut self.weights[knot * R..][..R];
                let mut error = target - dot(weights, &regressors);
                if let Some((foreseen, weights)) = &foreseen {
                    error -= foreseen.said(weights, knot);
                }
                if !error.is_finite() {
                    continue; // the numbers have overflowed: there is nothing to learn from
                }
                let usual = &mut self.usual[bucket];
                let bound = if steps > KNOWN_FROM { CLIP_ERROR * *usual } else { f32::INFINITY };
                *usual += (error.abs().min(2.0 * bound.max(1e-3)) - *usual) / steps.min(MEMORY) as f32;
                let error = error.clamp(-bound, bound);
                for (weight, gain) in weights.iter_mut().zip(gain) {
                    *weight += heed * error * gain;
                }
                if let Some((foreseen, weights)) = &mut foreseen {
                    // From what the step above has left of the error, so that both together do not overshoot.
                    foreseen.learn(weights, knot, error * (1.0 - heed * dot(&gain, &regressors)));
                }
            }
        }
    }

    /// Takes in what is left of the newest value.
    fn take(&mut self, now: usize, left: f32, unit: f32, steps: u32) {
        self.left[now] = left;
        let bound = farthest(unit, steps);
        let after = |mean: f32, memory: f32| if steps == 0 { left } else { towards(mean, left, bound, memory) };
        self.level = after(self.level, steps.clamp(1, LONG_MEMORY) as f32);
        let averages = self.averages[now];
        self.averages[now] = std::array::from_fn(|at| after(averages[at], MEMORIES[at]));
    }

    /// A one, the newest differences from what is left at `place` in the rings, those from `around`, the averages', and what
    /// stands `beside`.
    fn regressors<const R: usize>(&self, place: usize, around: Option<Around>, beside: Beside, unit: f32) -> [f32; R] {
        let left = self.left[place];
        let mut regressors = [1.0; R];
        let (own, others) = regressors.split_at_mut(REGRESSORS);
        others.copy_from_slice(&beside[..R - REGRESSORS]);
        let (lags, averages) = own[1..].split_at_mut(LAGS);
        for (lag, regressor) in (1..).zip(&mut *lags) {
            *regressor = self.left[back(place, lag, self.left.len())];
        }
        if let Some(around) = around {
            lags[LAGS - AROUND..].copy_from_slice(&around.map(|value| value.unwrap_or(left)));
        }
        averages[0] = self.level;
        averages[1..].copy_from_slice(&self.averages[place]);
        for regressor in &mut own[1..] {
            *regressor = ((*regressor - left) / unit).clamp(-CLIP, CLIP);
        }
        regressors
    }
}

/// Numbers of a model: a multiple of four; with covariates padded with zeros to one of two sizes.
fn regressors(spec: &ForecastSpec) -> usize {
    match spec.looks() {
        0 => REGRESSORS,
        looks if looks <= WITH_FEW - REGRESSORS => WITH_FEW,
        _ => WITH_MANY,
    }
}

/// What tells of the covariates at a step, padded with zeros.
type Beside = [f32; WITH_MANY - REGRESSORS];

/// What tells of the covariates at the step that lies `ago` steps before the slot `coming`, which `series` has not taken yet.
fn look(spec: &ForecastSpec, series: &SeriesState, coming: i64, ago: usize) -> Beside {
    let mut beside = [0.0; WITH_MANY - REGRESSORS];
    if spec.looks() > 0 {
        series.past_covariate_regressors(coming, ago, spec.season.max(1), &mut beside[..spec.looks()]);
    }
    beside
}

/// Steps that the rings hold: of every origin that still teaches, its lags.
fn ring(spec: &ForecastSpec) -> usize {
    spec.horizon + LAGS + 1
}

/// Steps of which is remembered what was usual before their values came.
fn before(spec: &ForecastSpec, usual: Usual) -> usize {
    if usual == Usual::Nothing { 0 } else { ring(spec) }
}

/// Steps with a value from which on the models forecast: two seasons, also where the season plays no part. From 50 on the
/// first one would be better by chance alone, and its intervals are too narrow where jobs come back every hour.
fn known_from(spec: &ForecastSpec) -> u32 {
    KNOWN_FROM.max(u32::try_from(2 * spec.season).unwrap_or(u32::MAX))
}

pub(super) fn models(spec: &ForecastSpec) -> usize {
    spec.linear_experts.min(if spec.season >= 2 { MODELS } else { 1 })
}

/// What repeats, where a model looks at it.
fn cycle(spec: &ForecastSpec) -> Cycle<'_> {
    if models(spec) > 1 { spec.cycle() } else { Cycle { season: 0, holidays: None } }
}

/// Values around one season before a step, where they are known.
type Around = [Option<f32>; AROUND];

/// What a model with this notion of usual looks at around one season before the step that lies `ago` steps before the coming
/// one, which `series` does not hold yet.
fn around(usual: Usual, spec: &ForecastSpec, series: &SeriesState, reference: f64, ago: usize) -> Option<Around> {
    let season = (usual == Usual::Nothing && spec.season >= AROUND).then_some(spec.season)?;
    let value = |ahead| series.value_back(ago + season - ahead - 1).map(|value| held(value, reference));
    Some(std::array::from_fn(value))
}

/// How much is learnt from such regressors, as a factor of them and of the error: less where one is far out, since it
/// would outweigh hundreds of others (Mallows' weights; Krasker and Welsch, JASA 1982).
pub(super) fn heed(regressors: &[f32]) -> f32 {
    let farthest = regressors.iter().fold(0.0_f32, |farthest, regressor| farthest.max(regressor.abs()));
    if farthest > HEEDED { HEEDED / farthest } else { 1.0 }
}

/// How far from a mean a value is believed, once the unit is known.
fn farthest(unit: f32, steps: u32) -> f32 {
    if steps > KNOWN_FROM && unit > 0.0 { CLIP * unit } else { f32::INFINITY }
}

/// A value as it is reckoned with, apart from the first one.
fn held(value: f64, reference: f64) -> f32 {
    (value - reference).clamp(-LARGEST, LARGEST) as f32
}

/// In four sums, so that it becomes vector instructions; always in the same order.
pub(super) fn dot(weights: &[f32], regressors: &[f32]) -> f32 {
    let mut sums = [0.0; 4];
    for (weights, regressors) in weights.chunks_exact(4).zip(regressors.chunks_exact(4)) {
        for (sum, (weight, regressor)) in sums.iter_mut().zip(weights.iter().zip(regressors)) {
            *sum += weight * regressor;
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}
