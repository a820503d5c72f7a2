//! The gate between challenger and champion.

use std::fmt;

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The challenger is clearly better.
    Promote,
    /// It is not, and this is why.
    Reject(Rejection),
}

/// Why a challenger was refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rejection {
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
    /// What was learnt from is forecast clearly better, what was held out is not: chance was learnt by heart.
    Overfitting(Losses),
    /// Neither is forecast better: the network cannot, training did not get there, or nothing is left to learn.
    Underfitting(Losses),
}

/// What a refusal rests on: mean pinball losses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Losses {
    /// The champion's on a sample of what was learnt from.
    pub champion_learnt: f64,
    /// The best that training came to there.
    pub learnt: f64,
    /// The champion's on what was held out.
    pub champion_held_out: f64,
    /// The challenger's.
    pub held_out: f64,
}

impl Rejection {
    /// One word for programs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "too_few",
            Self::NotFinite => "not_finite",
            Self::NoClearWin { .. } => "no_clear_win",
            Self::Overfitting(_) => "overfitting",
            Self::Underfitting(_) => "underfitting",
        }
    }
}

impl Verdict {
    /// Tells a refusal for want of any win apart by the mean losses on what was learnt from: the champion's and the best
    /// that training came to. A gain there counts where it is as large, in parts, as the win that was asked for.
    #[must_use]
    pub fn explained(self, champion_learnt: f64, learnt: f64) -> Self {
        let Self::Reject(Rejection::NoClearWin { champion, challenger, margin }) = self else { return self };
        if challenger < champion || !champion_learnt.is_finite() {
            return self;
        }
        let losses = Losses { champion_learnt, learnt, champion_held_out: champion, held_out: challenger };
        let better = learnt < champion_learnt * (1.0 - margin);
        Self::Reject(if better { Rejection::Overfitting(losses) } else { Rejection::Underfitting(losses) })
    }
}

impl fmt::Display for Rejection {
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
            Self::Overfitting(losses) => write!(
                formatter,
                "overfitting: {losses}; more history, fewer hidden units, fewer updates or more weight decay help"
            ),
            Self::Underfitting(losses) => write!(
                formatter,
                "underfitting, or nothing is left to learn: {losses}; more hidden units, more updates or another \
                 learning rate may help"
            ),
        }
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { champion_learnt, learnt, champion_held_out, held_out } = self;
        write!(
            formatter,
            "the loss on what was learnt from went from {champion_learnt:.6} to {learnt:.6}, on what was held out from \
             {champion_held_out:.6} to {held_out:.6}"
        )
    }
}

/// Judges by mean losses over the same `judged` matured targets. A champion whose loss is not finite loses to any
/// challenger whose loss is.
pub fn judge(champion: f64, challenger: f64, judged: u64, least: u64, margin: f64) -> Verdict {
    let refuse = Verdict::Reject;
    if judged < least.max(1) {
        refuse(Rejection::TooFew { judged, least: least.max(1) })
    } else if !challenger.is_finite() {
        refuse(Rejection::NotFinite)
    } else if !champion.is_finite() || challenger < champion * (1.0 - margin) {
        Verdict::Promote
    } else {
        refuse(Rejection::NoClearWin { champion, challenger, margin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::Promote => "promoted".to_owned(),
            Verdict::Reject(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn only_a_clear_win_passes() {
        assert_eq!(judge(1.0, 0.9, 100, 100, 0.05), Verdict::Promote);
        let no = "held-out loss 0.960000 against the champion's 1.000000: a win of 5.00 % is needed";
        assert_eq!(reason(judge(1.0, 0.96, 100, 100, 0.05)), no);
        assert!(matches!(judge(1.0, 1.0, 100, 100, 0.0), Verdict::Reject(Rejection::NoClearWin { .. })), "a draw");
        assert!(matches!(judge(0.5, 0.6, 100, 100, 0.0), Verdict::Reject(Rejection::NoClearWin { .. })));
        assert!(matches!(judge(0.0, 0.0, 100, 100, 0.01), Verdict::Reject(_)), "nothing to win");
    }

    #[test]
    fn a_refusal_says_whether_chance_or_nothing_was_learnt() {
        let refused = judge(1.0, 1.1, 100, 1, 0.05);
        let over = refused.explained(2.0, 1.0);
        let figures = "the loss on what was learnt from went from 2.000000 to 1.000000, on what was held out from \
                       1.000000 to 1.100000";
        assert!(reason(over).starts_with(&format!("overfitting: {figures}")), "{}", reason(over));
        assert!(
            matches!(over, Verdict::Reject(refusal @ Rejection::Overfitting(_)) if refusal.name() == "overfitting")
        );
        for learnt in [1.95, 2.0, 3.0, f64::NAN] {
            let under = refused.explained(2.0, learnt);
            assert!(matches!(under, Verdict::Reject(Rejection::Underfitting(_))), "{learnt}: {under:?}");
            assert!(reason(under).starts_with("underfitting, or nothing is left to learn: the loss"));
        }
        assert_eq!(refused.explained(f64::NAN, 1.0), refused, "nothing to compare with");
        for other in [judge(1.0, 0.99, 100, 1, 0.05), judge(1.0, 0.5, 100, 1, 0.05), judge(1.0, 1.0, 0, 1, 0.05)] {
            assert_eq!(other.explained(2.0, 1.0), other, "a small win, a clear one, and too little to say");
        }
    }

    #[test]
    fn too_little_to_judge_by_and_broken_challengers_are_refused() {
        assert_eq!(reason(judge(1.0, 0.1, 99, 100, 0.0)), "only 99 held-out targets have matured, 100 are needed");
        assert_eq!(reason(judge(f64::NAN, f64::NAN, 0, 0, 0.0)), "only 0 held-out targets have matured, 1 are needed");
        for broken in [f64::NAN, f64::INFINITY] {
            assert_eq!(judge(1.0, broken, 100, 1, 0.0), Verdict::Reject(Rejection::NotFinite));
            assert_eq!(judge(broken, 1.0, 100, 1, 0.0), Verdict::Promote, "a broken champion");
        }
    }
}
