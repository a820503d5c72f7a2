//! Sums of the scores of some windows by one method.

/// Levels over which the weighted quantile loss is averaged, as GIFT-Eval does.
const LOSS_LEVELS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// The intervals whose width is reported: nominal coverage, and the levels of its bounds.
const INTERVALS: [(f64, f64, f64); 2] = [(0.8, 0.1, 0.9), (0.9, 0.05, 0.95)];

/// What is scored at each quantile level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LevelLayout {
    /// The levels, ascending: the decimals that stand for the 32-bit levels of the forecast.
    pub levels: Vec<f64>,
    /// Indices of the levels that count for the quantile loss: those of [`LOSS_LEVELS`] that are there.
    pub loss: Vec<usize>,
    /// Nominal coverage and indices of the bounds of each interval that is there.
    pub intervals: Vec<(f64, usize, usize)>,
}

impl LevelLayout {
    pub fn new(levels: &[f32]) -> Self {
        let decimals = |level: &f32| level.to_string().parse().unwrap_or(f64::from(*level));
        let levels: Vec<f64> = levels.iter().map(decimals).collect();
        let find = |wanted: f64| levels.iter().position(|level| *level == wanted);
        Self {
            loss: LOSS_LEVELS.into_iter().filter_map(find).collect(),
            intervals: INTERVALS
                .iter()
                .filter_map(|(nominal, low, high)| Some((*nominal, find(*low)?, find(*high)?)))
                .collect(),
            levels,
        }
    }
}

/// A forecast of one target.
#[derive(Debug, Clone, Copy)]
pub(super) struct TargetForecast<'a> {
    pub point: f64,
    /// Quantiles, `[level]`.
    pub quantiles: &'a [f64],
}

/// Sums over targets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WindowSums {
    pub targets: u64,
    /// Sum of the targets' magnitudes.
    pub magnitudes: f64,
    pub absolute_error: f64,
    /// Sum of the absolute errors divided by each window's seasonal naive error, and of how many targets.
    scaled_error: (f64, u64),
    /// Sums of the pinball losses, `[level]`.
    pinball: Vec<f64>,
    /// Number of targets at or below the quantile, `[level]`.
    below: Vec<u64>,
    /// Number of targets inside, and sum of the widths, `[interval]`.
    intervals: Vec<(u64, f64)>,
}

impl WindowSums {
    pub fn new(layout: &LevelLayout) -> Self {
        Self {
            targets: 0,
            magnitudes: 0.0,
            absolute_error: 0.0,
            scaled_error: (0.0, 0),
            pinball: vec![0.0; layout.levels.len()],
            below: vec![0; layout.levels.len()],
            intervals: vec![(0, 0.0); layout.intervals.len()],
        }
    }

    /// Adds a target. `naive_error` is the window's seasonal naive error.
    pub fn add(&mut self, layout: &LevelLayout, target: f64, forecast: TargetForecast<'_>, naive_error: Option<f64>) {
        let TargetForecast { point, quantiles } = forecast;
        let error = (target - point).abs();
        self.targets += 1;
        self.magnitudes += target.abs();
        self.absolute_error += error;
        if let Some(unit) = naive_error {
            self.scaled_error.0 += error / unit;
            self.scaled_error.1 += 1;
        }
        for (index, (level, quantile)) in layout.levels.iter().zip(quantiles).enumerate() {
            let error = target - quantile;
            self.pinball[index] += (level * error).max((level - 1.0) * error);
            self.below[index] += u64::from(target <= *quantile);
        }
        for ((_, low, high), (inside, width)) in layout.intervals.iter().zip(&mut self.intervals) {
            *inside += u64::from((quantiles[*low]..=quantiles[*high]).contains(&target));
            *width += quantiles[*high] - quantiles[*low];
        }
    }

    /// Adds sums over other targets.
    pub fn merge(&mut self, other: &Self) {
        self.targets += other.targets;
        self.magnitudes += other.magnitudes;
        self.absolute_error += other.absolute_error;
        self.scaled_error.0 += other.scaled_error.0;
        self.scaled_error.1 += other.scaled_error.1;
        self.pinball.iter_mut().zip(&other.pinball).for_each(|(sum, more)| *sum += more);
        self.below.iter_mut().zip(&other.below).for_each(|(sum, more)| *sum += more);
        for ((inside, width), (more_inside, more_width)) in self.intervals.iter_mut().zip(&other.intervals) {
            *inside += more_inside;
            *width += more_width;
        }
    }

    /// Mean absolute scaled error; `None` without a window whose seasonal naive error is known.
    pub fn mase(&self) -> Option<f64> {
        mean(self.scaled_error.0, self.scaled_error.1)
    }

    /// Sum over targets of twice the pinball loss, averaged over the levels that count.
    pub fn quantile_loss(&self, layout: &LevelLayout) -> f64 {
        2.0 * layout.loss.iter().map(|index| self.pinball[*index]).sum::<f64>() / layout.loss.len().max(1) as f64
    }

    /// Mean weighted quantile loss; `None` where all targets are 0.
    pub fn weighted_quantile_loss(&self, layout: &LevelLayout) -> Option<f64> {
        self.by_magnitude(self.quantile_loss(layout))
    }

    /// Normalised deviation: sum of the absolute errors by the sum of the targets' magnitudes.
    pub fn nd(&self) -> Option<f64> {
        self.by_magnitude(self.absolute_error)
    }

    /// Share of targets at or below each quantile, `[level]`.
    pub fn coverage(&self) -> Vec<Option<f64>> {
        self.below.iter().map(|below| mean(*below as f64, self.targets)).collect()
    }

    /// Share of targets inside each interval.
    pub fn interval_coverage(&self) -> Vec<Option<f64>> {
        self.intervals.iter().map(|(inside, _)| mean(*inside as f64, self.targets)).collect()
    }

    /// Mean width of each interval.
    pub fn mean_width(&self) -> Vec<Option<f64>> {
        self.intervals.iter().map(|(_, width)| mean(*width, self.targets)).collect()
    }

    /// Mean width of each interval by the targets' mean magnitude.
    pub fn relative_width(&self) -> Vec<Option<f64>> {
        self.intervals.iter().map(|(_, width)| self.by_magnitude(*width)).collect()
    }

    fn by_magnitude(&self, sum: f64) -> Option<f64> {
        (self.magnitudes > 0.0).then(|| sum / self.magnitudes)
    }
}

fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}
