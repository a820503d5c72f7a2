//! From series to training sequences, by the code that serves.

use std::sync::Arc;

use rayon::prelude::*;

use super::corpus::{Corpus, PretrainSeries};
use super::random::Random;
use super::real::RealSeries;
use crate::nn::NetworkSpec;
use crate::series::{Reading, SeriesSpec};
use crate::time::{EventTime, Grid};
use crate::train::{SequenceBuilder, SequenceSource, TrainingSequence};

/// Separates the numbers that choose between generated and real series from those of the corpus.
const CHOICE: u64 = 0x7c15_9e37;

/// An endless source of training sequences: generated series, and a share of real ones.
#[derive(Debug)]
pub struct CorpusSource {
    /// The generated series.
    pub corpus: Corpus,
    /// Real series; none where empty.
    pub real: Vec<RealSeries>,
    /// Share of the real ones.
    pub real_share: f64,
    /// Settings of all streams, but for grid and season.
    pub template: SeriesSpec,
    /// The network, whose targets the sequences have.
    pub network: NetworkSpec,
    /// Sequences of a round.
    pub count: usize,
}

impl CorpusSource {
    /// The series with this index.
    pub fn series(&self, index: u64) -> PretrainSeries {
        let mut random = Random::new(self.corpus.seed ^ CHOICE, index);
        if !self.real.is_empty() && random.chance(self.real_share) {
            let chosen = random.integer(0, self.real.len() - 1);
            return self.real[chosen].draw(&mut random, self.corpus.length);
        }
        self.corpus.series(index)
    }

    /// Feeds a series to the code that serves, value by value.
    fn sequence(&self, series: &PretrainSeries) -> TrainingSequence {
        let mut spec = self.template.clone();
        spec.grid = Grid::Regular { interval: series.interval };
        spec.season = series.season;
        // As a stream's settings have it by default.
        spec.max_gap = series.season.saturating_mul(2).max(64);
        let mut builder = SequenceBuilder::new(Arc::new(spec), &self.network, series.values.len());
        for (step, value) in (0..).zip(&series.values).filter(|(_, value)| value.is_finite()) {
            let time = EventTime(series.start + step * series.interval);
            builder.observe(&Reading::new(time, *value), None);
        }
        builder.to_sequence()
    }
}

impl SequenceSource for CorpusSource {
    fn round(&self, round: u64) -> Vec<TrainingSequence> {
        let first = round * self.count as u64;
        let indices: Vec<u64> = (first..first + self.count as u64).collect();
        let sequences = indices.into_par_iter().map(|index| self.sequence(&self.series(index)));
        sequences.collect::<Vec<_>>().into_iter().filter(|sequence| !sequence.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Aggregation;

    fn source(real: Vec<RealSeries>) -> CorpusSource {
        let spec = SeriesSpec::new(Grid::Regular { interval: 1 });
        let template = SeriesSpec { aggregation: Aggregation::Last, readings_per_slot: Some(1), horizon: 4, ..spec };
        let network = NetworkSpec { horizon: 4, ..NetworkSpec::default() };
        let corpus = Corpus { seed: 3, length: 200 };
        CorpusSource { corpus, real, real_share: 0.25, template, network, count: 26 }
    }

    #[test]
    fn a_round_is_the_same_again_and_holds_whole_sequences() {
        let source = source(Vec::new());
        let (round, again, next) = (source.round(2), source.round(2), source.round(3));
        let lengths = |round: &[TrainingSequence]| round.iter().map(TrainingSequence::len).collect::<Vec<_>>();
        assert_eq!((round.len(), lengths(&round)), (26, lengths(&again)));
        // The last step closes with the value after it where the last one is missing.
        assert!(lengths(&round).iter().all(|length| (1..=200).contains(length)));
        assert!(lengths(&round).iter().filter(|length| **length == 200).count() > 15, "{:?}", lengths(&round));
        assert!(!next.is_empty());
        let first = |index| source.series(index).values[0].to_bits();
        assert_eq!(first(52), source.corpus.series(52).values[0].to_bits());
    }

    #[test]
    fn real_series_have_their_share() {
        let values = (0..900).map(|at| f64::from(at % 24)).collect();
        let real = vec![RealSeries { interval: 3_600_000, start: 0, values }];
        let source = source(real);
        let count = (0..1000).filter(|index| source.series(*index).family.is_none()).count();
        assert!((200..300).contains(&count), "{count}");
    }
}
