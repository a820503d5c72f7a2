//! Tables over the leads of a forecast: buckets, and interpolation between the leads that are learned.

/// At most this many leads of a bucket have a linear model of their own.
const MAX_KNOTS_PER_BUCKET: usize = 4;

/// The position of a lead between two entries of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interpolation {
    /// Index of the entry at or before the lead.
    pub below: usize,
    /// Index of the entry at or after the lead.
    pub above: usize,
    /// Weight of `above`, in `0..=1`.
    pub share: f32,
}

/// Where the rings of a bucket begin in the flat storage of all buckets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RingStarts {
    /// Among the rings of the buckets' middle leads.
    pub middle: usize,
    /// Among the rings of the buckets' end leads.
    pub end: usize,
}

/// Tables derived from the horizon, the season and the buckets of a [`ForecastSpec`](super::ForecastSpec).
///
/// Some leads are learned; the leads between them are interpolated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LeadTables {
    /// Leads with linear models of their own, ascending; the end of each bucket is one.
    pub knot_leads: Vec<usize>,
    /// Per output: its lead among the knots.
    pub knots: Vec<Interpolation>,
    /// Per output: its lead among the middles of the buckets.
    pub middles: Vec<Interpolation>,
    /// Per output: the square root of its lead among those of the ends of the buckets.
    pub ends: Vec<Interpolation>,
    /// Per bucket.
    pub ring_starts: Vec<RingStarts>,
}

impl LeadTables {
    /// Tables of forecasts of the leads from `first` on; `buckets` and `middles` hold one lead per bucket.
    pub fn new(first: usize, buckets: &[usize], middles: &[usize]) -> Self {
        let horizon = buckets.last().copied().unwrap_or(first);
        let knot_leads = if first == horizon { vec![horizon] } else { knot_leads(buckets) };
        let leads = || (first..=horizon).map(|lead| lead as f64);
        let ring_starts =
            |bucket: usize| RingStarts { middle: middles[..bucket].iter().sum(), end: buckets[..bucket].iter().sum() };
        Self {
            knots: leads().map(|lead| interpolation(&knot_leads, lead, |lead| lead)).collect(),
            middles: leads().map(|lead| interpolation(middles, lead, |lead| lead)).collect(),
            ends: leads().map(|lead| interpolation(buckets, lead, f64::sqrt)).collect(),
            ring_starts: (0..buckets.len()).map(ring_starts).collect(),
            knot_leads,
        }
    }
}

/// The last lead of each bucket: 1, 3, 6, 12 and so on, doubling up to the horizon. A short remainder joins the bucket
/// before it.
pub(super) fn bucket_ends(horizon: usize) -> Vec<usize> {
    let doubling = std::iter::successors(Some(3), |end| Some(end * 2));
    let mut ends: Vec<_> = std::iter::once(1).chain(doubling).take_while(|end| end * 4 / 3 < horizon).collect();
    ends.push(horizon);
    ends
}

/// The lead nearest to the middle of each bucket that is no multiple of the season, where there is one. At whole
/// seasons the two naive forecasts of a periodic series coincide, and their errors say nothing.
pub(super) fn bucket_middles(buckets: &[usize], season: usize) -> Vec<usize> {
    let starts = std::iter::once(1).chain(buckets.iter().map(|end| end + 1));
    let is_whole_season = |lead: usize| season >= 2 && lead.is_multiple_of(season);
    let middle = |(start, end): (usize, usize)| {
        let middle = (start + end) / 2;
        (start..=end).filter(|lead| !is_whole_season(*lead)).min_by_key(|lead| lead.abs_diff(middle)).unwrap_or(middle)
    };
    starts.zip(buckets.iter().copied()).map(middle).collect()
}

/// The ends of the buckets, and leads that divide each bucket evenly.
fn knot_leads(buckets: &[usize]) -> Vec<usize> {
    let starts = std::iter::once(0).chain(buckets.iter().copied());
    let within = |(start, end): (usize, &usize)| {
        let count = (end - start).min(MAX_KNOTS_PER_BUCKET);
        let (length, end) = (end - start, *end);
        (0..count).rev().map(move |knot| end - knot * length / count)
    };
    starts.zip(buckets).flat_map(within).collect()
}

/// Where `lead` lies among the ascending `entries`, by `measure`; outside of them at the nearest one.
fn interpolation(entries: &[usize], lead: f64, measure: impl Fn(f64) -> f64) -> Interpolation {
    let above = entries.partition_point(|entry| (*entry as f64) < lead);
    if above == 0 || above == entries.len() {
        let nearest = above.min(entries.len() - 1);
        return Interpolation { below: nearest, above: nearest, share: 0.0 };
    }
    let (low, high) = (measure(entries[above - 1] as f64), measure(entries[above] as f64));
    Interpolation { below: above - 1, above, share: ((measure(lead) - low) / (high - low)) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double_and_end_at_the_horizon() {
        for (horizon, expected) in [
            (1, vec![1]),
            (2, vec![1, 2]),
            (3, vec![1, 3]),
            (13, vec![1, 3, 6, 13]),
            (24, vec![1, 3, 6, 12, 24]),
            (48, vec![1, 3, 6, 12, 24, 48]),
        ] {
            assert_eq!(bucket_ends(horizon), expected);
        }
    }

    #[test]
    fn middles_lie_in_their_bucket_and_avoid_whole_seasons() {
        assert_eq!(bucket_middles(&bucket_ends(24), 24), [1, 2, 5, 9, 18]);
        assert_eq!(bucket_middles(&bucket_ends(24), 9), [1, 2, 5, 8, 17]);
        for (horizon, season) in (1..60).flat_map(|horizon| (0..30).map(move |season| (horizon, season))) {
            let buckets = bucket_ends(horizon);
            for (bucket, middle) in bucket_middles(&buckets, season).iter().enumerate() {
                let start = if bucket == 0 { 1 } else { buckets[bucket - 1] + 1 };
                assert!((start..=buckets[bucket]).contains(middle));
                assert!(season < 2 || start == buckets[bucket] || middle % season != 0, "{horizon} {season}");
            }
        }
    }
}
