//! What the linear experts make of numbers that are known in advance.

use crate::series::clone_in_place;
use serde::{Deserialize, Serialize};

use super::experts::{FARTHEST, all_finite};
use super::factor::Factor;
use super::linear::{FORGETTING, dot, heed, models};
use super::pending::{halve, unhalve};
use super::ring::after;
use super::spec::{Between, ForecastSpec};
use crate::series::{MAX_FUTURE_COVARIATES, SeriesState, Target};

/// Numbers that tell of one known number at a lead: how far it will have moved, the same of its square, since what heats and
/// what cools pull the same way, and both again of its mean over a season, since walls and people are slow.
const LOOKS: usize = 4;
/// Numbers of a model with some known ones, and with as many as there may be.
const WITH_FEW: usize = 2 * LOOKS;
const WITH_MANY: usize = MAX_FUTURE_COVARIATES * LOOKS;
/// A square counts for so much beside what it is the square of.
const CURVED: f32 = 0.25;
/// Most steps of a season over which a mean is taken.
const MOST_OF_A_SEASON: usize = 288;

/// Adds to each linear model what numbers known in advance say of a lead, by recursive least squares on what is left: each
/// lead has numbers of its own, where the models look at what all leads share. It learns from what was told when a forecast
/// was made, which is less than what is known later.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Foresight {
    /// `[bucket]`
    factors: Vec<Factor>,
    /// `[model][knot][regressor]`
    weights: Vec<f32>,
    /// Where the newest step lies in the rings of each bucket.
    cursors: Vec<u16>,
    /// Rings of the knots, one after the other, `[end of its bucket][regressor]`: what was told of that lead, as the upper half
    /// of its bits.
    told: Vec<u16>,
}

clone_in_place!(Foresight { factors, weights, cursors, told });

/// What was told of each knot of the forecasts that mature now, `[knot][regressor]`, and how far an error moves the weights.
pub(crate) struct Matured {
    regressors: Vec<f32>,
    gains: Vec<f32>,
    count: usize,
}

impl Foresight {
    /// Nothing is learnt yet; none where nothing is known in advance.
    pub fn new(spec: &ForecastSpec) -> Option<Box<Self>> {
        let regressors = regressors(spec);
        (spec.known > 0).then(|| {
            Box::new(Self {
                factors: spec.buckets.iter().map(|_| Factor::new(regressors)).collect(),
                weights: vec![0.0; models(spec) * spec.knots.len() * regressors],
                cursors: vec![0; spec.buckets.len()],
                told: vec![0; rings(spec)],
            })
        })
    }

    /// Moves on to the coming step, which `series` has not taken yet: what was told of the forecasts that mature now.
    pub fn mature(&mut self, spec: &ForecastSpec, series: &SeriesState) -> Matured {
        match regressors(spec) {
            WITH_FEW => self.mature_of::<WITH_FEW>(spec, series),
            _ => self.mature_of::<WITH_MANY>(spec, series),
        }
    }

    fn mature_of<const R: usize>(&mut self, spec: &ForecastSpec, series: &SeriesState) -> Matured {
        for (cursor, &end) in self.cursors.iter_mut().zip(&spec.buckets) {
            *cursor = after(*cursor, end);
        }
        let mut matured = Matured { regressors: Vec::new(), gains: Vec::new(), count: R };
        let mut begins = 0;
        for (lead, bucket) in knots(spec) {
            let told = self.place(spec, &mut begins, bucket);
            let mut regressors = [0.0; R];
            let halves = regressors.iter_mut().zip(&self.told[told]);
            halves.for_each(|(regressor, half)| *regressor = unhalve(*half));
            let heed = heed(&regressors);
            let heeded = regressors.map(|regressor| heed * regressor);
            let factor = &mut self.factors[bucket];
            matured.gains.extend(factor.gain(&heeded).map(|gain| heed * gain));
            matured.regressors.extend(regressors);
            // The leads of a bucket share how much is known of their weights: the last one says it, where a forecast was made.
            let end = spec.buckets[bucket];
            if lead == end && series.value_back(end - 1).is_some() {
                factor.update(&heeded, FORGETTING);
            }
        }
        matured
    }

    /// The weights of one model, `[knot][regressor]`.
    pub fn weights_of(&mut self, spec: &ForecastSpec, model: usize) -> &mut [f32] {
        &mut self.weights[of_model(spec, model)]
    }

    /// Remembers what is told of the knots at the newest step, at which a forecast is made.
    pub fn remember(&mut self, spec: &ForecastSpec, series: &SeriesState) {
        let (mut knots, mut begins) = (knots(spec).peekable(), 0);
        look(spec, series, |lead, regressors| {
            if let Some((_, bucket)) = knots.next_if(|(knot, _)| *knot == lead) {
                let told = self.place(spec, &mut begins, bucket);
                let halves = self.told[told].iter_mut().zip(regressors);
                halves.for_each(|(half, regressor)| *half = halve(*regressor));
            }
        });
    }

    /// Adds to the path of one model, told in `unit`, what is known in advance of each of its leads.
    pub fn add(&self, spec: &ForecastSpec, series: &SeriesState, model: usize, unit: f32, out: &mut [f64]) {
        let count = regressors(spec);
        let weights = &self.weights[of_model(spec, model)];
        let mut out = out.iter_mut().zip(&spec.of_knots);
        look(spec, series, |_, regressors| {
            let Some((out, Between { below, above, share })) = out.next() else { return };
            let at = |knot: usize| dot(&weights[knot * count..][..count], &regressors[..count]);
            let (low, high) = (at(*below), at(*above));
            *out += f64::from(unit * (low + share * (high - low)).clamp(-FARTHEST, FARTHEST));
        });
    }

    /// Where the regressors of a knot lie at the newest step; the rings of the knots from this one on begin at `begins`.
    fn place(&self, spec: &ForecastSpec, begins: &mut usize, bucket: usize) -> std::ops::Range<usize> {
        let count = spec.known * LOOKS;
        let at = *begins + usize::from(self.cursors[bucket]) * count;
        *begins += spec.buckets[bucket] * count;
        at..at + count
    }

    /// Whether this is of the shape of `spec`.
    pub fn fits(&self, spec: &ForecastSpec) -> bool {
        let regressors = regressors(spec);
        self.factors.len() == spec.buckets.len()
            && self.factors.iter().all(|factor| factor.fits(regressors))
            && self.weights.len() == models(spec) * spec.knots.len() * regressors
            && self.cursors.len() == spec.buckets.len()
            && self.cursors.iter().zip(&spec.buckets).all(|(cursor, end)| usize::from(*cursor) < *end)
            && self.told.len() == rings(spec)
    }

    /// Whether its numbers can be reckoned with: they may come from outside.
    pub fn is_sound(&self) -> bool {
        self.factors.iter().all(Factor::is_sound)
            && all_finite(&self.weights)
            && self.told.iter().all(|half| unhalve(*half).is_finite())
    }

    /// Heap memory in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.factors.capacity() * size_of::<Factor>()
            + self.factors.iter().map(Factor::heap_bytes).sum::<usize>()
            + self.weights.capacity() * size_of::<f32>()
            + (self.cursors.capacity() + self.told.capacity()) * size_of::<u16>()
    }
}

impl Matured {
    /// What the weights of a knot say.
    pub fn said(&self, weights: &[f32], knot: usize) -> f32 {
        let at = knot * self.count;
        dot(&weights[at..at + self.count], &self.regressors[at..at + self.count])
    }

    /// Learns from an error at a knot.
    pub fn learn(&self, weights: &mut [f32], knot: usize, error: f32) {
        let at = knot * self.count;
        for (weight, gain) in weights[at..at + self.count].iter_mut().zip(&self.gains[at..at + self.count]) {
            *weight += error * gain;
        }
    }
}

/// Each knot, with its bucket.
fn knots(spec: &ForecastSpec) -> impl Iterator<Item = (usize, usize)> + '_ {
    spec.knots.iter().map(|knot| (*knot, spec.buckets.partition_point(|end| end < knot)))
}

/// Numbers in the rings of all knots.
fn rings(spec: &ForecastSpec) -> usize {
    knots(spec).map(|(_, bucket)| spec.buckets[bucket] * spec.known * LOOKS).sum()
}

/// Numbers of a model, padded with zeros to one of two sizes.
fn regressors(spec: &ForecastSpec) -> usize {
    if spec.known * LOOKS <= WITH_FEW { WITH_FEW } else { WITH_MANY }
}

/// Where the weights of a model lie.
fn of_model(spec: &ForecastSpec, model: usize) -> std::ops::Range<usize> {
    let count = spec.knots.len() * regressors(spec);
    model * count..(model + 1) * count
}

/// Visits what is told at the newest step of each lead that is forecast, in order; where one number is made of all leads, the mean
/// of what is told of them. 0 where nothing is known.
fn look(spec: &ForecastSpec, series: &SeriesState, mut visit: impl FnMut(usize, &[f32; WITH_MANY])) {
    let mut numbers: Vec<_> = (0..spec.known).map(|place| Number::new(spec, series, place)).collect();
    let one = spec.target.is_some_and(|target| target != Target::Last);
    let mut sums = [0.0; WITH_MANY];
    for lead in 1..=spec.horizon {
        let mut regressors = [0.0; WITH_MANY];
        for (number, out) in numbers.iter_mut().zip(regressors.chunks_exact_mut(LOOKS)) {
            out.copy_from_slice(&number.look(lead));
        }
        if one {
            sums.iter_mut().zip(regressors).for_each(|(sum, regressor)| *sum += regressor);
            regressors = sums.map(|sum| sum / lead as f32);
        }
        if spec.leads().contains(&lead) {
            visit(lead, &regressors);
        }
    }
}

/// One number on the way from the newest step to the horizon.
struct Number<'a> {
    series: &'a SeriesState,
    place: usize,
    /// In the newest step; none where nothing is known.
    now: Option<f32>,
    /// Steps over which a mean is taken, their sum, and the mean up to the newest step.
    season: usize,
    sum: f32,
    slow: f32,
}

impl<'a> Number<'a> {
    fn new(spec: &ForecastSpec, series: &'a SeriesState, place: usize) -> Self {
        let now = series.future_covariate_back(place, 0);
        let season = if spec.season >= 2 && now.is_some() { spec.season.min(MOST_OF_A_SEASON) } else { 0 };
        let sum: f32 = (0..season).map(|back| series.future_covariate_back(place, back).or(now).unwrap_or(0.0)).sum();
        Self { series, place, now, season, sum, slow: sum / season.max(1) as f32 }
    }

    /// What is told of the next lead.
    fn look(&mut self, lead: usize) -> [f32; LOOKS] {
        let Some(now) = self.now else { return [0.0; LOOKS] };
        let told = self.series.future_covariate_ahead(self.place, lead);
        if self.season > 0 {
            let left = match lead.checked_sub(self.season) {
                Some(lead) if lead > 0 => self.series.future_covariate_ahead(self.place, lead),
                _ => self.series.future_covariate_back(self.place, self.season - lead),
            };
            self.sum += told.unwrap_or(now) - left.unwrap_or(now);
        }
        let Some(told) = told else { return [0.0; LOOKS] };
        let slow = self.sum / self.season.max(1) as f32;
        let moved = |to: f32, from: f32| [to - from, CURVED * (to * to - from * from)];
        let ([at_once, curved], [slowly, slowly_curved]) = (moved(told, now), moved(slow, self.slow));
        [at_once, curved, slowly, slowly_curved]
    }
}
