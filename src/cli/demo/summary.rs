//! What the demo did, stream by stream.

use crate::dashboard::state::{Decision, Overview, StreamView};

/// Heads of the table, in the order of [`cells`].
const HEADS: [&str; 7] =
    ["stream", "series", "forecasts", "on last value", "on seasonal", "80 % covers", "anomalous values"];

/// The summary of a run: for each stream its series, forecasts, skill (by how much the absolute error is smaller than
/// that of a naive forecast), coverage of the 80 % interval, and anomalous values.
pub fn text(overview: &Overview) -> String {
    let rows: Vec<[String; 7]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(overview.streams.iter().map(cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = "\nsummary: skill and coverage of matured forecasts\n".to_owned();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let (gap, width) = (if column == 0 { "  " } else { "   " }, width(column));
            text += gap;
            text += &if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
        }
        text.push('\n');
    }
    let promotions = overview.training_outcomes.iter().filter(|outcome| outcome.decision == Decision::Promoted).count();
    text + &format!("  {} observations, {promotions} promotions of trained weights\n", overview.observations)
}

fn cells(stream: &StreamView) -> [String; 7] {
    let skill = |skill: Option<f64>| skill.map_or_else(|| "–".to_owned(), |skill| format!("{:+.1} %", skill * 100.0));
    let covered =
        stream.skill.coverage.iter().find(|(share, _)| (share - 0.8).abs() < 1e-6).and_then(|(_, part)| *part);
    [
        stream.name.clone(),
        stream.series.to_string(),
        stream.forecasts.to_string(),
        skill(stream.skill.skill_last_value),
        skill(stream.skill.skill_seasonal_naive),
        covered.map_or_else(|| "–".to_owned(), |part| format!("{:.1} %", part * 100.0)),
        stream.anomalous.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::state::{
        DashboardState, HorizonAccuracy, IntervalCoverage, PartitionState, PartitionStatus, WorkCounts,
    };

    #[test]
    fn the_summary_has_a_row_for_each_stream() {
        let dashboard = DashboardState::default();
        let status =
            PartitionStatus { state: PartitionState::Running, series: 12, state_bytes: 0, lag: Some(0), remaining: 0 };
        dashboard.set_partition("machine", "in", 0, Some(status));
        dashboard.record_work("machine", WorkCounts { observations: 99, forecasts: 98, ..WorkCounts::default() });
        let accuracy = HorizonAccuracy {
            count: 10,
            foretide: 3.0,
            last_value: 4.0,
            intervals: vec![IntervalCoverage { share: 0.8, targets: 10, covered: 8 }],
            ..HorizonAccuracy::default()
        };
        dashboard.record_accuracy("machine", 1, &accuracy);
        dashboard.set_weights("simulated", 1, None);
        let text = text(&dashboard.overview());
        let words = |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(3), ["machine", "12", "98", "+25.0", "%", "–", "80.0", "%", "0"], "{text}");
        assert_eq!(words(4), ["simulated", "0", "0", "–", "–", "–", "0"], "{text}");
        assert!(text.ends_with("  99 observations, 0 promotions of trained weights\n"), "{text}");
    }
}
