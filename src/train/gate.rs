//! The gate between challenger and champion.

use std::fmt;

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The challenger is clearly better.
    Promote,
    /// It is not, and this is why.
    Refuse(Refusal),
}

/// Why a challenger was refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// Too few forecasts have matured in the held-out part to judge by.
    TooFew {
        /// Matured targets.
        judged: u64,
        /// How many are needed.
        least: u64,
    },
    /// The challenger's loss is not a finite number.
    NotFinite,
    /// The challenger's loss is not below the champion's by the margin.
    NoClearWin {
        /// The champion's loss.
        champion: f64,
        /// The challenger's.
        challenger: f64,
        /// The part of the champion's loss that had to be won.
        margin: f64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { judged, least } => {
                write!(formatter, "only {judged} held-out targets have matured, {least} are needed")
            }
            Self::NotFinite => formatter.write_str("the challenger's held-out loss is not finite"),
            Self::NoClearWin { champion, challenger, margin } => write!(
                formatter,
                "held-out loss {challenger:.6} against the champion's {champion:.6}: a win of {:.2} % is needed",
                margin * 100.0
            ),
        }
    }
}

/// Judges by mean losses over the same `judged` matured targets. A champion whose loss is not finite loses to any
/// challenger whose loss is.
pub fn judge(champion: f64, challenger: f64, judged: u64, least: u64, margin: f64) -> Verdict {
    let refuse = Verdict::Refuse;
    if judged < least.max(1) {
        refuse(Refusal::TooFew { judged, least: least.max(1) })
    } else if !challenger.is_finite() {
        refuse(Refusal::NotFinite)
    } else if !champion.is_finite() || challenger < champion * (1.0 - margin) {
        Verdict::Promote
    } else {
        refuse(Refusal::NoClearWin { champion, challenger, margin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::Promote => "promoted".to_owned(),
            Verdict::Refuse(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn only_a_clear_win_passes() {
        assert_eq!(judge(1.0, 0.9, 100, 100, 0.05), Verdict::Promote);
        let no = "held-out loss 0.960000 against the champion's 1.000000: a win of 5.00 % is needed";
        assert_eq!(reason(judge(1.0, 0.96, 100, 100, 0.05)), no);
        assert!(matches!(judge(1.0, 1.0, 100, 100, 0.0), Verdict::Refuse(Refusal::NoClearWin { .. })), "a draw");
        assert!(matches!(judge(0.5, 0.6, 100, 100, 0.0), Verdict::Refuse(Refusal::NoClearWin { .. })));
        assert!(matches!(judge(0.0, 0.0, 100, 100, 0.01), Verdict::Refuse(_)), "nothing to win");
    }

    #[test]
    fn too_little_to_judge_by_and_broken_challengers_are_refused() {
        assert_eq!(reason(judge(1.0, 0.1, 99, 100, 0.0)), "only 99 held-out targets have matured, 100 are needed");
        assert_eq!(reason(judge(f64::NAN, f64::NAN, 0, 0, 0.0)), "only 0 held-out targets have matured, 1 are needed");
        for broken in [f64::NAN, f64::INFINITY] {
            assert_eq!(judge(1.0, broken, 100, 1, 0.0), Verdict::Refuse(Refusal::NotFinite));
            assert_eq!(judge(broken, 1.0, 100, 1, 0.0), Verdict::Promote, "a broken champion");
        }
    }
}
