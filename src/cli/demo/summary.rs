//! What the demo did, in a few lines.

use std::fmt::Write as _;

use crate::dashboard::state::{Overview, Verdict};

/// The summary of a run.
pub fn text(overview: &Overview) -> String {
    let promotions = overview.promotions.iter().filter(|promotion| promotion.verdict == Verdict::Promoted).count();
    let mut text = format!(
        "\nsummary\n  observations  {}\n  forecasts     {}\n  series        {}\n  anomalies     {}\n  promotions    {promotions}\n",
        overview.observations, overview.forecasts, overview.series, overview.anomaly_count
    );
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  error against the last value       {}", against(overview.skill_last_value));
    let _ = writeln!(text, "  error against the seasonal naive   {}", against(overview.skill_seasonal_naive));
    for (share, covered) in &overview.coverage {
        let covered = covered.map_or_else(|| "nothing matured yet".into(), |part| format!("{:.1} %", part * 100.0));
        let _ = writeln!(text, "  {:.0} % intervals held {covered} of the values", share * 100.0);
    }
    text
}

/// Skill is one minus the ratio of the mean absolute errors.
fn against(skill: Option<f64>) -> String {
    match skill {
        Some(skill) => format!("{:.3} ({:+.1} %)", 1.0 - skill, -skill * 100.0),
        None => "nothing matured yet".into(),
    }
}
